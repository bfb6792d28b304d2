"""How much each picture of a set differs from the others: what the variety of a set is made of, picture by picture, so that sets can be
paired.

The variety of a set is the share of its pairs that differ in pose and in clothes and place, the complement of the shares that
`evals.judging.variety` reports. A pair belongs to two pictures, so a picture moves the variety by twice its own difference from it (the
first-order part of a U-statistic: Hoeffding 1948, doi:10.1214/aoms/1177730196): the numbers given here have the variety as their mean and
its error as theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from evals.judging.records import Assessment
from evals.judging.variety import FEWEST, POSE_DEGREES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def differences(assessments: Sequence[Assessment]) -> list[float | None]:
    """One number for each picture, whose mean is the variety of the set; None for a picture without a face or an embedding.

    Pose and scene count alike; where one is not known of enough pictures, the other counts alone.
    """
    import numpy as np

    from evals.likeness.embedding import SAME_SCENE, read_record

    poses = [None if item.geometry is None else (item.geometry.yaw, item.geometry.roll) for item in assessments]
    scenes = [read_record(item.scene) for item in assessments]
    shares = []
    if sum(pose is not None for pose in poses) >= FEWEST:
        points = np.array([pose for pose in poses if pose is not None])
        turned = np.hypot(*np.moveaxis(points[:, None] - points[None, :], 2, 0))
        shares.append(_spread(turned > POSE_DEGREES, [pose is not None for pose in poses]))
    if sum(scene is not None for scene in scenes) >= FEWEST:
        vectors = np.stack([scene for scene in scenes if scene is not None])
        shares.append(_spread(vectors @ vectors.T < SAME_SCENE, [scene is not None for scene in scenes]))
    return [_mean([column[place] for column in shares]) for place in range(len(assessments))]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _spread(differ: NDArray[np.bool_], there: Sequence[bool]) -> list[float | None]:
    """Twice each picture's share of others that differ, less the mean share; None for those that are not there."""
    count = len(differ)
    own = (differ.sum(axis=1) - differ.diagonal()) / (count - 1)
    parts = iter((2 * own - own.mean()).tolist())
    return [next(parts) if known else None for known in there]
