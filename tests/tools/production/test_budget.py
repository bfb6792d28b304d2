"""Time and money: expected values are computed by hand beside each case."""

from __future__ import annotations

import pytest

from tools.backends.backend import Tariff
from tools.production.budget import BatchBudget, WallPace, estimate, format_seconds


def test_estimate_pays_all_servers_for_as_long_as_it_takes() -> None:
    need = estimate(450, 8.0, [Tariff(0.6), Tariff(0.6)])
    assert need.seconds == 1800  # 450 x 8 / 2
    assert need.usd == pytest.approx(0.6)  # half an hour of two servers at 0.60


def test_estimate_adds_what_is_paid_by_the_picture() -> None:
    need = estimate(10, 6.0, [Tariff(usd_per_hour=0.6), Tariff(usd_per_work_second=0.01)])
    assert need.seconds == 30  # 10 x 6 / 2
    assert need.usd == pytest.approx(0.305)  # 30 s at 0.60 an hour, and ten pictures at half of 6 x 0.01


def test_what_pictures_were_charged_is_spent() -> None:
    tariff = Tariff(usd_per_work_second=0.01, usd_per_credit=0.002)
    budget = BatchBudget([tariff], seconds_per_picture=8, started=100, spent_before=1, max_cost=1.5)
    budget.measured(20.0, tariff.of_work(20.0, credits=50))
    assert budget.spent(1000) == pytest.approx(1.3)  # 1 + 20 x 0.01 + 50 x 0.002
    assert budget.allows(1000, 0)  # one more takes 20 s: 0.20
    assert not budget.allows(1000, 1)


def make_budget(max_cost: float | None) -> BatchBudget:
    # 3600 $/h: a second costs a dollar
    return BatchBudget(tariffs=[Tariff(3600)], seconds_per_picture=8, started=100, spent_before=5, max_cost=max_cost)


@pytest.mark.parametrize(
    ("max_cost", "now", "underway", "allowed"),
    [
        pytest.param(None, 1e9, 99, True, id="no-limit"),
        pytest.param(13, 100, 0, True, id="exactly-enough-for-one"),  # 5 + 0 + 8
        pytest.param(12.9, 100, 0, False, id="not-enough"),
        pytest.param(21, 100, 1, True, id="one-under-way"),  # 5 + 16
        pytest.param(21, 101, 1, False, id="a-second-later"),
        pytest.param(0, 100, 0, False, id="zero-is-a-limit"),
    ],
)
def test_max_cost_is_never_exceeded_by_what_is_queued(max_cost: float | None, now: float, underway: int, allowed: bool) -> None:
    assert make_budget(max_cost).allows(now, underway) is allowed


def test_the_pace_is_measured() -> None:
    budget = make_budget(None)
    assert budget.pace == 8
    for seconds in (2.0, 4.0, 90.0, None, 0.0):
        budget.measured(seconds)
    assert budget.pace == 4.0  # the median of 2, 4, 90: the first picture loads the models


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (5400, "1 h 30 min"), (7500, "2 h 05 min")]
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_the_pace_on_the_wall_is_that_of_the_last_pictures() -> None:
    pace = WallPace()
    seen = []
    for now in (100, 100, 104, 106, 108):
        pace.finished(now)
        seen.append(pace.seconds)
    assert seen == [None, None, None, None, 2.0]  # four gaps in eight seconds
    for now in range(200, 221):
        pace.finished(now)
    assert pace.seconds == 1.0  # the last twenty gaps
