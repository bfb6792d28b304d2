"""The pictures that the server of a review hands out: those of the batch and its references, by name, and from nowhere else."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    small = read_thumbnail(folder.thumbnails / f"{name}.jpg", path)
    return None if small is None else ServedPicture(small, "image/jpeg", f"t{picture.assessment.sha256}")


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


def skin_outlines(picture: PictureResult) -> list[list[list[float]]]:
    """The cheeks on which skin is judged, each as points in fractions of the picture. By the points that the face engine found: where
    YuNet's own points differ, the score was measured a little beside."""
    import numpy as np

    from evals.skin.regions import face_frame, skin_regions

    geometry, box = picture.assessment.geometry, picture.face_box
    if geometry is None or box is None:
        return []
    size: Any = np.array([picture.assessment.width, picture.assessment.height], dtype=np.float64)
    corners = np.array([box[:2], [box[0] + box[2], box[1] + box[3]]]) * size
    x0, y0, x1, y1 = (float(value) for value in corners.ravel())
    frame = face_frame(np.array(geometry.landmarks) * size, (x0, y0, x1, y1))
    if frame is None:
        return []
    return [np.round(frame.outline(region) / size, 5).tolist() for region in skin_regions(frame)]
