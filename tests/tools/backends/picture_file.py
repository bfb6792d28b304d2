"""A picture's file in a few bytes."""

from __future__ import annotations

import functools
import io

from PIL import Image


@functools.cache
def small_png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (16, 32, 48)).save(buffer, "PNG")
    return buffer.getvalue()
