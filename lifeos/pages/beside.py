"""What lies beside a page: its addresses, and small copies of pictures that are too many to stand inside it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

MOST_IN_ONE_FILE = 500
"""Pictures; a page of 500 with its small copies has some 12 MB."""


def quoted_path(path: str) -> str:
    """A `/`-separated path beside a page as the address of a link: the bytes of the name, whatever they are."""
    return quote(path.encode("utf-8", "surrogateescape"))


def relative_address(path: Path, folder: Path) -> str | None:
    """A file or folder as an address from the folder of a page, for as long as both stay where they are to each other; None on another
    drive."""
    try:
        return quoted_path(Path(os.path.relpath(path, folder)).as_posix())
    except ValueError:
        return None


def address_from(page: Path, target: Path) -> str:
    """A file or folder as an address in a page: relative, and on another drive whole."""
    return relative_address(target, page.parent) or target.resolve().as_uri()


def put_beside(small: bytes, root: Path, name: str) -> str:
    """The address of a small copy beside the page, written where it is not there yet. One that was left half written is written again."""
    path = root / name
    try:
        is_there = path.read_bytes() == small
    except OSError:
        is_there = False
    if not is_there:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(small)
    return quoted_path(name)
