"""Charging a batch for what its servers did: the one place where an end of a prompt becomes money in the journal and the budget."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from lifeos import times
from lifeos.counting import dollars
from tools.backends.backend import PromptEnd
from tools.production.batch_forecast import find_paces, forecast, with_forecast
from tools.production.batch_spending import moment_of
from tools.production.batch_state import BatchState
from tools.production.budget import BatchBudget, Limits
from tools.production.equipment import Equipment
from tools.production.journal import Journal, now_text
from tools.production.plan import Plan
from tools.production.repair_numbers import is_repair
from tools.production.server_prices import prices_of


class Charging:
    """The money of one run of the program on a batch: `begin`, then `charge` each prompt that ended on a server, whoever takes its
    pictures: made, failed and tried again, or dropped.
    """

    def __init__(self, equipment: Equipment, limits: Limits, state: BatchState, journal: Journal) -> None:
        self._journal, self._limits, self._state = journal, limits, state
        prices = equipment.prices or prices_of(equipment.servers, equipment.rate_per_hr)
        self._prices = {price.server: price for price in prices}
        first = {server.url for server in equipment.taking_part}
        self._first = [price for price in prices if price.server in first or not equipment.servers]
        self._spending = equipment.spending
        self._before = frozenset(state.charged_prompts)
        pace = equipment.policy["production"]["seconds_per_picture"]
        self._paces = find_paces(prices, pace, equipment.servers, state.sessions)
        self.budget = BatchBudget(
            {price.server: self._paces[price.server] for price in self._first},
            started=time.monotonic(),
            spent_before=sum(session.usd for session in state.sessions),
            max_cost=limits.max_cost,
        )

    def begin(self, plan: Plan) -> None:
        """Write down what each server costs, and what is expected of it, before it is asked for anything."""
        need = forecast(plan, self._state, self._limits, self.budget.paces)
        servers = list(self.budget.paces)
        told: dict[str, Any] = {"servers": servers, "rate_per_hr": self.budget.usd_per_hour / max(1, len(servers))}
        prices = [asdict(price) for price in with_forecast(self._first, need)]
        began = self._journal.append("started", **told, prices=prices, durable=True)
        if self._spending is not None:
            self._spending.own.begin(moment_of(began), self._rates())

    def joined(self, server: str) -> None:
        """A server takes part from now on. Called from its own thread."""
        price, now = self._prices[server], time.monotonic()
        self.budget.joined(server, self._paces[server], now)
        told = asdict(replace(price, since=now_text()))
        self._journal.append("joined", server=server, rate_per_hr=price.usd_per_hour, prices=[told], durable=True)
        if self._spending is not None:
            self._spending.own.tick(moment_of(told["since"]), self._rates())

    def keep_alive(self) -> None:
        """Tell other work what this one has spent, and what it has under way."""
        if self._spending is not None:
            self._spending.own.tick(times.now(), self._rates(), self.budget.underway_usd)

    def end(self, ended: str) -> None:
        """The run is over, at the time of its last record."""
        if self._spending is not None:
            self._spending.own.end(moment_of(ended))

    def why_stop(self, underway: int) -> str:
        """Which budget one more picture, behind those under way, would go over; empty where it fits. Raises LifeosError."""
        if not self.budget.allows(time.monotonic(), underway):
            one, limit = self.budget.ahead(0), self.budget.max_cost or 0.0
            is_too_little = not underway and one > limit  # with nothing spent, too
            return f"--max-cost is less than one picture may cost ({dollars(one)})" if is_too_little else "--max-cost was reached"
        return self._spending.why_stop(self.budget.ahead(underway)) if self._spending is not None else ""

    def _rates(self) -> tuple[float, ...]:
        """Dollars per hour of each machine that is held now."""
        return tuple(pace.tariff.usd_per_hour for pace in self.budget.paces.values())

    def charge(self, outcome: PromptEnd, server: str, item: int | None = None, *, is_dropped: bool = False) -> float:
        """Write down what a server did for a prompt, and what is charged for it: once, also where a killed run had done so.

        What the server does not say counts as its other pictures do, and is marked (`unpriced`). `is_dropped`: another server was
        quicker with the same picture. Returns dollars.
        """
        pace = self.budget.paces.get(server)
        if outcome.prompt_id in self._before or pace is None:
            return 0.0
        is_done = outcome.kind == "done"
        usd, is_told = pace.charge_of(outcome.seconds, outcome.credits, is_work=is_done or outcome.is_charged)
        kind = "dropped" if is_dropped else outcome.kind
        self.budget.charged += usd
        if is_done and not is_dropped and is_told and not is_repair(item or 0):
            pace.measured(outcome.seconds, usd)
        if self._spending is not None:
            self._spending.own.charge(server, usd)
        told: dict[str, Any] = {"item": item, "server": server, "prompt_id": outcome.prompt_id}
        told |= {} if is_told else {"unpriced": True}
        self._journal.append("charged", usd=usd, outcome=kind, seconds=outcome.seconds, **told)
        return usd
