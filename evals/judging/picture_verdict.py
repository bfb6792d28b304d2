"""The verdict on one picture: whether it may be published, and every reason why not, by the table of gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.judging import gates
from evals.judging.borderline import is_borderline, rejects_borderline
from evals.judging.records import NOT_MEASURED, Assessment, Reading, explain_reason

BELOW, ABOVE, UNMEASURED, UNCERTAIN = "below", "above", "unmeasured", "borderline"
DUPLICATE = "duplicate"
"""The gate and the kind of a reason: the run holds the picture already (`evals/judging/duplicates.py`)."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a picture was rejected: by which gate, how, and in words for people.

    How is `below`, `above`, `unmeasured`, `borderline` or `duplicate`.
    `gate` is the subject for `unmeasured`, and empty where the picture itself could not be read or shows no face.
    """

    gate: str
    kind: str
    cause: str
    text: str
    note: str = ""
    """What only the owner of the batch should read: it may name files."""

    @property
    def sentence(self) -> str:
        """With the note: for the owner's records and reports."""
        return f"{self.text}: {self.note}" if self.note else self.text

    @property
    def group(self) -> tuple[str, str, str]:
        """Reasons of one group are counted together, whatever their numbers are."""
        return self.gate, self.kind, self.cause

    def to_json(self) -> dict[str, str]:
        """Its group, for a record that holds the sentences as well."""
        return {"gate": self.gate, "kind": self.kind, "cause": self.cause}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a picture may be published, and every reason why not."""

    approved: bool
    grounds: tuple[Reason, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """The grounds as sentences for whoever owns the batch."""
        return tuple(ground.sentence for ground in self.grounds)

    @property
    def public_reasons(self) -> tuple[str, ...]:
        """The same without notes that may name files: for what is shown to others or committed."""
        return tuple(ground.text for ground in self.grounds)


def verdict(assessment: Assessment, policy: Mapping[str, Any], others: Sequence[Assessment] = ()) -> Verdict:
    """The verdict on one picture by the limits of the policy.

    If a score cannot be measured (no face, too little skin), the picture is rejected. A measure that was never asked for
    (`not_measured`) is no gate. What stops every gate (an unreadable file, no face) is one reason, not one for each gate; beside it stands
    what was measured all the same.
    """
    grounds: list[Reason] = []
    for gate in gates.gates_in_force(policy):
        reading = gate.reading(assessment, others)
        limit = gate.limit(policy)
        assert limit is not None
        if reading.score is None:
            if reading.reason == NOT_MEASURED:
                continue
            ground = _unmeasured(gate, reading.reason or "", assessment)
        elif not gate.passes(reading.score, limit):
            kind = ABOVE if gate.lower_is_better else BELOW
            text = describe_miss(gate.title, reading.score, limit, kind)
            ground = Reason(gate.key, kind, reading.cause, f"{text}: {reading.cause}" if reading.cause else text, reading.note)
        else:
            continue
        if ground.group not in {known.group for known in grounds}:
            grounds.append(ground)
    if not grounds and rejects_borderline(policy) and is_borderline(assessment.skin, policy):
        grounds.append(_uncertain(assessment, policy))
    whole = [ground for ground in grounds if not ground.gate]
    return Verdict(not grounds, tuple([*whole[:1], *(ground for ground in grounds if ground.kind in (BELOW, ABOVE))] if whole else grounds))


def approves(picture: Mapping[str, Reading], policy: Mapping[str, Any]) -> bool:
    """The verdict on a picture that is known by its readings alone, as one of a history row is.

    A gate that has no weight and that the picture was never held against is no gate.
    """
    for gate in gates.gates_in_force(policy):
        reading, limit = picture.get(gate.key), gate.limit(policy)
        unasked = gate.weight(policy) <= 0 if reading is None else reading.score is None and reading.reason == NOT_MEASURED
        if unasked or limit is None:
            continue
        if reading is None or reading.score is None or not gate.passes(reading.score, limit):
            return False
    return True


def _unmeasured(gate: gates.Gate, cause: str, assessment: Assessment) -> Reason:
    if assessment.reason is not None:
        return Reason("", UNMEASURED, assessment.reason, explain_reason(assessment.reason))
    if assessment.face.score is None:
        cause = assessment.face.reason or "no_face"
        return Reason("", UNMEASURED, cause, explain_reason(cause))
    return Reason(gate.subject, UNMEASURED, cause, f"{gate.subject} cannot be judged: {explain_reason(cause)}")


def _uncertain(assessment: Assessment, policy: Mapping[str, Any]) -> Reason:
    gate = gates.gate_of("texture")
    limit = gate.limit(policy)
    text = f"{gate.title} {assessment.skin.texture:.2f} is borderline to {limit:.2f}, and the policy rejects that"
    return Reason(gate.key, UNCERTAIN, "", text)


def describe_miss(title: str, score: float, limit: float, kind: str = BELOW) -> str:
    """`face similarity 0.41 is below 0.60`, with as many decimals as show the difference."""
    digits = next((digits for digits in (2, 3) if f"{score:.{digits}f}" != f"{limit:.{digits}f}"), gates.DIGITS)
    return f"{title} {score:.{digits}f} is {kind} {limit:.{digits}f}"


def describe_group(group: tuple[str, str, str], limits: Mapping[str, float]) -> str:
    """A group of reasons in words: `face similarity below 0.60`, `skin cannot be judged: the face is too small`. `limits` by gate key."""
    key, kind, cause = group
    if kind == UNMEASURED:
        return f"{key} cannot be judged: {explain_reason(cause)}" if key else explain_reason(cause)
    if kind == DUPLICATE:
        return cause
    title = next((gate.title for gate in gates.GATES if gate.key == key), key)
    if kind == UNCERTAIN:
        return f"{title} borderline"
    missed = f"{title} {kind} {f'{limits[key]:.2f}' if key in limits else 'its limit'}"
    return f"{missed}: {cause}" if cause else missed
