"""How many pictures the guards stop in two versions: one of which more must not be published is no improvement, whatever its scores are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.comparison.runs import Run
from evals.judging.gates import Gate, gates_in_force


@dataclass(frozen=True, slots=True)
class Stopped:
    """Of the `measured` pictures of a version, those that a guard stops."""

    stopped: int
    measured: int

    @property
    def share(self) -> float:
        return self.stopped / self.measured if self.measured else 0.0

    def __str__(self) -> str:
        return f"{self.stopped} of {self.measured}" if self.measured else "not measured"


@dataclass(frozen=True, slots=True)
class GuardStops:
    """What one guard stops in the first and in the second version."""

    gate: Gate
    first: Stopped
    second: Stopped
    is_more: bool
    """Whether more of the second version's pictures are stopped, by more than the policy's `minimum_effect`."""

    @property
    def sentence(self) -> str:
        return f"more of its pictures are stopped by the guard {self.gate.title} ({self.second}, before {self.first})"


def count_stops(first: Sequence[Run], second: Sequence[Run], policy: Mapping[str, Any]) -> tuple[GuardStops, ...]:
    """Each guard that is in force and that either version was measured for, by the limits of the policy."""
    least = float(policy["comparison"]["minimum_effect"])
    found = []
    for gate in gates_in_force(policy):
        if gate.is_guard:
            one, two = (_count(runs, gate, policy) for runs in (first, second))
            if one.measured or two.measured:
                is_more = bool(one.measured and two.measured and two.share - one.share > least)
                found.append(GuardStops(gate, one, two, is_more))
    return tuple(found)


def _count(runs: Sequence[Run], gate: Gate, policy: Mapping[str, Any]) -> Stopped:
    limit = gate.limit(policy)
    assert limit is not None
    scores = [score for run in runs for picture in run.images if (score := picture.scores.get(gate.key)) is not None]
    return Stopped(sum(not gate.passes(score, limit) for score in scores), len(scores))
