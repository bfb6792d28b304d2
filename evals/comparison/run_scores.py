"""What a run scored: as its row says, else worked out from its pictures by the rules of `evals.judging.gates`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.comparison.runs import Run
from evals.judging import gates
from evals.judging.gates import Mean, Means


@dataclass(frozen=True, slots=True)
class RunScores:
    """The numbers of one run, or of several of one version together. `notes` says where they do not come from the row."""

    means: Means
    """A gate is missing where nothing is known of it."""
    grade: str | None
    made: int | None
    """How many pictures there are; None where neither the row nor its pictures tell."""
    approved: int | None
    """How many of the pictures in the row pass every gate; None without pictures."""
    faceless: int | None
    shortfall: str
    """Why it can neither be ranked first nor promoted, in words; empty where it can."""
    notes: tuple[str, ...] = ()

    def value(self, key: str) -> float | None:
        return self.means.value(key)

    @property
    def overall(self) -> float | None:
        return self.means.overall


def score_run(run: Run, policy: Mapping[str, Any]) -> RunScores:
    """The numbers of a run. What its row holds is never worked out anew: it stays what the scorecard said."""
    notes: list[str] = []
    made = run.images_evaluated if run.images_evaluated is not None else (len(run.images) or None)
    found = gates.means_of_readings([picture.readings() for picture in run.images], policy)
    faceless = _count_faceless(run)
    by_gate: dict[str, Mean] = {}
    for gate in gates.gates_in_force(policy):
        stored, worked_out = run.means.get(gate.key), found.by_gate[gate.key]
        if stored is None and worked_out.value is not None and gate.weight_key:
            notes.append(f"{run.run_id}: {gate.mean_name} is missing in the row; it was worked out from its pictures")
        value = worked_out.value if stored is None else stored
        if value is None and not any(gate.key in picture.scores for picture in run.images):
            if gate.weight(policy) > 0:
                notes.append(f"{run.run_id}: {gate.mean_name} is missing: it is not compared")
            continue
        by_gate[gate.key] = Mean(value, *_count_scored(run, gate, worked_out, made, faceless))
    overall = run.overall if run.overall is not None else gates.overall({key: mean.value for key, mean in by_gate.items()}, policy)
    weighted = [by_gate[gate.key].coverage for gate in gates.gates_in_force(policy) if gate.weight(policy) > 0 and gate.key in by_gate]
    means = Means(by_gate, overall, made or 0, min(weighted, default=1.0))
    grade = _grade(run, overall, policy, notes)
    approved = sum(picture.is_approved(policy) for picture in run.images) if run.images else None
    return RunScores(means, grade, made, approved, faceless, _shortfall(means, made, policy) or run.why_no_evidence, tuple(notes))


def score_version(runs: Sequence[Run], policy: Mapping[str, Any]) -> RunScores:
    """The numbers of several training runs of one version: each number the mean of the runs'."""
    scored = [score_run(run, policy) for run in runs]
    if len(scored) == 1:
        return scored[0]
    keys = dict.fromkeys(key for one in scored for key in one.means.by_gate)
    by_gate = {key: _join([one.means.by_gate[key] for one in scored if key in one.means.by_gate]) for key in keys}
    overall = _mean([one.overall for one in scored])
    means = Means(by_gate, overall, sum(one.made or 0 for one in scored), min(one.means.coverage for one in scored))
    return RunScores(
        means,
        gates.grade(overall, policy),
        _total([one.made for one in scored]),
        _total([one.approved for one in scored]),
        _total([one.faceless for one in scored]),
        next((one.shortfall for one in scored if one.shortfall), ""),
        tuple(note for one in scored for note in one.notes),
    )


def _join(means: Sequence[Mean]) -> Mean:
    return Mean(_mean([mean.value for mean in means]), sum(mean.scored for mean in means), sum(mean.made for mean in means))


def _mean(values: Sequence[float | None]) -> float | None:
    return gates.mean_of_scores(values).value


def _total(counts: Sequence[int | None]) -> int | None:
    there = [count for count in counts if count is not None]
    return sum(there) if there else None


def _count_scored(run: Run, gate: gates.Gate, worked_out: Mean, made: int | None, faceless: int | None) -> tuple[int, int]:
    """How many of how many pictures have the score, as far as the row tells."""
    if any(gate.key in picture.scores for picture in run.images):
        return worked_out.scored, worked_out.made
    total = made or 0
    if gate.key in run.coverage:
        return round(run.coverage[gate.key] * total), total
    return max(0, total - (faceless or 0)), total


def _count_faceless(run: Run) -> int | None:
    if run.images_without_face is not None:
        return run.images_without_face
    return sum(not picture.has_face and picture.is_readable for picture in run.images) if run.images else None


def _grade(run: Run, overall: float | None, policy: Mapping[str, Any], notes: list[str]) -> str | None:
    if run.grade:
        return run.grade
    if overall is None:
        notes.append(f"{run.run_id}: overall_grade is missing, and so are the scores it could be worked out from")
        return None
    notes.append(f"{run.run_id}: overall_grade is missing in the row; it was worked out from the scores")
    return gates.grade(overall, policy)


def _shortfall(means: Means, made: int | None, policy: Mapping[str, Any]) -> str:
    """A row by hand that does not say how many pictures there were is taken at its word."""
    return "" if made is None and means.overall is not None else gates.why_not_ranked(means, policy)
