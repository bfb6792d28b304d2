"""Duplicates of a batch: of pictures that are the same file one is approved, the one with the lower number in the plan.

Which pictures are duplicates follows from what was scored, in the order of the plan: it does not matter in which order threads, servers or
runs ended. It is worked out when everything that was downloaded is filed. One record of the journal names all duplicates and the pictures
that move; it is on the disk before the first of them moves, so that a killed run is finished by the next one.

A picture about which somebody decided, or that somebody moved, stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evals.judging.duplicates import REPAIRED, Alike, CopyOf, Entry, find_copies
from lifeos.counting import counted, verb
from tools.production.batch_state import BatchState, find_originals
from tools.production.filing import BatchFolder
from tools.production.journal import Journal
from tools.production.plan import Plan
from tools.production.settling import Settled, moved_by_hand, read_settled
from tools.production.stopping import Note

UNSETTLED = ("interrupted", "error")
"""Endings of a run after which its duplicates may not have been found."""


def find_duplicates(plan: Plan, state: BatchState, verdicts: Mapping[str, bool], alike: Alike | None = None) -> dict[str, CopyOf]:
    """The duplicates among the pictures that the gates approve by these `verdicts`. `alike`: pairs that are nearly the same.

    A repaired picture is one where the gates approve, by the limits of now, the picture that it was made from.
    """
    order = in_order(plan, state)
    repaired = {name: CopyOf(original, REPAIRED) for name, original in find_originals(state).items() if verdicts.get(original)}
    approved = (entry_of(state, name, config) for name, config in order.items() if verdicts.get(name) and name not in repaired)
    return find_copies(approved, alike) | {name: copy for name, copy in repaired.items() if verdicts.get(name)}


def entry_of(state: BatchState, name: str, config: str) -> Entry:
    """A picture among those that may be duplicates: each configuration of a sweep is a set of its own."""
    return Entry(name, state.scored[name].sha256 if name in state.scored else None, config)


def in_order(plan: Plan, state: BatchState) -> dict[str, str]:
    """Every picture in the order of the plan, with its configuration."""
    return {name: plan.config_of(plan.item(index)) for index, item in sorted(state.items.items()) for name in item.files}


def weed_out(found: dict[str, CopyOf], folder: BatchFolder, state: BatchState, journal: Journal, note: Note) -> Settled | None:
    """Record which pictures are duplicates now, and move them. Returns where everything lies then, None if nothing changed.

    Nothing may be on its way into approved/ or rejected/ meanwhile.
    """
    if found == state.duplicates:
        return None
    settled = read_settled(folder, state, lambda text: None)  # told where the run began
    by_hand = moved_by_hand(state, settled.found)
    filed = {name: approved for name, approved in state.verdicts.items() if name in state.filed and name not in by_hand}
    moves = find_moves(state, settled, filed, found)
    journal.append("duplicates", duplicates=to_record(found), moves=list(moves), durable=True)
    state.reject_duplicates(found, moves)
    carry_out(folder, state, journal, "moved")
    fresh = sum(name in found for name in moves)
    if fresh:
        note(f"{counted(fresh, 'picture')} {verb(fresh, 'is a duplicate', 'are duplicates')} of another in this batch: moved into rejected")
    return read_settled(folder, state, lambda text: None)


def find_moves(state: BatchState, settled: Settled, verdicts: Mapping[str, bool], copies: Mapping[str, CopyOf]) -> dict[str, bool]:
    """The pictures that change their place by these verdicts and duplicates, and whether into approved/. What a person decided stays."""
    now = {name: approved and name not in copies for name, approved in verdicts.items()}
    return {name: approved for name, approved in now.items() if approved != state.approves(name) and name not in settled.decisions}


def to_record(found: Mapping[str, CopyOf]) -> dict[str, Any]:
    """Duplicates as they stand in the journal."""
    return {name: asdict(copy) for name, copy in found.items()}


def carry_out(folder: BatchFolder, state: BatchState, journal: Journal, event: str) -> None:
    """Move the pictures that have still to move, and record it: as `moved` within a run of the program, else as `refiled`."""
    for name, approved in state.moves.items():
        folder.refile(name, approved=approved)
    journal.append(event, pictures=len(state.moves))
    state.settle_moves()
