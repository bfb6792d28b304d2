"""The runs of a history in rank order, read as a stream: only the best and the newest are kept."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from evals.comparison.inference import Estimate, estimate_means, sum_by_prompt
from evals.comparison.pairing import PassMark
from evals.comparison.runs import Run, read_run
from evals.comparison.verdicts import grade_for

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
    face: Estimate | None
    skin: Estimate | None
    grade: str
    images: int | None
    approved: float | None

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
    """All boards, the one with the newest run first. `unranked` runs have no score."""

    boards: list[Board]
    unranked: int
    damaged: int
    replaced: int


def rank_runs(rows: Iterable[dict[str, Any] | None], policy: dict[str, Any], places: int) -> Standings:
    """Rank the rows of a history, oldest first (None: a damaged line). The newest row of a run id counts."""
    boards: dict[str, Board] = {}
    result = Standings([], 0, 0, 0)
    for row in rows:
        if row is None:
            result.damaged += 1
            continue
        standing = stand(read_run(row), policy)
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
            board.best[:] = heapq.nlargest(SPARE * places, board.best, key=_height)
    for board in boards.values():
        board.best[:] = heapq.nlargest(places, board.best, key=_height)
    result.boards = list(reversed(boards.values()))
    return result


def _height(standing: Standing) -> float:
    return standing.overall.effect


def stand(run: Run, policy: dict[str, Any]) -> Standing | None:
    """A run's place in the ranking; None without an overall score."""
    import numpy as np

    mark = PassMark.of(policy)
    estimates: list[Estimate | None] = [None, None, None]
    approved = None
    if run.images:
        table = np.array([mark.measure(image) for image in run.images])
        prompts = [image.prompt_id or image.file for image in run.images]
        confidence = policy["comparison"]["confidence"]
        found = estimate_means(sum_by_prompt(table[:, :3], prompts), confidence=confidence, resamples=0)
        estimates = [estimate if estimate.pairs else None for estimate in found]
        approved = float(table[:, 3].mean())
    keys = ("face_similarity_mean", "skin_realism_mean", "overall_score")
    face, skin, overall = (estimate or _plain(run.scores[key]) for estimate, key in zip(estimates, keys, strict=True))
    if overall is None and face is not None and skin is not None:
        overall = _plain(mark.face_weight * face.effect + mark.skin_weight * skin.effect)
    if overall is None:
        return None
    grade = run.grade or grade_for(overall.effect, policy["scorecard"]["grade_boundaries"])
    images = run.images_evaluated if run.images_evaluated is not None else (len(run.images) or None)
    protocol = run.protocol_id or UNKNOWN_PROTOCOL
    return Standing(run.run_id, run.lora_version, run.timestamp, protocol, overall, face, skin, grade, images, approved)


def _plain(value: float | None) -> Estimate | None:
    return None if value is None else Estimate(value, None, None, None, None, 0, 0, 0, "none")
