"""Carrying out what people decided: pictures that were moved by hand are written down as decisions, those decided elsewhere are moved.

Whoever moves a picture between approved/ and rejected/, or into a folder inside one of them, decides so: the next command that looks at
the batch writes it down (`from` is `move`). A review appends lines of its own; their pictures are moved then. A picture of which every
verdict was taken back goes where the gates want it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from lifeos.counting import counted, verb
from lifeos.escaping import escape_line
from lifeos.files import warn
from tools.production.batch_state import BatchState
from tools.production.decisions import DECISIONS_FILE, DecidedPicture, Decision, read_standing, writing
from tools.production.filing import APPROVED, REJECTED, BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal, now_text
from tools.production.stopping import Note
from tools.production.whereabouts import Whereabouts, find_pictures_of

STRANGER = "not of this batch"
"""Of a picture that somebody put into approved/ or rejected/, and that the batch did not make or take in."""
STRANGERS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Settled:
    """The decisions in force by picture, and where the pictures lie. `gone` were filed, and somebody deleted or took them since."""

    decisions: Mapping[str, Decision]
    found: Whereabouts
    gone: frozenset[str] = frozenset()
    verdicts: Mapping[str, tuple[Decision, ...]] = field(default_factory=dict)
    """What each reviewer says, by picture, the newest last: `StandingVerdicts`."""
    released: frozenset[str] = frozenset()

    def approves(self, name: str, verdict: bool) -> bool:
        """Whether a picture is there and approved: by a person, else by the gates' `verdict`."""
        decision = self.decisions.get(name)
        return name not in self.gone and (verdict if decision is None else decision.approved)


NOTHING_SETTLED = Settled({}, Whereabouts({}))


def read_settled(folder: BatchFolder, state: BatchState, on_warning: Callable[[str], None] = warn) -> Settled:
    """The decisions as they are written down, and where the pictures lie. Changes nothing."""
    found = find_pictures_of(folder, state)
    standing = read_standing(folder.root, state, on_warning)
    return Settled(standing.in_force, found, frozenset(state.filed - found.paths.keys()), standing.verdicts, standing.released)


class ReviewsMeanwhile:
    """What people decide in a review while a batch is made: it counts at once, and is carried out when the batch ends."""

    def __init__(self, folder: BatchFolder) -> None:
        self._folder, self._size = folder, _size_of(folder)

    def hear(self, state: BatchState, before: Settled) -> Settled:
        """`before`, or what is decided now where something was written since. The caller keeps `state` from changing."""
        size = _size_of(self._folder)
        if size == self._size:
            return before
        self._size = size
        return read_settled(self._folder, state, lambda text: None)  # told when it is carried out


def _size_of(folder: BatchFolder) -> int:
    """Of the decisions, which only grow."""
    try:
        return (folder.root / DECISIONS_FILE).stat().st_size
    except OSError:
        return 0


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
            if name in state.scored and found.is_approved(name) != _told(name, state, before)
        ]
        append(fresh)
    known |= {decision.picture.name: decision for decision in fresh}
    paths = dict(found.paths)
    wanted = {name: decision.approved for name, decision in known.items()}
    wanted |= {name: state.approves(name) for name in before.released if name not in known and name in state.verdicts}
    waiting = [name for name in paths if name in wanted and name not in found.doubled and found.is_approved(name) != wanted[name]]
    for name in waiting:
        folder.refile_from(paths[name], name, approved=wanted[name])
        moved[name] = APPROVED if wanted[name] else REJECTED
        paths[name] = f"{moved[name]}/{name}"
    if moved:
        with closing(Journal(folder.root / JOURNAL_FILE)) as journal:
            journal.append("placed", places=moved, durable=True)
        state.places |= moved
    _tell(folder, fresh, waiting, note)
    _warn(found, note if on_warning is None else on_warning)
    verdicts = dict(before.verdicts) | {
        name: (*(one for one in before.verdicts.get(name, ()) if one.by != made.by or one.opinion), made)
        for name, made in known.items()
        if made is not before.decisions.get(name)
    }
    return Settled(known, replace(found, paths=paths), before.gone, verdicts, before.released - known.keys())


def _told(name: str, state: BatchState, before: Settled) -> bool | None:
    """Whether a picture that lies elsewhere now is to be approved as far as is written down; None: nobody has decided about it."""
    decision = before.decisions.get(name)
    if decision is not None:
        return decision.approved
    return state.approves(name) if name in before.released else None


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
