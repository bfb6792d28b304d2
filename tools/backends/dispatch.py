"""Many jobs over one or several back ends, each kept busy: two prompts wait behind the one that runs.

    with Dispatcher(servers, ahead=2) as dispatcher:
        for finished in dispatcher.run(jobs):
            ...

or, where what comes next depends on what came out, `put` as many as `wanted` says and `wait`.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lifeos.counting import counted, verb
from lifeos.errors import UnavailableError
from tools.backends.backend import Backend, LostPicture, PictureRef, PromptEnd, RejectedPrompt
from tools.workflows.graph import rename_outputs

REVIVE_SECONDS = 20.0
"""How often a server that went away is tried again while others work."""

WAIT_SECONDS = 0.25
"""How soon a server's thread notices new jobs while it follows its prompts: shorter than any picture."""

MAX_LOSSES = 3
"""A server may be restarted several times in one batch; one that dies of a prompt would go on for ever."""

FETCH_PAUSE_SECONDS = 1.0
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """A graph to run. `key` is the caller's name for it, unique in the run.

    Resuming after a crash: `sent_as` and `sent_to` are the prompt id and server URL under which it may be on a server already (from
    `on_submit` of the earlier run), `sent_handle` the server's own name for it (from `on_accepted`): then that server is asked before
    anything is queued again.
    """

    key: str
    graph: dict[str, Any]
    sent_as: str | None = None
    sent_to: str | None = None
    sent_handle: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a job: its last outcome, the pictures as downloaded, and how often it was tried.

    `outcome.kind` is `done` if and only if `pictures` holds every picture. A rejected prompt is a `failed` outcome.
    """

    job: Job
    outcome: PromptEnd
    pictures: tuple[tuple[PictureRef, bytes], ...]
    server: str
    attempts: int


@dataclass(slots=True)
class _Task:
    """A job on its way. A copy of its job may carry another graph than the caller's (a retry past the server's cache)."""

    job: Job
    graph: dict[str, Any]
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    memory_freed: bool = False
    refused_by: set[str] = field(default_factory=set)


class Dispatcher:
    """Feeds jobs to servers in the order they were put, so that jobs that share models run together.

    A dead server's jobs move to the others, and it is tried again now and then; a job that a restarted server lost is
    submitted again, `MAX_LOSSES` times at most; failures that can heal are tried `retries` times more, after `POST /free` where memory
    ran out.
    An outage that is waited out is told when it begins and when it ends.
    Every attempt has a prompt id of its own, told to `on_submit(job, prompt_id, server_url)` just before it is posted
    (from a server's thread); a back end that has a name of its own for it tells `on_accepted(job, prompt_id, handle)` just after.
    `on_failed_try(outcome, server_url)` hears of a failure that is tried again; the last one of a job is its Finished.
    `on_note(text)` gets one line for a person whenever something of this happens.

    The servers must be connected. They are neither connected nor closed here, but their prompts are followed by threads
    of the dispatcher until `close`.
    """

    def __init__(
        self,
        servers: Sequence[Backend],
        *,
        ahead: int = 2,
        retries: int = 2,
        on_submit: Callable[[Job, str, str], None] | None = None,
        on_accepted: Callable[[Job, str, str], None] | None = None,
        on_failed_try: Callable[[PromptEnd, str], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        self.ahead = ahead
        self.retries = retries
        self.on_submit = on_submit or (lambda job, prompt_id, url: None)
        self.on_accepted = on_accepted or (lambda job, prompt_id, handle: None)
        self.on_failed_try = on_failed_try or (lambda outcome, url: None)
        self.note = on_note or (lambda text: None)
        self.closing = False
        self.changed = threading.Condition(threading.RLock())  # guards what follows
        self._waiting: deque[_Task] = deque()
        self._finished: deque[Finished] = deque()
        self._unfinished = 0
        self._failure: BaseException | None = None
        self._lanes = [_Lane(self, server) for server in servers]
        for lane in self._lanes:
            lane.start()

    @property
    def wanted(self) -> int:
        """How many more jobs the servers could take now."""
        with self.changed:
            room = sum(lane.room for lane in self._lanes if lane.alive)
            return max(0, room - len(self._waiting))

    @property
    def busy(self) -> bool:
        """Whether any job that was put has not been handed out by `wait`."""
        with self.changed:
            return self._unfinished > 0

    def put(self, job: Job) -> None:
        """Add a job behind those that wait."""
        with self.changed:
            self._unfinished += 1
            self._waiting.append(_Task(job, job.graph))
            self.changed.notify_all()

    def wait(self, timeout: float) -> list[Finished]:
        """The jobs that ended since the last call, as soon as there is one; empty after `timeout` seconds.

        Raises UnavailableError when no server is left, after handing out everything that ended before.
        """
        with self.changed:
            self.changed.wait_for(lambda: self._finished or self._failure, timeout)
            ended = list(self._finished)
            self._finished.clear()
            self._unfinished -= len(ended)
            if not ended and self._failure is not None:
                raise self._failure
            return ended

    def run(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        """Every job, in the order in which they end. `jobs` is read only as far as the servers want more."""
        source = iter(jobs)
        more = True
        while True:
            while more and self.wanted:
                job = next(source, None)
                more = job is not None
                if job is not None:
                    self.put(job)
            if not more and not self.busy:
                return
            yield from self.wait(timeout=1.0)

    def close(self) -> None:
        """Cancel what has not ended (only ours), and stop."""
        with self.changed:
            self.closing = True
            self._waiting.clear()
            self.changed.notify_all()
        until = time.monotonic() + CLOSE_SECONDS
        for lane in self._lanes:
            lane.join(max(0.1, until - time.monotonic()))

    # What follows is for the lanes.

    def take(self, lane: _Lane, *, wait: bool) -> _Task | None:
        """The first waiting task that suits a lane with room; with `wait`, as soon as there is one. None when closing."""
        with self.changed:
            while not self.closing:
                if lane.room > 0:
                    for task in self._waiting:
                        if self._suits(task, lane):
                            self._waiting.remove(task)
                            return task
                if not wait:
                    return None
                self.changed.wait()
            return None

    def _suits(self, task: _Task, lane: _Lane) -> bool:
        others = {other.server.url for other in self._lanes if other.alive and other is not lane}
        if lane.server.url in task.refused_by and others - task.refused_by:
            return False
        return task.attempts > 0 or task.job.sent_to is None or task.job.sent_to == lane.server.url or task.job.sent_to not in others

    def give_back(self, tasks: list[_Task], *, to_others: bool = False) -> bool:
        """Put tasks before all that wait: their models are still loaded. False, and nothing done, where no server may take them."""
        with self.changed:
            alive = {lane.server.url for lane in self._lanes if lane.alive}
            if not (alive - tasks[0].refused_by if to_others else alive):
                return False
            self._waiting.extendleft(reversed(tasks))
            self.changed.notify_all()
            return True

    def finish(self, finished: Finished) -> None:
        with self.changed:
            self._finished.append(finished)
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """No server is left, or a thread met a fault: `wait` raises it."""
        with self.changed:
            self._failure = self._failure or error
            self.changed.notify_all()

    def rest(self, seconds: float) -> bool:
        """Wait, but not beyond the end of the dispatcher. True when it has ended, or failed."""
        with self.changed:
            self.changed.wait_for(lambda: self.closing or self._failure, seconds)
            return self.closing or self._failure is not None

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Lane:
    """One server: a thread that feeds and follows it, and one that downloads what it made."""

    def __init__(self, dispatcher: Dispatcher, server: Backend) -> None:
        self.server = server
        self.alive = True
        self._d = dispatcher
        self._is_out = False
        server.on_outage = self._tell_outage
        server.on_note = lambda text: dispatcher.note(f"{server.url}: {text}")
        self._tasks: dict[str, _Task] = {}  # on the server, by prompt id
        self._done: queue.SimpleQueue[tuple[_Task, PromptEnd] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"{work.__name__} {server.url}", daemon=True)
            for work in (self._feed_and_follow, self._download)
        ]

    @property
    def room(self) -> int:
        """How many more prompts the server should hold."""
        return max(1, self.server.depth(self._d.ahead)) - len(self._tasks)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _tell_outage(self, error: UnavailableError | None) -> None:
        """Once when the server stops answering, once when it is back. Both threads meet an outage."""
        with self._d.changed:
            if (error is not None) == self._is_out:
                return
            self._is_out = error is not None
        if error is None:
            self._d.note(f"{self.server.url} is back")
        elif not self._d.closing:
            wait = f"waiting up to {self.server.outage_seconds:g} s for it to come back"
            self._d.note(f"{self.server.url}: {error.why}; {wait}")

    def join(self, seconds: float) -> None:
        self._done.put(None)
        for thread in self._threads:
            thread.join(seconds)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - a fault, or the caller's own on_submit: `wait` raises it
            self._d.fail(error)

    def _feed_and_follow(self) -> None:
        while True:
            try:
                self._work()
                break
            except UnavailableError as error:
                stale = self._give_up(error)
            if not self._revive(stale):
                return
        with contextlib.suppress(UnavailableError):  # what cannot be cancelled runs on, and harms nobody
            self.server.cancel(list(self._tasks))

    def _work(self) -> None:
        """Until the dispatcher closes. Raises UnavailableError when the server is gone."""
        while not self._d.closing:
            task = self._d.take(self, wait=not self._tasks)
            if task is not None:
                self._submit(task)
            elif self._tasks:
                for outcome in self.server.wait(WAIT_SECONDS):
                    self._judge(self._tasks.pop(outcome.prompt_id), outcome)

    def _submit(self, task: _Task) -> None:
        job = task.job
        may_be_there = task.attempts == 0 and job.sent_as is not None and job.sent_to == self.server.url
        prompt_id = job.sent_as if may_be_there and job.sent_as else str(uuid.uuid4())
        task.attempts += 1
        self._tasks[prompt_id] = task
        self._d.on_submit(job, prompt_id, self.server.url)
        try:
            handle = self.server.submit(
                prompt_id,
                task.graph,
                ask_first=may_be_there,
                handle=job.sent_handle if may_be_there else None,
            )
            if handle != prompt_id:
                self._d.on_accepted(job, prompt_id, handle)
        except RejectedPrompt as error:
            del self._tasks[prompt_id]
            task.refused_by.add(self.server.url)
            outcome = PromptEnd(
                prompt_id, "failed", node=error.node, message=f"rejected: {error.message}" + (f" ({error.fix})" if error.fix else "")
            )
            if not self._d.give_back([task], to_others=True):
                self._d.finish(Finished(job, outcome, (), self.server.url, task.attempts))

    def _judge(self, task: _Task, outcome: PromptEnd) -> None:
        if outcome.kind == "done":
            self._done.put((task, outcome))
        elif outcome.kind == "lost" and task.losses < MAX_LOSSES:
            task.losses += 1
            self._d.note(f"{self.server.url}: {task.job.key} was lost ({outcome.message}); submitted again")
            self._d.give_back([task])
        else:
            if outcome.out_of_memory and not task.memory_freed:
                task.memory_freed = True
                with contextlib.suppress(UnavailableError):  # a server that is gone has freed it as well
                    self.server.free_memory()
            self._retry_or_finish(task, outcome)

    def _retry_or_finish(self, task: _Task, outcome: PromptEnd) -> None:
        task.failures += 1
        where = f" at node {outcome.node}" if outcome.node else ""
        if outcome.can_heal and task.failures <= self._d.retries:
            self._d.note(f"{self.server.url}: {task.job.key} {outcome.kind}{where}: {outcome.message}; try {task.failures + 1}")
            self._d.on_failed_try(outcome, self.server.url)
            self._d.give_back([task])
        else:
            self._d.finish(Finished(task.job, outcome, (), self.server.url, task.attempts))

    def _download(self) -> None:
        while (item := self._done.get()) is not None:
            task, outcome = item
            try:
                pictures = tuple((ref, self._fetch(ref)) for ref in outcome.pictures)
            except UnavailableError as error:
                is_lost = isinstance(error, LostPicture)
                if not is_lost and (not self.alive or self._d.closing):
                    self._d.give_back([task])  # the server is gone: no failure of this prompt
                    continue
                # only a changed node runs again: the server has the rest in its cache
                task.graph = rename_outputs(task.graph, f"_{task.failures + 2}")
                failed = replace(outcome, kind="failed", pictures=(), message=error.why, can_heal=True)
                if isinstance(error, LostPicture):
                    failed = replace(failed, node=error.node, can_heal=error.can_heal, is_set_up=error.is_set_up, fix=error.fix)
                self._retry_or_finish(task, failed)
            else:
                self._d.finish(Finished(task.job, outcome, pictures, self.server.url, task.attempts))

    def _fetch(self, ref: PictureRef) -> bytes:
        """A picture is on the server's disk: a restart is waited out, as it is while following."""
        until = time.monotonic() + self.server.outage_seconds
        while True:
            try:
                data = self.server.download(ref)
            except LostPicture as error:
                error.node = ref.node
                raise
            except UnavailableError as error:
                if not self.alive or self._d.closing or time.monotonic() > until:
                    raise
                self._tell_outage(error)
                self._d.rest(FETCH_PAUSE_SECONDS)
            else:
                self._tell_outage(None)
                return data

    def _give_up(self, error: UnavailableError) -> list[str]:
        """The server is gone: its jobs go to the others. Returns the prompt ids that may still be on it."""
        with self._d.changed:
            self.alive = False
            tasks, self._tasks = self._tasks, {}
            others = self._d.give_back(list(tasks.values()))
        if others:
            self._d.note(f"{error}; its {counted(len(tasks), 'prompt')} {verb(len(tasks), 'moves', 'move')} to the other servers")
        else:
            self._d.fail(error)
        with contextlib.suppress(UnavailableError):
            self.server.cancel(list(tasks))
        return list(tasks)

    def _revive(self, stale: list[str]) -> bool:
        """Try the server again now and then, until it is back or the dispatcher ends."""
        while not self._d.rest(REVIVE_SECONDS):
            try:
                self.server.connect()
                self.server.cancel(stale)  # the others have run them meanwhile
            except UnavailableError:
                continue
            self.alive = True
            self._is_out = True  # also one that was given up at once, without waiting, is told to be back
            self._tell_outage(None)
            return True
        return False
