"""The middle of a set of faces: the unit mean of their unit embeddings. Likeness to a person is the cosine to it.

Compared with the mean of the cosines to each face it does not shrink where the set is varied: the mean of cosines is the cosine to the
middle times the length of the unnormalised mean, which differs from one reference set to the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evals.faces.face_engine import Vector, unit


def centroid_of(embeddings: NDArray[np.float64]) -> Vector:
    """The unit mean of unit rows."""
    return unit(embeddings.mean(axis=0))


def left_out_cosines(embeddings: NDArray[np.float64]) -> Vector:
    """How like each of the unit rows is to the middle of the others: one cosine for each; empty for fewer than two rows."""
    if len(embeddings) < 2:
        return np.zeros(0)
    others = embeddings.sum(axis=0) - embeddings  # linear in memory, unlike the matrix of all pairs
    lengths = np.maximum(np.linalg.norm(others, axis=1), 1e-12)
    return np.asarray((embeddings * others).sum(axis=1) / lengths, dtype=np.float64)
