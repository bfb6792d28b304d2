"""What the servers of a dispatcher share: the tasks that wait, the jobs that ended, and which servers are there to take some."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Set

from tools.backends.dispatched_jobs import Finished, Job, Task


class TaskPool:
    """Gives tasks out in the order they were put, each to one server. May be used from any thread."""

    def __init__(self, servers: Iterable[str]) -> None:
        self.closing = False
        self.alive = set(servers)
        """The URLs of the servers that are there."""
        self._changed = threading.Condition()  # guards all of it
        self._waiting: deque[Task] = deque()
        self._finished: deque[Finished] = deque()
        self._unfinished = 0
        self._failure: BaseException | None = None

    def waiting(self) -> list[Callable[[str], bool] | None]:
        """Of each task that no server has: which servers can run it, None where all can."""
        with self._changed:
            return [task.job.can_run for task in self._waiting]

    @property
    def busy(self) -> bool:
        """Whether any job that was put has not been handed out by `wait`."""
        with self._changed:
            return self._unfinished > 0

    def put(self, job: Job) -> None:
        """Add a job behind those that wait."""
        with self._changed:
            self._unfinished += 1
            self._waiting.append(Task(job, job.graph))
            self._changed.notify_all()

    def wait(self, timeout: float) -> list[Finished]:
        """The jobs that ended since the last call, as soon as there is one; empty after `timeout` seconds.

        Raises what `fail` was told, after handing out everything that ended before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._failure, timeout)
            ended = list(self._finished)
            self._finished.clear()
            self._unfinished -= len(ended)
            if not ended and self._failure is not None:
                raise self._failure
            return ended

    def close(self) -> None:
        """Forget what waits; nothing is given out any more."""
        with self._changed:
            self.closing = True
            self._waiting.clear()
            self._changed.notify_all()

    def take(self, server: str, begin: Callable[[Task], None], *, wait: bool) -> Task | None:
        """The first waiting task that suits a server; with `wait`, as soon as there is one. None when closing.

        `begin` counts it where it goes before it stops waiting, so that nobody finds it in neither place.
        """
        with self._changed:
            while not self.closing:
                for task in self._waiting:
                    if self._suits(task, server):
                        begin(task)
                        self._waiting.remove(task)
                        return task
                if not wait:
                    return None
                self._changed.wait()
            return None

    def _suits(self, task: Task, server: str) -> bool:
        takers = self._takers(task)
        if takers and server not in takers:
            return False
        return task.attempts > 0 or task.job.sent_to == server or task.job.sent_to not in takers

    def _takers(self, task: Task) -> Set[str]:
        """The servers that are there, can run a task and have not refused it, those first where it has not failed; where none that is
        there can run it, any of them."""
        can_run = task.job.can_run
        able = self.alive if can_run is None else {server for server in self.alive if can_run(server)} or self.alive
        left = able - task.refused_by if task.refused_by else able
        return left - task.failed_at or left

    def give_back(self, tasks: list[Task], *, to_others: bool = False) -> bool:
        """Put tasks before all that wait: their models are still loaded. False, and nothing done, where no server may take them."""
        with self._changed:
            if not (self._takers(tasks[0]) if to_others else self.alive):
                return False
            self._waiting.extendleft(reversed(tasks))
            self._changed.notify_all()
            return True

    def leave(self, server: str, tasks: list[Task]) -> bool:
        """A server is gone: its tasks go to the others. False where there is none."""
        with self._changed:
            self.alive.discard(server)
            return self.give_back(tasks)

    def come_back(self, server: str) -> None:
        with self._changed:
            self.alive.add(server)

    def finish(self, finished: Finished) -> None:
        with self._changed:
            self._finished.append(finished)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """No server is left, or a thread met a fault: `wait` raises it."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def rest(self, seconds: float) -> bool:
        """Wait, but not beyond the end. True when it is closing, or failed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closing or self._failure, seconds)
            return self.closing or self._failure is not None
