"""What the journal of a batch adds up to: how far each picture came, as one record after the other is taken into account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from sys import intern  # each record has names of its own: of 100,000 pictures they would be held four times
from typing import Any, TypeVar

from evals.judging.duplicates import CopyOf
from tools.production.item_state import ItemState, MadeTwice
from tools.production.repair_numbers import is_repair, split_number
from tools.production.server_work import PricedServer, Session

ENDINGS = {
    "complete": "every planned picture was made",
    "incomplete": "not every planned picture was made; the same command tries the others again",
    "target": "the wanted number of approved pictures was reached",
    "max_images": "--max-images was reached",
    "max_cost": "--max-cost was reached",
    "interrupted": "it was interrupted; the same command continues",
    "error": "it was stopped by an error; the same command continues",
}
"""How a run of the program may end, in the journal's word and in words for people."""
T = TypeVar("T")

PAUSES = frozenset({"rejudged", "refiled", "rescored", "protocol", "placed", "lost", "begun_anew", "copied"})
"""Events outside of a run of the program with its servers: they, and what follows until the next run, are nobody's time."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A downloaded picture, in a record, and the id of the node that saved it."""

    file: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """What is asked of an assessment here: which bytes it is of, and why they could not be read, None where they could."""

    sha256: str = ""
    reason: str | None = None
    bytes: int | None = None
    """How long its file was; None in journals of older versions."""
    dhash: str | None = None


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One line of the journal as it is read back; what an event does not hold is None. Scores are left to `results`."""

    event: str
    time: str = ""
    item: int | None = None
    file: str | None = None
    files: tuple[StoredFile, ...] | None = None
    prompt_id: str | None = None
    server: str | None = None
    servers: tuple[str, ...] = ()
    rate_per_hr: float | None = None
    handle: str | None = None
    usd: float | None = None
    seconds: float | None = None
    approved: bool | None = None
    reason: str | None = None
    pictures: int | None = None
    why: str | None = None
    policy: dict[str, Any] | None = None
    changed: dict[str, bool] | None = None
    moves: tuple[str, ...] = ()
    duplicates: dict[str, CopyOf] | None = None
    assessment: ScoredFile | None = None
    bytes: int | None = None
    place: str | None = None
    places: dict[str, str] | None = None
    protocol_id: str | None = None
    protocol: dict[str, Any] | None = None
    scales: dict[str, Any] | None = None
    history: str | None = None
    decided: str | None = None
    original: str | None = None
    prices: tuple[PricedServer, ...] | None = None
    outcome: str | None = None
    unpriced: bool = False
    second: bool = False

    def __post_init__(self) -> None:
        if self.time and datetime.fromisoformat(self.time).tzinfo is None:
            raise ValueError("a time with its zone is wanted")


def _there(value: T | None, name: str) -> T:
    """A field that an event cannot do without. Raises ValueError where it is missing."""
    if value is None:
        raise ValueError(f"{name} is missing")
    return value


@dataclass(frozen=True, slots=True)
class Rescored:
    """A picture's verdict under another protocol, which is not in force yet."""

    protocol_id: str
    approved: bool
    scored: ScoredFile


@dataclass(slots=True)
class BatchState:
    """What the journal adds up to. `verdicts` tells of each scored picture whether the gates approved it."""

    items: dict[int, ItemState] = field(default_factory=dict)
    verdicts: dict[str, bool] = field(default_factory=dict)
    scored: dict[str, ScoredFile] = field(default_factory=dict)
    filed: set[str] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)
    """The folder in which each filed picture was last put or seen, `/`-separated: one that lies elsewhere was moved by hand."""
    sessions: list[Session] = field(default_factory=list)
    recorded: int | None = None
    """Pictures in the newest row of this batch in the evaluation history; None: there is no row yet, or it is out of date."""
    recorded_decided: str = ""
    """What people had decided then (`history_row.digest_of_decided`)."""
    history: str | None = None  # the evaluation history that holds a row of this batch, as far as is known
    charged_prompts: set[str] = field(default_factory=set)
    """Prompts that were charged, and of which a run that was killed then may not have taken the pictures in."""
    made_twice: MadeTwice = field(default_factory=MadeTwice)
    """What servers did for nothing at the end, because another was quicker with the same picture."""
    refused: Counter[str] = field(default_factory=Counter)
    """Prompts that a server refused and another got, by server."""
    copy_of: str | None = None
    """The directory from which this one had been copied when it was last worked on."""
    policy: dict[str, Any] | None = None
    """The judging sections of the policy that the batch was last judged again with; None: that of its plan is in force."""
    protocol: dict[str, Any] | None = None
    """The protocol under which all pictures were scored again; None: that of its plan is in force."""
    scales: dict[str, Any] | None = None
    """The policy's rows of the face engines that came with it."""
    rescored: dict[str, Rescored] = field(default_factory=dict)
    """What was scored again so far, under a protocol that is not in force yet."""
    ending: str = "interrupted"
    """How the newest run of the program ended; `interrupted` where it was killed or goes on."""
    ended_because: str = ""  # which budget
    rejudged: int = 0
    """How often it was judged again."""
    paused: bool = False
    """Whether no run of the program is under way."""
    moves: dict[str, bool] = field(default_factory=dict)
    """Pictures that have still to move, since they were judged again or are duplicates, and whether to `approved`."""
    duplicates: dict[str, CopyOf] = field(default_factory=dict)
    """Pictures that the gates approve, and that are rejected because the batch holds them already."""

    def approves(self, name: str) -> bool:
        """Whether a picture is approved, as long as no person decides otherwise: by the gates, and not as a duplicate."""
        return self.verdicts.get(name, False) and name not in self.duplicates

    def reject_duplicates(self, found: Mapping[str, CopyOf], moves: Collection[str]) -> None:
        """From here on these are the duplicates; `moves` have still to move, by the verdicts of now."""
        self.duplicates = dict(found)
        self.moves |= {name: self.approves(name) for name in moves if name in self.verdicts}

    def settle_moves(self) -> None:
        """What was to move has moved."""
        self.places |= {name: "approved" if approved else "rejected" for name, approved in self.moves.items()}
        self.moves = {}

    def item(self, index: int) -> ItemState:
        return self.items.setdefault(index, ItemState())

    def is_settled(self, name: str) -> bool:
        """Whether a picture has its place and a verdict. One that was away while all others were scored again has none."""
        return name in self.filed and name in self.verdicts

    def apply(self, record: JournalRecord) -> None:
        """Take one record into account. Unknown events are left alone: a newer version may write some."""
        if record.event in PAUSES:
            self.paused = True
        if self.sessions and not self.paused and record.event != "started":  # the pause between two runs is nobody's time
            self.sessions[-1].last = record.time or self.sessions[-1].last
        handler = _HANDLERS.get(record.event)
        if handler is not None:
            handler(self, record)


def original_of(state: BatchState, number: int) -> str | None:
    """The picture from which that of a repair's number is made; None for a number that is none, and where it is not known."""
    place, index = split_number(number)
    files = state.items[index].files if place and index in state.items else ()
    return files[place - 1] if 0 < place <= len(files) else None


def find_originals(state: BatchState) -> dict[str, str]:
    """Each repaired picture with the one that it was made from."""
    return {name: original for number, item in state.items.items() for name in item.files if (original := original_of(state, number))}


def _started(state: BatchState, record: JournalRecord) -> None:
    time, rate = _there(record.time or None, "time"), record.rate_per_hr or 0.0
    state.ending, state.paused = "interrupted", False
    prices = record.prices or tuple(PricedServer(server, usd_per_hour=rate) for server in record.servers)
    state.sessions.append(Session(time, time, len(record.servers), rate, prices=prices))


def _joined(state: BatchState, record: JournalRecord) -> None:
    server, rate = _there(record.server, "server"), record.rate_per_hr or 0.0
    for session in state.sessions[-1:]:
        session.prices += record.prices or (PricedServer(server, usd_per_hour=rate, since=_there(record.time or None, "time")),)


def _begun_anew(state: BatchState, record: JournalRecord) -> None:
    state.items.clear()


def _copied(state: BatchState, record: JournalRecord) -> None:
    """What is under way on a server belongs to the original."""
    state.copy_of = _there(record.original, "original")
    for item in state.items.values():
        if not item.is_made:
            item.forget_prompts()


def _submitted(state: BatchState, record: JournalRecord) -> None:
    prompt_id, server = _there(record.prompt_id, "prompt_id"), intern(_there(record.server, "server"))
    state.item(_there(record.item, "item")).submitted(prompt_id, server, is_second=record.second)


def _accepted(state: BatchState, record: JournalRecord) -> None:
    state.item(_there(record.item, "item")).accepted(_there(record.prompt_id, "prompt_id"), record.handle)


def _dropped(state: BatchState, record: JournalRecord) -> None:
    state.item(_there(record.item, "item")).dropped(_there(record.prompt_id, "prompt_id"))
    if record.seconds is not None or record.usd is not None:
        state.made_twice.add(record.seconds, record.usd)


def _refused(state: BatchState, record: JournalRecord) -> None:
    state.refused[_there(record.server, "server")] += 1


def _charged(state: BatchState, record: JournalRecord) -> None:
    usd = _there(record.usd, "usd")
    item = state.items.get(record.item) if record.item is not None else None
    if item is not None:
        item.charged += usd
    if record.prompt_id is not None:
        state.charged_prompts.add(record.prompt_id)
    if not state.sessions:
        return
    work = state.sessions[-1].work(record.server or (item.server if item is not None else None))
    state.sessions[-1].charged += usd
    work.charged, work.unpriced = work.charged + usd, work.unpriced + record.unpriced
    if record.outcome == "dropped":
        work.seconds += record.seconds or 0.0
    elif record.outcome is not None:
        work.ended(well=record.outcome == "done", seconds=record.seconds, is_repair=is_repair(record.item or 0))


def _ended_before(state: BatchState, item: ItemState, record: JournalRecord, *, well: bool) -> None:
    """In journals of version 3.0 and before, the end of an item is all that tells of a server's work."""
    if record.server is None and item.server is not None and state.sessions:
        state.sessions[-1].work(item.server).ended(well=well, seconds=record.seconds, is_repair=is_repair(record.item or 0))


def _downloaded(state: BatchState, record: JournalRecord) -> None:
    stored = _there(record.files, "files")
    item = state.item(_there(record.item, "item"))
    item.files = tuple(intern(each.file) for each in stored)
    item.nodes = {intern(each.file): intern(each.node) for each in stored if each.node}
    item.seconds, item.failure, item.lost = record.seconds, None, ()
    _ended_before(state, item, record, well=True)
    item.answered(record.prompt_id, record.server)
    state.charged_prompts.discard(record.prompt_id or "")


def _scored(state: BatchState, record: JournalRecord) -> None:
    name = intern(_there(record.file, "file"))
    state.verdicts[name] = _there(record.approved, "approved")
    state.scored[name] = replace(record.assessment or ScoredFile(), bytes=record.bytes)


def _filed(state: BatchState, record: JournalRecord) -> None:
    name = intern(_there(record.file, "file"))
    state.filed.add(name)
    if record.place is not None:
        state.places[name] = intern(record.place)


def _lost(state: BatchState, record: JournalRecord) -> None:
    name = _there(record.file, "file")
    item = state.item(_there(record.item, "item"))
    item.lost = (*item.lost, name) if name not in item.lost else item.lost
    forget(state, name)


def forget(state: BatchState, name: str) -> None:
    """A picture that is made again has neither score nor place."""
    state.filed.discard(name)
    for known in (state.verdicts, state.scored, state.places, state.rescored, state.duplicates):
        known.pop(name, None)


def _placed(state: BatchState, record: JournalRecord) -> None:
    state.places |= _there(record.places, "places")


def _failed(state: BatchState, record: JournalRecord) -> None:
    item = state.item(_there(record.item, "item"))
    item.failure, item.seconds = _there(record.reason, "reason"), record.seconds
    _ended_before(state, item, record, well=False)


def _repair(state: BatchState, record: JournalRecord) -> None:
    state.item(_there(record.item, "item"))


def _ended(state: BatchState, record: JournalRecord) -> None:
    if record.why not in ENDINGS:
        raise ValueError(f"unknown ending {record.why!r}")
    state.ending, state.ended_because, state.paused = record.why, record.reason or "", True


def _rejudged(state: BatchState, record: JournalRecord) -> None:
    policy, changed = _there(record.policy, "policy"), _there(record.changed, "changed")
    state.policy, state.recorded = policy, None
    state.rejudged += 1
    state.rescored.clear()  # judged by the rules of before
    state.verdicts |= changed
    state.reject_duplicates(state.duplicates if record.duplicates is None else record.duplicates, record.moves)


def _duplicates(state: BatchState, record: JournalRecord) -> None:
    state.reject_duplicates(_there(record.duplicates, "duplicates"), record.moves)


def _rescored(state: BatchState, record: JournalRecord) -> None:
    name, approved = _there(record.file, "file"), _there(record.approved, "approved")
    scored = replace(record.assessment or ScoredFile(), bytes=record.bytes)
    state.rescored[name] = Rescored(_there(record.protocol_id, "protocol_id"), approved, scored)


def _protocol(state: BatchState, record: JournalRecord) -> None:
    """A picture that could not be scored again, because its owner took it away, has no verdict any more."""
    protocol, scales = _there(record.protocol, "protocol"), _there(record.scales, "scales")
    fresh = {name: each for name, each in state.rescored.items() if each.protocol_id == record.protocol_id}
    state.verdicts = {name: each.approved for name, each in fresh.items()}
    state.scored |= {name: each.scored for name, each in fresh.items()}
    state.protocol, state.scales, state.recorded, state.rescored = protocol, scales, None, {}
    if state.policy is not None:
        state.policy = with_scales(state.policy, scales)
    state.reject_duplicates(record.duplicates or {}, record.moves)


def with_scales(policy: Mapping[str, Any], scales: Mapping[str, Any]) -> dict[str, Any]:
    """The judging sections of a policy with other rows of the face engines."""
    return {**policy, "face_similarity": {**policy.get("face_similarity", {}), "engines": dict(scales)}}


def _refiled(state: BatchState, record: JournalRecord) -> None:
    state.settle_moves()


def _recorded(state: BatchState, record: JournalRecord) -> None:
    state.recorded, state.recorded_decided = record.pictures or 0, record.decided or ""
    state.history = record.history or state.history


_HANDLERS: dict[str, Callable[[BatchState, JournalRecord], None]] = {
    "begun_anew": _begun_anew,
    "copied": _copied,
    "started": _started,
    "joined": _joined,
    "submitted": _submitted,
    "accepted": _accepted,
    "dropped": _dropped,
    "refused": _refused,
    "charged": _charged,
    "downloaded": _downloaded,
    "scored": _scored,
    "filed": _filed,
    "lost": _lost,
    "placed": _placed,
    "failed": _failed,
    "repair": _repair,
    "ended": _ended,
    "rejudged": _rejudged,
    "duplicates": _duplicates,
    "refiled": _refiled,
    "moved": _refiled,
    "rescored": _rescored,
    "protocol": _protocol,
    "recorded": _recorded,
}
