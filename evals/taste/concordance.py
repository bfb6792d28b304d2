"""How well gates and people agree: precision, recall, Cohen's kappa, the ROC curve, each with an interval by resampling prompts.

Precision is the share of the pictures that the gates approve that people approve too; recall the share of those that people approve that
the gates approve too. Kappa is how far two agree beyond chance (Cohen 1960, doi:10.1177/001316446002000104): 1 always, 0 as two who do
not look. Verdicts on pictures of one prompt are not independent, so prompts are drawn, with all their verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.comparison.inference import share_interval
from evals.taste.taste_model import draw_prompts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

CONFIDENCE = 0.95
RESAMPLES = 1000
FEWEST_PROMPTS = 5
"""Resamples of fewer repeat each other."""
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Estimated:
    """A number with its 95 % interval; None where the verdicts cannot tell."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        return {name: None if (each := getattr(self, name)) is None else round(each, DIGITS) for name in ("value", "low", "high")}


@dataclass(frozen=True, slots=True)
class Concordance:
    """How two agree on the same pictures: `both` approve, the first or the second alone, or `neither`."""

    both: int
    first_alone: int
    second_alone: int
    neither: int
    precision: Estimated
    """The share of what the first approves that the second approves too."""
    recall: Estimated
    kappa: Estimated

    @property
    def verdicts(self) -> int:
        return self.both + self.first_alone + self.second_alone + self.neither

    def to_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("both", "first_alone", "second_alone", "neither")}
        return {**counts, **{name: getattr(self, name).to_json() for name in ("precision", "recall", "kappa")}}


def compare(first: Flags, second: Flags, asked: Asked, *, seed: int = 0) -> Concordance:
    """How `first` (the gates, or a person) and `second` agree on the same pictures."""
    cells = np.stack([first & second, first & ~second, ~first & second, ~first & ~second], axis=1).astype(np.float64)
    tables = asked.sum_by_prompt(cells)
    drawn = draw_prompts(len(tables), RESAMPLES, seed) @ tables if len(tables) >= FEWEST_PROMPTS else None
    total = tables.sum(axis=0)[None]
    both, first_alone, second_alone, neither = (int(count) for count in cells.sum(axis=0))
    precision = _share(float(_precision(total)[0]), second[first], asked.prompts[first], None if drawn is None else _precision(drawn))
    recall = _share(float(_recall(total)[0]), first[second], asked.prompts[second], None if drawn is None else _recall(drawn))
    kappa = float(_kappa(total)[0])
    whole = Estimated(None if np.isnan(kappa) else kappa, *_middle(None if drawn is None else _kappa(drawn)))
    return Concordance(both, first_alone, second_alone, neither, precision, recall, whole)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The prompt of each verdict, as a number, and how many pictures the verdict stands for."""

    prompts: NDArray[np.intp]
    weights: Floats

    def part(self, chosen: Any) -> Asked:
        return Asked(self.prompts[chosen], self.weights[chosen])

    def sum_by_prompt(self, values: Floats) -> Floats:
        """Weighted sums of columns, one line for each prompt that there is."""
        known, places = np.unique(self.prompts, return_inverse=True)
        weighted = values * self.weights[:, None]
        return np.stack([np.bincount(places, column, len(known)) for column in weighted.T], axis=1)


def _precision(tables: Floats) -> Floats:
    return _ratio(tables[:, 0], tables[:, 0] + tables[:, 1])


def _recall(tables: Floats) -> Floats:
    return _ratio(tables[:, 0], tables[:, 0] + tables[:, 2])


def _kappa(tables: Floats) -> Floats:
    total = tables.sum(axis=1)
    agreed = _ratio(tables[:, 0] + tables[:, 3], total)
    first, second = _ratio(tables[:, 0] + tables[:, 1], total), _ratio(tables[:, 0] + tables[:, 2], total)
    chance = first * second + (1 - first) * (1 - second)
    return _ratio(agreed - chance, 1 - chance)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=np.abs(below) > 1e-12))


def _share(share: float, values: Flags, prompts: NDArray[np.intp], drawn: Floats | None) -> Estimated:
    """A share; where the resamples show no spread (all alike, few prompts) the interval is Wilson's."""
    if not len(values):
        return Estimated(None)
    low, high = _middle(drawn)
    if low is None:
        low, high = share_interval(values.astype(np.float64), prompts.tolist(), CONFIDENCE) or (None, None)
    return Estimated(share, low, high)


def _middle(drawn: Floats | None) -> tuple[float | None, float | None]:
    """The middle 95 % of what resamples say; none where many of them say nothing, or all the same."""
    if drawn is None or np.isnan(drawn).mean() > 1 - CONFIDENCE or np.nanmax(drawn) - np.nanmin(drawn) < 1e-12:
        return None, None
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def mean_of(values: Floats, asked: Asked, *, seed: int = 0) -> Estimated:
    """The mean of a number for each verdict, such as what a mistake costs."""
    if not len(values):
        return Estimated(None)
    sums = asked.sum_by_prompt(np.stack([values, np.ones(len(values))], axis=1))
    mean = float(sums[:, 0].sum() / sums[:, 1].sum())
    if len(sums) < FEWEST_PROMPTS:
        return Estimated(mean)
    drawn = draw_prompts(len(sums), RESAMPLES, seed) @ sums
    return Estimated(mean, *_middle(drawn[:, 0] / drawn[:, 1]))


@dataclass(frozen=True, slots=True)
class Curve:
    """The ROC curve of a score that is higher for better pictures. A point for each limit: (limit, share of the rejected pictures that
    pass it, share of the approved that do). `area` is the chance that an approved picture scores above a rejected one."""

    area: Estimated
    points: tuple[tuple[float, float, float], ...]
    approved: int
    rejected: int


def trace(scores: Floats, approved: Flags, asked: Asked, *, seed: int = 0) -> Curve:
    """The curve of these scores against people's verdicts."""
    good, bad = asked.weights * approved, asked.weights * ~approved
    counts = int(approved.sum()), int((~approved).sum())
    if not all(counts):
        return Curve(Estimated(None), (), *counts)
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    passed, slipped = np.cumsum(good[order])[ends] / good.sum(), np.cumsum(bad[order])[ends] / bad.sum()
    points = tuple(zip(scores[order][ends].tolist(), slipped.tolist(), passed.tolist(), strict=True))
    area = float(_areas(scores, approved, asked.weights[None])[0])
    known, places = np.unique(asked.prompts, return_inverse=True)
    if len(known) < FEWEST_PROMPTS:
        return Curve(Estimated(area), points, *counts)
    drawn = draw_prompts(len(known), RESAMPLES, seed)[:, places] * asked.weights
    return Curve(Estimated(area, *_middle(_areas(scores, approved, drawn))), points, *counts)


def _areas(scores: Floats, approved: Flags, weights: Floats) -> Floats:
    """The area under the curve for each weighting of the verdicts: ties count half."""
    order = np.argsort(scores, kind="stable")
    groups = np.unique(scores[order], return_inverse=True)[1]
    starts = np.flatnonzero(np.r_[True, np.diff(groups) > 0])
    good = np.add.reduceat(weights[:, order] * approved[order], starts, axis=1)
    bad = np.add.reduceat(weights[:, order] * ~approved[order], starts, axis=1)
    below = np.cumsum(bad, axis=1) - bad / 2
    return _ratio((good * below).sum(axis=1), good.sum(axis=1) * bad.sum(axis=1))
