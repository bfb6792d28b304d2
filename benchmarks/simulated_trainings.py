"""Trainings whose truth is known: what each checkpoint is worth at each LoRA strength, and pictures of it that are as noisy as real ones.

Shapes: *plateau* (rises and stays), *overtrained* (rises and falls, copies more and varies less), *late* (rises, stands still, rises
again), *flat*. A strength acts like more or less training, so the best strength falls as a training goes on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.verdict_calibration import draw
from tools.sweep.checkpoint_curve import COPYING, IDENTITY, SKIN, VARIETY, CurveCell, TrainingCurve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHAPES = ("plateau", "overtrained", "late", "flat")
STRENGTHS = (0.6, 0.8, 1.0)
STEPS_BETWEEN = 250
JITTER = 0.006
"""How far a checkpoint lies beside its curve: it is a point of a noisy descent. Part of the truth."""
BEST_STRENGTHS, STRENGTH_LOSS = (0.65, 0.95), 0.6
"""Every training has a best strength of its own; .2 beside it the score is .024 lower."""
STEADY = 0.7
"""Correlation of a prompt's own deviation between neighbouring checkpoints."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of a picture's overall score: between prompts, between the seeds of a prompt (what all checkpoints share), of a
    prompt in one checkpoint, and of a picture for itself. The last two do not cancel when checkpoints are paired.
    """

    name: str
    prompt: float
    seed: float
    change: float
    picture: float
    copying: float
    variety: float


NOISES = (
    # what verdict_calibration takes: prompts .08, changes .03, pictures .06 of which half the variance is shared
    Noise("calibration", prompt=0.08, seed=0.042, change=0.03, picture=0.042, copying=0.05, variety=0.15),
    # 144 demo pictures (8 prompts, 3 seeds, 3 strengths, 2 CFG), .75 identity + .25 skin: prompts .04, seeds .16, copying .07, variety .25.
    # There the seed's part is shared but for .01; here half of the variance is not, as a worse case.
    Noise("demo pictures", prompt=0.042, seed=0.11, change=0.03, picture=0.11, copying=0.05, variety=0.17),
)


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """`truth`: checkpoints x strengths. `curve`: what was measured of it."""

    shape: str
    truth: Floats
    curve: TrainingCurve


def simulate_training(
    shape: str, noise: Noise, rng: np.random.Generator, *, checkpoints: int, prompts: int, seeds: int, planned: bool = False
) -> Training:
    """A training of that shape and its pictures, the same prompts and seeds in every cell."""
    import numpy as np

    truth, excess = draw_truth(shape, checkpoints, rng)
    strengths = len(STRENGTHS)
    difficulty = noise.prompt * draw("skewed", (prompts, 1, 1, 1), rng)
    scene = noise.seed * rng.standard_normal((prompts, seeds, 1, 1))
    own = noise.picture * rng.standard_normal((prompts, seeds, checkpoints, strengths))
    score = truth + difficulty + scene + noise.change * _changes(prompts, checkpoints, rng)[:, None, :, None] + own
    copying = 0.1 + 0.5 * excess + noise.copying * rng.standard_normal(own.shape)
    progress = np.linspace(0.0, 1.0, checkpoints)[:, None]
    variety = 0.7 - 0.1 * np.minimum(1.0, 2 * progress) - 0.4 * excess + noise.variety * rng.standard_normal(own.shape)
    cells = tuple(
        CurveCell(f"step{step}_str{strength:.2f}", f"anna-step{step:08d}.safetensors", step, strength)
        for step in range(STEPS_BETWEEN, STEPS_BETWEEN * (checkpoints + 1), STEPS_BETWEEN)
        for strength in STRENGTHS
    )
    pictures = prompts * seeds
    scores = np.stack([score, score, variety, copying], axis=-1).reshape(pictures, len(cells), 4)
    curve = TrainingCurve(
        cells=cells,
        keys=tuple((prompt, seed) for prompt in range(prompts) for seed in range(seeds)),
        traits=(IDENTITY, SKIN, VARIETY, COPYING),
        scores=scores,
        made=np.ones((pictures, len(cells)), dtype=np.bool_),
        weights=(0.75, 0.25, 0.0, 0.0),
        shortfalls=("",) * len(cells),
        finished=(True,) * len(cells),
        wanted=pictures,
        planned=checkpoints if planned else None,
    )
    return Training(shape, truth, curve)


def draw_truth(shape: str, checkpoints: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The true overall score, and how far overtraining has come (0 where it has not begun), checkpoints x strengths."""
    import numpy as np

    strengths = np.array(STRENGTHS)
    done = np.arange(1, checkpoints + 1)[:, None] / checkpoints * np.sqrt(strengths / 0.8)
    gain, excess = rng.uniform(0.1, 0.25), np.zeros_like(done)
    if shape == "plateau":
        rise = gain * (1 - np.exp(-done / rng.uniform(0.1, 0.3)))
    elif shape == "overtrained":
        excess = np.clip((done - rng.uniform(0.35, 0.7)) / 0.5, 0.0, 1.0)
        rise = gain * (1 - np.exp(-done / rng.uniform(0.1, 0.25))) - rng.uniform(0.1, 0.3) * excess**1.5
    elif shape == "late":
        rise = gain * (0.4 * (1 - np.exp(-done / 0.1)) + 0.6 / (1 + np.exp(-(done - rng.uniform(0.35, 0.7)) / 0.05)))
    else:
        rise = np.zeros_like(done)
    beside = rng.normal(0.0, JITTER, (checkpoints, 1))
    astray = STRENGTH_LOSS * (strengths - rng.uniform(*BEST_STRENGTHS)) ** 2
    return rng.uniform(0.45, 0.6) + rise - astray + beside, excess


def _changes(prompts: int, checkpoints: int, rng: np.random.Generator) -> Floats:
    """How much more or less than on average each prompt gains, prompts x checkpoints: it drifts as the training goes on."""
    import numpy as np

    now = rng.standard_normal(prompts)
    columns = []
    for _ in range(checkpoints):
        columns.append(now)
        now = STEADY * now + math.sqrt(1 - STEADY**2) * rng.standard_normal(prompts)
    return np.stack(columns, axis=1)
