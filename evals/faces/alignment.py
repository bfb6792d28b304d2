"""A face put upright at a fixed size, as embedding models want it: the similarity that takes five landmarks nearest to a template."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evals.faces.face_engine import Rgb

ARCFACE_SIDE = 112
ARCFACE_POINTS = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Where eyes, nose tip and mouth corners lie in the 112 x 112 pixels that ArcFace, SFace, AdaFace and their kin were trained on."""


def fit_similarity(points: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 2 x 3 matrix of rotation, one scale and shift that takes `points` nearest to `wanted`, by least squares; never mirrored."""
    source, target = points @ (1, 1j), wanted @ (1, 1j)  # a plane's similarity is one complex factor and a shift
    middle, aim = source.mean(), target.mean()
    spread = max(float(np.sum(np.abs(source - middle) ** 2)), 1e-12)
    turn = np.sum((source - middle).conj() * (target - aim)) / spread
    shift = aim - turn * middle
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align(rgb: Rgb, landmarks: NDArray[np.float64], points: NDArray[np.float64], side: int) -> Rgb:
    """The face as a square picture in which its landmarks lie nearest to `points`; black beyond the picture's edge."""
    import cv2

    return np.asarray(cv2.warpAffine(rgb, fit_similarity(landmarks, points), (side, side), borderValue=0.0), dtype=np.uint8)
