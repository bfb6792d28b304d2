"""Small copies of pictures for pages, twice as large as a card shows them: sharp on a screen of twice the density.

As WebP such a copy has some 18 kB; JPEG of the same look has 35 kB, which a page of 500 pictures in one file could not bear, and a quarter
of the pixels as JPEG has 11 kB.
"""

from __future__ import annotations

import io
from pathlib import Path

SMALL_SIZE = (480, 600)
"""Twice the frame of a card, which is 4 : 5 and some 240 points wide."""
SMALL_QUALITY = 70


def make_small(data: bytes) -> bytes | None:
    """A WebP that fits `SMALL_SIZE`, upright, without metadata; None for bytes that are no picture."""
    from lifeos.images import ImageError, decode_small

    try:
        small = decode_small(data, Path("small copy"), SMALL_SIZE)
        out = io.BytesIO()
        small.save(out, "WEBP", quality=SMALL_QUALITY, method=4)
        return out.getvalue()
    except (ImageError, OSError, ValueError):
        return None
