"""What a dispatcher knows of one server: the prompts that it holds, how quick it is, whether it rests. Guarded by the pool's lock."""

from __future__ import annotations

import threading
from collections import deque

from tools.backends.backend import PromptEnd
from tools.backends.dispatched_jobs import Needs, Task
from tools.backends.tail_choice import LaneLoad

RECENT_ENDS = 8
"""Of which the mean is a server's pace: the first one, which loads the models, is soon forgotten."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0
"""How long a server that is busy is left alone where it does not say, at first and at most."""

FAILURES_IN_A_ROW = 3
"""Failed tries of a server, and no picture between them: it rests while others work."""

FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 60.0, 1800.0

REFUSALS_IN_A_ROW = 3
"""Prompts that need the same, refused one after the other: it gets no more of them."""


class LaneState:
    """One server. `takes_seconds`: may make what another is making already. `is_priced`: it is paid by the work, not by the hour."""

    def __init__(self, url: str, lock: threading.RLock, *, alive: bool, takes_seconds: bool = False, is_priced: bool = False) -> None:
        self.url, self.alive, self.takes_seconds, self.is_priced = url, alive, takes_seconds, is_priced
        self.tasks: dict[str, Task] = {}
        """On the server, by prompt id, the oldest first."""
        self.awake = threading.Condition(lock)
        self.is_idle = False
        """Whether its thread waits for a task."""
        self.withdraws: list[Task] = []
        """Of its prompts, those that an idle server would have: it is to take them back if they have not begun."""
        self.drops: list[Task] = []
        """Of its prompts, those that another server was quicker with."""
        self.barred: set[Needs] = set()
        """What it refuses."""
        self.failures = 0
        self._refused: dict[Needs, int] = {}
        self._gaps: deque[float] = deque(maxlen=RECENT_ENDS)
        self.pace: float | None = None
        """Seconds a prompt, None before its first."""
        self._since = 0.0
        self._credits: float | None = None
        self._busy_until = self._rest_until = self._pause = self._rest = 0.0

    def begin(self, task: Task, now: float) -> None:
        if not self.tasks:
            self._since = now
        task.server, task.sent_at = self.url, now
        self.tasks[task.prompt_id] = task

    def end(self, outcome: PromptEnd, now: float) -> Task | None:
        """A prompt of it ended; from now on it is at the next. None for one that it does not hold any more."""
        task, is_done = self.tasks.pop(outcome.prompt_id, None), outcome.kind == "done"
        if outcome.credits:  # what charges them is not idle for nothing, whatever was said of it
            self._credits = outcome.credits
            self.takes_seconds, self.is_priced = self.takes_seconds and self.is_priced, True
        if task is not None and is_done:
            self._gaps.append(now - self._since)
            self.pace = sum(self._gaps) / len(self._gaps)
        self._since = now
        return task

    def load(self, now: float) -> LaneLoad:
        return LaneLoad(self.url, len(self.tasks), self.pace, now - self._since if self.tasks else 0.0)

    def broken_off(self, task: Task, now: float) -> PromptEnd:
        """A prompt stopped because another server was quicker: seconds by the clock, and what one usually costs, if it had begun."""
        has_begun = task.is_running or next(iter(self.tasks), None) == task.prompt_id
        seconds = max(0.0, now - max(self._since, task.sent_at)) if has_begun else 0.0
        credits = self._credits if has_begun else None
        return PromptEnd(task.prompt_id, "interrupted", message="another server was quicker", seconds=seconds, credits=credits)

    # Rests

    def is_busy(self, now: float) -> bool:
        return now < self._busy_until

    def rests(self, now: float) -> bool:
        return now < self._rest_until

    def rest_left(self, now: float) -> float:
        return max(0.0, self._busy_until - now, self._rest_until - now)

    def was_busy(self, now: float, retry_after: float | None) -> None:
        """It took no more: it is asked again later, and each time in a row twice as late."""
        self._pause = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * self._pause))
        wanted = min(retry_after, LONGEST_PAUSE_SECONDS) if retry_after is not None else self._pause
        self._busy_until = now + max(wanted, FIRST_PAUSE_SECONDS)

    def accepted(self) -> None:
        self._pause = self._busy_until = 0.0

    def worked(self) -> None:
        """It made a picture."""
        self.failures = 0
        self._rest = self._rest_until = 0.0
        self._refused.clear()

    def failed(self) -> None:
        self.failures += 1

    def rest(self, now: float) -> float:
        """Have it rest, each time twice as long: returns the seconds."""
        self._rest = min(LONGEST_REST_SECONDS, max(FIRST_REST_SECONDS, 2 * self._rest))
        self._rest_until = now + self._rest
        return self._rest

    def refused(self, needs: Needs) -> int:
        """It refused a prompt: returns how many in a row of those that need the same."""
        self._refused[needs] = self._refused.get(needs, 0) + 1
        return self._refused[needs]
