"""Write the watermark into a picture: the tile over all of it, stronger where the picture is busy, at a wanted distance in decibels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tools.publishing.watermark_pattern import TILE, tile_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rgb = NDArray[np.uint8]
    Floats = NDArray[np.float32]

CALMEST, BUSIEST = 1.0, 8.0
"""Local deviations, in levels, below and above which the mark grows no weaker and no stronger."""
POWER = 0.7
"""How the mark's strength follows the deviation: less than in proportion, or smooth skin and sky would hold nothing."""
ROUNDS = 6
"""Corrections of the strength at most, for what rounding and clipping do to it."""
NEARLY = 0.99
"""Of the farthest allowed: near enough."""
STRIP = 16 * TILE
"""Rows that are worked on at a time, so that a very large picture needs little more memory than itself."""


def embed(rgb: Rgb, mark_id: int, psnr: float) -> Rgb:
    """The picture with the mark of `mark_id`: as strong as it may be at `psnr` decibels from the original at least."""
    import numpy as np

    tile = tile_of(mark_id)
    patterns = [_pattern(rgb[rows], tile) for rows in strips(len(rgb))]
    farthest = 255.0 / 10 ** (psnr / 20)
    gain = farthest / math.sqrt(sum(float(np.square(part, dtype=np.float32).sum()) for part in patterns) * 3 / rgb.size)
    best = rgb
    for _ in range(ROUNDS):
        marked, distance = _add(rgb, patterns, gain)
        if distance <= farthest:
            best = marked
            if distance > NEARLY * farthest:
                break
        gain *= min(2.0, (1 + NEARLY) / 2 * farthest / max(distance, 1e-9))
    return best


def strips(height: int) -> list[slice]:
    """The rows of a picture in parts of whole tiles."""
    return [slice(top, min(height, top + STRIP)) for top in range(0, height, STRIP)]


def _pattern(rgb: Rgb, tile: Floats) -> NDArray[np.float16]:
    """What is added to some rows, but for the gain."""
    import numpy as np

    height, width = rgb.shape[:2]
    repeated = np.tile(tile, (-(-height // TILE), -(-width // TILE)))[:height, :width]
    return (repeated * activity(rgb)).astype(np.float16)


def _add(rgb: Rgb, patterns: list[NDArray[np.float16]], gain: float) -> tuple[Rgb, float]:
    """The marked picture, and the root of its mean squared difference in levels. What would leave 0 to 255 stays at the end."""
    import cv2
    import numpy as np

    marked = np.empty_like(rgb)
    squares = 0.0
    for rows, pattern in zip(strips(len(rgb)), patterns, strict=True):
        levels = np.rint(pattern * np.float32(gain)).clip(-127, 127).astype(np.int8)
        marked[rows] = cv2.add(rgb[rows], cv2.merge([levels] * 3), dtype=cv2.CV_8U)
        squares += cv2.norm(rgb[rows], marked[rows], cv2.NORM_L2) ** 2
    return marked, math.sqrt(squares / rgb.size)


def activity(rgb: Rgb) -> Floats:
    """How strong the mark may be at each pixel, against CALMEST: from the deviation of the picture's detail around it."""
    import cv2
    import numpy as np

    luminance = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = luminance - cv2.GaussianBlur(luminance, (0, 0), 2.5)
    deviation = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 4.0))
    return np.asarray(np.clip(deviation, CALMEST, BUSIEST) ** POWER, dtype=np.float32)
