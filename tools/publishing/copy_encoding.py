"""The pixels of a copy: reduced to the size asked for, and written as PNG, JPEG or WebP with a colour profile and XMP, and nothing else."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from lifeos.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rgb = NDArray[np.uint8]

SUFFIX = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
MIME = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
TITLE = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP"}
LARGEST_SIDE = {"png": 1_000_000, "jpeg": 65_535, "webp": 16_383}
"""Pixels, as the formats (JPEG, WebP) and Pillow (PNG) have it."""
PNG_EFFORT = 3
"""Of 9: 5 % larger than with Pillow's usual 6, in a third of the time."""


def reduce_to(rgb: Rgb, max_side: int) -> Rgb:
    """The picture with its longer side at most so many pixels; 0, or a smaller picture: as it is."""
    import numpy as np
    from PIL import Image

    height, width = rgb.shape[:2]
    if not max_side or max(height, width) <= max_side:
        return rgb
    size = tuple(max(1, round(side * max_side / max(height, width))) for side in (width, height))
    return np.asarray(Image.fromarray(rgb).resize((size[0], size[1]), Image.Resampling.LANCZOS))


def check_side(rgb: Rgb, format: str) -> None:
    """Raises InputError where a format cannot hold a picture of this size."""
    height, width = rgb.shape[:2]
    if max(height, width) > LARGEST_SIDE[format]:
        why = f"{width} x {height} pixels: {TITLE[format]} holds at most {LARGEST_SIDE[format]:,} a side"
        raise InputError("size", why, "give --max-side, or another --format")


def encode(rgb: Rgb, format: str, quality: int, profile: bytes | None, xmp: bytes) -> bytes:
    """The file of a copy. `profile`: the ICC profile that its colours are of, None for sRGB."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    options: dict[str, Any]
    if format == "png":  # Pillow leaves `xmp=` out of a PNG without a word
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8"))
        options = {"pnginfo": info, "compress_level": PNG_EFFORT}
    elif format == "jpeg":
        options = {"quality": quality, "subsampling": 0, "xmp": xmp}
    else:
        options = {"quality": quality, "xmp": xmp}
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, TITLE[format].upper(), icc_profile=profile, **options)
    return buffer.getvalue()
