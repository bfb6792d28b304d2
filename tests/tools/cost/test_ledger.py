"""Adding up a log that people edit and crashes tear: what can be counted is counted exactly, what cannot is named."""

from __future__ import annotations

import json
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.examples import EXAMPLES
from tests.fuzzing import foreign_lines
from tests.tools.cost.cost_logs import row, write
from tools.cost import summary
from tools.cost.ledger import read_ledger, read_sessions


def test_sums_are_exact(tmp_path: Path) -> None:
    # 0.1 added a thousand times as floats is 99.9999999999986
    log = write(tmp_path / "log", *(row(n, cost_usd=0.1, duration_min=10) for n in range(1, 1001)))
    total = read_ledger(log).total()
    assert (total.sessions, total.usd, total.hours) == (1000, Decimal(100), Decimal(10_000) / 60)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        pytest.param('{"session_id": "2026-02-1', "not JSON: Invalid control character at (column 26)", id="torn"),
        pytest.param("\x00\x1b[2J", "not JSON: Expecting value (column 1)", id="no text"),
        pytest.param("[1, 2]", "an object is wanted, not a list", id="list"),
        pytest.param({"run_id": "v3"}, "the key session_id is missing", id="foreign"),
        pytest.param(row(9, end=None, duration_min=..., cost_usd=...), "$.end: text is wanted, not null", id="open"),
        pytest.param(row(9, gpu=...), "the key gpu is missing", id="missing field"),
        pytest.param(row(9, cost_usd="0.75"), "$.cost_usd: a number is wanted, not text", id="text for a number"),
        pytest.param(row(9, cost_usd=True), "$.cost_usd: a number is wanted, not true or false", id="true for a number"),
        pytest.param(json.dumps(row(9, cost_usd=float("nan"))), "$.cost_usd: NaN is not a number that can be used", id="NaN"),
        pytest.param(
            json.dumps(row(9, rate_per_hr=float("inf"))), "$.rate_per_hr: Infinity is not a number that can be used", id="infinity"
        ),
        pytest.param(row(9, duration_min=10**400), f"$.duration_min: {10**19}… (401 characters) is beyond 64 bits", id="401 digits"),
        pytest.param('{"x": ' + "9" * 5000 + "}", f"$.x: {'9' * 20}… (5000 characters) is beyond 64 bits", id="5,000 digits"),
        pytest.param(row(9, cost_usd=1e308), "$.cost_usd: 1e+308 is beyond 64 bits", id="1e308"),
        pytest.param(row(9, cost_usd=1e18), "cost_usd is over 1,000,000,000,000,000", id="more than there is"),
        pytest.param(row(9, cost_usd=-0.75), "cost_usd is below 0", id="negative cost"),
        pytest.param(row(9, duration_min=-75), "duration_min is below 0", id="negative duration"),
        pytest.param(row(9, end="2026-02-11T14:00:00Z"), "the session ends before it starts", id="ends before its start"),
        pytest.param(row(9, start="11.2.2026 15:00 Uhr"), "start or end is no time such as 2026-01-31T12:00:00Z", id="no time"),
        pytest.param(row(9, start="2026-02-11T15:00:00"), "start or end is no time such as 2026-01-31T12:00:00Z", id="time of nowhere"),
        pytest.param(row(9, start="2026-02-31T15:00:00Z"), "start or end is no time such as 2026-01-31T12:00:00Z", id="no such day"),
        pytest.param(row(9, activity=7), "$.activity: text is wanted, not a whole number", id="number for text"),
        pytest.param(row(1), "the id 2026-02-11_001 is used twice", id="duplicate"),
        pytest.param("[" * 100_000, "nested deeper than 64 levels", id="deep"),
    ],
)
def test_a_row_that_cannot_be_counted_is_named_and_the_others_counted(tmp_path: Path, bad: dict[str, Any] | str, why: str) -> None:
    ledger = read_ledger(write(tmp_path / "log", row(1), bad, row(3)))
    assert (ledger.total().sessions, ledger.total().usd) == (2, Decimal("1.5"))
    assert (ledger.faults, ledger.skipped) == ([f"line 2: {why}; not counted"], 1)


def test_a_duplicate_is_named_however_far_away_its_first_is(tmp_path: Path) -> None:
    ledger = read_ledger(write(tmp_path / "log", *(row(n) for n in range(1, 2001)), row(1)))
    assert ledger.faults == ["line 2001: the id 2026-02-11_001 is used twice; not counted"]
    assert ledger.total().sessions == 2000


def test_two_sessions_of_one_id_are_both_counted_and_named(tmp_path: Path) -> None:
    """Two pods that shared a log, or two logs put together. The same session twice is counted once."""
    ledger = read_ledger(write(tmp_path / "log", row(1), row(1, start="2026-02-11T15:30:00Z"), row(1)))
    assert (ledger.total().sessions, ledger.skipped) == (2, 1)
    assert ledger.faults == [
        "line 2: the id 2026-02-11_001 is used by another session too; both are counted",
        "line 3: the id 2026-02-11_001 is used twice; not counted",
    ]


def test_a_correction_replaces_what_stands_before_it(tmp_path: Path) -> None:
    """The last one counts, whatever the order of offsets in its times; a spoilt one replaces nothing."""
    forgotten = row(1, cost_usd=4.8, duration_min=480, end="2026-02-11T23:00:00Z", cost_up_to_usd=4.8)
    first = row(1, cost_usd=0.6, duration_min=60, end="2026-02-11T16:00:00Z", corrects=True)
    second = first | {"start": "2026-02-11T16:00:00+01:00", "cost_usd": 1.2, "duration_min": 120, "end": "2026-02-11T17:00:00Z"}
    ledger = read_ledger(write(tmp_path / "log", forgotten, row(2), first, second))
    assert (ledger.total().usd, ledger.faults, ledger.unsettled) == (Decimal("1.95"), [], [])
    spoilt = read_ledger(write(tmp_path / "log", forgotten, first | {"cost_usd": -1}))
    assert (spoilt.total().usd, len(spoilt.unsettled), spoilt.skipped) == (Decimal("4.8"), 1, 1)


def test_every_row_that_is_not_counted_is_counted_as_such_but_not_all_are_named(tmp_path: Path) -> None:
    ledger = read_ledger(write(tmp_path / "log", row(1), *["{torn"] * 50, row(2)))
    assert (ledger.total().sessions, ledger.skipped, len(ledger.faults)) == (2, 50, 20)


@pytest.mark.parametrize(
    ("start", "day"),
    [
        ("2026-11-01T23:30:00+02:00", "2026-11-01"),  # 21:30 UTC
        ("2026-11-01T23:30:00-02:00", "2026-11-02"),  # 01:30 UTC
        ("2026-11-01T23:30:00.750Z", "2026-11-01"),
    ],
)
def test_a_time_with_an_offset_or_a_fraction_is_counted_on_its_utc_day(tmp_path: Path, start: str, day: str) -> None:
    ledger = read_ledger(write(tmp_path / "log", row(1, start=start, end="2026-11-02T02:00:00Z")))
    assert ledger.faults == []
    assert list(ledger.by("day")) == [day]


def test_a_row_that_the_meter_wrote_while_the_clock_was_set_back_is_counted(tmp_path: Path) -> None:
    ledger = read_ledger(write(tmp_path / "log", row(1, end="2026-02-11T13:00:00Z", clock_moved=True)))
    assert (ledger.total().sessions, ledger.faults) == (1, [])


def test_a_cost_that_does_not_follow_is_taken_as_written_and_named(tmp_path: Path) -> None:
    ledger = read_ledger(write(tmp_path / "log", row(1, cost_usd=7.5), row(2)))
    assert ledger.total().usd == Decimal("8.25")
    assert ledger.faults[0] == "line 1: $7.5 is not 75 min at $0.6/h; taken as written"


@pytest.mark.parametrize(
    ("since", "until", "sessions"),
    [(None, None, 3), (date(2026, 2, 11), None, 2), (None, date(2026, 2, 11), 2), (date(2026, 2, 11), date(2026, 2, 11), 1)],
)
def test_a_session_counts_on_the_day_it_started(tmp_path: Path, since: date | None, until: date | None, sessions: int) -> None:
    spans = [
        ("2026-02-10T23:00:00Z", "2026-02-11T01:00:00Z"),
        ("2026-02-11T23:59:59Z", "2026-02-12T02:00:00Z"),
        ("2026-03-01T00:00:00Z",) * 2,
    ]
    log = write(tmp_path / "log", *(row(n, start=start, end=end) for n, (start, end) in enumerate(spans)))
    assert read_ledger(log, since, until).total().sessions == sessions


def test_overlaps_are_counted(tmp_path: Path) -> None:
    starts = ["2026-02-11T15:00:00Z", "2026-02-11T16:00:00Z", "2026-02-11T17:00:00Z"]  # each lasts until 16:15 or 17:15
    ends = ["2026-02-11T16:15:00Z", "2026-02-11T17:15:00Z", "2026-02-11T18:00:00Z"]
    rows = [row(n, start=start, end=end) for n, (start, end) in enumerate(zip(starts, ends, strict=True))]
    assert read_ledger(write(tmp_path / "log", *rows)).overlaps == 2


def test_sessions_are_grouped_by_what_they_were_for(tmp_path: Path) -> None:
    rows = [row(n, activity=f"a{n % 3}", duration_min=60, rate_per_hr=0.5 * (n % 2 + 1), cost_usd=0.5 * (n % 2 + 1)) for n in range(1, 79)]
    ledger = read_ledger(write(tmp_path / "log", *rows))
    assert len(ledger.sums) == 6
    assert {name: part.usd for name, part in ledger.by("activity").items()} == dict.fromkeys(
        ("a0", "a1", "a2"), Decimal("19.5")
    )  # 13 x .5 + 13 x 1


def test_crlf_and_a_byte_order_mark(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xef\xbb\xbf" + json.dumps(row(1)).encode() + b"\r\n" + json.dumps(row(2)).encode() + b"\r\n")
    assert read_ledger(log).total().sessions == 2


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "none").total().sessions == 0


@settings(max_examples=EXAMPLES, deadline=None)
@given(foreign_lines(row(7), row(8)))
def test_whatever_stands_in_the_log_its_good_rows_are_counted(lines: bytes) -> None:
    """Between two good rows anything: other programs' JSON, spoilt rows, bytes."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.write_bytes(json.dumps(row(1)).encode() + b"\n" + lines + b"\n" + json.dumps(row(2)).encode() + b"\n")
        ids = [session.session_id for session in read_sessions(log)]
        assert {"2026-02-11_001", "2026-02-11_002"} <= set(ids)
        ledger = read_ledger(log)
        assert ledger.total().sessions == len(ids)
        summary.render_csv(ledger)
        made = summary.summarise(ledger, {}, summary.month_budget(float(ledger.total().usd), date(2026, 2, 11), 10), [], [], [])
        assert "\x1b" not in summary.render_text(made)
        json.dumps(summary.as_document(made), allow_nan=False)
