"""How many pictures of a running batch are made and approved, kept as they pass: a large batch is not counted anew for each of them."""

from __future__ import annotations

from collections.abc import Mapping

from evals.judging.duplicates import CopyOf
from tools.production.batch_state import BatchState
from tools.production.repair_numbers import is_repair
from tools.production.settling import Settled


class Tally:
    """Counts the items of earlier runs at once, and each item of this run when it `passed`.

    The caller asks while nothing else changes `state`, or counts what other threads change meanwhile when it has passed.
    """

    def __init__(self, state: BatchState) -> None:
        self._state = state
        self._made = {index for index, item in state.items.items() if item.is_made and not is_repair(index)}
        self._approved: set[str] = set()
        self._counted: tuple[Settled, Mapping[str, CopyOf]] | None = None

    @property
    def made(self) -> int:
        """Pictures that the LoRA made; repairs are not among them."""
        return len(self._made)

    def left(self, last: int) -> int:
        """How many of the items up to the `last` have no picture."""
        return last - sum(index <= last for index in self._made)

    def passed(self, index: int, settled: Settled) -> None:
        """An item came to its end, with its pictures or without."""
        item = self._state.item(index)
        if not is_repair(index):
            (self._made.add if item.is_made else self._made.discard)(index)
        for name in item.files:
            if self._approves(name, settled):
                self._approved.add(name)
            else:
                self._approved.discard(name)

    def approved(self, settled: Settled) -> int:
        """Pictures that are there and approved, by a person or by the gates. Counted anew when people decided or duplicates were found."""
        if self._counted is None or self._counted[0] is not settled or self._counted[1] is not self._state.duplicates:
            self._counted = settled, self._state.duplicates
            self._approved = {name for name in list(self._state.verdicts) if self._approves(name, settled)}
        return len(self._approved)

    def _approves(self, name: str, settled: Settled) -> bool:
        return name in self._state.verdicts and settled.approves(name, self._state.approves(name))
