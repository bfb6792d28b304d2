"""Time and money: expected values are computed by hand beside each case."""

from __future__ import annotations

import pytest

from tools.backends.backend import Tariff
from tools.production.budget import BatchBudget, ServerPace, WallPace, estimate, format_seconds


def paces(*tariffs: Tariff, seconds: float = 8.0) -> dict[str, ServerPace]:
    return {f"http://{number}": ServerPace(tariff, seconds) for number, tariff in enumerate(tariffs)}


def test_estimate_pays_all_servers_for_as_long_as_it_takes() -> None:
    need = estimate(450, paces(Tariff(0.6), Tariff(0.6)))
    assert need.seconds == 1800  # 450 x 8 / 2
    assert need.usd == pytest.approx(0.6)  # half an hour of two servers at 0.60


def test_estimate_adds_what_is_paid_by_the_picture() -> None:
    need = estimate(10, paces(Tariff(usd_per_hour=0.6), Tariff(usd_per_work_second=0.01), seconds=6.0))
    assert need.seconds == 30  # 10 x 6 / 2
    assert need.usd == pytest.approx(0.305)  # 30 s at 0.60 an hour, and five pictures of 6 x 0.01


def test_a_fast_server_makes_more_of_it() -> None:
    """1 s and 4 s a picture: of 100 pictures the fast one makes 80, in 80 s; by the second the slow one costs 20 x 4 x 0.01."""
    unlike = {"fast": ServerPace(Tariff(usd_per_hour=3600), 1.0), "slow": ServerPace(Tariff(usd_per_work_second=0.01), 4.0)}
    need = estimate(100, unlike)
    assert (need.seconds, need.usd) == (80.0, pytest.approx(80.8))
    assert [(share.server, share.pictures, share.seconds) for share in need.shares] == [("fast", 80.0, 80.0), ("slow", 20.0, 80.0)]
    two_workers = {"endpoint": ServerPace(Tariff(usd_per_work_second=0.01), 4.0, at_once=2)}
    assert (estimate(10, two_workers).seconds, estimate(10, two_workers).usd) == (20.0, pytest.approx(0.4))


def test_what_a_credit_buys_is_not_known_before_a_picture_is_made() -> None:
    pace = ServerPace(Tariff(usd_per_credit=0.002), 8.0)
    assert estimate(3, {"cloud": pace}).unpriced == ("cloud",)
    assert pace.charge_of(8.0, None, is_work=True) == (0.0, False)
    pace.measured(8.0, 0.1)
    assert (estimate(3, {"cloud": pace}).usd, estimate(3, {"cloud": pace}).unpriced) == (pytest.approx(0.3), ())
    assert pace.charge_of(8.0, None, is_work=True) == (0.1, False)  # as its other pictures
    assert pace.charge_of(None, None, is_work=False) == (0.0, True)  # refused before any work


def test_what_pictures_were_charged_is_spent() -> None:
    tariff = Tariff(usd_per_work_second=0.01, usd_per_credit=0.002)
    budget = BatchBudget(paces(tariff), started=100, spent_before=1, max_cost=1.6)
    budget.charged += tariff.of_work(20.0, credits=50)
    budget.paces["http://0"].measured(20.0, 0.3)
    assert budget.spent(1000) == pytest.approx(1.3)  # 1 + 20 x 0.01 + 50 x 0.002
    assert budget.allows(1000, 0)  # one more takes 0.30 as well
    assert not budget.allows(1000, 1)


def test_what_is_under_way_counts_where_it_is() -> None:
    """A free server and a dear one: what the free one holds costs nothing, what nobody holds yet may come to the dear one."""
    budget = BatchBudget({"free": ServerPace(Tariff(), 8.0), "dear": ServerPace(Tariff(usd_per_work_second=0.125), 8.0)}, started=0)
    for number in range(3):
        budget.sent(f"{number}", "free")
    assert budget.ahead(3) == pytest.approx(1.0)  # the next one
    budget.sent("3", "dear")
    assert budget.ahead(4) == pytest.approx(2.0)
    budget.sent("3", "free")  # it failed there, and is tried elsewhere
    budget.ended("0")
    assert budget.ahead(3) == pytest.approx(1.0)


def test_a_slow_server_that_holds_pictures_keeps_all_of_them_waiting() -> None:
    budget = BatchBudget({"fast": ServerPace(Tariff(3600), 1.0), "slow": ServerPace(Tariff(), 60.0)}, started=0)
    for number in range(3):
        budget.sent(f"{number}", "slow")
    assert budget.ahead(3) == pytest.approx(180.0)  # three times 60 s, which the other costs a dollar each


def make_budget(max_cost: float | None) -> BatchBudget:
    # 3600 $/h: a second costs a dollar
    return BatchBudget(paces(Tariff(3600)), started=100, spent_before=5, max_cost=max_cost)


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
    pace = ServerPace(Tariff(), 8.0)
    assert pace.seconds == 8
    for seconds in (2.0, 4.0, 90.0, None, 0.0):
        pace.measured(seconds, 0.0)
    assert pace.seconds == 4.0  # the median of 2, 4, 90: the first picture loads the models


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
