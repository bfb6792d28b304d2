"""How like a character strangers are: the floor of likeness, for an engine and the middle of a reference set.

For some engines the mean and the covariance of the embeddings of other people are carried with the project, 205 of them; no single
person's embedding is. For the middle c of a reference set the cosine of a stranger is then nearly normal, with the mean c·m and the
variance c'Sc.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from evals.faces.face_engine import Vector

DATA = Path(__file__).with_name("data")


@dataclass(frozen=True, slots=True)
class Floor:
    """Cosines of strangers to the middle of the references: normal with `mean` and `deviation`, by `people`."""

    mean: float
    deviation: float
    people: int
    highest: float | None = None
    """Of the people who were looked at; None where only their statistics are known."""

    def share_above(self, cosine: float) -> float:
        """The share of strangers at that cosine or above it, by the normal curve."""
        return NormalDist(-self.mean, self.deviation).cdf(-cosine)  # mirrored: 1 - cdf ends at 1e-16

    def cosine_at(self, share: float) -> float:
        """The cosine that this share of strangers reaches."""
        return -NormalDist(-self.mean, self.deviation).inv_cdf(share)


@dataclass(frozen=True, slots=True, eq=False)
class StrangerStatistics:
    """Mean and covariance of the unit embeddings of other people, as one engine sees them."""

    people: int
    mean: Vector
    covariance: NDArray[np.float64]

    def floor_for(self, centroid: Vector) -> Floor:
        return Floor(float(centroid @ self.mean), float(np.sqrt(centroid @ self.covariance @ centroid)), self.people)


@cache
def statistics_of(scale_key: str) -> StrangerStatistics | None:
    """Those that are carried for an engine (its row in the policy), None where there are none."""
    path = DATA / f"{scale_key}_strangers.npz"
    if not scale_key.isidentifier() or not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        people, mean, upper = int(stored["people"]), stored["mean"].astype(np.float64), stored["covariance"].astype(np.float64)
    covariance = np.zeros((len(mean), len(mean)))
    covariance[np.triu_indices(len(mean))] = upper
    return StrangerStatistics(people, mean, covariance + np.triu(covariance, 1).T)


def floor_of(cosines: Vector) -> Floor:
    """The floor by the cosines of people who were looked at. Two or more are wanted."""
    return Floor(float(cosines.mean()), float(cosines.std(ddof=1)), len(cosines), float(cosines.max()))
