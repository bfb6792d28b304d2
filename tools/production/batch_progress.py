"""How far a batch is, for people: its progress bar, and a line now and then where nobody sees a bar."""

from __future__ import annotations

import math
import sys
import time

from lifeos.counting import counted
from lifeos.progress import Progress
from tools.production.budget import BatchBudget, WallPace, format_seconds
from tools.production.plan import Plan
from tools.production.stopping import Note

LOG_SECONDS = 60


class BatchProgress:
    """`total` is how many pictures there will be, as far as that is known."""

    def __init__(self, plan: Plan, total: int, budget: BatchBudget, bar: Progress, note: Note) -> None:
        self._plan, self._total, self._budget, self._bar, self._note = plan, total, budget, bar, note
        self._pace = WallPace()
        self._logged = time.monotonic()

    def passed(self, *, made: int, approved: int, is_made: bool) -> None:
        """An item came to its end, with a picture or without. `made` and `approved` count those of the whole batch."""
        now = time.monotonic()
        self._pace.finished(now)
        seconds = self._seconds_left(made, approved)
        left = "?" if seconds is None else format_seconds(seconds)
        usd = {} if self._budget.is_free else {"spent": f"${self._budget.spent(now):.2f}"}
        self._bar.advance(int(is_made), approved=approved, left=left, **usd)
        if now - self._logged >= LOG_SECONDS and not sys.stderr.isatty():
            self._logged = now
            money = f", {usd['spent']} spent" if usd else ""
            self._note(f"{made} of {counted(self._total, 'picture')}, {approved} approved, {left} left{money}")

    def _seconds_left(self, made: int, approved: int) -> float | None:
        """By the pace of the last pictures; before there is one, by the policy's figure for a server. None where nothing is known."""
        todo = max(0, self._total - made)
        target = self._plan.target_approved
        if target is not None and made:
            todo = min(todo, math.ceil(max(0, target - approved) * made / max(1, approved)))
        pace = self._pace.seconds
        if pace is not None:
            return todo * pace
        return self._budget.left(todo).seconds if self._plan.generates else None
