"""What a batch pays beside the meter: in the log once, whatever dies, and counted by whoever shares the budget meanwhile."""

from __future__ import annotations

import functools
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tools import runpod_cost_tracker
from tools.cost import running_costs, spending
from tools.cost.ledger import read_ledger
from tools.cost.meter import Instant, Meter
from tools.cost.running_costs import RunningCost, read_running, running_folder, settle_killed, stamp
from tools.cost.spending import OverBudgetError, SpendingLimits, SpendingWatch, check_budgets, read_spent

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ENDPOINT = "runpod://abc"
KINDS = {ENDPOINT: "RunPod serverless", "http://pod": "ComfyUI"}


class Place:
    def __init__(self, root: Path) -> None:
        self.log, self.state, self.journal = root / "cost_log.jsonl", root / "state.json", root / "journal.jsonl"

    def work(self, what: str = "batch_001", **more: Any) -> RunningCost:
        return RunningCost(self.log, self.state, activity="production", what=what, gpu="RTX 4090", kinds=KINDS, **more)

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def tell(self, *records: dict[str, Any]) -> Path:
        self.journal.write_text("".join(json.dumps(record) + "\n" for record in records))
        return self.journal


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def after(**time: float) -> datetime:
    return NOON + timedelta(**time)


def test_hours_and_charges_are_rows_of_their_own(place: Place) -> None:
    work = place.work()
    work.begin(NOON, (0.6, 0.4, 0.0))
    work.charge(ENDPOINT, 0.25)
    work.tick(after(minutes=30), (0.6,))  # one of the two pods is let go
    work.charge(ENDPOINT, 0.05)
    assert read_spent(place.log, place.state, after(minutes=40)).day == pytest.approx(0.85)  # ten minutes more of one pod
    assert read_spent(place.log, place.state, after(minutes=30)).day == pytest.approx(0.75)  # a charge is written after 5 s
    work.end(after(minutes=60))
    hours, charges = place.rows()
    assert (hours["session_id"], hours["cost_usd"], hours["duration_min"], hours["gpu"]) == ("2026-11-20_001", 0.8, 90, "RTX 4090")
    assert (charges["session_id"], charges["cost_usd"], charges["gpu"]) == ("2026-11-20_001.1", 0.3, "RunPod serverless")
    ledger = read_ledger(place.log)
    assert ledger.total().usd == Decimal("1.1")  # 0.5 h x 1.00, 0.5 h x 0.60, 0.30
    assert (ledger.faults, ledger.skipped, ledger.overlaps) == ([], 0, 0)
    assert list(running_folder(place.log).iterdir()) == []


def test_hours_that_the_meter_counts_are_not_counted_twice(place: Place) -> None:
    meter = Meter(place.log, place.state, clock=lambda: Instant(NOON, "", 0.0))
    meter.start("production", "RTX 4090", Decimal("0.6"))
    work = place.work()
    work.begin(NOON, (0.6,))
    work.charge(ENDPOINT, 0.1)
    work.tick(after(minutes=30), (0.6,))
    meter.clock = lambda: Instant(after(minutes=30), "", 0.0)
    meter.stop()
    work.tick(after(minutes=30), (0.6,))  # from here on nobody else counts
    work.end(after(minutes=60))
    assert [row["cost_usd"] for row in place.rows()] == [0.3, 0.3, 0.1]
    assert read_ledger(place.log).total().usd == Decimal("0.7")


def test_a_killed_batch_is_in_the_log_once_as_its_journal_tells(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is as old as the last tick; the journal knows two charges and ten minutes more, and a pause that is nobody's time."""

    def record(event: str, minutes: float, **fields: Any) -> dict[str, Any]:
        return {"event": event, "time": stamp(after(minutes=minutes)), **fields}

    place.tell(
        record("started", 0, servers=[ENDPOINT]),
        record("charged", 1, usd=0.2, server=ENDPOINT),
        record("charged", 29, usd=0.3, server=ENDPOINT),
        record("filed", 30),
        record("placed", 600),
        record("started", 700),
        record("charged", 701, usd=9.0, server=ENDPOINT),
    )
    work = place.work(journal=place.journal)
    work.begin(NOON, (0.6,))
    work.charge(ENDPOINT, 0.2)
    work.tick(after(minutes=20), (0.6,))
    settle_killed(place.log, after(hours=1))
    assert place.rows() == []  # it lives
    monkeypatch.setattr(running_costs, "is_alive", lambda pid: False)
    append = running_costs.files.append_record
    died: list[str] = []

    def die_after_the_first(path: Path, row: dict[str, Any]) -> None:
        append(path, row)
        if not died:
            died.append(row["session_id"])
            raise KeyboardInterrupt

    monkeypatch.setattr(running_costs.files, "append_record", die_after_the_first)
    with pytest.raises(KeyboardInterrupt):  # whoever settles it is killed between two rows
        settle_killed(place.log, after(hours=1))
    for _ in range(2):
        settle_killed(place.log, after(hours=1))
    rows = place.rows()
    assert [(row["cost_usd"], row["end_is"]) for row in rows] == [(0.3, "last_heartbeat"), (0.5, "last_heartbeat")]
    assert (rows[0]["end"], read_running(place.log)) == ("2026-11-20T12:30:00Z", [])
    assert read_ledger(place.log).killed.usd == Decimal("0.8")


def test_each_day_pays_for_itself(place: Place) -> None:
    evening = NOON.replace(hour=23)
    work = place.work()
    work.begin(evening, (0.6,))
    work.tick(evening + timedelta(hours=3), (0.6,))
    work.end(evening + timedelta(hours=4))
    days = {name: part.usd for name, part in read_ledger(place.log).by("day").items()}
    assert days == {"2026-11-20": Decimal("0.6"), "2026-11-21": Decimal("1.8")}


LIMITS = SpendingLimits(day=10.0, month=30.0)


def session(place: Place, day: str, usd: float) -> None:
    row = {"start": f"{day}T01:00:00Z", "end": f"{day}T02:00:00Z", "duration_min": 60, "activity": "lora_v3_training"}
    more = {"session_id": f"{day}_777", "cost_usd": usd, "gpu": "RTX 4090", "rate_per_hr": usd}
    with open(place.log, "a") as file:
        file.write(json.dumps(row | more) + "\n")


def test_work_that_does_not_fit_is_refused_with_what_is_left(place: Place) -> None:
    for day, usd in {"2026-10-31": 99.0, "2026-11-01": 15.0, "2026-11-20": 7.5}.items():
        session(place, day, usd)
    check_budgets(LIMITS, place.log, place.state, 2.5, NOON, "make less")
    with pytest.raises(OverBudgetError) as caught:
        check_budgets(LIMITS, place.log, place.state, 2.6, NOON, "make less")
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        "--max-cost-day: $7.50 of $10.00 are spent today (UTC), $2.50 are left, and this needs about $2.60 (make less, or raise the budget)"
    )
    with pytest.raises(OverBudgetError, match=r"--max-cost-month: \$22.50 of \$30.00 are spent this month"):
        check_budgets(SpendingLimits(month=30.0), place.log, place.state, 7.6, NOON, "make less")
    check_budgets(SpendingLimits(), place.log, place.state, 1e6, NOON, "make less")
    check_budgets(LIMITS, place.log, place.state, 0.0, NOON.replace(day=1), "make less")  # what is free is never refused
    assert SpendingLimits.read({"cost": {"max_usd_per_day": None, "max_usd_per_month": 5}}, month=0.0) == SpendingLimits(0.0, 0.0)


def test_an_open_session_counts_with_what_it_cost_since_midnight(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    start = NOON.replace(day=19, hour=22)
    Meter(place.log, place.state, clock=lambda: Instant(start, "", 0.0)).start("training", "RTX 4090", Decimal("0.6"))
    monkeypatch.setattr(Meter, "cost_so_far", lambda self, session: Decimal("8.4"))  # 14 h x 0.60
    found = read_spent(place.log, place.state, NOON)
    assert (found.day, found.month) == (pytest.approx(7.2), pytest.approx(8.4))


def test_two_batches_share_the_day(place: Place) -> None:
    """Each sees what the other spent, and what it has under way, when that was written."""
    one, other, clock = place.work("one"), place.work("other"), [0.0]
    for work in (one, other):
        work.begin(NOON, ())
    watch = SpendingWatch(LIMITS, one, place.state, lambda: NOON, lambda: clock[0])
    one.charge(ENDPOINT, 4.0)
    assert watch.why_stop(1.0) == ""
    other.charge(ENDPOINT, 4.5)
    other.tick(after(seconds=20), (), ahead_usd=0.5)
    assert watch.why_stop(1.01) == ""  # not read again yet
    clock[0] = spending.REREAD_SECONDS
    assert watch.why_stop(1.0) == ""
    assert watch.why_stop(1.01) == "--max-cost-day: $9.00 of $10.00 are spent today (UTC), and the next picture would go over it"
    other.end(after(seconds=30))
    clock[0] *= 2
    assert watch.why_stop(1.5) == ""  # nothing of it is under way any more; its row is in the log
    one.charge(ENDPOINT, 1.0)
    assert watch.why_stop(0.51) != ""


def test_the_report_shows_budgets_kinds_and_work_that_runs(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runpod_cost_tracker, "Meter", functools.partial(Meter, clock=lambda: Instant(NOON, "", 0.0)))
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "thresholds.yaml").write_text("cost: {max_usd_per_day: 10, max_usd_per_month: null}\n")
    session(place, "2026-11-20", 7.5)
    work = place.work("batch_007")
    work.begin(NOON, ())
    work.charge(ENDPOINT, 0.5)
    work.tick(after(seconds=1), (), ahead_usd=9.0)
    report = {"started": "2026-11-20", "counts": {"generated": 4, "approved": 2}, "cost": {"usd": 0.5}}
    section = {"by_kind": [{"kind": "RunPod serverless", "pictures": 4, "approved": 2, "usd": 0.5}]}
    (tmp_path / "batch_report.json").write_text(json.dumps(report | {"servers": section}))
    flags = ["--action", "report", "--project-root", str(tmp_path), "--log-file", str(place.log), "--state-file", str(place.state)]
    page = tmp_path / "cost.html"
    assert runpod_cost_tracker.main([*flags, "--html", str(page)]) == 0
    told = capsys.readouterr().out
    assert "Budget today (2026-11-20, UTC): $8.00 of $10.00 spent, $2.00 left" in told
    assert "This month (2026-11): $8.00 so far" in told
    assert "RunPod serverless: 4 pictures, 2 approved, $0.50, $0.2500 per approved picture" in told
    assert "Still open: batch_007 (production) since 2026-11-20T12:00:00.000Z, $0.50 beside the meter so far" in told
    html = page.read_text(encoding="utf-8")
    assert "of $10.00 spent today (2026-11-20), $2.00 left" in html and "By kind of server" in html
    assert runpod_cost_tracker.main([*flags, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["budgets"] == [{"period": "2026-11-20", "spent_usd": "8.0000", "limit_usd": "10.0000", "left_usd": "2.0000"}]
    assert document["pictures"]["by_kind"][0]["usd_per_approved"] == "0.2500"
