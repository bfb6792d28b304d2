"""What became of each picture of a batch, read back from its journal; and the numbers that a report is made of."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.judging.gates import DIGITS, gates_in_force, means, verdict
from evals.judging.records import Assessment
from lifeos.files import warn
from lifeos.picture_names import parse_picture_name
from tools.production.filing import APPROVED, REJECTED, BatchFolder
from tools.production.journal import JOURNAL_FILE, BatchState, read_journal
from tools.production.plan import Plan

OTHER_PLACE = "removed"
"""Of a picture that was filed and is in neither folder: its owner took it away."""


@dataclass(frozen=True, slots=True)
class PictureResult:
    """One filed picture. `place` is where it lies now: its owner may have moved it."""

    index: int
    file: str
    place: str
    approved: bool
    reasons: tuple[str, ...]
    groups: tuple[tuple[str, str, str], ...]
    """The group of each reason (`gates.Reason.group`)."""
    assessment: Assessment
    prompt_id: int | None
    variation: int | None
    seed: int | None
    config: str
    prompt: str
    seconds: float | None = None
    source: str | None = None

    @property
    def shot(self) -> str:
        return self.assessment.geometry.shot_type if self.assessment.geometry is not None else "no face"


@dataclass(frozen=True, slots=True)
class Ground:
    """Why a picture was rejected, in a record: see `gates.Reason`."""

    gate: str
    kind: str
    cause: str


@dataclass(frozen=True, slots=True)
class ScoredRecord:
    """A line of the journal with a picture's assessment; of other events nothing but the name is read."""

    event: str
    file: str = ""
    reasons: tuple[str, ...] = ()
    grounds: tuple[Ground, ...] | None = None
    assessment: Assessment | None = None


@dataclass(slots=True)
class BatchResults:
    """All pictures in the order of the plan, and the items that ended without one: number and reason."""

    pictures: list[PictureResult] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)


def read_results(
    plan: Plan, folder: BatchFolder, state: BatchState, policy: Mapping[str, Any], on_warning: Callable[[str], None] = warn
) -> BatchResults:
    """The results of a batch, of which the pictures are all filed or on the way to it. `policy` is the one that judges it."""
    scored = read_scores(folder.root / JOURNAL_FILE, state.filed, on_warning)
    results = BatchResults()
    for index, item in sorted(state.items.items()):
        if item.failure is not None and not item.files:
            results.failures.append((index, item.failure))
        for name in item.files:
            if name in scored:
                results.pictures.append(_result(plan, folder, state, policy, index, name, scored[name]))
    return results


def read_scores(path: Path, names: Container[str], on_warning: Callable[[str], None] = warn) -> dict[str, ScoredRecord]:
    """The newest score of each of these pictures, by name."""
    records = (record for _, record in read_journal(path, ScoredRecord, on_warning))
    return {
        record.file: record for record in records if record.event == "scored" and record.assessment is not None and record.file in names
    }


def _result(
    plan: Plan, folder: BatchFolder, state: BatchState, policy: Mapping[str, Any], index: int, name: str, record: ScoredRecord
) -> PictureResult:
    assessment = record.assessment
    assert assessment is not None
    reasons, groups = _reasons(record, assessment, policy, rejudged=state.policy is not None)
    item = plan.item(index)
    place = folder.place_of(name)
    told = parse_picture_name(item.source) if item.source is not None else None
    return PictureResult(
        index=index,
        file=name,
        place=place if place in (APPROVED, REJECTED) else OTHER_PLACE,
        approved=state.verdicts[name],
        reasons=reasons,
        groups=groups,
        assessment=assessment,
        prompt_id=told.prompt_id if told else item.prompt_id,
        variation=told.variation if told else item.variation,
        seed=told.seed if told else item.seed,
        config=(told.config or "") if told else plan.config_of(item),
        prompt=plan.prompt_of(item),
        seconds=state.item(index).seconds,
        source=item.source,
    )


def _reasons(
    record: ScoredRecord, assessment: Assessment, policy: Mapping[str, Any], *, rejudged: bool
) -> tuple[tuple[str, ...], tuple[tuple[str, str, str], ...]]:
    """The reasons of a picture and the group of each. Records of older versions hold the sentences alone."""
    if not rejudged and record.grounds is not None:
        return record.reasons, tuple((each.gate, each.kind, each.cause) for each in record.grounds)
    grounds = verdict(assessment, policy).grounds
    if not rejudged and len(grounds) != len(record.reasons):  # judged by other rules: its own sentences are kept
        return record.reasons, tuple(("", text, "") for text in record.reasons)
    texts = tuple(ground.text for ground in grounds) if rejudged else record.reasons
    return texts, tuple(ground.group for ground in grounds)


def tabulate(
    pictures: Sequence[PictureResult], key: Callable[[PictureResult], Any], policy: Mapping[str, Any]
) -> dict[Any, dict[str, Any]]:
    """Counts and means of the pictures, by what `key` says of each, in order of first appearance."""
    groups: dict[Any, list[PictureResult]] = {}
    for picture in pictures:
        groups.setdefault(key(picture), []).append(picture)
    return {name: _counts(group, policy) for name, group in groups.items()}


def _counts(pictures: Sequence[PictureResult], policy: Mapping[str, Any]) -> dict[str, Any]:
    approved = sum(picture.approved for picture in pictures)
    found = means([picture.assessment for picture in pictures], policy)
    return {
        "generated": len(pictures),
        "approved": approved,
        "rejected": len(pictures) - approved,
        "approval_rate": round(approved / len(pictures), DIGITS),
        **{gate.mean_name: found.value(gate.key) for gate in gates_in_force(policy)},
        "overall": found.overall,
    }


def mean_document(pictures: Sequence[PictureResult], policy: Mapping[str, Any]) -> dict[str, Any]:
    """The means of a set of pictures by name, and how many have each score."""
    found = means([picture.assessment for picture in pictures], policy)
    named = [(gate.mean_name.removesuffix("_mean"), found.by_gate[gate.key]) for gate in gates_in_force(policy)]
    return {
        "pictures": len(pictures),
        **{name: mean.value for name, mean in named},
        "overall": found.overall,
        "scored": {name: mean.scored for name, mean in named},
    }
