"""What people decided about the pictures of a batch: `decisions.jsonl`, append-only, one line for each decision.

    {"schema": 1, "picture": {"name": "0001_….png", "sha256": "…"}, "verdict": "approved", "by": "owner",
     "when": "2026-11-29T17:00:00.000Z", "from": "move", "reason": ""}

The newest line about a picture wins over the gates, whatever policy judges the batch. Whoever moves a picture between approved/ and
rejected/, or into a folder inside one of them, decides so: the next command that looks at the batch writes it down (`from` is `move`).
Another program (a review) appends lines of its own; their pictures are moved then. `sha256` is that of the picture as it was scored:
a decision about other bytes under the same name does not count.

The file has a lock of its own (`.work/decisions.lock`), so that a review can write while a batch runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from lifeos import files, foreign, locks
from lifeos.counting import counted, verb
from lifeos.escaping import escape_line
from lifeos.files import warn
from lifeos.images import is_picture_name
from tools.production.batch_state import BatchState
from tools.production.filing import APPROVED, REJECTED, WORK, BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal, now_text
from tools.production.stopping import Note

DECISIONS_FILE = "decisions.jsonl"
SCHEMA = 1
PUBLISHED = "published"
"""A picture itself that was moved here was found good enough; the copies that are made for publishing hold other bytes."""
STRANGER = "not of this batch"
"""Of a picture that somebody put into approved/ or rejected/, and that the batch did not make or take in."""
STRANGERS_NAMED = 3
OWNER = "owner"
MOVE = "move"

Verdict = Literal["approved", "rejected"]


@dataclass(frozen=True, slots=True)
class DecidedPicture:
    """The picture that a decision is about: its name, and the SHA-256 of the bytes that were looked at (empty: whatever they are)."""

    name: str
    sha256: str = ""


class DecisionLine(TypedDict):
    """A line of the file as it is read; `from` is no name for a field of a class."""

    schema: NotRequired[int]
    picture: DecidedPicture
    verdict: Verdict
    by: NotRequired[str]
    when: NotRequired[str]
    reason: NotRequired[str]


Origin = TypedDict("Origin", {"from": NotRequired[str]})


class DecisionRecord(DecisionLine, Origin):
    """The whole line."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's verdict on one picture. `origin` is `move` where the person moved the file, else the program that wrote it down."""

    picture: DecidedPicture
    approved: bool
    by: str = OWNER
    when: str = ""
    origin: str = MOVE
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        return APPROVED if self.approved else REJECTED

    def to_json(self) -> dict[str, Any]:
        picture = {"name": self.picture.name, "sha256": self.picture.sha256}
        told = {"by": self.by, "when": self.when, "from": self.origin, "reason": self.reason}
        return {"schema": SCHEMA, "picture": picture, "verdict": self.verdict, **told}


def read_decisions(root: Path, on_warning: Callable[[str], None] = warn) -> Iterator[Decision]:
    """Every decision in the directory of a batch, oldest first. A line that cannot be used is named and skipped."""
    path = root / DECISIONS_FILE
    if not path.exists():
        return
    for line in foreign.read_lines(path, DecisionRecord, surrogates="keep"):
        if isinstance(line, foreign.BadLine):
            why = "torn by a crash?" if line.is_torn else line.error.why
            on_warning(f"{path}:{line.number}: this decision is not counted ({why})")
        elif fault := _fault(line.record):
            on_warning(f"{path}:{line.number}: this decision is not counted ({fault})")
        else:
            yield _decision(line.record)


def _fault(record: DecisionRecord) -> str:
    if record.get("schema", SCHEMA) != SCHEMA:
        return f"schema {record.get('schema')} found, {SCHEMA} wanted"
    if not record["picture"].name:
        return "it names no picture"
    try:
        zoned = not record.get("when") or datetime.fromisoformat(record.get("when", "")).tzinfo is not None
    except ValueError:
        zoned = False
    return "" if zoned else f"{record.get('when')!r} is no time with its zone"


def _decision(record: DecisionRecord) -> Decision:
    return Decision(
        picture=record["picture"],
        approved=record["verdict"] == APPROVED,
        by=record.get("by") or OWNER,
        when=record.get("when", ""),
        origin=record.get("from", ""),
        reason=record.get("reason", ""),
    )


def decisions_in_force(root: Path, state: BatchState, on_warning: Callable[[str], None] = warn) -> dict[str, Decision]:
    """The newest decision about each scored picture, by name; one about other bytes than were scored is named and left out."""
    newest: dict[str, Decision] = {}
    for decision in read_decisions(root, on_warning):
        name = decision.picture.name
        scored = state.scored.get(name)
        if scored is not None and decision.picture.sha256 in ("", scored.sha256):
            newest[name] = decision
        else:
            why = "no picture of this batch has that name" if scored is None else "its bytes were others when it was decided"
            on_warning(f"{root / DECISIONS_FILE}: the decision about {name} is not counted ({why})")
    return newest


@contextmanager
def writing(root: Path) -> Iterator[Callable[[Collection[Decision]], None]]:
    """Hold the lock of the decisions, and get the function that appends some, down to the disk."""

    def append(decisions: Collection[Decision]) -> None:
        for decision in decisions:
            files.append_record(root / DECISIONS_FILE, decision.to_json())

    with locks.hold(root / WORK / "decisions.lock", str(root / DECISIONS_FILE), wait=True):
        yield append


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the filed pictures of a batch lie: for each that is there its path in the directory, `/`-separated.

    `doubled` lie in both places. `strangers`: paths of pictures that are none of this batch; somebody put them there.
    """

    paths: Mapping[str, str]
    doubled: frozenset[str] = frozenset()
    strangers: tuple[str, ...] = ()

    def folder_of(self, name: str) -> str | None:
        """`approved`, `rejected`, a folder inside one of them, or None: it is gone."""
        path = self.paths.get(name)
        return None if path is None else path.rpartition("/")[0]

    def is_approved(self, name: str) -> bool | None:
        """Whether it lies where approved pictures do; None where it is gone."""
        path = self.paths.get(name)
        return None if path is None else not path.startswith(f"{REJECTED}/")


def find_pictures_of(folder: BatchFolder, state: BatchState) -> Whereabouts:
    """Look for every filed picture in approved/ and rejected/ and the folders inside them; a renamed one is known by its bytes."""
    paths: dict[str, str] = {}
    doubled: set[str] = set()
    strangers: list[str] = []
    for place in (APPROVED, REJECTED):
        for parent, _, names in os.walk(folder.root / place):
            inside = Path(parent).relative_to(folder.root).as_posix()
            for name in names:
                if name not in state.filed:
                    strangers.append(f"{inside}/{name}")
                elif name in paths and not paths[name].startswith(f"{place}/"):
                    doubled.add(name)
                elif name not in paths:  # the folder itself comes before those inside it
                    paths[name] = f"{inside}/{name}"
    for name in doubled:  # a copy decides nothing: the place that we know of is the picture's
        known = f"{state.places.get(name, APPROVED)}/{name}"
        paths[name] = known if (folder.root / known).is_file() else paths[name]
    renamed = _find_renamed(folder.root, state, state.filed - paths.keys(), strangers)
    unknown = sorted(path for path in set(strangers) - set(renamed.values()) if is_picture_name(Path(path)))
    return Whereabouts(paths | renamed, frozenset(doubled), tuple(unknown))


def _find_renamed(root: Path, state: BatchState, missing: Collection[str], strangers: Sequence[str]) -> dict[str, str]:
    """Picture -> path, of those that are not under their names: among the strangers, and in the folder of what is published."""
    sought = {known.sha256: name for name in sorted(missing) if (known := state.scored.get(name)) is not None and known.sha256}
    sizes = {state.scored[name].bytes for name in sought.values()}
    published = root / PUBLISHED
    copies = sorted(path.name for path in published.iterdir() if path.is_file()) if sought and published.is_dir() else ()
    found: dict[str, str] = {}
    for path in (*strangers, *(f"{PUBLISHED}/{name}" for name in copies)):
        if not sought:
            break
        if (name := sought.pop(_digest(root / path, sizes), None)) is not None:
            found[name] = path
    return found


def _digest(path: Path, sizes: Collection[int | None]) -> str:
    """The SHA-256 of a file; empty where it cannot be read, or is of none of these sizes (None: of any), which may be so of thousands."""
    try:
        return files.sha256_file(path) if None in sizes or path.stat().st_size in sizes else ""
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The decisions in force by picture, and where the pictures lie. `gone` were filed, and somebody deleted or took them since."""

    decisions: Mapping[str, Decision]
    found: Whereabouts
    gone: frozenset[str] = frozenset()

    def approves(self, name: str, verdict: bool) -> bool:
        """Whether a picture is there and approved: by a person, else by the gates' `verdict`."""
        decision = self.decisions.get(name)
        return name not in self.gone and (verdict if decision is None else decision.approved)


NOTHING_SETTLED = Settled({}, Whereabouts({}))


def read_settled(folder: BatchFolder, state: BatchState, on_warning: Callable[[str], None] = warn) -> Settled:
    """The decisions as they are written down, and where the pictures lie. Changes nothing."""
    found = find_pictures_of(folder, state)
    return Settled(decisions_in_force(folder.root, state, on_warning), found, frozenset(state.filed - found.paths.keys()))


def settle_decisions(
    folder: BatchFolder, state: BatchState, note: Note = lambda text: None, *, on_warning: Callable[[str], None] | None = None
) -> Settled:
    """Write down what was decided by moving pictures, and move what was decided elsewhere. `on_warning`: where else than to `note`.

    The caller holds the lock of the directory. `state` is brought up to date. Killed in between, the next call does the rest.
    """
    if not state.filed:
        return NOTHING_SETTLED
    with writing(folder.root) as append:
        before = read_settled(folder, state, note if on_warning is None else on_warning)
        found, known = before.found, dict(before.decisions)
        moved = {name: place for name in sorted(state.filed) if (place := _moved_to(name, state, found)) is not None}
        fresh = [
            Decision(DecidedPicture(name, state.scored[name].sha256), bool(found.is_approved(name)), when=now_text())
            for name in moved
            if name in state.scored and (name not in known or known[name].approved != found.is_approved(name))
        ]
        append(fresh)
    known |= {decision.picture.name: decision for decision in fresh}
    paths = dict(found.paths)
    waiting = [name for name in paths if name in known and name not in found.doubled and found.is_approved(name) != known[name].approved]
    for name in waiting:
        folder.refile_from(paths[name], name, approved=known[name].approved)
        moved[name] = known[name].verdict
        paths[name] = f"{moved[name]}/{name}"
    if moved:
        with closing(Journal(folder.root / JOURNAL_FILE)) as journal:
            journal.append("placed", places=moved, durable=True)
        state.places |= moved
    _tell(folder, fresh, waiting, note)
    _warn(found, note if on_warning is None else on_warning)
    return Settled(known, replace(found, paths=paths), before.gone)


def moved_by_hand(state: BatchState, found: Whereabouts) -> set[str]:
    """The pictures that somebody moved since we last put or saw them."""
    return {name for name in state.filed if _moved_to(name, state, found) is not None}


def _moved_to(name: str, state: BatchState, found: Whereabouts) -> str | None:
    """The folder into which somebody moved a picture since we last put or saw it; None where nobody did."""
    place = found.folder_of(name)
    known = state.places.get(name) or (APPROVED if state.verdicts.get(name) else REJECTED)  # a journal without places is an older one
    return None if place is None or name in found.doubled or place == known else place


def _tell(folder: BatchFolder, fresh: list[Decision], carried_out: list[str], note: Note) -> None:
    if fresh:
        ups = sum(decision.approved for decision in fresh)
        text = f"{counted(len(fresh), 'picture')} moved by hand: {ups} into approved, {len(fresh) - ups} into rejected"
        note(f"{text}; written down as the owner's decision in {folder.root / DECISIONS_FILE}")
    if carried_out:
        note(f"{counted(len(carried_out), 'picture')} moved as {DECISIONS_FILE} says")


def _warn(found: Whereabouts, note: Note) -> None:
    for name in sorted(found.doubled):
        note(f"warning: {name} lies in approved/ and in rejected/: remove one of the two")
    if found.strangers:
        there = verb(len(found.strangers), "is", "are")
        more = f" and {len(found.strangers) - STRANGERS_NAMED} more" if len(found.strangers) > STRANGERS_NAMED else ""
        named = ", ".join(map(escape_line, found.strangers[:STRANGERS_NAMED])) + more
        note(f"warning: {counted(len(found.strangers), 'picture')} {there} {STRANGER}, and not counted: {named}")
