"""The money of a batch beside all other work: told to the cost log as it is spent, and held under the budgets of the day and the month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from lifeos import times
from tools.backends.backend import Backend, PromptEnd, Tariff
from tools.cost.running_costs import RunningCost
from tools.cost.spending import SharedPurse, SpendingWatch
from tools.production.batch_forecast import find_paces
from tools.production.budget import estimate
from tools.production.journal import JOURNAL_FILE
from tools.production.plan import Plan
from tools.production.server_prices import price_servers, tariff_of
from tools.production.server_work import PricedServer


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


class PlainSpending:
    """What `generate_batch` pays: it keeps no journal of charges, and counts no hours, which are the meter's.

    `with` it, `charge` each prompt that ended.
    """

    def __init__(self, purse: SharedPurse, servers: Sequence[Backend], policy: Mapping[str, Any], notice: str | None, what: str) -> None:
        self._purse = purse
        prices = price_servers(servers, policy, notice=notice)
        self._paces = find_paces(prices, policy["production"]["seconds_per_picture"], servers)
        kinds = {price.server: price.kind for price in prices}
        self._own = RunningCost(purse.cost_log, purse.state_file, activity="generation", what=what, gpu="", kinds=kinds)
        self._is_paid = any(replace(tariff_of(price), usd_per_hour=0.0) != Tariff() for price in prices)

    def check(self, pictures: int, fix: str) -> None:
        """Raises OverBudgetError where so many pictures do not fit into what is left of a budget."""
        self._purse.check(estimate(pictures, self._paces).usd, fix)

    def charge(self, outcome: PromptEnd, server: str) -> None:
        pace = self._paces.get(server)
        if pace is not None and self._is_paid:
            is_work = outcome.kind == "done" or outcome.is_charged
            self._own.charge(server, pace.charge_of(outcome.seconds, outcome.credits, is_work=is_work)[0])
            self._own.tick(times.now(), ())

    def __enter__(self) -> PlainSpending:
        if self._is_paid:
            self._own.begin(times.now(), ())
        return self

    def __exit__(self, *exception: object) -> None:
        self._own.end(times.now())
