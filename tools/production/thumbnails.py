"""Small copies of pictures for the report, made while the GPU works on the next ones."""

from __future__ import annotations

import io
from pathlib import Path

from lifeos import files

SIZE = (224, 288)
QUALITY = 72


def make_thumbnail(data: bytes) -> bytes | None:
    """A JPEG that fits `SIZE`, upright, without metadata; None for bytes that are no picture."""
    from PIL import Image, ImageOps

    from lifeos.images import FORMATS, MAX_PIXELS

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (SIZE[0] * 2, SIZE[1] * 2))  # a JPEG is decoded at a fraction of its size
            small = ImageOps.exif_transpose(image).convert("RGB")
            small.thumbnail(SIZE, Image.Resampling.BOX, reducing_gap=2.0)
            out = io.BytesIO()
            small.save(out, "JPEG", quality=QUALITY, optimize=True)
            return out.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
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
