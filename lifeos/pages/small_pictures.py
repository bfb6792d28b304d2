"""Small copies of pictures for pages: in the page itself, or beside it where they are many."""

from __future__ import annotations

import io
import os
from pathlib import Path
from urllib.parse import quote

SMALL_SIZE = (480, 600)
"""Twice what a card shows, so that they are sharp on a screen of twice the density."""
SMALL_QUALITY = 70


def make_small(data: bytes) -> bytes | None:
    """A WebP that fits `SMALL_SIZE`, upright, without metadata; None for bytes that are no picture."""
    from lifeos.images import ImageError, decode_small

    try:
        small = decode_small(data, Path("small"), SMALL_SIZE)
        out = io.BytesIO()
        small.save(out, "WEBP", quality=SMALL_QUALITY, method=4)
        return out.getvalue()
    except (ImageError, OSError, ValueError):
        return None


def address_from(page: Path, target: Path) -> str:
    """A file or folder as an address in a page, for as long as both stay where they are to each other; on another drive its own."""
    try:
        way = Path(os.path.relpath(target, page.parent)).as_posix()
    except ValueError:
        return target.resolve().as_uri()
    return quote_way(way)


def quote_way(way: str) -> str:
    """A relative path with `/` as an address."""
    return quote(way.encode("utf-8", "surrogateescape"))  # the bytes of the name, whatever they are
