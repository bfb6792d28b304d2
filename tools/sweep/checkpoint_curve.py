"""The curve of a training: what each checkpoint, at each LoRA strength, scores on the same prompts and seeds.

Identity and skin are the gates' scores. Copying is the likeness to the nearest training picture (the guard *memorised*). Variety is the
share of pairs of a configuration's pictures that differ in pose and in clothes and place. Where references are among the training
pictures, identity rises with memorisation, so it has no weight and no claim is made on it. Nothing here opens a file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evals.comparison.inference import Estimate, estimate_level, estimate_means
from evals.comparison.selection import FEWEST_PROMPTS
from evals.comparison.weighted_means import change, number_prompts, take_apart
from evals.judging.gates import DIGITS, effective, gate_of, gates_in_force, why_not_ranked
from lifeos.counting import counted
from tools.sweep.analysis import Shot, score_configs
from tools.sweep.variety_by_picture import differences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

OVERALL, IDENTITY, SKIN, VARIETY, COPYING = "overall", "identity", "skin", "variety", "copying"
GATE_TRAITS = {"face": IDENTITY}
"""What a gate is called in a curve where it is not its own key."""
COPYING_GATE = "memorised"
WITHHELD = (
    "The references are among the training pictures, so a higher likeness to them may be memorisation: no claim is made on identity across "
    "steps. Hold references out before training (tools/dataset_manifest.py --hold-out N) to get one."
)


@dataclass(frozen=True, slots=True)
class CurveCell:
    """A checkpoint at one LoRA strength. `config`: the name of the configuration that its pictures carry. `checkpoint`: the LoRA's file
    name.
    """

    config: str
    checkpoint: str
    step: int
    strength: float

    @property
    def title(self) -> str:
        """`step 1500 at strength 0.80`."""
        return f"step {self.step} at strength {self.strength:.2f}"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingCurve:
    """What was measured. `scores`: pictures x cells x traits, NaN for none; a row is one prompt and seed. `made`: which pictures were
    made.

    `weights`: what each trait has of the overall score, 0 for none. `wanted`: pictures that each cell gets, of which `least` are enough
    where the others cannot be made. `finished`: the cells that get no more pictures. `shortfalls`: why a cell cannot be ranked, empty
    where it can. `planned`: how many checkpoints the training will save, None: not known.
    """

    cells: tuple[CurveCell, ...]
    keys: tuple[tuple[Hashable, int], ...]
    traits: tuple[str, ...]
    scores: Floats
    made: NDArray[np.bool_]
    weights: tuple[float, ...]
    shortfalls: tuple[str, ...]
    finished: tuple[bool, ...]
    wanted: int
    least: int = 1
    references_trained: bool = False
    planned: int | None = None

    @property
    def prompts(self) -> list[Hashable]:
        return [prompt for prompt, _ in self.keys]

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of all checkpoints, rising."""
        return tuple(sorted({cell.step for cell in self.cells}))

    @property
    def judged(self) -> tuple[int, ...]:
        """The steps whose cells all have pictures that can be ranked: nothing is claimed of the others."""
        return tuple(step for step in self.steps if all(not self.why_unjudged(place) for place in self.places(step)))

    @property
    def has_overall(self) -> bool:
        """Whether any trait that may be claimed has a weight."""
        return any(weight > 0 for weight in self.weights)

    def places(self, step: int) -> list[int]:
        """Which cells are of that step, by strength."""
        return sorted((place for place, cell in enumerate(self.cells) if cell.step == step), key=lambda place: self.cells[place].strength)

    def why_unjudged(self, place: int) -> str:
        """Why nothing is claimed of a cell; empty where something is."""
        rows: NDArray[np.bool_] = self.made[:, place]
        made = int(rows.sum())
        if made < self.wanted and not self.finished[place]:
            return f"{made} of {counted(self.wanted, 'picture')} so far"
        if made < self.least:
            return f"only {made} of {counted(self.wanted, 'picture')} could be made"
        prompts = {prompt for prompt, there in zip(self.prompts, rows, strict=True) if there}
        if len(prompts) < FEWEST_PROMPTS:
            return f"{counted(len(prompts), 'prompt')}: {FEWEST_PROMPTS} are wanted"
        return self.shortfalls[place]

    def mean(self, place: int, trait: str) -> float | None:
        """The mean of a trait, or the overall score, at 4 decimals; None where it is not known."""
        value = self._mean(place, trait)
        return None if value is None or not math.isfinite(value) else round(value, DIGITS)

    def _mean(self, place: int, trait: str) -> float | None:
        import numpy as np

        if trait == OVERALL:
            parts = [(self.mean(place, name), weight) for name, weight in zip(self.traits, self.weights, strict=True) if weight > 0]
            if not parts or any(value is None for value, _ in parts):
                return None
            return sum(value * weight for value, weight in parts if value is not None)
        column = self.scores[:, place, self.traits.index(trait)]
        there = np.isfinite(column)
        return float(column[there].mean()) if there.any() else None

    def column(self, trait: str) -> Floats:
        """The weights, traits x 1, whose sum is that trait or the overall score."""
        import numpy as np

        if trait == OVERALL:
            return np.array(self.weights)[:, None]
        return np.array([float(name == trait) for name in self.traits])[:, None]

    def up_to(self, step: int) -> TrainingCurve:
        """The curve as it was when that checkpoint was the newest."""
        return self._keep([place for place, cell in enumerate(self.cells) if cell.step <= step])

    def of(self, places: Sequence[int]) -> TrainingCurve:
        """Those cells alone, on the pictures that all of them have."""
        import numpy as np

        kept = self._keep(places)
        rows = np.asarray(kept.made.all(axis=1))
        keys = tuple(key for key, there in zip(self.keys, rows, strict=True) if there)
        return replace(kept, keys=keys, scores=kept.scores[rows], made=kept.made[rows])

    def _keep(self, places: Sequence[int]) -> TrainingCurve:
        return replace(
            self,
            cells=tuple(self.cells[place] for place in places),
            scores=self.scores[:, places],
            made=self.made[:, places],
            shortfalls=tuple(self.shortfalls[place] for place in places),
            finished=tuple(self.finished[place] for place in places),
        )


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of the curve: the pictures of a cell, each trait and the overall score with the interval of that cell alone.

    `unjudged` says why nothing is claimed of it: then no value has an interval.
    """

    cell: CurveCell
    made: int
    wanted: int
    values: Mapping[str, Estimate]
    unjudged: str


def read_curve(
    shots: Sequence[Shot],
    cells: Sequence[CurveCell],
    policy: Mapping[str, Any],
    *,
    wanted: int,
    finished: Collection[str] = (),
    references_trained: bool = False,
    planned: int | None = None,
) -> TrainingCurve:
    """The curve of a sweep's pictures. `cells` without a picture stay in it, with nothing claimed; pictures of other cells are left out.

    `wanted`: pictures of each cell, prompts times seeds. `finished`: configurations that get no more pictures although some could not be
    made. `references_trained`: whether a reference is among the training pictures. `planned`: how many checkpoints there will be, where
    that is known.
    """
    import numpy as np

    ordered = tuple(sorted(cells, key=lambda cell: (cell.step, cell.strength, cell.config)))
    place_of = {cell.config: place for place, cell in enumerate(ordered)}
    ours = [shot for shot in shots if shot.config in place_of]
    gates = [gate for gate in gates_in_force(policy) if gate.weight(policy) > 0 or gate.key == SKIN]
    traits = (*(GATE_TRAITS.get(gate.key, gate.key) for gate in gates), VARIETY, COPYING)
    keys = tuple(dict.fromkeys((shot.prompt_id, shot.seed) for shot in ours))
    row_of = {key: row for row, key in enumerate(keys)}
    scores = np.full((len(keys), len(ordered), len(traits)), np.nan)
    made = np.zeros((len(keys), len(ordered)), dtype=np.bool_)
    for cell in ordered:
        pictures = [shot for shot in ours if shot.config == cell.config]
        place = place_of[cell.config]
        for shot, variety in zip(pictures, differences([shot.assessment for shot in pictures]), strict=True):
            row = row_of[shot.prompt_id, shot.seed]
            read = [effective(gate, gate.reading(shot.assessment), policy) for gate in gates]
            values = [*read, variety, gate_of(COPYING_GATE).reading(shot.assessment).score]
            scores[row, place] = [math.nan if value is None else value for value in values]
            made[row, place] = True
    scored = score_configs(ours, policy)
    shortfalls = tuple(
        why_not_ranked(scored[cell.config].means, policy) if cell.config in scored else "no picture so far" for cell in ordered
    )
    weights = claimed_weights([gate.weight(policy) for gate in gates], traits, references_trained)
    done = tuple(cell.config in finished for cell in ordered)
    least = math.ceil(wanted * policy["scorecard"]["minimum_coverage"])
    return TrainingCurve(ordered, keys, traits, scores, made, weights, shortfalls, done, wanted, least, references_trained, planned)


def claimed_weights(weights: Sequence[float], traits: Sequence[str], references_trained: bool) -> tuple[float, ...]:
    """The weights of `traits` (gates first), without identity where the references were trained on; what is left adds up to 1 again."""
    full = [*weights, *[0.0] * (len(traits) - len(weights))]
    if not references_trained:
        return tuple(full)
    left = [0.0 if trait == IDENTITY else weight for trait, weight in zip(traits, full, strict=True)]
    total = sum(left)
    return tuple(weight / total for weight in left) if total > 0 else tuple(left)


def measure_points(curve: TrainingCurve, confidence: float) -> tuple[CurvePoint, ...]:
    """Every point of the curve. Pictures of one prompt go together: Student's t over prompts, kept between 0 and 1.

    The interval is that of the cell alone; a cell's pictures are judged once, so later looks do not change it. What compares cells is
    corrected for looking often (`tools.sweep.checkpoint_choice`, `tools.sweep.checkpoint_advice`).
    """
    names = (*((OVERALL,) if curve.has_overall else ()), *curve.traits)
    points = []
    for place, cell in enumerate(curve.cells):
        unjudged = curve.why_unjudged(place)
        values = {name: found for name in names if (found := _level(curve, place, name, confidence)) is not None}
        if unjudged:
            values = {name: replace(value, low=None, high=None, probability=None, error=None) for name, value in values.items()}
        points.append(CurvePoint(cell, int(curve.made[:, place].sum()), curve.wanted, values, unjudged))
    return tuple(points)


def _level(curve: TrainingCurve, place: int, trait: str, confidence: float) -> Estimate | None:
    mean = curve.mean(place, trait)
    if mean is None:
        return None
    rows = curve.made[:, place]
    prompts, count = number_prompts([prompt for prompt, there in zip(curve.prompts, rows, strict=True) if there])
    sums = take_apart(curve.scores[rows, place], prompts, count, curve.column(trait)).as_sums()
    (found,) = estimate_means(sums, confidence=confidence, resamples=0)
    return estimate_level(replace(found, effect=mean), 0.0, 1.0, confidence)


def contrast(curve: TrainingCurve, first: Sequence[int], second: Sequence[int], trait: str, confidence: float) -> Estimate | None:
    """How much higher a trait is in the cells `second` than in `first`, prompt by prompt, on the pictures that all of them have.

    None where they share no picture with that score. Two-sided: a one-sided bound at `1 - e` is the end of an interval at `1 - 2 e`.
    """
    import numpy as np

    shared: NDArray[np.bool_] = np.all(curve.made[:, [*first, *second]], axis=1)
    kept = [prompt for prompt, there in zip(curve.prompts, shared, strict=True) if there]
    if not kept:
        return None
    numbers, count = number_prompts(kept)
    repeated = [np.tile(numbers, len(places)) for places in (first, second)]
    scores = [np.concatenate([curve.scores[shared, place] for place in places]) for places in (first, second)]
    sides = [take_apart(*each, count, curve.column(trait)) for each in zip(scores, repeated, strict=True)]
    if not all(np.isfinite(side.means).all() for side in sides):
        return None
    (found,) = estimate_means(change(*sides), confidence=confidence, resamples=0)
    return found if found.prompts >= FEWEST_PROMPTS else replace(found, low=None, high=None, probability=None, error=None)
