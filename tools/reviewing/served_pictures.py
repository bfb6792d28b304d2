"""The pictures that the server of a review hands out: those of the batch and its references, by name, and from nowhere else."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from lifeos.images import ImageError, find_pictures, read_picture
from lifeos.picture_formats import HEAD_BYTES, format_of
from tools.production.filing import BatchFolder
from tools.production.results import PictureResult
from tools.production.thumbnails import read_thumbnail
from tools.reviewing.reviewed_batch import Snapshot

SHOWN_BY_BROWSERS = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
}


@dataclass(frozen=True, slots=True)
class ServedPicture:
    """The bytes of a picture, their type, and what tells a browser whether it has them."""

    data: bytes
    kind: str
    tag: str = ""


def find_thumbnail(folder: BatchFolder, found: Snapshot, name: str) -> ServedPicture | None:
    picture = found.pictures.get(name)
    path = _path_of(folder, picture)
    if picture is None or path is None:
        return None
    small = read_thumbnail(folder, name, picture.path)
    if small is None:
        return None
    return ServedPicture(small, SHOWN_BY_BROWSERS[format_of(small[:HEAD_BYTES])], f"t{picture.assessment.sha256}")


def find_picture(folder: BatchFolder, found: Snapshot, name: str) -> ServedPicture | None:
    picture = found.pictures.get(name)
    path = _path_of(folder, picture)
    return None if path is None or picture is None else _read(path, picture.assessment.sha256 or "")


def find_reference(found: Snapshot, name: str) -> ServedPicture | None:
    """A picture of the reference folder that the batch was judged against."""
    folder = Path(found.plan.reference_dir)
    if not found.plan.reference_dir or not folder.is_dir():
        return None
    return next((_read(path, "") for path in find_pictures(folder) if path.name == name), None)


def _path_of(folder: BatchFolder, picture: PictureResult | None) -> Path | None:
    """Where a picture lies; None where it is gone, or a link leads out of the batch."""
    if picture is None or picture.path is None:
        return None
    path = folder.root / picture.path
    try:
        inside = path.resolve(strict=True).is_relative_to(folder.root.resolve())
    except OSError:
        return None
    return path if inside and path.is_file() else None


def _read(path: Path, digest: str) -> ServedPicture | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    kind = SHOWN_BY_BROWSERS.get(format_of(data[:HEAD_BYTES]))
    return ServedPicture(data, kind, digest) if kind else _as_png(path, digest)


def _as_png(path: Path, digest: str) -> ServedPicture | None:
    """A picture of a format that browsers do not show."""
    from PIL import Image

    try:
        out = io.BytesIO()
        Image.fromarray(read_picture(path).rgb).save(out, "PNG", compress_level=1)
    except ImageError:
        return None
    return ServedPicture(out.getvalue(), "image/png", digest)
