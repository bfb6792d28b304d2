"""The money of a batch beside all other work: told to the cost log as it is spent, and held under the budgets of the day and the month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lifeos import times
from tools.backends.backend import Tariff
from tools.cost.meter import STATE_FILE
from tools.cost.running_costs import RunningCost
from tools.cost.spending import SpendingLimits, SpendingWatch, check_budgets
from tools.production.journal import JOURNAL_FILE
from tools.production.plan import Plan
from tools.production.server_prices import tariff_of
from tools.production.server_work import PricedServer


@dataclass(frozen=True, slots=True)
class SharedPurse:
    """What all work of a project pays from: its cost log, the meter's open sessions, and the budgets."""

    root: Path
    cost_log: Path
    limits: SpendingLimits

    @property
    def state_file(self) -> Path:
        return self.root / STATE_FILE

    def check(self, usd: float, fix: str) -> None:
        """Raises OverBudgetError where work for about `usd` does not fit into what is left."""
        check_budgets(self.limits, self.cost_log, self.state_file, usd, times.now(), fix)


class BatchSpending:
    """What one run of a batch pays from the purse."""

    def __init__(self, purse: SharedPurse, folder: Path, plan: Plan, prices: Sequence[PricedServer], *, activity: str, gpu: str) -> None:
        self.own = RunningCost(
            purse.cost_log,
            purse.state_file,
            activity=activity,
            what=plan.run_id,
            gpu=gpu,
            lora_version=plan.lora_version,
            kinds={price.server: price.kind for price in prices},
            journal=folder / JOURNAL_FILE,
        )
        self._watch = SpendingWatch(purse.limits, self.own, purse.state_file, times.now)

    def why_stop(self, ahead_usd: float) -> str:
        return self._watch.why_stop(ahead_usd)


def spending_of(
    purse: SharedPurse,
    folder: Path,
    plan: Plan,
    prices: Sequence[PricedServer],
    policy: Mapping[str, Any],
    *,
    activity: str,
    gpu: str | None,
) -> BatchSpending | None:
    """None where nothing is paid: demo pictures, existing ones."""
    if all(tariff_of(price) == Tariff() for price in prices):
        return None
    return BatchSpending(purse, folder, plan, prices, activity=activity, gpu=gpu or policy["cost"]["default_gpu"])


def moment_of(record_time: str) -> datetime:
    """The time of a journal's record."""
    return datetime.fromisoformat(record_time)
