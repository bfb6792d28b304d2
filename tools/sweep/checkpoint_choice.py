"""Which checkpoint, at which LoRA strength: the pair with the highest overall score, how sure that is, and what another would cost.

The comparisons are those of a sweep (`evals.comparison.selection`), each with the share of the allowed error that the newer of its two
checkpoints brought (`tools.sweep.error_spending`): a comparison that was made once stays the same at every later look, so the pair that
is truly best of all is, with the wanted confidence, left out at no look. How sure the choice is: how often it comes out best when the
prompts are drawn again (a bootstrap by prompt, whose spread is enlarged by G / (G - 1) for G prompts), after the means were drawn
together as far as their differences are noise (James and Stein 1961, empirical Bayes), without which the best of many equal ones would
look sure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evals.comparison.estimating import RESAMPLING_SEED
from evals.comparison.inference import Estimate
from evals.comparison.selection import FEWEST_PROMPTS, Trials, select
from evals.comparison.weighted_means import number_prompts
from lifeos.counting import counted, verb
from tools.sweep.checkpoint_curve import OVERALL, WITHHELD, CurveCell, TrainingCurve
from tools.sweep.error_spending import ErrorSpending

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NAMED = 4
SAME_SCORE = 1e-12
LEAST_SIGNAL = 0.5
"""Of a few noisy checkpoints the estimate may be 0 by chance: then 99 % were said where 56 % held (`benchmarks/checkpoint_choice.py`)."""


@dataclass(frozen=True, slots=True)
class BestShares:
    """How often, when the prompts are drawn again, a cell comes out best, its step does at any strength, and it is within
    `minimum_effect` of the best.
    """

    best: float
    step_best: float
    near: float


@dataclass(frozen=True, slots=True)
class CheckpointChoice:
    """The choice. `score` of `chosen` and what `runner_up` would cost in score, with an interval; all None where nothing can be chosen.

    `within_noise`: the cells that may be the best just as well, the chosen one first. `sentence` says it, `detail` what it rests on.
    """

    chosen: CurveCell | None
    score: float | None
    shares: BestShares | None
    runner_up: CurveCell | None
    cost: Estimate | None
    within_noise: tuple[CurveCell, ...]
    compared: int
    sentence: str
    detail: str = ""


def choose_checkpoint(curve: TrainingCurve, policy: Mapping[str, Any]) -> CheckpointChoice:
    """The best pair among the checkpoints that are judged, on the pictures that all of them have."""
    places = [place for step in curve.judged for place in curve.places(step)]
    if not places or not curve.has_overall:
        return CheckpointChoice(None, None, None, None, None, (), len(places), _why_none(curve))
    section = policy["comparison"]
    curve = curve.of(places)
    spending = ErrorSpending(1 - section["confidence"], curve.planned)

    def error_of(one: int, other: int) -> float:
        later = max(curve.cells[one].step, curve.cells[other].step)
        return spending.at(curve.steps.index(later) + 1) / len(curve.places(later))

    selection = select(_trials(curve), confidence=section["confidence"], minimum_effect=section["minimum_effect"], error_of=error_of)
    cells = {cell.config: cell for cell in curve.cells}
    best, second = selection.ranked[0], next(iter(selection.ranked[1:]), None)
    found = CheckpointChoice(
        chosen=cells[best.name],
        score=best.score,
        shares=share_best(curve, cells[best.name], section["minimum_effect"], section["resamples"]),
        runner_up=cells[second.name] if second is not None else None,
        cost=second.behind if second is not None else None,
        within_noise=(cells[best.name], *(cells[rival.name] for rival in selection.rivals)),
        compared=len(curve.cells),
        sentence="",
    )
    return replace(found, sentence=_sentence(found, curve, section), detail=_detail(found))


def _trials(curve: TrainingCurve) -> Trials:
    weighted = [index for index, weight in enumerate(curve.weights) if weight > 0]
    return Trials(
        names=[cell.config for cell in curve.cells],
        scores=curve.scores[:, :, weighted],
        made=curve.made,
        prompts=curve.prompts,
        weights=[curve.weights[index] for index in weighted],
        levels=[curve.mean(place, OVERALL) for place in range(len(curve.cells))],
        shortfalls=[""] * len(curve.cells),
    )


def share_best(curve: TrainingCurve, chosen: CurveCell, minimum_effect: float, resamples: int) -> BestShares | None:
    """How often the chosen cell comes out best; None for one cell, with fewer than three prompts, or where a resample has no score of a
    cell.
    """
    import numpy as np

    level, drawn = _resample(curve, resamples)
    if len(level) < 2 or drawn is None:
        return None
    deviation = drawn - level
    deviation -= deviation.mean(axis=1, keepdims=True)  # what all cells share decides nothing
    signal = _signal(level, deviation)
    scores = level.mean() + signal * (level - level.mean()) + math.sqrt(signal) * deviation
    index = curve.cells.index(chosen)
    steps = np.array([cell.step for cell in curve.cells])
    highest = scores.max(axis=1, keepdims=True)
    best = scores >= highest - SAME_SCORE
    best = best / best.sum(axis=1, keepdims=True)  # equals share the place
    near = scores[:, index] >= highest[:, 0] - minimum_effect
    return BestShares(float(best[:, index].mean()), float(best[:, steps == chosen.step].sum(axis=1).mean()), float(near.mean()))


def _resample(curve: TrainingCurve, resamples: int) -> tuple[Floats, Floats | None]:
    """The overall score of each cell, and of each resample of prompts (resamples x cells)."""
    import numpy as np

    weighted = [index for index, weight in enumerate(curve.weights) if weight > 0]
    weights = np.array([curve.weights[index] for index in weighted])
    prompts, groups = number_prompts(curve.prompts)
    scores = curve.scores[:, :, weighted]
    there = np.isfinite(scores)
    sums, counts = (np.zeros((groups, *scores.shape[1:])) for _ in range(2))
    np.add.at(sums, prompts, np.where(there, scores, 0.0))
    np.add.at(counts, prompts, there)
    with np.errstate(divide="ignore", invalid="ignore"):
        level: Floats = (sums.sum(axis=0) / counts.sum(axis=0)) @ weights
    if groups < FEWEST_PROMPTS:
        return level, None
    times = np.random.default_rng(RESAMPLING_SEED).multinomial(groups, np.full(groups, 1 / groups), resamples).astype(np.float64)
    total = times @ counts.reshape(groups, -1)
    if not (total > 0).all():
        return level, None
    drawn = ((times @ sums.reshape(groups, -1)) / total).reshape(resamples, *scores.shape[1:]) @ weights
    return level, level + (drawn - level) * math.sqrt(groups / (groups - 1))


def _signal(level: Floats, deviation: Floats) -> float:
    """The share of the differences between cells that is not noise: one less noise over total variance, at least LEAST_SIGNAL."""
    total = float(level.var(ddof=1))
    noise = float(deviation.var(axis=0).mean()) * len(level) / (len(level) - 1)
    return max(LEAST_SIGNAL, 1 - noise / total) if total > 0 else LEAST_SIGNAL


def _why_none(curve: TrainingCurve) -> str:
    if not curve.has_overall:
        return f"No checkpoint is named as the best. {WITHHELD if curve.references_trained else 'No gate has a weight.'}"
    why = next((f"{cell.title}: {why}" for place, cell in enumerate(curve.cells) if (why := curve.why_unjudged(place))), "")
    return f"No checkpoint can be chosen yet{f' ({why})' if why else ''}."


def _sentence(found: CheckpointChoice, curve: TrainingCurve, section: Mapping[str, Any]) -> str:
    chosen, confidence = found.chosen, section["confidence"]
    assert chosen is not None and found.score is not None
    lead = f"Use {chosen.checkpoint} at strength {chosen.strength:.2f}"
    if curve.references_trained:
        lead = f"By what is left without identity, take {chosen.checkpoint} at strength {chosen.strength:.2f}"
    if found.runner_up is None:
        return f"{lead}: it is the only one that was judged."
    others, rest = found.compared - 1, len(found.within_noise) - 1
    alike = f"{rest} of the {counted(others, 'other pair')} {verb(rest, 'is', 'are')} within the noise of it"
    if not rest:
        alike = f"none of the {counted(others, 'other pair')} may be as good ({_percent(confidence)} sure)"
    text = "; ".join([f"{lead}{_how_sure(found, section['minimum_effect'])}", _runner_up(found, confidence), alike])
    return f"{text}. {WITHHELD}" if curve.references_trained else f"{text}."


def _how_sure(found: CheckpointChoice, minimum_effect: float) -> str:
    if found.shares is None:
        return ": how sure that is cannot be said of so few prompts"
    return f": {_percent(found.shares.near)} sure that none of the {found.compared} pairs tried is better by more than {minimum_effect:g}"


def _detail(found: CheckpointChoice) -> str:
    """How often it comes out best, and which others may be as good."""
    parts = []
    if found.shares is not None and found.chosen is not None:
        again = f"{100 * found.shares.step_best:.0f} of 100 times, this pair {100 * found.shares.best:.0f} times"
        parts.append(f"With the prompts drawn again, step {found.chosen.step} comes out best {again}.")
    if rest := found.within_noise[1:]:
        more = f" and {len(rest) - NAMED} more" if len(rest) > NAMED else ""
        parts.append(f"Within the noise of the chosen one: {', '.join(cell.title for cell in rest[:NAMED])}{more}.")
    return " ".join(parts)


def _runner_up(found: CheckpointChoice, confidence: float) -> str:
    assert found.runner_up is not None
    text = f"the runner-up, {found.runner_up.checkpoint} at {found.runner_up.strength:.2f}"
    cost = found.cost
    if cost is None:
        return f"{text}, cannot be compared with it"
    if cost.effect == 0.0 and cost.low is None:
        return f"{text}, scores the same on every picture"
    if cost.low is None or cost.high is None:
        return f"{text}, scores {cost.effect:.3f} less, of which too little is known for an interval"
    return f"{text}, would cost {cost.effect:.3f} of the score (between {cost.low:+.3f} and {cost.high:+.3f}, {_percent(confidence)} sure)"


def _percent(share: float) -> str:
    return "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"
