"""Small copies of pictures for pages."""

from __future__ import annotations

import io
from pathlib import Path

SMALL_SIZE = (480, 600)
"""Twice what a card shows, so that they are sharp on a screen of twice the density."""
SMALL_QUALITY = 70


def make_small(data: bytes) -> bytes | None:
    """A WebP that fits `SMALL_SIZE`, upright, without metadata; None for bytes that are no picture."""
    from lifeos.images import ImageError, decode_small

    try:
        small = decode_small(data, Path("small"), SMALL_SIZE)
        out = io.BytesIO()
        small.save(out, "WEBP", quality=SMALL_QUALITY, method=4)
        return out.getvalue()
    except (ImageError, OSError, ValueError):
        return None
