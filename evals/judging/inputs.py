"""Which pictures of a folder are judged, and what was left out: counted, named, and why, so that "N of N" is never said of a part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lifeos.errors import InputError
from lifeos.escaping import escape_line
from lifeos.file_names import stored_path
from lifeos.images import LeftOut, Listing, list_pictures
from lifeos.picture_formats import HEIF_UNREAD, READABLE, how_to_read_heif

SHOWN = 5
SHOWN_IN_REPORTS = 100
"""Names on the console and in reports; documents hold them all."""


def list_to_judge(folder: Path, reference_dir: Path | None, flag: str, *, places: Sequence[Path] = ()) -> Listing:
    """The pictures in a folder, or in these places within it, and their sub-folders; the references are left out.

    Raises InputError, which names the flag, where there is none.
    """
    listings = [list_pictures(place, recursive=True) for place in places or (folder,)]
    pictures = [path for listing in listings for path in listing.pictures]
    left_out = [item for listing in listings for item in listing.left_out]
    references = reference_dir.resolve() if reference_dir is not None else None
    if references is not None and references != folder.resolve():
        judged = [path for path in pictures if not path.resolve().is_relative_to(references)]
        if len(judged) < len(pictures):
            left_out.append(LeftOut(references, f"the references, {len(pictures) - len(judged)} of them, are not judged"))
        pictures = judged
    if not pictures:
        why = "; ".join(["no pictures in it", *left_out_lines(left_out, folder)])
        raise InputError(folder, why, f"give {flag} a folder with {READABLE} pictures")
    return Listing(tuple(pictures), tuple(left_out))


def left_out_document(left_out: Iterable[LeftOut], folder: Path) -> list[dict[str, Any]]:
    """`[{"file", "why"}]`, names relative to the folder that was listed."""
    return [{"file": _name(item.path, folder), "why": item.why} for item in left_out]


def left_out_lines(left_out: Sequence[LeftOut], folder: Path, shown: int = SHOWN) -> list[str]:
    """`2 left out: IMG_1.HEIC (HEIC is read where …), scan.psd (…)` and what makes HEIC readable; no line where
    nothing was left out."""
    if not left_out:
        return []
    named = [f"{escape_line(_name(item.path, folder))} ({item.why})" for item in left_out[:shown]]
    more = f" and {len(left_out) - shown} more" if len(left_out) > shown else ""
    fix = [f"to have HEIC read, {how_to_read_heif()}"] if any(item.why == HEIF_UNREAD for item in left_out) else []
    return [f"{len(left_out)} left out: {', '.join(named)}{more}", *fix]


def _name(path: Path, folder: Path) -> str:
    """Relative to the folder that was listed where it lies in it."""
    inside = next((base for base in (folder, folder.resolve()) if path.is_relative_to(base)), None)
    return stored_path(path.relative_to(inside) if inside is not None else path)
