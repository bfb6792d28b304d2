"""The pictures of the pairs as a page shows them: small copies in it, or beside it where they are many, and the way to the files."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from evals.comparison.picture_pairs import PicturePair
from evals.comparison.runs import RowPicture
from lifeos.pages.beside import MOST_IN_ONE_FILE, address_from, put_beside
from lifeos.pages.page_templates import picture_address
from lifeos.pages.small_pictures import make_small
from lifeos.progress import track

WORKERS = 4
OURS = re.compile(r"\d{4,}_v[12]\.webp")


@dataclass(frozen=True, slots=True)
class PairedPicture:
    """`small`: the address of the small copy, `full`: of the file; both empty where the picture is not here, and `why` says why."""

    small: str = ""
    full: str = ""
    why: str = ""


Shown = Mapping[int, tuple[PairedPicture, PairedPicture]]
"""By the number of the pair."""


def show_pairs(pairs: Sequence[PicturePair], found: Sequence[Mapping[str, Path]], page: Path) -> Shown:
    """The pictures of each pair; small copies that have no room in the page are written beside it.

    `found`: for either version, the file that a row names -> where it lies.
    """
    beside = page.with_name(f"{page.stem}_small")
    is_one_file = 2 * len(pairs) <= MOST_IN_ONE_FILE
    wanted = [(pair.number, side, picture) for pair in pairs for side, picture in enumerate((pair.first, pair.second))]
    written: set[str] = set()

    def show(each: tuple[int, int, RowPicture]) -> PairedPicture:
        number, side, picture = each
        path = found[side].get(picture.file)
        if path is None:
            return PairedPicture(why="picture not here")
        data = _read(path)
        if data is None or (picture.sha256 is not None and hashlib.sha256(data).hexdigest() != picture.sha256):
            return PairedPicture(why="another file has its name now" if data is not None else "cannot be read")
        small = make_small(data)
        if small is None:
            return PairedPicture(full=address_from(page, path), why="cannot be shown")
        if is_one_file:
            return PairedPicture(picture_address(small), address_from(page, path))
        name = f"{number:04d}_v{side + 1}.webp"
        written.add(name)
        return PairedPicture(put_beside(small, page.parent, f"{beside.name}/{name}"), address_from(page, path))

    with ThreadPoolExecutor(WORKERS) as pool:
        shown = list(track(pool.map(show, wanted), "small copies for the page", total=len(wanted), unit="picture"))
    _clear(beside, written)
    return {pair.number: (shown[2 * place], shown[2 * place + 1]) for place, pair in enumerate(pairs)}


def clear_small(page: Path) -> None:
    """Remove the small copies beside a page that is gone."""
    _clear(page.with_name(f"{page.stem}_small"), set())


def _clear(folder: Path, kept: set[str]) -> None:
    """Only what is named like ours; and the folder, where nothing else lies in it."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if OURS.fullmatch(path.name) and path.name not in kept:
                path.unlink(missing_ok=True)
        if not kept:
            folder.rmdir()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
