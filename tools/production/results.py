"""What became of each picture of a batch, read back from its journal; and the numbers that a report is made of."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from evals.judging.duplicates import CopyOf
from evals.judging.gates import DIGITS, gates_in_force, means
from evals.judging.picture_verdict import verdict
from evals.judging.records import Assessment
from lifeos.files import warn
from lifeos.picture_names import parse_picture_name
from tools.production.batch_state import BatchState, find_originals, original_of
from tools.production.decisions import OWNER, Decision
from tools.production.filing import APPROVED, REJECTED, BatchFolder
from tools.production.journal import JOURNAL_FILE, read_journal
from tools.production.overruling import guards_among
from tools.production.plan import Plan
from tools.production.repair_numbers import is_repair, split_number
from tools.production.settling import Settled

OTHER_PLACE = "removed"
"""Of a picture that was filed and is in neither folder: its owner deleted it or took it away."""

BY_HAND: Final = "hand"
"""Instead of a gate, in the group of a reason: a person rejected the picture."""

DELETED: Final = "deleted"
"""The verdict on such a picture."""


@dataclass(frozen=True, slots=True)
class PictureResult:
    """One filed picture. `place` is where it lies now: approved, rejected or removed; `path` says where in the directory.

    The verdict is that of `decision`, a person's, where there is one; else that of the gates.
    """

    index: int
    file: str
    place: str
    gates_approve: bool
    reasons: tuple[str, ...]
    """The gates', whoever decided."""
    groups: tuple[tuple[str, str, str], ...]
    """The group of each reason (`picture_verdict.Reason.group`)."""
    assessment: Assessment
    prompt_id: int | None
    variation: int | None
    seed: int | None
    config: str
    prompt: str
    seconds: float | None = None
    source: str | None = None
    path: str | None = None
    decision: Decision | None = None
    verdicts: tuple[Decision, ...] = ()
    """What each reviewer says, the newest last."""
    copy: CopyOf | None = None
    """What it is a duplicate of; a person may have approved it all the same."""
    repairs: str | None = None
    """The rejected picture that a second graph made this one from."""
    repaired_as: str | None = None
    """The picture that a second graph made from this one."""
    like: CopyOf | None = None
    """The approved picture before it that it is nearly the same as: a mark, no verdict."""

    @property
    def verdict(self) -> Literal["approved", "rejected", "deleted"]:
        if self.place == OTHER_PLACE:
            return DELETED
        approved = self.gates_approve if self.decision is None else self.decision.approved
        return APPROVED if approved else REJECTED

    @property
    def approved(self) -> bool:
        """Whether it may be published, and is there."""
        return self.verdict == APPROVED

    @property
    def is_overruled(self) -> bool:
        """Whether a person decided otherwise than the gates."""
        return self.decision is not None and self.decision.approved != self.gates_approve

    @property
    def is_disputed(self) -> bool:
        """Whether reviewers say different things; the newest verdict counts."""
        return len({one.approved for one in self.verdicts if not one.opinion}) > 1

    @property
    def guards_against(self) -> tuple[str, ...]:
        """The guards of publishing that reject it, whoever decided."""
        return () if self.gates_approve else guards_among(self.groups)

    @property
    def lacks_reason(self) -> bool:
        """Whether a person approved it against a guard, and did not say why."""
        decision = self.decision
        return decision is not None and decision.approved and bool(self.guards_against) and not decision.reason

    @property
    def objections(self) -> tuple[tuple[str, tuple[str, str, str]], ...]:
        """Why it is rejected: each reason with its group. None for a picture that is not, whatever the gates say."""
        if self.verdict != REJECTED:
            return ()
        if self.is_overruled and self.decision is not None:
            text = f"rejected by {describe_person(self.decision.by)}"
            reason = f"{text}: {self.decision.reason}" if self.decision.reason else text
            return ((reason, (BY_HAND, text, "")),)
        return tuple(zip(self.reasons, self.groups, strict=True))

    @property
    def face_box(self) -> list[float] | None:
        """The subject's face as left, top, width and height, in fractions of the picture."""
        face = self.assessment.geometry
        if face is None or not face.face_height:
            return None
        width = face.face_area / face.face_height
        return [round(value, 5) for value in (face.center_x - width / 2, face.center_y - face.face_height / 2, width, face.face_height)]

    @property
    def shot(self) -> str:
        return self.assessment.geometry.shot_type if self.assessment.geometry is not None else "no face"


def describe_person(name: str) -> str:
    return "the owner" if name == OWNER else name


@dataclass(frozen=True, slots=True)
class Ground:
    """Why a picture was rejected, in a record: see `picture_verdict.Reason`."""

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
    protocol_id: str = ""


COMPLETE: Final = "complete"
INCOMPLETE: Final = "incomplete"
"""Everything was tried, and some planned pictures could not be made."""
FINISHED: Final = (COMPLETE, INCOMPLETE)


def ending_of(why: str, plan: Plan, state: BatchState) -> str:
    """How a batch ended, by what there is: `complete` only where every planned picture was made."""
    if why not in FINISHED:
        return why
    return INCOMPLETE if count_missing(plan, state) else COMPLETE


def count_missing(plan: Plan, state: BatchState) -> int:
    """The planned pictures that were not made, or not yet."""
    return plan.planned - sum(item.is_made for index, item in state.items.items() if index <= plan.planned)


@dataclass(slots=True)
class BatchResults:
    """All pictures in the order of the plan, and the items that ended without one: number and reason."""

    pictures: list[PictureResult] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    failed_repairs: list[tuple[str, str, float | None]] = field(default_factory=list)
    """The pictures whose repair came to nothing: name, reason, and the seconds that it took a server."""

    @property
    def own(self) -> list[PictureResult]:
        """Those that the LoRA made; without what a second graph made of them."""
        return [picture for picture in self.pictures if picture.repairs is None]


def read_results(
    plan: Plan,
    folder: BatchFolder,
    state: BatchState,
    settled: Settled,
    policy: Mapping[str, Any],
    on_warning: Callable[[str], None] = warn,
) -> BatchResults:
    """The results of a batch, of which the pictures are all filed or on the way to it. `policy` is the one that judges it."""
    scored = read_scores(folder.root / JOURNAL_FILE, state.filed, on_warning)
    results = BatchResults()
    repaired = {original: name for name, original in reversed(find_originals(state).items())}
    for index, item in sorted(state.items.items(), key=lambda pair: split_number(pair[0])[::-1]):  # each repair behind its item
        original = original_of(state, index)
        if item.failure is not None and not item.is_made:
            if is_repair(index):
                results.failed_repairs.append((original or f"{split_number(index)[1]:04d}", item.failure, item.seconds))
            else:
                results.failures.append((index, item.failure))
        for name in item.files:
            if name in scored:
                picture = _result(plan, settled, state, policy, index, name, scored[name])
                results.pictures.append(replace(picture, repairs=original, repaired_as=repaired.get(name)))
    return results


def read_scores(path: Path, names: Container[str], on_warning: Callable[[str], None] = warn) -> dict[str, ScoredRecord]:
    """The newest score of each of these pictures, by name; after a change of protocol only those under the new one."""
    scores: dict[str, ScoredRecord] = {}
    rescored: dict[str, ScoredRecord] = {}
    for _, record in read_journal(path, ScoredRecord, on_warning):
        if record.event == "protocol":
            scores = {name: each for name, each in rescored.items() if each.protocol_id == record.protocol_id}
            rescored = {}
        elif record.assessment is not None and record.file in names:
            (rescored if record.event == "rescored" else scores)[record.file] = record
    return scores


def _result(
    plan: Plan, settled: Settled, state: BatchState, policy: Mapping[str, Any], index: int, name: str, record: ScoredRecord
) -> PictureResult:
    assessment = record.assessment
    assert assessment is not None
    reasons, groups = _reasons(record, assessment, policy, rejudged=state.policy is not None)
    copy = state.duplicates.get(name)
    if copy is not None:
        reasons, groups = (copy.reason.text,), (copy.reason.group,)
    item = plan.item(index)
    told = parse_picture_name(item.source) if item.source is not None else None
    picture = PictureResult(
        index=split_number(index)[1],
        file=name,
        place=OTHER_PLACE,
        gates_approve=state.approves(name),
        reasons=reasons,
        groups=groups,
        assessment=assessment,
        prompt_id=told.prompt_id if told else item.prompt_id,
        variation=told.variation if told else item.variation,
        seed=told.seed if told else item.seed,
        config=plan.config_of(item),
        prompt=plan.prompt_of(item),
        seconds=state.item(index).seconds,
        source=item.source,
        copy=copy,
    )
    return with_settled(picture, settled)


def with_settled(picture: PictureResult, settled: Settled) -> PictureResult:
    """A picture with where it lies and what people decided about it."""
    is_there = settled.found.is_approved(picture.file)
    return replace(
        picture,
        place=OTHER_PLACE if is_there is None else APPROVED if is_there else REJECTED,
        path=settled.found.paths.get(picture.file),
        decision=settled.decisions.get(picture.file),
        verdicts=settled.verdicts.get(picture.file, ()),
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
    deleted = sum(picture.verdict == DELETED for picture in pictures)
    found = means([picture.assessment for picture in pictures], policy)
    return {
        "generated": len(pictures),
        "approved": approved,
        "rejected": len(pictures) - approved - deleted,
        "deleted": deleted,
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
