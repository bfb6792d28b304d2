"""Budgets for a day and a month, over everything that the cost log knows and what runs now: batches, sweeps and trainings share them.

Days and months are UTC. A closed session counts on the day it started; an open session of the meter with what it cost since midnight, or
since the first of the month.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from lifeos import times
from lifeos.errors import EXIT_GATE, LifeosError
from tools.cost.ledger import read_ledger
from tools.cost.meter import LOG_FILE, STATE_FILE, Meter
from tools.cost.running_costs import RunningCost, read_running, settle_killed, until_now
from tools.cost.session import parse_time, price

REREAD_SECONDS = 20.0
"""How old what other work spent may be, as running work sees it. Theirs is written every twenty seconds, a charge after five."""

ROUNDING_USD = 1e-9


class OverBudgetError(LifeosError):
    """Work that does not fit into what is left of a budget: nothing was begun."""

    exit_code = EXIT_GATE


@dataclass(frozen=True, slots=True)
class SpendingLimits:
    """Dollars that may be spent on a day and in a month; 0: no limit."""

    day: float = 0.0
    month: float = 0.0

    @classmethod
    def read(cls, policy: Mapping[str, Any], day: float | None = None, month: float | None = None) -> SpendingLimits:
        """The policy's, under those of the command line."""
        cost = policy["cost"]
        return cls(cost["max_usd_per_day"] or 0.0 if day is None else day, cost["max_usd_per_month"] or 0.0 if month is None else month)

    @property
    def are_set(self) -> bool:
        return bool(self.day or self.month)

    def rows(self, spent: Spent) -> list[tuple[str, str, float, float]]:
        """The limits that are set: its word, its flag, what is spent, and the limit."""
        rows = [("today", "--max-cost-day", spent.day, self.day), ("this month", "--max-cost-month", spent.month, self.month)]
        return [row for row in rows if row[3]]


@dataclass(frozen=True, slots=True)
class Spent:
    """Dollars that were spent today and this month (UTC)."""

    day: float
    month: float


def read_spent(log_file: Path, state_file: Path, now: datetime, leave_out: Path | None = None, *, counts_underway: bool = True) -> Spent:
    """What the log, the meter's open sessions and running work say. `leave_out`: the file of running work that counts itself.

    What running work has under way counts too where `counts_underway`: it will be paid. Raises LifeosError for a log or a state file that
    cannot be read.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight.replace(day=1)
    today, month = f"{midnight:%Y-%m-%d}", f"{midnight:%Y-%m}"
    ledger = read_ledger(log_file, first.date())
    spent = [
        float(ledger.total(lambda kind: kind.day >= today).usd),
        float(ledger.total(lambda kind: kind.day >= f"{month}-01").usd),
    ]
    meter = Meter(log_file, state_file, warn=lambda text: None)
    for session in meter.open_sessions():
        start, whole = parse_time(session.start), meter.cost_so_far(session)
        for place, since in enumerate((midnight, first)):
            before = price(Decimal(max(0, round((since - start).total_seconds()))), session.rate_per_hr)
            spent[place] += float(max(Decimal(0), whole - before))
    for path, part in read_running(log_file):
        if path != leave_out:
            part = until_now(part, now)
            ahead = part.ahead_usd if counts_underway else 0.0
            spent[0] += (part.usd if part.start[:10] >= today else 0.0) + ahead
            spent[1] += (part.usd if part.start[:7] >= month else 0.0) + ahead
    return Spent(*spent)


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How much of a budget is spent. `period`: the day or the month (UTC); `word`: today, or this month."""

    word: str
    period: str
    spent: Decimal
    limit: Decimal

    @property
    def left(self) -> Decimal:
        return max(Decimal(0), self.limit - self.spent)


def budget_uses(limits: SpendingLimits, spent: Spent, now: datetime) -> list[BudgetUse]:
    """The budgets that are set, the day's first."""
    periods = {"today": f"{now:%Y-%m-%d}", "this month": f"{now:%Y-%m}"}
    return [BudgetUse(word, periods[word], Decimal(str(round(usd, 4))), Decimal(str(limit))) for word, _, usd, limit in limits.rows(spent)]


def check_budgets(limits: SpendingLimits, log_file: Path, state_file: Path, usd: float, now: datetime, fix: str) -> None:
    """Before work begins that costs about `usd`. `fix`: how to make less of it. Raises OverBudgetError where it does not fit."""
    if not limits.are_set or not usd:
        return
    settle_killed(log_file, now)
    for word, flag, spent, limit in limits.rows(read_spent(log_file, state_file, now)):
        left = max(0.0, limit - spent)
        if usd > left + ROUNDING_USD:
            why = f"${spent:.2f} of ${limit:.2f} are spent {word} (UTC), ${left:.2f} are left, and this needs about ${usd:.2f}"
            raise OverBudgetError(flag, why, f"{fix}, or raise the budget")


@dataclass(frozen=True, slots=True)
class SharedPurse:
    """What all work of a project pays from: its cost log, the meter's open sessions, and the budgets."""

    root: Path
    cost_log: Path
    limits: SpendingLimits

    @classmethod
    def of_project(cls, root: Path, policy: Mapping[str, Any], day: float | None, month: float | None) -> SharedPurse:
        """`day`, `month`: the flags, None where they were not given."""
        return cls(root, root / LOG_FILE, SpendingLimits.read(policy, day, month))

    @property
    def state_file(self) -> Path:
        return self.root / STATE_FILE

    def check(self, usd: float, fix: str) -> None:
        """Raises OverBudgetError where work for about `usd` does not fit into what is left."""
        check_budgets(self.limits, self.cost_log, self.state_file, usd, times.now(), fix)


class SpendingWatch:
    """The budgets of work while it runs. `own` counts the work itself; what all others spent is read again now and then."""

    def __init__(
        self,
        limits: SpendingLimits,
        own: RunningCost,
        state_file: Path,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._own, self._state_file = limits, own, state_file
        self._now, self._clock = now, clock
        self._read_at, self._part = float("-inf"), own.path
        self._others = Spent(0.0, 0.0)

    def why_stop(self, ahead_usd: float) -> str:
        """Which budget would be passed with `ahead_usd` more, as a sentence; empty where none would. Raises LifeosError."""
        if not self._limits.are_set or not ahead_usd:
            return ""
        if self._clock() - self._read_at >= REREAD_SECONDS or self._part != self._own.path:
            self._read_at, self._part = self._clock(), self._own.path
            self._others = read_spent(self._own.log_file, self._state_file, self._now(), self._own.path)
        mine = self._own.usd
        for word, flag, spent, limit in self._limits.rows(Spent(self._others.day + mine, self._others.month + mine)):
            if spent + ahead_usd > limit + ROUNDING_USD:
                return f"{flag}: ${spent:.2f} of ${limit:.2f} are spent {word} (UTC), and the next picture would go over it"
        return ""
