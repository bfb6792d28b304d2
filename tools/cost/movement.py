"""Whether what runs on a pod moves on, from one look of the watch to the next. That a process is there tells only that it lives.

A trainer that works prints and saves, an evaluation reads pictures, a transfer reads and writes: the system counts these bytes for each
process. ComfyUI's history tells of prompts that ended. Our batches, sweeps and trainings say it themselves, with their heartbeats. A busy
GPU tells nothing: one that hangs is busy too. Where nobody known uses it, scripts that write are taken for its user. What cannot be
measured counts as moving on, since nobody can tell it from work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.cost.processes import EVALUATION, TRAINING, TRANSFER, Running, Worker, find_unknown_scripts, find_workers
from tools.cost.session import OpenSession

SLOWEST_TRANSFER = 1000.0
"""Bytes per second: curl and wget that wait for a dead line go on printing 0 B/s."""


class Movement:
    """What was seen at the look before. `seconds` is any clock that only runs forward."""

    def __init__(self) -> None:
        self._workers: dict[int, Worker] = {}
        self._scripts: dict[int, int | None] = {}
        self._speakers: set[int] = set()
        """Programs of ours that have said in a session of this meter that they move on: their word is taken."""
        self._made: str | None = None
        self._seconds = 0.0

    def look(
        self, processes: Sequence[Running], queued: int | None, made: str | None, seconds: float, *, told: bool, is_gpu_busy: bool
    ) -> bool:
        """Whether anything moved on. `queued`, `made`: as of a watch's sample; `told`: a program of ours has said so meanwhile."""
        workers = {one.pid: one for one in find_workers(processes)}
        passed = seconds - self._seconds
        if told:
            self._speakers |= {pid for pid, one in workers.items() if one.tells}
        is_measured = any(one.kind == TRAINING and not one.tells for one in workers.values())
        moved = [self._has_moved(one, passed, is_measured=is_measured) for one in workers.values()]
        scripts = find_unknown_scripts(processes)
        if is_gpu_busy and not workers and not queued:
            moved += [written is None or written != self._scripts.get(pid, -1) for pid, written in scripts.items()]
        self._scripts = scripts
        has_made = bool(queued) and (made is None or made != self._made)
        self._workers, self._seconds, self._speakers = workers, seconds, self._speakers & set(workers)
        self._made = made if queued else self._made
        return told or has_made or any(moved)

    def _has_moved(self, worker: Worker, passed: float, *, is_measured: bool) -> bool:
        before = self._workers.get(worker.pid)
        if before is None or before.kind != worker.kind:
            return True  # it has begun
        if worker.tells:  # the trainer that a training of ours has started is measured itself
            return worker.pid not in self._speakers and not (worker.kind == TRAINING and is_measured)
        if worker.read is None or worker.written is None or before.read is None or before.written is None:
            return True
        read, written = worker.read - before.read, worker.written - before.written
        if worker.kind == TRANSFER:
            return abs(read) + abs(written) >= SLOWEST_TRANSFER * passed
        return (read if worker.kind == EVALUATION else written) != 0


class ToldProgress:
    """What programs of ours say in the sessions of a meter that a watch keeps too: the watch's own words are none of theirs."""

    def __init__(self, read_sessions: Callable[[], list[OpenSession]]) -> None:
        self._read_sessions = read_sessions
        self._known: dict[str, str] = {}

    def has_come(self, own_session: str) -> bool:
        """Whether a session other than the watch's own has begun, or any was said to have moved on, by somebody else than the watch."""
        told = {one.session_id: one.last_progress for one in self._read_sessions()}
        new = {one for one, moment in told.items() if moment and moment != self._known.get(one)}
        if own_session not in self._known:
            new.discard(own_session)
        self._known = told
        return bool(new)

    def said(self, session: OpenSession) -> None:
        """The watch's own word."""
        self._known[session.session_id] = session.last_progress
