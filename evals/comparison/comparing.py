"""Compare two versions: the head's plain numbers, and the evidence under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from evals.comparison import verdicts
from evals.comparison.estimating import OVERALL, Slice, estimate_changes, slice_pairs
from evals.comparison.guard_stops import GuardStops, count_stops
from evals.comparison.inference import Estimate, share_interval
from evals.comparison.pairing import TRUTHS, Columns, Pairs, pair_runs
from evals.comparison.protocol_check import check_protocols
from evals.comparison.run_scores import RunScores, score_version
from evals.comparison.runs import Run
from evals.comparison.verdicts import IMPROVED, INCONCLUSIVE, NO_VERDICT, REGRESSED, UNCHANGED, Settle
from evals.judging import gates
from evals.judging.gates import DIGITS, Gate
from evals.judging.run_kinds import DEMO
from lifeos.errors import InputError

OVERALL_TITLE = "Overall Score"
TRUTH_TITLES = {"approved": "Approved", "has_face": "Face found"}
SAME_NUMBER = 2e-4
"""Two ways to one number differ by no more than this: each mean is rounded to 4 decimals."""


@dataclass(frozen=True, slots=True)
class Side:
    """One version as the head shows it: `name` heads its column, `version` is the LoRA's."""

    name: str
    version: str
    runs: tuple[Run, ...]
    numbers: RunScores
    best_config: str | None
    shares: dict[str, float | None]
    """Of the pictures, how many are approved and have a face, 0 to 1."""
    spans: dict[str, tuple[float, float] | None]
    """The intervals of these shares."""

    @property
    def grade(self) -> str | None:
        return self.numbers.grade

    @property
    def images(self) -> int | None:
        return self.numbers.made

    @property
    def faceless(self) -> int | None:
        return self.numbers.faceless

    def score(self, key: str) -> float | None:
        """A number by its metric's key: a gate's, `overall`, `approved` or `has_face`."""
        if key in self.shares:
            return self.shares[key]
        return self.numbers.overall if key == OVERALL else self.numbers.value(key)


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of the two versions. `estimate` is None where no picture is known; `doubt` says why nothing can be concluded."""

    key: str
    title: str
    first: float | None
    second: float | None
    delta: float | None
    verdict: str
    estimate: Estimate | None = None
    settle: Settle | None = None
    doubt: str = ""
    gate: Gate | None = None
    """None for the overall score and the shares of pictures."""

    @property
    def is_score(self) -> bool:
        """A gate's mean or the overall score: what a version can be better or worse on."""
        return self.key not in TRUTHS

    @property
    def lower_is_better(self) -> bool:
        return self.gate is not None and self.gate.lower_is_better

    @property
    def gain(self) -> float | None:
        """How much better the second version is, by the pairs where there are any: below 0 where it is worse."""
        change = self.delta if self.estimate is None else self.estimate.effect
        return None if change is None else (-change if self.lower_is_better else change)


@dataclass(frozen=True, slots=True, eq=False)
class VersionComparison:
    """Everything that is known of two versions, ready to be rendered or judged further."""

    first: Side
    second: Side
    metrics: dict[str, MetricResult]
    grade_levels: int | None
    grade_verdict: str
    pairs: Pairs | None
    by_shot: tuple[Slice, ...]
    by_config: tuple[Slice, ...]
    claims_versions: bool
    notes: tuple[str, ...]
    policy: dict[str, Any]
    guards: tuple[GuardStops, ...] = ()
    """What each guard in force stops in either version."""

    @property
    def more_stopped(self) -> tuple[GuardStops, ...]:
        """The guards that stop more of the second version's pictures than of the first's."""
        return tuple(each for each in self.guards if each.is_more)

    @property
    def is_demo(self) -> bool:
        """Whether pictures of the demo server are compared, which say nothing about a LoRA."""
        return any(run.kind == DEMO for side in (self.first, self.second) for run in side.runs)

    @property
    def has_evidence(self) -> bool:
        return any(result.estimate is not None for result in self.metrics.values())

    @property
    def verdict(self) -> str:
        return self.metrics[OVERALL].verdict

    @property
    def scores(self) -> list[MetricResult]:
        """The gates' means and the overall score, in the order of the table of gates."""
        return [result for result in self.metrics.values() if result.is_score]

    def of_gates(self, verdict: str) -> list[MetricResult]:
        """The gates' means with this verdict."""
        return [result for result in self.scores if result.gate is not None and result.verdict == verdict]


def compare(
    first: Sequence[Run], second: Sequence[Run], policy: dict[str, Any], *, allow_protocol_mismatch: bool = False
) -> VersionComparison:
    """Compare one or several runs of each version under `policy` (its `comparison` section and what scores need).

    Raises InputError for the same run on both sides, ProtocolMismatch for runs that were measured differently.
    """
    both = {run.run_id for run in first} & {run.run_id for run in second}
    if both:
        raise InputError("--v1 and --v2", f"{', '.join(sorted(both))} is given for both", "name two different runs; --list shows them")
    notes = check_protocols([*first, *second], allow=allow_protocol_mismatch)
    sides = [_side(runs, policy) for runs in (first, second)]
    notes += [note for side in sides for note in side.numbers.notes] + _age_note(sides)
    pairs = pair_runs(first, second, Columns.of(policy)) if all(run.images for run in (*first, *second)) else None
    estimates, doubt = estimate_changes(pairs, first, second, policy) if pairs else ({}, "")
    metrics = {
        key: _metric(key, title, gate, sides, estimates.get(key), doubt, policy) for key, title, gate in _metrics(sides, policy, pairs)
    }
    levels = _levels(sides, policy, notes)
    for run in (*first, *second):
        notes += [f"{run.run_id}: {problem}" for problem in run.problems]
    if pairs and pairs.matched_by == "file name":
        notes.append("The pictures carry no prompt and seed; they were paired by file name, each counted as a prompt of its own.")
    return VersionComparison(
        first=sides[0],
        second=sides[1],
        metrics=metrics,
        grade_levels=levels,
        grade_verdict=_grade_verdict(levels, metrics[OVERALL]),
        pairs=pairs,
        by_shot=slice_pairs(pairs, "shot", policy),
        by_config=slice_pairs(pairs, "config", policy),
        claims_versions=len(first) > 1 or len(second) > 1,
        notes=tuple(dict.fromkeys(notes)),
        policy=policy,
        guards=count_stops(first, second, policy),
    )


def _metrics(sides: Sequence[Side], policy: dict[str, Any], pairs: Pairs | None) -> list[tuple[str, str, Gate | None]]:
    """Key, title and gate of what is compared. A gate without a weight is left out where neither version knows of it."""
    measured = {key for side in sides for key in side.numbers.means.by_gate}
    known = [gate for gate in gates.headline_gates(policy) if gate.weight_key or gate.key in measured]
    shares = [(key, title, None) for key, title in TRUTH_TITLES.items()] if pairs else []
    return [*((gate.key, gate.heading, gate) for gate in known), (OVERALL, OVERALL_TITLE, None), *shares]


def _side(runs: Sequence[Run], policy: dict[str, Any]) -> Side:
    import numpy as np

    pictures = [picture for run in runs for picture in run.images]
    prompts = [picture.prompt_id or f"{run.run_id}/{picture.file}" for run in runs for picture in run.images]
    truths = {
        "approved": np.array([picture.is_approved(policy) for picture in pictures], dtype=np.float64),
        "has_face": np.array([picture.has_face for picture in pictures], dtype=np.float64),
    }
    confidence = policy["comparison"]["confidence"]
    names = list(dict.fromkeys(run.run_id for run in runs))
    versions = list(dict.fromkeys(run.version for run in runs))
    return Side(
        name=names[0] if len(names) == 1 else (versions[0] if len(versions) == 1 else " + ".join(names)),
        version=versions[0] if len(versions) == 1 else " + ".join(versions),
        runs=tuple(runs),
        numbers=score_version(runs, policy),
        best_config=next((run.best_config for run in sorted(runs, key=lambda run: -(run.overall or 0.0)) if run.best_config), None),
        shares={key: float(values.mean()) if pictures else None for key, values in truths.items()},
        spans={key: share_interval(values, prompts, confidence) if pictures else None for key, values in truths.items()},
    )


def _age_note(sides: Sequence[Side]) -> list[str]:
    """Where the second version is the older one: then the table tells what going back would change."""
    dates = [max((run.timestamp for run in side.runs if run.timestamp), default="") for side in sides]
    if not all(dates) or dates[1] >= dates[0]:
        return []
    first, second = (side.name for side in sides)
    return [f"{second} is older than {first}: the table shows what would change if you went back to {second}."]


def _levels(sides: Sequence[Side], policy: dict[str, Any], notes: list[str]) -> int | None:
    known = gates.grades_best_first(policy)
    others = f"is not one of the policy's ({', '.join(known)}): grades are not compared"
    notes += [f"{side.name}: the grade {side.grade} {others}" for side in sides if side.grade is not None and side.grade not in known]
    first, second = sides[0].grade, sides[1].grade
    return known.index(first) - known.index(second) if first in known and second in known else None


def _grade_verdict(levels: int | None, overall: MetricResult) -> str:
    """A grade that moved counts only as far as the score under it did."""
    if levels is None:
        return NO_VERDICT
    if levels == 0:
        return UNCHANGED
    direction = IMPROVED if levels > 0 else REGRESSED
    return direction if overall.verdict in (direction, NO_VERDICT) else INCONCLUSIVE


def _metric(
    key: str, title: str, gate: Gate | None, sides: Sequence[Side], estimate: Estimate | None, doubt: str, policy: dict[str, Any]
) -> MetricResult:
    first, second = sides[0].score(key), sides[1].score(key)
    delta = None if first is None or second is None else round(second - first, DIGITS + 2)
    result = MetricResult(key, title, first, second, delta, NO_VERDICT, doubt=doubt, gate=gate)
    if delta is None:
        return result
    section = policy["comparison"]
    limit = section["minimum_effect"] * (1.0 if gate is None else gate.span[1] - gate.span[0])
    if doubt:
        return replace(result, verdict=INCONCLUSIVE)
    if estimate is None:
        return replace(result, verdict=verdicts.judge_delta(-delta if result.lower_is_better else delta, limit))
    estimate = _settle_on(estimate, delta)
    verdict = verdicts.judge_estimate(verdicts.mirrored(estimate) if result.lower_is_better else estimate, limit)
    if conflict := _conflict(delta, estimate, verdict, limit):
        return replace(result, verdict=INCONCLUSIVE, estimate=estimate, doubt=conflict)
    settled = verdicts.settle(estimate, limit, section["confidence"]) if verdict == INCONCLUSIVE else None
    return replace(result, verdict=verdict, estimate=estimate, settle=settled, doubt=_why_unknown(estimate))


def _settle_on(estimate: Estimate, delta: float) -> Estimate:
    """The estimate around the very number that the table shows, where the two differ by their rounding alone."""
    shift = delta - estimate.effect
    if not abs(shift) < SAME_NUMBER:
        return estimate
    low, high = (None if end is None else end + shift for end in (estimate.low, estimate.high))
    return replace(estimate, effect=delta, low=low, high=high)


def _conflict(delta: float, estimate: Estimate, verdict: str, limit: float) -> str:
    """The sentence for a difference over all pictures and one over the pairs that do not say the same; empty where they do."""
    effect = estimate.effect
    opposite = round(delta, DIGITS) * round(effect, DIGITS) < 0 and max(abs(delta), abs(effect)) > limit
    hidden = verdict == UNCHANGED and round(abs(delta), DIGITS) > limit
    if effect != effect or not (opposite or hidden):
        return ""
    return (
        f"over all pictures the difference is {delta:+.2f}, over the pictures that have a partner it is {effect:+.2f}: "
        "make both versions' pictures with the same prompts and seeds"
    )


def _why_unknown(estimate: Estimate) -> str:
    if estimate.low is not None:
        return ""
    if estimate.pairs == 0:
        return "no picture has a score in both versions"
    if estimate.pairs == 1:
        return "one pair of pictures cannot show how much pictures differ by chance"
    if estimate.prompts == 1:
        return "all pictures are of one prompt: at least two prompts are needed to see how much prompts differ"
    same = f"all prompts changed by the same amount ({estimate.effect:+.2f})"
    return f"{same}, so no interval can be computed. Did you score the same files twice?"
