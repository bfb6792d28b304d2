"""A batch as a review sees it: its pictures and what was decided, read again where the batch or other reviewers have gone on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evals.load_thresholds import load_thresholds
from lifeos import locks
from lifeos.errors import InputError
from lifeos.project import require_directory
from tools.production.batch_state import BatchState
from tools.production.decisions import DECISIONS_FILE, Decision, read_decisions
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.plan import PLAN_FILE, Plan, read_plan
from tools.production.rejudging import plan_in_force, policy_in_force
from tools.production.resemblance import find_alike
from tools.production.results import PictureResult, read_results, with_settled
from tools.production.settling import NOTHING_SETTLED, Settled, read_settled
from tools.production.stopping import Note
from tools.production.weeding import in_order

ROUND = "rung_*"


def check_batch(root: Path) -> Plan:
    """The plan of the batch in a directory. Raises InputError where there is none, with what to name instead."""
    require_directory(root, "OUT")
    plan = read_plan(root)
    if plan is not None:
        return plan
    rounds = sorted(path.parent.name for path in root.glob(f"{ROUND}/{PLAN_FILE}"))
    if rounds:
        raise InputError(root, f"holds a sweep, of which each round is a batch: {', '.join(rounds)}", f"name one: {root / rounds[-1]}")
    inner = sorted(path.parent.name for path in root.glob(f"*/{PLAN_FILE}"))
    fix = f"name {root / inner[0]}" if inner else "name the --output-dir of a batch"
    raise InputError(root, f"holds no batch: there is no {PLAN_FILE}", fix)


def gone(root: Path) -> InputError:
    """The batch is no longer in its directory."""
    return InputError(root, f"its {PLAN_FILE} is gone", "was the directory moved? start the review again in its new place")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The batch at one moment. `lines`: every usable line of the decisions, oldest first. `groups`: pictures that are nearly the same."""

    plan: Plan
    state: BatchState
    policy: Mapping[str, Any]
    settled: Settled = NOTHING_SETTLED
    pictures: Mapping[str, PictureResult] = field(default_factory=dict)
    lines: tuple[Decision, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    version: int = 0


class ReviewedBatch:
    """Hands out snapshots. May be asked from any thread. `root` is the project's, for the policy."""

    def __init__(self, folder: BatchFolder, root: Path, note: Note) -> None:
        self.folder, self._root, self._note = folder, root, note
        self._lock, self._grouping = threading.Lock(), threading.Lock()
        self._made: tuple[object, ...] = ()
        self._decided: tuple[object, ...] = ()
        self._said: set[str] = set()
        self._grouped: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] = ((), ())
        self._snapshot = Snapshot(check_batch(folder.root), BatchState(), {})

    @property
    def is_running(self) -> bool:
        """Whether another program works on the batch, as far as its lock tells."""
        return locks.is_held(self.folder.lock)

    def look(self) -> Snapshot:
        """What is known now. Reads nothing where nothing was written since."""
        with self._lock:
            made = tuple(_mark(self.folder.root / name) for name in (JOURNAL_FILE, PLAN_FILE))
            decided = tuple(_mark(self.folder.root / name) for name in (DECISIONS_FILE, "approved", "rejected"))
            if made != self._made:
                self._snapshot, self._made, self._decided = self._settle(self._read()), made, decided
            elif decided != self._decided:
                self._snapshot, self._decided = self._settle(self._snapshot), decided
            return self._snapshot

    def find_groups(self) -> None:
        """Look for pictures that are nearly the same; this takes a while, and `look` has them afterwards."""
        with self._grouping:
            found = self.look()
            names = tuple(name for name in found.pictures if name not in found.settled.gone)
            if names == self._grouped[0]:
                return
            order = in_order(found.plan, found.state)
            alike = find_alike(self.folder, found.state, found.settled, {name: order[name] for name in names if name in order})
            groups = join_pairs([*alike, *_copies(found.pictures)], names)
            with self._lock:
                self._grouped, self._decided = (names, groups), ()

    def _read(self) -> Snapshot:
        root = self.folder.root
        saved = read_plan(root)
        if saved is None:
            raise gone(root)
        state = read_state(root / JOURNAL_FILE, self._say_once)
        plan = plan_in_force(saved, state)
        policy = policy_in_force(load_thresholds(self._root), plan, state)
        results = read_results(plan, self.folder, state, NOTHING_SETTLED, policy, self._say_once)
        return replace(self._snapshot, plan=plan, state=state, policy=policy, pictures={each.file: each for each in results.pictures})

    def _settle(self, found: Snapshot) -> Snapshot:
        """The same with what was decided, which changes more often than what was made."""
        settled = read_settled(self.folder, found.state, self._say_once)
        lines = tuple(each for each in read_decisions(self.folder.root, lambda text: None) if _is_about(each, found.state))
        pictures = {name: with_settled(picture, settled) for name, picture in found.pictures.items()}
        version = self._snapshot.version + 1
        return replace(found, settled=settled, pictures=pictures, lines=lines, groups=self._grouped[1], version=version)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._note(f"warning: {text}")


def _mark(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_about(decision: Decision, state: BatchState) -> bool:
    scored = state.scored.get(decision.picture.name)
    return scored is not None and decision.picture.sha256 in ("", scored.sha256)


def _copies(pictures: Mapping[str, PictureResult]) -> list[tuple[str, str]]:
    return [(name, picture.copy.file) for name, picture in pictures.items() if picture.copy is not None and picture.copy.file in pictures]


def join_pairs(pairs: list[tuple[str, str]], order: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Groups of pictures of which each is like another, in this order; a picture of none of the pairs is in no group."""
    leader = {name: name for name in order}

    def lead(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for first, second in pairs:
        if first in leader and second in leader:
            leader[lead(second)] = lead(first)
    groups: dict[str, list[str]] = {}
    for name in order:
        groups.setdefault(lead(name), []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)
