"""The tables of a comparison's page: each difference with its interval, as numbers and as a bar to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evals.comparison.comparing import MetricResult, VersionComparison
from evals.comparison.estimating import Slice
from evals.comparison.inference import Estimate
from evals.comparison.rendering import chance_text, interval_text, signed
from evals.judging.gates import Gate, gate_of

ROOM = 1.08
"""So much wider than the longest interval is the place where it is drawn."""
LEAST_SHOWN = 2.5
"""So many times the smallest difference that matters is seen at least: a small interval must not look like a large one."""


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval in percent of the width it is drawn in: right of the middle the second version is better."""

    low: float | None
    high: float | None
    """None where the interval is not known."""
    effect: float
    band: float
    """Half the width of what does not matter."""
    says: str


class Scale:
    """Where differences lie on the bars of a table, the same for all its rows. `least`: the smallest difference that matters."""

    def __init__(self, estimates: Sequence[tuple[Estimate | None, float]], least: float) -> None:
        """`estimates`, each with how far its score can reach."""
        known = [(end, span) for each, span in estimates if each is not None for end in (each.low, each.high, each.effect)]
        self.bound = ROOM * max([LEAST_SHOWN * least, *(abs(end) / span for end, span in known if end is not None and end == end)])
        self.least = least

    def bar(self, estimate: Estimate | None, span: float, *, lower_is_better: bool) -> Bar | None:
        """None where nothing is known."""
        if estimate is None or estimate.effect != estimate.effect:
            return None
        sign = -1 if lower_is_better else 1
        ends = sorted(self._at(sign * end / span) for end in (estimate.low, estimate.high) if end is not None)
        low, high = ends if len(ends) == 2 else (None, None)
        return Bar(low, high, self._at(sign * estimate.effect / span), round(50 * self.least / self.bound, 2), interval_text(estimate))

    def _at(self, value: float) -> float:
        return round(50 + 50 * value / self.bound, 2)


def result_rows(comparison: VersionComparison) -> list[dict[str, Any]]:
    """The table of verdicts: the overall score, the gates' means, the shares of the pictures."""
    results = sorted(comparison.metrics.values(), key=lambda result: (not result.is_score, result.gate is not None))
    scale = Scale([(result.estimate, _span(result.gate)) for result in results], comparison.policy["comparison"]["minimum_effect"])
    return [_result_row(result, scale) for result in results]


def _result_row(result: MetricResult, scale: Scale) -> dict[str, Any]:
    return {
        "key": result.gate.key if result.gate else result.key,
        "title": result.title,
        "lower": result.lower_is_better,
        "first": result.first,
        "second": result.second,
        "delta": None if result.delta is None else signed(result.delta),
        "pairs": result.estimate.pairs if result.estimate else 0,
        "interval": interval_text(result.estimate),
        "chance": chance_text(result),
        "verdict": result.verdict,
        "why": str(result.settle) if result.settle else result.doubt,
        "bar": scale.bar(result.estimate, _span(result.gate), lower_is_better=result.lower_is_better),
    }


def slice_table(title: str, column: str, slices: Sequence[Slice], comparison: VersionComparison) -> dict[str, Any]:
    """The differences of each shot type or configuration, a column for each gate."""
    gates = [gate_of(key) for key in slices[0].estimates]
    estimates = [(part.estimates[gate.key], _span(gate)) for part in slices for gate in gates]
    scale = Scale(estimates, comparison.policy["comparison"]["minimum_effect"])
    cells = [[_cell(part.estimates[gate.key], gate, scale) for gate in gates] for part in slices]
    rows = [{"name": part.name, "pairs": part.pairs, "cells": of_part} for part, of_part in zip(slices, cells, strict=True)]
    return {"title": title, "column": column, "gates": gates, "rows": rows}


def _cell(estimate: Estimate, gate: Gate, scale: Scale) -> dict[str, Any]:
    effect = "–" if estimate.effect != estimate.effect else signed(estimate.effect)
    bar = scale.bar(estimate, _span(gate), lower_is_better=gate.lower_is_better)
    return {"effect": effect, "interval": interval_text(estimate), "bar": bar}


def _span(gate: Gate | None) -> float:
    """How far a score can reach; that of an overall score or a share is 1."""
    return 1.0 if gate is None else gate.span[1] - gate.span[0]
