"""The table of gates, and the numbers that stand on it: one mean, one overall score, one grade.

A gate reads a score from an assessment and holds it against a limit of the policy. Everything that judges, averages, ranks or
reports iterates over `gates_in_force(policy)`; nothing else names a gate as a rule of its own. To add a gate: a measure (a function
from a `View` to a `Reading`), a row in `GATES`, and its limit in the policy. A gate whose limit the policy does not hold is off.
The verdict on one picture is in `picture_verdict`.

The rule for what is missing, everywhere:

- A score that could not be measured is null, never 0, and its picture is rejected.
- A mean is taken over the pictures that have the score; how many that are of how many (the coverage) stands beside it. With
  `no_face_counts_as_zero` a picture without a face counts as 0 in the mean of face similarity.
- The overall score is the weighted mean of the gates' means over the run. A gate of weight 0 is left out. Where a gate with a weight
  has no mean, there is no overall score, no grade and no rank.
- Promotion and a rank also need `scorecard.minimum_coverage` and `scorecard.minimum_pictures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evals.guards import age, lookalike, memorised, second_face, technical
from evals.judging.gate import DIGITS, Gate, guard_row, look_up, measured
from evals.judging.records import Assessment, Reading
from lifeos.counting import counted, verb
from lifeos.errors import InputError, did_you_mean

__all__ = ["DIGITS", "GATES", "Gate", "look_up", "measured"]

GATES: tuple[Gate, ...] = (
    Gate(
        key="face",
        title="face similarity",
        heading="Face Similarity",
        subject="face",
        limit_key="face_similarity.pass_threshold",
        flag="--face-threshold",
        read=lambda item, others: Reading(item.face.score, item.face.reason),
        mean_name="face_similarity_mean",
        pass_name="face_similarity_pass",
        picture_name="face",
        document_name="face_similarity",
        weight_key="face_similarity",
        zero_key="face_similarity.no_face_counts_as_zero",
        zero_reasons=frozenset({"no_face"}),
    ),
    Gate(
        key="skin",
        title="skin realism",
        heading="Skin Realism",
        subject="skin",
        limit_key="skin_realism.overall_pass_threshold",
        flag="--skin-threshold",
        read=lambda item, others: Reading(item.skin.score, item.skin.reason),
        mean_name="skin_realism_mean",
        pass_name="skin_realism_pass",
        picture_name="skin",
        document_name="skin_realism",
        weight_key="skin_realism",
    ),
    Gate(
        key="texture",
        title="skin texture",
        heading="Skin Texture",
        subject="skin",
        limit_key="skin_realism.texture_pass_threshold",
        flag="--skin-texture-threshold",
        read=lambda item, others: Reading(item.skin.texture, item.skin.reason),
        mean_name="skin_texture_mean",
        pass_name="skin_texture_pass",
        picture_name="texture",
        document_name="texture_score",
    ),
    Gate(
        key="color",
        title="skin colour",
        heading="Skin Colour",
        subject="skin",
        limit_key="skin_realism.color_naturalness_pass_threshold",
        flag="--skin-color-threshold",
        read=lambda item, others: Reading(item.skin.color, item.skin.reason),
        mean_name="skin_color_mean",
        pass_name="skin_color_pass",
        picture_name="color",
        document_name="color_naturalness_score",
    ),
    guard_row("second_face", "second face", second_face.measure, second_face.METRIC, lower_is_better=True),
    guard_row(
        "lookalike",
        "likeness to a listed person",
        lookalike.measure,
        lookalike.METRIC,
        lower_is_better=True,
        prepare=lookalike.prepare,
        folder=lookalike.FOLDER,
    ),
    guard_row("age", "apparent age", age.measure, age.METRIC, prepare=age.prepare, span=(0.0, age.OLDEST)),
    guard_row("technical", "technical soundness", technical.measure, technical.METRIC),
    guard_row(
        "memorised",
        "likeness to a training picture",
        memorised.measure,
        memorised.METRIC,
        lower_is_better=True,
        prepare=memorised.prepare,
        folder=memorised.FOLDER,
    ),
)


def gates_in_force(policy: Mapping[str, Any]) -> tuple[Gate, ...]:
    """The gates whose limit the policy holds, in the order of the table."""
    return tuple(gate for gate in GATES if gate.limit(policy) is not None)


def check_known(policy: Mapping[str, Any]) -> None:
    """Raises InputError for a limit under `gates` of which there is no gate: it would be off without a word."""
    known = [gate.limit_key.split(".")[1] for gate in GATES if gate.limit_key.startswith("gates.")]
    for key in policy.get("gates", {}):
        if key not in known:
            raise InputError(f"gates.{key}", "there is no such gate", did_you_mean(key, known) if known else "remove it from the policy")


def limits_of(policy: Mapping[str, Any]) -> dict[str, float]:
    """Each gate in force with its limit."""
    return {gate.key: limit for gate in GATES if (limit := gate.limit(policy)) is not None}


def headline_gates(policy: Mapping[str, Any]) -> tuple[Gate, ...]:
    """The gates that narrow tables and comparisons show: those with a weight, and one for each subject that has none of these.

    Guards are not among them: of those the pictures that they stop are counted (`evals/comparison/guard_stops.py`).
    """
    in_force = [gate for gate in gates_in_force(policy) if not gate.is_guard]
    weighted = {gate.subject for gate in in_force if gate.weight_key}
    first = {gate.subject: gate.key for gate in reversed(in_force) if gate.subject not in weighted}
    return tuple(gate for gate in in_force if gate.weight_key or first.get(gate.subject) == gate.key)


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of one gate's scores at 4 decimals, None where no picture has one. `scored` of `made` pictures have a score."""

    value: float | None
    scored: int
    made: int

    @property
    def coverage(self) -> float:
        """The share of the pictures that have a score, 0 to 1; 1 where there is no picture."""
        return self.scored / self.made if self.made else 1.0


@dataclass(frozen=True, slots=True)
class Means:
    """The means of a run or of a part of it, by gate key, and its overall score."""

    by_gate: Mapping[str, Mean]
    overall: float | None
    made: int
    coverage: float
    """The smallest coverage of the gates that have a weight."""

    def value(self, key: str) -> float | None:
        mean = self.by_gate.get(key)
        return None if mean is None else mean.value


def means(assessments: Sequence[Assessment], policy: Mapping[str, Any]) -> Means:
    """The means over the pictures of a run, or of one configuration of it."""
    return means_of_readings([readings(item, policy) for item in assessments], policy)


def readings(assessment: Assessment, policy: Mapping[str, Any]) -> dict[str, Reading]:
    """What each gate in force reads from one picture."""
    return {gate.key: gate.reading(assessment) for gate in gates_in_force(policy)}


def keep_readings(assessment: Assessment, policy: Mapping[str, Any], others: Sequence[Assessment]) -> Assessment:
    """The assessment with what the gates that look at other pictures read now, so that it reads the same ever after."""
    read = {gate.key: gate.read(assessment, others) for gate in gates_in_force(policy) if gate.needs_others}
    return replace(assessment, measures={**assessment.measures, **read}) if read else assessment


def keep_all_readings(assessments: Sequence[Assessment], policy: Mapping[str, Any]) -> Sequence[Assessment]:
    """The same for the pictures of a whole batch: each is read among those before it."""
    if not any(gate.needs_others for gate in gates_in_force(policy)):
        return assessments
    kept: list[Assessment] = []
    for item in assessments:
        kept.append(keep_readings(item, policy, kept))
    return kept


def means_of_readings(pictures: Sequence[Mapping[str, Reading]], policy: Mapping[str, Any]) -> Means:
    """The means over pictures that are known by their readings alone, as those of a history row are. A gate may be missing in one."""
    by_gate: dict[str, Mean] = {}
    for gate in gates_in_force(policy):
        there = [picture.get(gate.key, Reading(None, None)) for picture in pictures]
        by_gate[gate.key] = mean_of_scores([effective(gate, reading, policy) for reading in there], sum(r.score is not None for r in there))
    weighted = [by_gate[gate.key].coverage for gate in gates_in_force(policy) if gate.weight(policy) > 0]
    total = overall({key: mean.value for key, mean in by_gate.items()}, policy)
    return Means(by_gate, total, len(pictures), min(weighted, default=1.0))


def effective(gate: Gate, reading: Reading, policy: Mapping[str, Any]) -> float | None:
    """What a reading counts for in a mean: its score, 0 where the policy says so, or None: it is left out."""
    if reading.score is not None:
        return reading.score
    return 0.0 if gate.counts_as_zero(reading.reason, policy) else None


def mean_of_scores(scores: Iterable[float | None], scored: int | None = None) -> Mean:
    """The mean of the scores that there are. `scored` counts those that were measured (default: all that there are)."""
    given = list(scores)
    there = [score for score in given if score is not None]
    value = round(sum(there) / len(there), DIGITS) if there else None
    return Mean(value, len(there) if scored is None else scored, len(given))


def overall(scores: Mapping[str, float | None], policy: Mapping[str, Any]) -> float | None:
    """The weighted mean of the gates' scores (of one picture) or means (of a run), at 4 decimals.

    None where a gate that has a weight has no score, or no gate has a weight.
    """
    parts = [(scores.get(gate.key), weight) for gate in gates_in_force(policy) if (weight := gate.weight(policy)) > 0]
    if not parts or any(score is None for score, _ in parts):
        return None
    return round(float(sum(score * weight for score, weight in parts if score is not None)), DIGITS)


def gate_of(key: str) -> Gate:
    """The row of a gate. Raises KeyError for a key that is not in the table."""
    return {gate.key: gate for gate in GATES}[key]


def picture_overall(assessment: Assessment, policy: Mapping[str, Any]) -> float | None:
    """The overall score of one picture: None where a gate that has a weight could not be measured, so that it ranks last."""
    return overall({key: reading.score for key, reading in readings(assessment, policy).items()}, policy)


def grade(score: float | None, policy: Mapping[str, Any]) -> str | None:
    """The best grade whose boundary an overall score reaches, both at 4 decimals; None for None."""
    if score is None:
        return None
    bounds: Mapping[str, float] = policy["scorecard"]["grade_boundaries"]
    ranked = grades_best_first(policy)
    return next((name for name in ranked if round(score, DIGITS) >= round(bounds[name], DIGITS)), ranked[-1])


def grades_best_first(policy: Mapping[str, Any]) -> list[str]:
    """The policy's grades, best first."""
    bounds: Mapping[str, float] = policy["scorecard"]["grade_boundaries"]
    return sorted(bounds, key=lambda name: -bounds[name])


def is_grade_enough(name: str | None, policy: Mapping[str, Any]) -> bool:
    """Whether a grade is the policy's minimum for promotion, or better."""
    ranked = grades_best_first(policy)
    return name in ranked and ranked.index(name) <= ranked.index(policy["scorecard"]["promotion_minimum_grade"])


def why_not_ranked(total: Means, policy: Mapping[str, Any]) -> str:
    """Why a run or configuration can neither be ranked first nor promoted, in words; empty where it can."""
    card = policy["scorecard"]
    if total.overall is None:
        missing = [gate.title for gate in gates_in_force(policy) if gate.weight(policy) > 0 and total.value(gate.key) is None]
        return f"no picture has a score of {' and '.join(missing)}" if missing else "no gate has a weight"
    if total.made < card["minimum_pictures"]:
        return f"{counted(total.made, 'picture')} {verb(total.made, 'is', 'are')} too few: {card['minimum_pictures']} are wanted"
    if total.coverage < card["minimum_coverage"]:
        known = [gate for gate in gates_in_force(policy) if gate.weight(policy) > 0 and gate.key in total.by_gate]
        gates = [(total.by_gate[gate.key], gate) for gate in known]
        mean, gate = min(gates, key=lambda pair: pair[0].coverage)
        scored = f"only {mean.scored} of {counted(mean.made, 'picture')} {verb(mean.scored, 'has', 'have')}"
        return f"{scored} a score of {gate.title}; {card['minimum_coverage']:.0%} are wanted"
    return ""


def rank_key(total: Means, policy: Mapping[str, Any], name: str) -> tuple[bool, bool, float, str]:
    """Sorts runs or configurations best first: those that can be ranked, then those without enough, then those without a score."""
    return place_key(total.overall, why_not_ranked(total, policy), name)


def place_key(score: float | None, shortfall: str, name: str) -> tuple[bool, bool, float, str]:
    """The same for a score whose shortfall (see `why_not_ranked`) is known already."""
    return score is None, bool(shortfall), -(score or 0.0), name
