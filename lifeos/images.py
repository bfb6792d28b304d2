"""The one image loader: Pillow, EXIF applied, 8-bit RGB, a pixel limit, and a clear reason when a picture cannot be read.

Hash and decode come from the same bytes, read once. OpenCV never reads a file here: it returns half of a truncated JPEG
without a word, and cannot open non-ASCII paths on Windows.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifeos.errors import InputError
from lifeos.system_folders import SYSTEM_FOLDERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image as PillowImage

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_PIXELS = 100_000_000
"""Larger than any generated picture; a decompression bomb is far beyond."""

GREY_SPREAD = 2
"""A picture whose channels differ by no more than this many levels anywhere has no colour to judge."""


class ImageError(InputError):
    """A picture that cannot be used. `reason` is a word for tables: `unreadable`, `truncated`, `too_large`, `animated`, `empty`."""

    def __init__(self, path: object, reason: str, why: str) -> None:
        self.reason = reason
        super().__init__(path, why)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture. `rgb` is uint8, height x width x 3, upright. `sha256` is that of the file's bytes."""

    path: Path
    sha256: str
    rgb: NDArray[np.uint8]
    is_grey: bool
    format: str

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])


def read_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read and decode one picture. Raises ImageError with a reason; a missing file is `unreadable`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(path, "unreadable", error.strerror or "cannot be read") from None
    return decode_picture(data, path, max_pixels=max_pixels)


def decode_picture(data: bytes, path: Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the bytes of one picture; `path` is where they came from or will go. Raises ImageError."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ImageError(path, "empty", "the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of bombs at half its limit; ours is checked below
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > max_pixels:
                raise ImageError(path, "too_large", f"{image.width}x{image.height} is over the limit of {max_pixels:,} pixels")
            if getattr(image, "n_frames", 1) > 1:
                raise ImageError(path, "animated", "an animated picture, not a still one")
            image.load()
            rgb = np.asarray(_upright_rgb(image))
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(path, "unreadable", "not a PNG, JPEG, WebP or BMP picture") from None
    except Image.DecompressionBombError:
        raise ImageError(path, "too_large", f"over the limit of {max_pixels:,} pixels") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError) as error:
        reason = "truncated" if "truncated" in str(error) or "broken" in str(error) else "unreadable"
        raise ImageError(path, reason, f"cannot be decoded: {error}") from None
    return Picture(path, hashlib.sha256(data).hexdigest(), rgb, _is_grey(rgb), str(image.format or ""))


def _is_grey(rgb: NDArray[np.uint8]) -> bool:
    """Whether no pixel has colour. A sparse sample settles it for nearly every picture; all pixels cost a third of the decoding."""
    return _spread(rgb[::13, ::13]) <= GREY_SPREAD and _spread(rgb) <= GREY_SPREAD


def _spread(rgb: NDArray[np.uint8]) -> int:
    """The largest difference between the channels of one pixel."""
    import numpy as np

    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    highest, lowest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return int((highest - lowest).max())


def _upright_rgb(image: PillowImage.Image) -> PillowImage.Image:
    """EXIF rotation applied, 16 bits scaled to 8, alpha composited on white."""
    import numpy as np
    from PIL import Image, ImageOps

    upright: Any = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I") or upright.mode == "F":
        # convert("RGB") clips 16-bit grey at 255, which turns it white: 65535 / 257 = 255
        levels = np.asarray(upright, dtype=np.float64)
        scale = 257.0 if upright.mode != "F" else 1.0
        upright = Image.fromarray(np.clip(np.rint(levels / scale), 0, 255).astype(np.uint8))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(white, upright)
    rgb: PillowImage.Image = upright.convert("RGB")
    return rgb


def is_picture_name(path: Path) -> bool:
    """Whether the name is that of a picture: a known suffix, and no system or editor left-over."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith((".", "~")) and not path.name.endswith("~")


def find_pictures(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The pictures in a folder, in natural order (`img_2` before `img_10`), hidden and system folders left out."""
    if not folder.is_dir():
        raise InputError(folder, "is a file, not a directory" if folder.exists() else "no such directory")
    if not recursive:
        return sorted((path for path in folder.iterdir() if is_picture_name(path) and path.is_file()), key=natural_key)
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in SYSTEM_FOLDERS]
        paths = (Path(parent, name) for name in names)
        found += [path for path in paths if is_picture_name(path) and path.is_file()]
    return sorted(found, key=natural_key)


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorts runs of digits as numbers: the key of `find_pictures`."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(1, int(part), "") if part.isdecimal() and part.isascii() else (0, 0, part) for part in parts]
