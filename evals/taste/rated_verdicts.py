"""The verdicts that say how often: on pictures that were drawn, weighted back to the batch, or on every picture of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.judging.gates import Gate
from evals.taste.concordance import Asked, Curve, trace
from evals.taste.opinions import Opinion
from evals.taste.verdict_table import approves, number_of, sign_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """The verdicts that say how often, and what they stand for."""

    opinions: Sequence[Opinion]
    approved: Flags
    asked: Asked

    @classmethod
    def of(cls, opinions: Sequence[Opinion]) -> Rated:
        weights = np.array([1.0 if each.weight is None else each.weight for each in opinions], dtype=np.float64)
        prompts = number_of([each.picture.prompt for each in opinions])
        return cls(opinions, np.array([each.approved for each in opinions], dtype=bool), Asked(prompts, weights))

    def judge(self, policy: Mapping[str, Any]) -> Flags:
        return np.array([approves(each.picture, policy) for each in self.opinions], dtype=bool)

    def scores(self, gate: Gate) -> Floats:
        """What a gate reads from each picture, higher is better; NaN where there is no score."""
        read = [gate.reading(each.picture.assessment).score for each in self.opinions]
        return np.array([np.nan if score is None else sign_of(gate) * score for score in read], dtype=np.float64)

    def passes(self, gate: Gate, limit: float) -> Flags:
        """Whether the gate alone would approve each picture."""
        read = [gate.reading(each.picture.assessment).score for each in self.opinions]
        return np.array([score is not None and gate.passes(score, limit) for score in read], dtype=bool)


def curve_of(gate: Gate, rated: Rated, others_pass: Flags, seed: int) -> Curve:
    """A gate's curve over the pictures that every other gate passes: what people reject there is not for the others' reasons."""
    scores = rated.scores(gate)
    chosen = others_pass & ~np.isnan(scores)
    return trace(scores[chosen], rated.approved[chosen], rated.asked.part(chosen), seed=seed)


def whole_curve(rated: Rated, gates: Sequence[Gate], policy: Mapping[str, Any], seed: int) -> Curve:
    """The curve of all gates together, as all limits are moved by the same amount: of how far the worst score is above its limit."""
    margins = np.array([rated.scores(gate) - sign_of(gate) * (gate.limit(policy) or 0.0) for gate in gates]).reshape(len(gates), -1)
    worst = np.min(np.where(np.isnan(margins), np.inf, margins), axis=0, initial=np.inf)
    chosen = np.isfinite(worst)
    return trace(worst[chosen], rated.approved[chosen], rated.asked.part(chosen), seed=seed)


def count_alone(opinions: Sequence[Opinion], without: Mapping[str, Any], policy: Mapping[str, Any]) -> tuple[int, int]:
    """How many judged pictures are rejected by `policy` and not `without` a gate, and how many of these verdicts approve."""
    found = [each for each in opinions if approves(each.picture, without) and not approves(each.picture, policy)]
    return len(found), sum(each.approved for each in found)
