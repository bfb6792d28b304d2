"""One row of the table of gates: what it reads, what it measures, how it is called, and when a score passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.judging.records import NOT_MEASURED, Assessment, Reading
from lifeos.errors import InputError
from lifeos.project import require_directory

if TYPE_CHECKING:
    from evals.judging.view import Prepared, Setting, View

DIGITS = 4
"""Scores are compared, averaged and stored after rounding to this many decimals."""


@dataclass(frozen=True, slots=True)
class GateFolder:
    """A folder that a gate looks into: the policy key that names it, the flag that does, and what that says of itself."""

    key: str
    flag: str
    help: str

    def require(self, setting: Setting, holds: str) -> Path:
        """The folder that the flag or the policy names. `holds`: what lies in it. Raises InputError where there is none."""
        section = self.key.rpartition(".")[0]
        named = setting.folders.get(section.rpartition(".")[2]) or look_up(setting.policy, self.key)
        if not named:
            fix = f"name it: {self.flag} DIR, or {self.key} in evals/thresholds.yaml"
            raise InputError(section, f"has a limit, but no folder of {holds}", fix)
        return require_directory(Path(named), self.flag)


@dataclass(frozen=True, slots=True)
class Gate:
    """One row of the table.

    `read` takes the score, or the reason why there is none, from an assessment; `others` are the pictures of the batch that were
    assessed before it. `measure` makes what `read` finds in `Assessment.measures`, for gates that are not part of face or skin.
    `subject` is what could not be judged when the score is missing; gates of one subject share that reason.
    """

    key: str
    title: str
    heading: str
    subject: str
    limit_key: str
    flag: str
    read: Callable[[Assessment, Sequence[Assessment]], Reading]
    mean_name: str
    """Of its mean in `eval_scores` of a history row."""
    pass_name: str
    """Of whether that mean passes, in `eval_scores`."""
    picture_name: str
    """Of a picture's score in `images` of a history row."""
    document_name: str
    """Of its mean in the documents of scorecards and batches."""
    weight_key: str | None = None
    lower_is_better: bool = False
    zero_key: str | None = None
    """Policy key that makes a missing score count as 0 in the mean, for the reasons in `zero_reasons`."""
    zero_reasons: frozenset[str] = frozenset()
    measure: Callable[[View], Reading] | None = None
    metric: str = ""
    """Name and version of the measure, for the protocol: scores of another version are not comparable."""
    span: tuple[float, float] = (0.0, 1.0)
    """The lowest and highest score that is possible."""
    needs_others: bool = False
    """Whether `read` looks at the other pictures of the batch: only then are they kept at hand."""
    is_guard: bool = False
    """Whether it looks for something that must not be published, rather than for quality: comparisons count the pictures that it stops
    instead of comparing means."""
    prepare: Callable[[Setting], Prepared] | None = None
    """Makes ready what `measure` needs, once, before anything is judged. Raises LifeosError where that cannot be had."""
    folder: GateFolder | None = None

    def reading(self, assessment: Assessment, others: Sequence[Assessment] = ()) -> Reading:
        """What the gate reads from a picture: what was kept when it was judged among others, else what it reads now."""
        kept = assessment.measures.get(self.key)
        return self.read(assessment, others) if kept is None else kept

    def limit(self, policy: Mapping[str, Any]) -> float | None:
        """Its limit in the policy; None where the policy does not hold one: then the gate is off."""
        value = look_up(policy, self.limit_key)
        return None if value is None else float(value)

    def weight(self, policy: Mapping[str, Any]) -> float:
        """Its share of the overall score, 0 for none."""
        return float(policy["scorecard"]["weights"].get(self.weight_key, 0.0)) if self.weight_key else 0.0

    def passes(self, score: float, limit: float) -> bool:
        """Whether a score reaches the limit, both at 4 decimals: 0.59996 passes 0.60."""
        ours, wanted = round(score, DIGITS), round(limit, DIGITS)
        return ours <= wanted if self.lower_is_better else ours >= wanted

    def counts_as_zero(self, reason: str | None, policy: Mapping[str, Any]) -> bool:
        """Whether a score that is missing for that reason is 0 in the mean."""
        return self.zero_key is not None and reason in self.zero_reasons and bool(look_up(policy, self.zero_key))


def guard_row(
    key: str, title: str, measure: Callable[[View], Reading], metric: str, *, flag: str = "", heading: str = "", **more: Any
) -> Gate:
    """The row of a guard: off until the policy holds `gates.KEY.limit`, without a share of the overall score."""
    return Gate(
        key=key,
        title=title,
        heading=heading or title.title(),
        subject=title,
        limit_key=f"gates.{key}.limit",
        flag=flag or f"--{key.replace('_', '-')}-threshold",
        read=measured(key),
        mean_name=f"{key}_mean",
        pass_name=f"{key}_pass",
        picture_name=key,
        document_name=key,
        measure=measure,
        metric=metric,
        is_guard=True,
        **more,
    )


def measured(key: str) -> Callable[[Assessment, Sequence[Assessment]], Reading]:
    """A gate's `read` for a score that its `measure` put into `Assessment.measures`."""
    return lambda assessment, others: assessment.measures.get(key) or Reading(None, assessment.reason or NOT_MEASURED)


def look_up(policy: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted policy key, None where it is not there."""
    value: Any = policy
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value
