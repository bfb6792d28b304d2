"""Small copies of pictures for the report, made while the GPU works on the next ones."""

from __future__ import annotations

import io
from pathlib import Path

from lifeos import files

SIZE = (224, 288)
QUALITY = 72


def make_thumbnail(data: bytes) -> bytes | None:
    """A JPEG that fits `SIZE`, upright, without metadata; None for bytes that are no picture."""
    from lifeos.images import ImageError, decode_small

    try:
        small = decode_small(data, Path("thumbnail"), SIZE)
        out = io.BytesIO()
        small.save(out, "JPEG", quality=QUALITY, optimize=True, subsampling=0)  # colour is judged here
        return out.getvalue()
    except (ImageError, OSError, ValueError):
        return None


def write_thumbnail(data: bytes, path: Path) -> None:
    """Store the thumbnail of a picture; nothing is written for bytes that are no picture."""
    small = make_thumbnail(data)
    if small is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small)


def read_thumbnail(path: Path, picture: Path) -> bytes | None:
    """A thumbnail; made again from the picture where it is missing or was left half written."""
    try:
        small = path.read_bytes()
        if small.endswith(b"\xff\xd9"):
            return small
    except OSError:
        pass
    try:
        files_data = picture.read_bytes()
    except OSError:
        return None
    small_again = make_thumbnail(files_data)
    if small_again is not None:
        files.write_bytes(path, small_again)
    return small_again
