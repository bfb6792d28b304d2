"""Repairing what the gates reject: which pictures go through the second graph, when, and that each goes once.

A picture is repaired where only the face or the skin gate rejects it: what a guard rejects, what shows no face and what cannot be read
stays as it is. A repaired picture is judged by the same gates, guards too, and is never repaired itself.

The second graph loads other models, and a server that goes to and fro between two loads them each time. So repairs wait until there
are `GROUP` of them, or as many as a target still lacks, and then go one behind the other; with the last picture queued, all that wait
go at once, so that no server is idle.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.judging.gates import GATES
from evals.judging.picture_verdict import Reason, Verdict, verdict
from lifeos.errors import InputError
from tools.backends.backend import Backend
from tools.backends.dispatch import Job
from tools.production.batch_state import BatchState, original_of
from tools.production.filing import REJECTED, BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal
from tools.production.plan import Item, Plan
from tools.production.repair_numbers import is_repair, repair_number
from tools.production.results import read_scores
from tools.production.settling import Settled
from tools.production.stopping import Note

GROUP = 8
"""To load the models of another graph takes about as long as one or two pictures (0.5 to 1 s for a LoRA, 5 to 20 s for a checkpoint from
a local disk): spread over eight it is a small part of them."""

MOST_FAILED = 3
"""Repairs that fail one after the other: then the graph is at fault, and no more are sent."""

REPAIRED_SUBJECTS = frozenset({"face", "skin"})
WithPicture = Callable[[Mapping[str, Any], str], dict[str, Any]]
"""A filled graph, and what the server calls the picture -> the graph that loads it."""


def is_repairable(grounds: Iterable[Reason]) -> bool:
    """Whether only gates of the face or the skin speak against a picture."""
    mended = {gate.key for gate in GATES if gate.subject in REPAIRED_SUBJECTS and not gate.is_guard} | REPAIRED_SUBJECTS
    keys = [ground.gate for ground in grounds]
    return bool(keys) and all(key in mended for key in keys)


def upload_name(sha256: str, file: str) -> str:
    """What a picture is called on the server: by its bytes, so that no two share a name and one is uploaded twice without harm."""
    return f"lifeos-{sha256[:16]}{Path(file).suffix.lower()}"


def find_waiting(
    plan: Plan, folder: BatchFolder, state: BatchState, settled: Settled, policy: Mapping[str, Any]
) -> Iterator[tuple[int, str]]:
    """The repairs that are left to do: their numbers, and the pictures. Those that were begun come first."""
    if plan.repair is None:
        return
    for number, item in sorted(state.items.items()):
        name = original_of(state, number)
        if name is not None and not item.is_made and item.failure is None and may_be_repaired(folder, state, settled, name):
            yield number, name
    numbers = {
        name: repair_number(index, place)
        for index, item in sorted(state.items.items())
        for place, name in enumerate(item.files, 1)
        if not is_repair(index)
    }
    rejected = {name for name in numbers if numbers[name] not in state.items and may_be_repaired(folder, state, settled, name)}
    scores = read_scores(folder.root / JOURNAL_FILE, rejected, lambda text: None) if rejected else {}
    for name, number in numbers.items():
        assessment = scores[name].assessment if name in scores else None
        if assessment is not None and is_repairable(verdict(assessment, policy).grounds):
            yield number, name


def may_be_repaired(folder: BatchFolder, state: BatchState, settled: Settled, name: str) -> bool:
    """Whether a picture is rejected by the gates, is there, and nobody decided about it."""
    is_rejected = state.verdicts.get(name) is False and name in state.filed
    return is_rejected and name not in settled.decisions and folder.path(REJECTED, name).is_file()


class Repairs:
    """The pictures of a run that wait to be repaired. `found` is called by any thread, all else by the one that runs the batch.

    `with_picture` is None where nothing is repaired.
    """

    def __init__(
        self, plan: Plan, folder: BatchFolder, state: BatchState, journal: Journal, with_picture: WithPicture | None, note: Note
    ) -> None:
        self.is_on = with_picture is not None and plan.repair is not None
        self._plan, self._folder, self._state, self._journal, self._note = plan, folder, state, journal, note
        self._with_picture = with_picture
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, str]] = deque()
        self._known: set[int] = set()
        self._released = 0
        self._failed = 0

    def begin(self, settled: Settled, policy: Mapping[str, Any]) -> None:
        """Take up what earlier runs left."""
        for number, name in find_waiting(self._plan, self._folder, self._state, settled, policy) if self.is_on else ():
            self._add(number, name)

    def found(self, item: Item, name: str, judged: Verdict) -> None:
        """A picture was rejected: it waits to be repaired, if that may help."""
        if not self.is_on or item.repairs or not is_repairable(judged.grounds):
            return
        place = self._state.item(item.index).files.index(name) + 1
        number = repair_number(item.index, place)
        if number not in self._state.items:
            self._add(number, name)

    def _add(self, number: int, name: str) -> None:
        with self._lock:
            if number not in self._known:
                self._known.add(number)
                self._waiting.append((number, name))

    def next(self, settled: Settled, *, missing: int | None, is_last: bool) -> Item | None:
        """The repair whose turn it is now, None where none is. `missing`: approved pictures that a target lacks. `is_last`: nothing else
        is left to be queued."""
        while self.is_on and self._waiting:
            number, name = self._waiting[0]
            if not may_be_repaired(self._folder, self._state, settled, name):  # somebody decided about it meanwhile
                self._waiting.popleft()
                continue
            if not self._released and (is_last or len(self._waiting) >= min(GROUP, max(1, missing if missing is not None else GROUP))):
                self._released = len(self._waiting)
            return self._plan.item(number) if self._released else None
        self._released = 0
        return None

    @property
    def are_waiting(self) -> bool:
        return self.is_on and bool(self._waiting)

    def job(self, job: Job) -> Job:
        """The job of the repair whose turn it is, which loads its picture. From here on the picture is not repaired again."""
        number, name = self._waiting.popleft()
        self._released = max(0, self._released - 1)
        if number not in self._state.items:
            self._journal.append("repair", item=number, file=name, durable=True)
            self._state.item(number)
        path, with_picture = self._folder.path(REJECTED, name), self._with_picture
        assert with_picture is not None
        sha256 = self._state.scored[name].sha256 if name in self._state.scored else ""

        def prepare(server: Backend, graph: dict[str, Any]) -> dict[str, Any]:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise InputError(name, f"cannot be read: {error.strerror or error}") from None
            told = server.upload_picture(upload_name(sha256 or hashlib.sha256(data).hexdigest(), name), data)
            loaded = with_picture(graph, told)
            return loaded if job.prepare is None else job.prepare(server, loaded)

        return replace(job, prepare=prepare)

    def made(self) -> None:
        self._failed = 0

    def failed(self, *, is_set_up: bool) -> None:
        """A repair came to nothing. Where the graph is at fault no more are sent in this run; a later one tries those that wait."""
        self._failed += 1
        if self.is_on and (is_set_up or self._failed >= MOST_FAILED):
            self.is_on = False
            left = len(self._waiting)
            self._note(f"warning: repairing stops, its graph does not work; {left} more would have been repaired")
