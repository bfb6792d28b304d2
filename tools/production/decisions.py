"""What people decided about the pictures of a batch: `decisions.jsonl`, append-only, one line for each decision.

    {"schema": 1, "picture": {"name": "0001_….png", "sha256": "…"}, "verdict": "approved", "by": "owner",
     "when": "2026-11-29T17:00:00.000Z", "from": "move", "reason": ""}

`from` is `move` where somebody moved the file, else the program that wrote the line. `sha256` is that of the picture as it was scored:
a decision about other bytes under the same name does not count. Further keys stand only where they say something:

    "verdict": "withdrawn"      this reviewer takes the verdict back
    "undo": true                the line puts back what stood before the reviewer's newest decision
    "overrules": ["memorised"]  the guards of publishing that rejected the picture; `reason` says why it is approved all the same
    "blind": true               the reviewer saw neither verdict nor scores
    "sample": {"size": 40, "random": true, "weight": 4.5}    it was asked for (`tools/reviewing/sampling.py`)
    "opinion": true             for calibration alone: it counts for nothing else (a blind verdict on what a guard rejects)

What stands is each reviewer's newest verdict; they stay apart. The newest of those that stand wins over the gates, whatever policy judges
the batch (`settling.py` moves the pictures). The file has a lock of its own (`.work/decisions.lock`), so that a review can write while a
batch runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, NotRequired, TypedDict

from lifeos import files, foreign, locks
from lifeos.files import warn
from tools.production.batch_state import BatchState
from tools.production.filing import APPROVED, REJECTED, WORK

DECISIONS_FILE = "decisions.jsonl"
SCHEMA = 1
OWNER = "owner"
MOVE = "move"
REVIEW = "review"
WITHDRAWN: Final = "withdrawn"

Verdict = Literal["approved", "rejected", "withdrawn"]


@dataclass(frozen=True, slots=True)
class DecidedPicture:
    """The picture that a decision is about: its name, and the SHA-256 of the bytes that were looked at (empty: whatever they are)."""

    name: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class SampleMark:
    """How a picture came into a sample of `size`: drawn at `random`, or as one of the most informative. It stands for `weight` pictures."""

    size: int
    random: bool
    weight: float

    def __post_init__(self) -> None:
        if self.size < 1 or self.weight <= 0:
            raise ValueError("a sample has a size from 1 and a weight above 0")


class DecisionLine(TypedDict):
    """A line of the file as it is read; `from` is no name for a field of a class."""

    schema: NotRequired[int]
    picture: DecidedPicture
    verdict: Verdict
    by: NotRequired[str]
    when: NotRequired[str]
    reason: NotRequired[str]
    undo: NotRequired[bool]
    overrules: NotRequired[tuple[str, ...]]
    blind: NotRequired[bool]
    sample: NotRequired[SampleMark]
    opinion: NotRequired[bool]


Origin = TypedDict("Origin", {"from": NotRequired[str]})


class DecisionRecord(DecisionLine, Origin):
    """The whole line."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's verdict on one picture, or that it is `withdrawn`. `origin`: `move` where the person moved the file, else the program."""

    picture: DecidedPicture
    approved: bool
    by: str = OWNER
    when: str = ""
    origin: str = MOVE
    reason: str = ""
    withdrawn: bool = False
    undo: bool = False
    overrules: tuple[str, ...] = ()
    blind: bool = False
    sample: SampleMark | None = None
    opinion: bool = False

    @property
    def verdict(self) -> Verdict:
        return WITHDRAWN if self.withdrawn else APPROVED if self.approved else REJECTED

    def to_json(self) -> dict[str, Any]:
        picture = {"name": self.picture.name, "sha256": self.picture.sha256}
        told: dict[str, Any] = {"by": self.by, "when": self.when, "from": self.origin, "reason": self.reason}
        told |= {name: True for name in ("undo", "blind", "opinion") if getattr(self, name)}
        told |= {"overrules": list(self.overrules)} if self.overrules else {}
        told |= {"sample": asdict(self.sample)} if self.sample is not None else {}
        return {"schema": SCHEMA, "picture": picture, "verdict": self.verdict, **told}

    def says_the_same(self, other: Decision) -> bool:
        """Whether another verdict adds nothing to it: as after an answer that was lost on its way, and sent again."""
        return (self.verdict, self.reason, self.blind, self.sample) == (other.verdict, other.reason, other.blind, other.sample)


def read_decisions(root: Path, on_warning: Callable[[str], None] = warn) -> Iterator[Decision]:
    """Every decision in the directory of a batch, oldest first. A line that cannot be used is named and skipped."""
    path = root / DECISIONS_FILE
    if not path.exists():
        return
    for line in foreign.read_lines(path, DecisionRecord, surrogates="keep"):
        if isinstance(line, foreign.BadLine):
            why = "torn by a crash?" if line.is_torn else line.error.why
            on_warning(f"{path}:{line.number}: this decision is not counted ({why})")
        elif fault := fault_of(line.record):
            on_warning(f"{path}:{line.number}: this decision is not counted ({fault})")
        else:
            yield to_decision(line.record)


def fault_of(record: DecisionRecord) -> str:
    """Why a decision that could be read cannot be used; empty where it can."""
    if record.get("schema", SCHEMA) != SCHEMA:
        return f"schema {record.get('schema')} found, {SCHEMA} wanted"
    if not record["picture"].name:
        return "it names no picture"
    try:
        zoned = not record.get("when") or datetime.fromisoformat(record.get("when", "")).tzinfo is not None
    except ValueError:
        zoned = False
    return "" if zoned else f"{record.get('when')!r} is no time with its zone"


def to_decision(record: DecisionRecord) -> Decision:
    return Decision(
        picture=record["picture"],
        approved=record["verdict"] == APPROVED,
        by=record.get("by") or OWNER,
        when=record.get("when", ""),
        origin=record.get("from", ""),
        reason=record.get("reason", ""),
        withdrawn=record["verdict"] == WITHDRAWN,
        undo=record.get("undo", False),
        overrules=record.get("overrules", ()),
        blind=record.get("blind", False),
        sample=record.get("sample"),
        opinion=record.get("opinion", False),
    )


@dataclass(frozen=True, slots=True)
class StandingVerdicts:
    """What stands about the pictures of a batch, by picture: each reviewer's newest verdict, the newest of all last.

    `released`: pictures about which somebody decided, and all took it back: the gates' verdict counts again.
    """

    verdicts: Mapping[str, tuple[Decision, ...]]
    released: frozenset[str] = frozenset()

    @property
    def in_force(self) -> dict[str, Decision]:
        """The verdict that wins over the gates, by picture."""
        return {name: counted[-1] for name, each in self.verdicts.items() if (counted := [one for one in each if not one.opinion])}


def stand(decisions: Iterable[Decision]) -> StandingVerdicts:
    """What stands after these decisions, oldest first."""
    newest: dict[str, dict[tuple[str, bool], Decision]] = {}
    for decision in decisions:
        by_reviewer = newest.setdefault(decision.picture.name, {})
        by_reviewer.pop((decision.by, decision.opinion), None)
        by_reviewer[decision.by, decision.opinion] = decision
    standing = {name: tuple(one for one in each.values() if not one.withdrawn) for name, each in newest.items()}
    released = {
        name
        for name, each in newest.items()
        if any(one.withdrawn and not one.opinion for one in each.values()) and all(one.opinion for one in standing[name])
    }
    return StandingVerdicts({name: each for name, each in standing.items() if each}, frozenset(released))


def read_standing(root: Path, state: BatchState, on_warning: Callable[[str], None] = warn) -> StandingVerdicts:
    """What stands about the scored pictures; a decision about other bytes than were scored is named and left out."""

    def usable() -> Iterator[Decision]:
        for decision in read_decisions(root, on_warning):
            name = decision.picture.name
            scored = state.scored.get(name)
            if scored is not None and decision.picture.sha256 in ("", scored.sha256):
                yield decision
            else:
                why = "no picture of this batch has that name" if scored is None else "its bytes were others when it was decided"
                on_warning(f"{root / DECISIONS_FILE}: the decision about {name} is not counted ({why})")

    return stand(usable())


@contextmanager
def writing(root: Path) -> Iterator[Callable[[Collection[Decision]], None]]:
    """Hold the lock of the decisions, and get the function that appends some, down to the disk."""

    def append(decisions: Collection[Decision]) -> None:
        for decision in decisions:
            files.append_record(root / DECISIONS_FILE, decision.to_json())

    with locks.hold(root / WORK / "decisions.lock", str(root / DECISIONS_FILE), wait=True):
        yield append
