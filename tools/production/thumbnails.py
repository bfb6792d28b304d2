"""The small copies of a batch's pictures for its pages, made while the GPU works on the next ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lifeos import files
from lifeos.pages.small_pictures import make_small
from lifeos.picture_formats import HEAD_BYTES, format_of
from tools.production.filing import BatchFolder

SUFFIX: Final = ".webp"
BEFORE: Final = ".jpg"
"""The small copies of earlier versions, half as large. One is used where the picture is gone and no other can be made."""
BESIDE: Final = "thumbs"
"""Beside the page of a large batch, the small copies that it shows."""


def write_thumbnail(data: bytes, folder: BatchFolder, name: str) -> None:
    """Store the small copy of the picture `name`; nothing is written for bytes that are no picture."""
    small = make_small(data)
    if small is not None:
        folder.thumbnails.mkdir(parents=True, exist_ok=True)
        (folder.thumbnails / f"{name}{SUFFIX}").write_bytes(small)


def read_thumbnail(folder: BatchFolder, name: str, path: str | None) -> bytes | None:
    """The small copy of the picture `name`, which lies at `path` in the directory; made again where it is missing or half written."""
    kept = folder.thumbnails / f"{name}{SUFFIX}"
    if (small := _read(kept)) is not None and _is_whole(small):
        return small
    picture = _read(folder.root / path) if path else None
    made = make_small(picture) if picture is not None else None
    if made is not None:
        files.write_bytes(kept, made)
        return made
    older = _read(folder.thumbnails / f"{name}{BEFORE}")
    return older if older is not None and _is_whole(older) else None


def name_beside(small: bytes, name: str) -> str:
    """Where in the directory of a large batch the small copy of the picture `name` lies for the page."""
    return f"{BESIDE}/{name}{SUFFIX if format_of(small[:HEAD_BYTES]) == 'WEBP' else BEFORE}"


def prune_thumbnails(folder: BatchFolder, document: Mapping[str, Any], *, beside: bool) -> None:
    """Remove the small copies that a batch has no use for any more: of pictures that its report no longer has, and of earlier versions.

    `beside`: whether its page shows copies that lie in `thumbs/`. There only what is byte for byte a copy of ours is removed: whatever
    else lies there is somebody's.
    """
    there = {image["file"] for image in document["images"]}
    whole = {name for name in there if (folder.thumbnails / f"{name}{SUFFIX}").is_file()}
    kept = {f"{name}{SUFFIX}" for name in there} | {f"{name}{BEFORE}" for name in there - whole}
    for path in _copies(folder.thumbnails):
        if path.name not in kept or not beside:
            _remove_twin(path, folder.root / BESIDE / path.name)
        if path.name not in kept:
            _remove(path)
    if not beside:
        _remove_empty(folder.root / BESIDE)


def _copies(place: Path) -> Iterator[Path]:
    """The small copies in our work folder: named after a picture, with an ending more."""
    if place.is_dir():
        for path in sorted(place.iterdir()):
            if path.suffix in (SUFFIX, BEFORE) and Path(path.stem).suffix and not path.is_symlink() and path.is_file():
                yield path


def _remove_twin(path: Path, twin: Path) -> None:
    if not twin.is_symlink() and (theirs := _read(twin)) is not None and theirs == _read(path):
        _remove(twin)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _is_whole(small: bytes) -> bool:
    if format_of(small[:HEAD_BYTES]) == "WEBP":
        return int.from_bytes(small[4:8], "little") + 8 == len(small)  # a RIFF file says how long it is
    return small.endswith(b"\xff\xd9")
