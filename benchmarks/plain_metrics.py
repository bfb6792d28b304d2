"""The metrics as first sketched, kept only to be measured against: the highest cosine, a whole picture's Laplacian, a YCrCb mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SKIN_LOW, SKIN_HIGH = (0, 133, 77), (255, 173, 127)
"""The usual box of skin in YCrCb (Chai and Ngan, 1999)."""
BINS = 32


@dataclass(frozen=True, slots=True, eq=False)
class PlainSkin:
    """Variance of the whole picture's Laplacian, and the Cr-Cb histogram of what the mask calls skin."""

    sharpness: float
    histogram: NDArray[np.float32]


def measure_plain_skin(rgb: NDArray[np.uint8]) -> PlainSkin:
    import cv2
    import numpy as np

    sharpness = float(cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
    ycrcb = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
    mask = cv2.inRange(ycrcb, np.array(SKIN_LOW), np.array(SKIN_HIGH))
    histogram = cv2.calcHist([ycrcb], [1, 2], mask, [BINS, BINS], [0, 256, 0, 256])
    total = float(histogram.sum())
    return PlainSkin(sharpness, np.asarray(histogram / total if total else histogram, dtype=np.float32))


def score_plain_skin(measured: PlainSkin, references: Sequence[PlainSkin]) -> float:
    """Half sharpness against the references' mean, full from there on; half the best histogram correlation."""
    import cv2

    wanted = sum(item.sharpness for item in references) / len(references)
    texture = min(1.0, measured.sharpness / wanted) if wanted else 1.0
    color = 0.0
    if measured.histogram.any():  # OpenCV says that nothing correlates fully with anything
        color = max(cv2.compareHist(measured.histogram, item.histogram, cv2.HISTCMP_CORREL) for item in references)
    return 0.5 * texture + 0.5 * max(0.0, float(color))
