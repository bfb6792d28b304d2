"""One server of a dispatcher: what feeds and follows it, downloads what it made, and gives its jobs to others when it is gone."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from lifeos.counting import counted, verb
from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import Backend, BusyError, LostPicture, PictureRef, PromptEnd, RejectedPrompt
from tools.backends.dispatched_jobs import Finished, Job, Task
from tools.backends.task_pool import TaskPool
from tools.workflows.graph import rename_outputs

REVIVE_SECONDS = 20.0
"""How often a server that went away is tried again while others work."""

WAIT_SECONDS = 0.25
"""How soon a server's thread notices new jobs while it follows its prompts: shorter than any picture."""

MAX_LOSSES = 3
"""A server may be restarted several times in one batch; one that dies of a prompt would go on for ever."""

FETCH_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whom a dispatcher tells what it does, as its own docstring says; from the threads of its servers."""

    submitted: Callable[[Job, str, str], None]
    accepted: Callable[[Job, str, str], None]
    failed_try: Callable[[PromptEnd, str], None]
    note: Callable[[str], None]


class ServerLane:
    """One server: a thread that feeds and follows it, and one that downloads what it made."""

    def __init__(
        self, server: Backend, pool: TaskPool, tell: Listeners, *, ahead: int, retries: int, admit: Callable[[Backend], None]
    ) -> None:
        self.server = server
        self._pool, self._tell, self._admit = pool, tell, admit
        self._ahead, self._retries = ahead, retries
        self._is_out = False
        self._outage = threading.Lock()  # guards it: both threads meet an outage
        server.on_outage = self._tell_outage
        server.on_note = lambda text: tell.note(f"{server.url}: {text}")
        self._tasks: dict[str, Task] = {}  # on the server, by prompt id
        self._done: queue.SimpleQueue[tuple[Task, PromptEnd] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"{work.__name__} {server.url}", daemon=True)
            for work in (self._feed_and_follow, self._download)
        ]

    @property
    def alive(self) -> bool:
        return self.server.url in self._pool.alive

    @property
    def room(self) -> int:
        """How many more prompts the server should hold."""
        return max(1, self.server.depth(self._ahead)) - len(self._tasks)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _tell_outage(self, error: UnavailableError | None) -> None:
        """Once when the server stops answering, once when it is back."""
        with self._outage:
            if (error is not None) == self._is_out:
                return
            self._is_out = error is not None
        if error is None:
            self._tell.note(f"{self.server.url} is back")
        elif not self._pool.closing:
            wait = f"waiting up to {self.server.outage_seconds:g} s for it to come back"
            self._tell.note(f"{self.server.url}: {error.why}; {wait}")

    def join(self, seconds: float) -> None:
        self._done.put(None)
        for thread in self._threads:
            thread.join(seconds)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - a fault, or the caller's own on_submit: `wait` raises it
            self._pool.fail(error)

    def _feed_and_follow(self) -> None:
        if not self.alive and not self._revive([]):
            return
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
        while not self._pool.closing:
            task = self._pool.take(self.server.url, self._begin, wait=not self._tasks) if self.room > 0 else None
            if task is not None:
                self._submit(task)
            elif self._tasks:
                for outcome in self.server.wait(WAIT_SECONDS):
                    self._judge(self._tasks.pop(outcome.prompt_id), outcome)

    def _begin(self, task: Task) -> None:
        job = task.job
        may_be_there = task.attempts == 0 and job.sent_as is not None and job.sent_to == self.server.url
        task.prompt_id = job.sent_as if may_be_there and job.sent_as else str(uuid.uuid4())
        task.attempts += 1
        self._tasks[task.prompt_id] = task

    def _submit(self, task: Task) -> None:
        job, prompt_id = task.job, task.prompt_id
        may_be_there = prompt_id == job.sent_as
        try:
            graph = task.graph if job.prepare is None else job.prepare(self.server, task.graph)
        except InputError as error:
            del self._tasks[prompt_id]
            outcome = PromptEnd(prompt_id, "failed", message=f"{error.what}: {error.why}", fix=error.fix)
            self._pool.finish(Finished(job, outcome, (), self.server.url, task.attempts))
            return
        self._tell.submitted(job, prompt_id, self.server.url)
        try:
            handle = self.server.submit(
                prompt_id,
                graph,
                ask_first=may_be_there,
                handle=job.sent_handle if may_be_there else None,
            )
            if handle != prompt_id:
                self._tell.accepted(job, prompt_id, handle)
        except BusyError:
            del self._tasks[prompt_id]
            task.attempts -= 1
            self._pool.give_back([task])
        except RejectedPrompt as error:
            del self._tasks[prompt_id]
            message = f"rejected: {error.message}" + (f" ({error.fix})" if error.fix else "")
            fix = "mend the workflow or its settings"
            outcome = PromptEnd(prompt_id, "failed", node=error.node, message=message, is_set_up=True, fix=fix)
            if not self._goes_elsewhere(task):
                self._pool.finish(Finished(job, outcome, (), self.server.url, task.attempts))

    def _goes_elsewhere(self, task: Task) -> bool:
        """A prompt that this server refused goes to one that has not, if there is one."""
        task.refused_by.add(self.server.url)
        return self._pool.give_back([task], to_others=True)

    def _judge(self, task: Task, outcome: PromptEnd) -> None:
        if outcome.kind == "done":
            self._done.put((task, outcome))
        elif outcome.is_rejection and self._goes_elsewhere(task):
            self._tell.note(f"{self.server.url}: {task.job.key} was {outcome.message}; another server gets it")
        elif outcome.kind == "lost" and task.losses < (1 if outcome.is_charged else MAX_LOSSES):
            task.losses += 1
            self._tell.note(f"{self.server.url}: {task.job.key} was lost ({outcome.message}); submitted again")
            self._pool.give_back([task])
        else:
            if outcome.out_of_memory and not task.memory_freed:
                task.memory_freed = True
                with contextlib.suppress(UnavailableError):  # a server that is gone has freed it as well
                    self.server.free_memory()
            self._retry_or_finish(task, outcome)

    def _retry_or_finish(self, task: Task, outcome: PromptEnd) -> None:
        task.failures += 1
        task.failed_at.add(self.server.url)
        where = f" at node {outcome.node}" if outcome.node else ""
        if outcome.can_heal and task.failures <= self._retries:
            self._tell.note(f"{self.server.url}: {task.job.key} {outcome.kind}{where}: {outcome.message}; try {task.failures + 1}")
            self._tell.failed_try(outcome, self.server.url)
            self._pool.give_back([task])
        else:
            self._pool.finish(Finished(task.job, outcome, (), self.server.url, task.attempts))

    def _download(self) -> None:
        while (item := self._done.get()) is not None:
            task, outcome = item
            try:
                pictures = tuple((ref, self._fetch(ref)) for ref in outcome.pictures)
            except UnavailableError as error:
                is_lost = isinstance(error, LostPicture)
                if not is_lost and (not self.alive or self._pool.closing):
                    self._pool.give_back([task])  # the server is gone: no failure of this prompt
                    continue
                # only a changed node runs again: the server has the rest in its cache
                task.graph = rename_outputs(task.graph, f"_{task.failures + 2}")
                failed = replace(outcome, kind="failed", pictures=(), message=error.why, can_heal=True)
                if isinstance(error, LostPicture):
                    why = f"saves what cannot be read: {error.why}" if error.is_set_up else error.why
                    failed = replace(failed, node=error.node, message=why, can_heal=error.can_heal)
                    failed = replace(failed, is_set_up=error.is_set_up, fix=error.fix)
                self._retry_or_finish(task, failed)
            else:
                self._pool.finish(Finished(task.job, outcome, pictures, self.server.url, task.attempts))

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
                if not self.alive or self._pool.closing or time.monotonic() > until:
                    raise
                self._tell_outage(error)
                self._pool.rest(FETCH_PAUSE_SECONDS)
            else:
                self._tell_outage(None)
                return data

    def _give_up(self, error: UnavailableError) -> list[str]:
        """The server is gone: its jobs go to the others. Returns the prompt ids that may still be on it."""
        tasks = self._tasks
        has_others = self._pool.leave(self.server.url, list(tasks.values()))
        self._tasks = {}
        if has_others:
            self._tell.note(f"{error}; its {counted(len(tasks), 'prompt')} {verb(len(tasks), 'moves', 'move')} to the other servers")
        else:
            self._pool.fail(error)
        with contextlib.suppress(UnavailableError):
            self.server.cancel(list(tasks))
        return list(tasks)

    def _revive(self, stale: list[str]) -> bool:
        """Try the server again now and then, until it is back or the dispatcher ends."""
        while not self._pool.rest(REVIVE_SECONDS):
            try:
                self.server.connect()
                self.server.cancel(stale)  # the others have run them meanwhile
                self._admit(self.server)
            except UnavailableError:
                continue
            self._pool.come_back(self.server.url)
            self._is_out = True  # also one that was given up at once, without waiting, is told to be back
            self._tell_outage(None)
            return True
        return False
