"""Charging a batch for what its servers did: the one place where an end of a prompt becomes money in the journal and the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.backends.backend import PromptEnd, Tariff
from tools.production.batch_state import BatchState
from tools.production.budget import BatchBudget
from tools.production.journal import Journal


class Charging:
    """`charge` each prompt that ended on a server, whoever takes its pictures: made, failed and tried again, or dropped."""

    def __init__(self, journal: Journal, budget: BatchBudget, tariffs: Mapping[str, Tariff], state: BatchState) -> None:
        self._journal, self._budget, self._tariffs = journal, budget, tariffs
        self._before = frozenset(state.charged_prompts)

    def charge(self, outcome: PromptEnd, server: str, item: int | None = None) -> None:
        """Write down what a server did for a prompt, and what is charged for it: once, also where a killed run had done so."""
        if outcome.prompt_id in self._before:
            return
        usd = self._tariffs.get(server, Tariff()).of_work(outcome.seconds, outcome.credits)
        self._budget.measured(outcome.seconds if outcome.kind == "done" else None, usd)
        told: dict[str, Any] = {"item": item, "server": server, "prompt_id": outcome.prompt_id}
        self._journal.append("charged", usd=usd, outcome=outcome.kind, seconds=outcome.seconds, **told)
