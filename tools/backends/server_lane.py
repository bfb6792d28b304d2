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
from tools.backends.lane_state import REFUSALS_IN_A_ROW
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
    second: Callable[[Job, str, str], None] = lambda job, prompt_id, url: None
    dropped: Callable[[Job, PromptEnd, str], None] = lambda job, outcome, url: None
    refused: Callable[[PromptEnd, str], None] = lambda outcome, url: None


class ServerLane:
    """One server: a thread that feeds and follows it, and one that downloads what it made."""

    def __init__(
        self, server: Backend, pool: TaskPool, tell: Listeners, *, ahead: int, retries: int, admit: Callable[[Backend], None]
    ) -> None:
        self.server = server
        self._state = pool.lanes[server.url]
        self._pool, self._tell, self._admit = pool, tell, admit
        self._ahead, self._retries = ahead, retries
        self._is_out = False
        self._outage = threading.Lock()  # guards it: both threads meet an outage
        server.on_outage = self._tell_outage
        server.on_note = lambda text: tell.note(f"{server.url}: {text}")
        self._done: queue.SimpleQueue[tuple[Task, PromptEnd] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"{work.__name__} {server.url}", daemon=True)
            for work in (self._feed_and_follow, self._download)
        ]

    @property
    def alive(self) -> bool:
        return self._state.alive

    @property
    def room(self) -> int:
        """How many more prompts the server should hold."""
        return max(1, self.server.depth(self._ahead)) - len(self._state.tasks)

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
        if not self.alive and not self._revive([], "takes part from now on"):
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
            self._answer_requests()
            self.server.cancel(list(self._state.tasks))

    def _work(self) -> None:
        """Until the dispatcher closes. Raises UnavailableError when the server is gone."""
        while not self._pool.closing:
            self._answer_requests()
            task = self._pool.take(self._state, self._name, wait=not self._state.tasks) if self.room > 0 else None
            if task is not None:
                self._submit(task)
            elif self._state.tasks:
                for outcome in self.server.wait(WAIT_SECONDS):
                    ended = self._pool.end(self._state, outcome)
                    if ended is not None:
                        self._judge(ended, outcome)

    def _answer_requests(self) -> None:
        """Give back the prompts that an idle server would have, if they have not begun; drop those that another was quicker with."""
        for task, outcome in self._pool.to_drop(self._state):
            self._cancel(task)
            self._tell.dropped(task.job, outcome, self.server.url)
        withdraws = self._pool.to_withdraw(self._state)
        if not withdraws or self._pool.closing:
            return
        try:
            waiting = self.server.workload().waiting
        except UnavailableError:
            waiting = ()
        for task in withdraws:
            if (task.handle or task.prompt_id) in waiting:
                self._cancel(task)
                self._pool.take_off(self._state, task)
                self._pool.give_back([task])
            else:
                task.is_running = True

    def _cancel(self, task: Task) -> None:
        with contextlib.suppress(UnavailableError):  # it runs on, and harms nobody
            self.server.cancel([task.prompt_id])

    def _name(self, task: Task) -> None:
        job = task.job
        may_be_there = task.attempts == 0 and job.sent_as is not None and job.sent_to == self.server.url
        task.prompt_id = job.sent_as if may_be_there and job.sent_as else str(uuid.uuid4())
        task.begin()

    def _submit(self, task: Task) -> None:
        job, prompt_id, url = task.job, task.prompt_id, self.server.url
        may_be_there = prompt_id == job.sent_as
        try:
            graph = task.graph if job.prepare is None else job.prepare(self.server, task.graph)
        except RejectedPrompt as error:  # a picture that the graph loads
            self._reject(task, error)
            return
        except InputError as error:
            self._pool.take_off(self._state, task)
            outcome = PromptEnd(prompt_id, "failed", message=f"{error.what}: {error.why}", fix=error.fix)
            self._finish(task, outcome)
            return
        (self._tell.second if task.is_second and task.twin is not None else self._tell.submitted)(job, prompt_id, url)
        try:
            handle = self.server.submit(
                prompt_id,
                graph,
                ask_first=may_be_there,
                handle=job.sent_handle if may_be_there else None,
            )
            self._pool.accepted(self._state, task, handle)
            if handle != prompt_id:
                self._tell.accepted(job, prompt_id, handle)
        except BusyError as error:
            self._pool.was_busy(self._state, error.retry_after)
            self._pool.take_off(self._state, task)
            task.attempts -= 1
            self._give_back(task, PromptEnd(prompt_id, "interrupted", message=error.why))
        except RejectedPrompt as error:
            self._reject(task, error)

    def _reject(self, task: Task, error: RejectedPrompt) -> None:
        self._pool.take_off(self._state, task)
        message = f"rejected: {error.message}" + (f" ({error.fix})" if error.fix else "")
        fix = "mend the workflow or its settings"
        outcome = PromptEnd(task.prompt_id, "failed", node=error.node, message=message, is_set_up=True, fix=fix)
        if not self._goes_elsewhere(task, outcome):
            self._finish(task, outcome)

    def _goes_elsewhere(self, task: Task, outcome: PromptEnd) -> bool:
        """A prompt that this server refused goes to one that has not, if there is one. The first of its kind is told, and the last."""
        if self._over(task, outcome):
            return True
        count = self._pool.refused(self._state, task)
        if not self._pool.give_back([task], to_others=True):
            return False
        self._tell.refused(outcome, self.server.url)
        if count == 1:
            self._tell.note(f"{self.server.url}: {task.job.key} was {outcome.message}; another server gets it")
        elif count == REFUSALS_IN_A_ROW:
            why = f"refused {count} pictures in a row ({outcome.message})"
            self._tell.note(f"{self.server.url} {why}: it gets no more that need the same, the other servers make them")
        return True

    def _give_back(self, task: Task, outcome: PromptEnd) -> None:
        """It is to be made by whichever server comes first, if none has it already."""
        if not self._over(task, outcome):
            self._pool.give_back([task])

    def _over(self, task: Task, outcome: PromptEnd) -> bool:
        """Whether what came to nothing here is no matter, because another server has the same job or was quicker."""
        is_over = self._pool.part(task)
        if is_over:
            self._tell.dropped(task.job, outcome, self.server.url)
        return is_over

    def _judge(self, task: Task, outcome: PromptEnd) -> None:
        if outcome.kind == "done":
            self._done.put((task, outcome))
        elif outcome.is_rejection and self._goes_elsewhere(task, outcome):
            return
        elif outcome.kind == "lost" and task.losses < (1 if outcome.is_charged else MAX_LOSSES):
            task.losses += 1
            if not self._over(task, outcome):
                self._tell.note(f"{self.server.url}: {task.job.key} was lost ({outcome.message}); submitted again")
                self._pool.give_back([task])
        else:
            if outcome.out_of_memory and not task.memory_freed:
                task.memory_freed = True
                with contextlib.suppress(UnavailableError):  # a server that is gone has freed it as well
                    self.server.free_memory()
            self._retry_or_finish(task, outcome)

    def _retry_or_finish(self, task: Task, outcome: PromptEnd) -> None:
        """Another try where one may succeed: a failure that passes, or one that may be this server's alone."""
        if self._over(task, outcome):
            self._count_failure(outcome)
            return
        task.failures += 1
        task.failed_at.add(self.server.url)
        may_succeed = outcome.can_heal or (not outcome.is_set_up and self._pool.has_untried(task))
        where = f" at node {outcome.node}" if outcome.node else ""
        if may_succeed and task.failures <= self._retries:
            self._tell.note(f"{self.server.url}: {task.job.key} {outcome.kind}{where}: {outcome.message}; try {task.failures + 1}")
            self._tell.failed_try(outcome, self.server.url)
            self._pool.give_back([task])
        else:
            self._finish(task, outcome)
        self._count_failure(outcome)

    def _count_failure(self, outcome: PromptEnd) -> None:
        rest = self._pool.failed(self._state)
        if rest is not None:
            why = f"{self._state.failures} tries in a row failed, the last: {outcome.message}"
            self._tell.note(f"{self.server.url} gets no more for {rest / 60:g} min, the other servers go on: {why}")

    def _finish(self, task: Task, outcome: PromptEnd, pictures: tuple[tuple[PictureRef, bytes], ...] = ()) -> None:
        if not self._pool.finish(task, Finished(task.job, outcome, pictures, self.server.url, task.attempts)):
            self._tell.dropped(task.job, outcome, self.server.url)

    def _download(self) -> None:
        while (item := self._done.get()) is not None:
            task, outcome = item
            self._pool.worked(self._state)
            if task.is_settled:
                self._tell.dropped(task.job, outcome, self.server.url)
                continue
            try:
                pictures = tuple((ref, self._fetch(ref)) for ref in outcome.pictures)
            except UnavailableError as error:
                is_lost = isinstance(error, LostPicture)
                if not is_lost and (not self.alive or self._pool.closing):
                    self._give_back(task, outcome)  # the server is gone: no failure of this prompt
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
                self._finish(task, outcome, pictures)

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
        held = list(self._state.tasks.values())
        gone = PromptEnd("", "lost", message=error.why)
        tasks = [task for task in held if not self._over(task, replace(gone, prompt_id=task.prompt_id))]
        has_others = self._pool.leave(self._state, tasks)
        if has_others:
            self._tell.note(f"{error}; its {counted(len(tasks), 'prompt')} {verb(len(tasks), 'moves', 'move')} to the other servers")
        else:
            self._pool.fail(error)
        ids = [task.prompt_id for task in held]
        with contextlib.suppress(UnavailableError):
            self.server.cancel(ids)
        return ids

    def _revive(self, stale: list[str], words: str = "is back") -> bool:
        """Try the server again now and then, until it is back or the dispatcher ends."""
        while not self._pool.rest(REVIVE_SECONDS):
            try:
                self.server.connect()
                self.server.cancel(stale)  # the others have run them meanwhile
                self._admit(self.server)
            except UnavailableError:
                continue
            self._pool.come_back(self._state)
            self._is_out = False
            self._tell.note(f"{self.server.url} {words}")
            return True
        return False
