"""The tally of a running batch: what a count of everything would say, without counting everything."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from evals.judging.duplicates import CopyOf
from tools.production.batch_state import BatchState
from tools.production.decisions import DecidedPicture, Decision
from tools.production.repair_numbers import is_repair, repair_number
from tools.production.settling import NOTHING_SETTLED, Settled
from tools.production.tally import Tally
from tools.production.whereabouts import Whereabouts


@dataclass
class Watched(BatchState):
    """A state that notes of which pictures it is asked."""

    asked: list[str] = field(default_factory=list)

    def approves(self, name: str) -> bool:
        self.asked.append(name)
        return super().approves(name)


def make(state: BatchState, index: int, *verdicts: bool) -> None:
    names = tuple(f"{index}_{place}.png" for place in range(len(verdicts)))
    state.item(index).files = names
    state.verdicts |= dict(zip(names, verdicts, strict=True))


def counted(state: BatchState, settled: Settled) -> tuple[int, int]:
    """Made and approved, all of it counted."""
    made = sum(item.is_made for index, item in state.items.items() if not is_repair(index))
    return made, sum(settled.approves(name, state.approves(name)) for name in state.verdicts)


def rejected(name: str) -> Settled:
    return Settled({name: Decision(DecidedPicture(name, ""), False)}, Whereabouts({}))


def test_it_says_what_a_count_of_everything_says() -> None:
    state = BatchState()
    make(state, 1, True)
    tally, settled = Tally(state), NOTHING_SETTLED
    assert (tally.made, tally.approved(settled)) == counted(state, settled) == (1, 1)
    make(state, 2, True, False)
    make(state, repair_number(2, 2), True)  # is approved, and is none that the LoRA made
    state.item(3).failure = "broken"
    for index in (1, 2, repair_number(2, 2), 3):
        tally.passed(index, settled)
    assert (tally.made, tally.approved(settled)) == counted(state, settled) == (2, 3)
    settled = rejected("2_0.png")
    assert tally.approved(settled) == counted(state, settled)[1] == 2
    state.reject_duplicates({"1_0.png": CopyOf("2_0.png")}, ())
    assert tally.approved(settled) == counted(state, settled)[1] == 1


def test_a_picture_that_is_gone_does_not_count() -> None:
    state = BatchState()
    make(state, 1, True)
    make(state, 2, True)
    assert Tally(state).approved(Settled({}, Whereabouts({}), gone=frozenset({"1_0.png"}))) == 1


@pytest.mark.parametrize("before", [10, 2000])
def test_each_picture_is_looked_at_once(before: int) -> None:
    """However large the batch is: 100,000 pictures would else be looked at ten milliard times."""
    state = Watched()
    for index in range(1, before + 1):
        make(state, index, True)
    tally = Tally(state)
    assert tally.approved(NOTHING_SETTLED) == before
    state.asked.clear()
    make(state, before + 1, False)
    tally.passed(before + 1, NOTHING_SETTLED)
    assert (tally.made, tally.approved(NOTHING_SETTLED)) == (before + 1, before)
    assert state.asked == [f"{before + 1}_0.png"]
