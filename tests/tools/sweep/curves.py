"""Pictures of a training whose truth is known, for the tests of the curve, the choice and the advice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from evals.judging.records import Assessment, FaceScore, Geometry, Reading
from evals.load_thresholds import load_thresholds
from evals.skin.realism import SkinScore
from tools.sweep.analysis import Shot
from tools.sweep.checkpoint_curve import CurveCell, TrainingCurve

POLICY = load_thresholds()
QUICK = {**POLICY, "comparison": {**POLICY["comparison"], "resamples": 500}}
PROMPTS = 8


def cell(step: int, strength: float = 0.8) -> CurveCell:
    return CurveCell(f"step{step}_str{strength:.2f}", f"anna-step{step:08d}.safetensors", step, strength)


def assessed(face: float | None, skin: float | None = 0.7, yaw: float | None = None, copying: float | None = None) -> Assessment:
    points = ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.42, 0.6), (0.58, 0.6))
    return Assessment(
        "x.png",
        "0",
        64,
        64,
        None,
        FaceScore(face, None if face is not None else "no_face"),
        SkinScore(skin, None, skin, skin),
        None if yaw is None else Geometry(yaw, 0.0, 0.1, 0.3, 0.5, 0.5, "medium shot", points),
        None,
        {} if copying is None else {"memorised": Reading(copying)},
    )


def shots_of(config: str, face: Callable[[int], float | None], prompts: int = PROMPTS, **more: Callable[[int], float]) -> list[Shot]:
    """A picture of each prompt; `face` and the others are functions of the prompt's number."""
    return [
        Shot(config, number, 7, f"{config}_{number}.png", assessed(face(number), **{name: of(number) for name, of in more.items()}), True)
        for number in range(1, prompts + 1)
    ]


def make_curve(
    levels: Mapping[int, Sequence[float]],
    *,
    strengths: Sequence[float] = (0.8,),
    noise: float = 0.01,
    copying: Mapping[int, float] | None = None,
    variety: Mapping[int, float] | None = None,
    prompts: int = PROMPTS,
    references_trained: bool = False,
    planned: int | None = None,
) -> TrainingCurve:
    """Step -> the true score at each strength; each prompt is off by its own amount, in every cell by a little more (seeded)."""
    rng = np.random.default_rng(11)
    cells = tuple(cell(step, strength) for step in levels for strength in strengths)
    difficulty = 0.08 * rng.standard_normal(prompts)
    scores = np.full((prompts, len(cells), 4), math.nan)
    for place, each in enumerate(cells):
        truth = levels[each.step][strengths.index(each.strength)]
        wobble = noise * rng.standard_normal((prompts, 4))
        scores[:, place, 0] = truth + difficulty + wobble[:, 0]
        scores[:, place, 1] = truth + difficulty + wobble[:, 1]
        scores[:, place, 2] = (variety or {}).get(each.step, math.nan) + wobble[:, 2]
        scores[:, place, 3] = (copying or {}).get(each.step, math.nan) + wobble[:, 3]
    weights = (0.0, 1.0, 0.0, 0.0) if references_trained else (0.75, 0.25, 0.0, 0.0)
    return TrainingCurve(
        cells,
        tuple((number, 7) for number in range(1, prompts + 1)),
        ("identity", "skin", "variety", "copying"),
        scores,
        np.ones((prompts, len(cells)), dtype=np.bool_),
        weights,
        ("",) * len(cells),
        (True,) * len(cells),
        prompts,
        1,
        references_trained,
        planned,
    )
