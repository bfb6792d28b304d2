"""The runs of a history in rank order, read as a stream: only the best and the newest are kept."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from evals.comparison.comparing import SAME_NUMBER
from evals.comparison.document import pose_document
from evals.comparison.estimating import OVERALL
from evals.comparison.inference import Estimate, estimate_level, estimate_means
from evals.comparison.pairing import TRUTHS, Columns
from evals.comparison.run_scores import RunScores, score_run
from evals.comparison.runs import Run, read_run
from evals.comparison.weighted_means import number_prompts, take_apart
from evals.judging.gates import headline_gates, place_key

SPARE = 4
"""So many times the wanted places are kept, for runs whose row is replaced by a newer one."""
TREND_RUNS = 400
UNKNOWN_PROTOCOL = "not recorded"


@dataclass(frozen=True, slots=True)
class Standing:
    """One run in the ranking, with intervals where its pictures are known."""

    run_id: str
    version: str
    timestamp: str
    protocol: str
    overall: Estimate
    gates: Mapping[str, Estimate]
    """The means by gate key."""
    numbers: RunScores
    pictures: int
    """How many its row holds."""
    pose: dict[str, Any]
    """How varied they are: figures, `verdict` (null: not recorded) and `line`."""
    decided: str = ""
    """What people decided about its pictures, in a sentence."""

    @property
    def when(self) -> datetime | None:
        try:
            when = datetime.fromisoformat(self.timestamp)
        except ValueError:
            return None
        return when if when.tzinfo else when.replace(tzinfo=UTC)


@dataclass(slots=True)
class Board:
    """The standings of one protocol. Scores of different protocols are never ranked against each other."""

    protocol: str
    best: list[Standing] = field(default_factory=list)
    newest: deque[Standing] = field(default_factory=lambda: deque(maxlen=TREND_RUNS))
    runs: int = 0


@dataclass(slots=True)
class Standings:
    """All boards, the one with the newest run first. `unranked` runs have no score, `set_aside` ones say nothing about a LoRA."""

    boards: list[Board]
    unranked: int
    damaged: int
    replaced: int
    set_aside: int = 0


def rank_runs(rows: Iterable[dict[str, Any] | None], policy: dict[str, Any], places: int) -> Standings:
    """Rank the rows of a history, oldest first (None: a damaged line). The newest row of a run id counts."""
    boards: dict[str, Board] = {}
    result = Standings([], 0, 0, 0)
    for row in rows:
        if row is None:
            result.damaged += 1
            continue
        run = read_run(row)
        if run.why_no_evidence:
            result.set_aside += 1
            continue
        standing = stand(run, policy)
        if standing is None:
            result.unranked += 1
            continue
        for board in boards.values():
            kept = [other for other in board.best if other.run_id != standing.run_id]
            if len(kept) < len(board.best):
                result.replaced += 1
                board.best[:] = kept
                board.runs -= 1
                board.newest = deque((other for other in board.newest if other.run_id != standing.run_id), TREND_RUNS)
        board = boards.pop(standing.protocol, Board(standing.protocol))
        boards[standing.protocol] = board  # the board of the newest run comes last
        board.runs += 1
        board.newest.append(standing)
        board.best.append(standing)
        if len(board.best) > 2 * SPARE * places:
            board.best[:] = heapq.nsmallest(SPARE * places, board.best, key=_place)
    for board in boards.values():
        board.best[:] = heapq.nsmallest(places, board.best, key=_place)
    result.boards = list(reversed(boards.values()))
    return result


def _place(standing: Standing) -> tuple[bool, bool, float, str]:
    return place_key(standing.numbers.overall, standing.numbers.shortfall, standing.run_id)


def stand(run: Run, policy: Mapping[str, Any]) -> Standing | None:
    """A run's place in the ranking; None without an overall score."""
    numbers = score_run(run, policy)
    if numbers.overall is None:
        return None
    intervals = _estimate_levels(run, policy)
    gates = {
        gate.key: _around(mean.value, intervals.get(gate.key))
        for gate in headline_gates(policy)
        if (mean := numbers.means.by_gate.get(gate.key)) is not None and mean.value is not None
    }
    overall = _around(numbers.overall, intervals.get(OVERALL))
    return Standing(
        run.run_id,
        run.lora_version,
        run.timestamp,
        run.protocol_id or UNKNOWN_PROTOCOL,
        overall,
        gates,
        numbers,
        len(run.images),
        pose_document(run, policy),
        run.decided_line,
    )


def _estimate_levels(run: Run, policy: Mapping[str, Any]) -> dict[str, Estimate]:
    """The interval of each mean and of the overall score, from the pictures."""
    import numpy as np

    if not run.images:
        return {}
    columns, confidence = Columns.of(policy), policy["comparison"]["confidence"]
    table = np.array([columns.row(picture) for picture in run.images])
    prompts, count = number_prompts([picture.prompt_id or picture.file for picture in run.images])
    estimates = estimate_means(take_apart(table, prompts, count, columns.weights()).as_sums(), confidence=confidence, resamples=0)
    spans = [*(gate.span for gate in columns.gates), *[(0.0, 1.0)] * (len(TRUTHS) + 1)]
    named = zip((*columns.names, OVERALL), estimates, spans, strict=True)
    return {name: estimate_level(estimate, *span, confidence) for name, estimate, span in named}


def _around(value: float, found: Estimate | None) -> Estimate:
    """The interval of a number that the row holds; none where the row's pictures give another number under today's policy."""
    if found is None or not abs(found.effect - value) < SAME_NUMBER:
        return Estimate(value, None, None, None, None, 0, 0, 0, "none")
    return replace(found, effect=value)
