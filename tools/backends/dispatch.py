"""Many jobs over one or several back ends, each kept busy: two prompts wait behind the one that runs.

    with Dispatcher(servers, ahead=2) as dispatcher:
        for finished in dispatcher.run(jobs):
            ...

or, where what comes next depends on what came out, `put` as many as `wanted` says and `wait`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from tools.backends.backend import Backend, PromptEnd
from tools.backends.dispatched_jobs import Finished, Job, Task
from tools.backends.server_lane import ServerLane

__all__ = ["Dispatcher", "Finished", "Job"]

CLOSE_SECONDS = 5.0


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
        self._waiting: deque[Task] = deque()
        self._finished: deque[Finished] = deque()
        self._unfinished = 0
        self._failure: BaseException | None = None
        self._lanes = [ServerLane(self, server) for server in servers]
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
            self._waiting.append(Task(job, job.graph))
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

    def take(self, lane: ServerLane, *, wait: bool) -> Task | None:
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

    def _suits(self, task: Task, lane: ServerLane) -> bool:
        others = {other.server.url for other in self._lanes if other.alive and other is not lane}
        if lane.server.url in task.refused_by and others - task.refused_by:
            return False
        return task.attempts > 0 or task.job.sent_to is None or task.job.sent_to == lane.server.url or task.job.sent_to not in others

    def give_back(self, tasks: list[Task], *, to_others: bool = False) -> bool:
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
