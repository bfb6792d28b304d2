"""Adding up a log that people edit and crashes tear: what can be counted is counted exactly, what cannot is named."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tools.cost import ledger as module
from tools.cost.ledger import read_ledger


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    plain = {
        "session_id": f"2026-02-11_{number:03d}",
        "start": "2026-02-11T15:00:00Z",
        "end": "2026-02-11T16:15:00Z",
        "duration_min": 75,
        "activity": "lora_v3_training",
        "cost_usd": 0.75,
        "gpu": "RTX 4090",
        "rate_per_hr": 0.60,
    }
    return {key: value for key, value in (plain | changes).items() if value is not ...}


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in rows), encoding="utf-8")
    return path


def test_sums_are_exact(tmp_path: Path) -> None:
    # 0.1 added a thousand times as floats is 99.9999999999986
    log = write(tmp_path / "log", *(row(n, cost_usd=0.1, duration_min=10) for n in range(1, 1001)))
    total = read_ledger(log).total()
    assert (total.sessions, total.usd, total.hours) == (1000, Decimal(100), Decimal(10_000) / 60)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        pytest.param('{"session_id": "2026-02-1', "torn or not JSON", id="torn"),
        pytest.param('{"session_id": NaN', "torn or not JSON", id="broken"),
        pytest.param("[1, 2]", "not a session", id="list"),
        pytest.param({"run_id": "v3"}, "not a session", id="foreign"),
        pytest.param(row(9, end=None, duration_min=..., cost_usd=...), "the session has no end", id="open"),
        pytest.param(row(9, gpu=...), "no gpu", id="missing field"),
        pytest.param(row(9, cost_usd="0.75"), "cost_usd is not a number", id="text for a number"),
        pytest.param(row(9, cost_usd=True), "cost_usd is not a number", id="true for a number"),
        pytest.param(row(9, cost_usd=-0.75), "cost_usd is below 0", id="negative cost"),
        pytest.param(row(9, duration_min=-75), "duration_min is below 0", id="negative duration"),
        pytest.param(row(9, end="2026-02-11T14:00:00Z"), "the session ends before it starts", id="ends before its start"),
        pytest.param(row(9, start="11.2.2026 15:00 Uhr"), "start or end is no UTC time (2026-01-31T12:00:00Z)", id="local time"),
        pytest.param(row(9, activity=7), "activity is not text", id="number for text"),
        pytest.param(row(1), "the id 2026-02-11_001 stands twice", id="duplicate"),
    ],
)
def test_a_row_that_cannot_be_counted_is_named_and_the_others_counted(tmp_path: Path, bad: dict[str, Any] | str, why: str) -> None:
    ledger = read_ledger(write(tmp_path / "log", row(1), bad, row(3)))
    assert (ledger.total().sessions, ledger.total().usd) == (2, Decimal("1.5"))
    assert (ledger.faults, ledger.skipped) == ([f"line 2: {why}; not counted"], 1)


def test_a_duplicate_in_a_later_block_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 500)  # about two rows
    ledger = read_ledger(write(tmp_path / "log", *(row(n) for n in range(1, 12)), row(1)))
    assert ledger.faults == ["line 12: the id 2026-02-11_001 stands twice; not counted"]
    assert ledger.total().sessions == 11


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


def test_the_same_sums_in_blocks_of_any_size_and_without_orjson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, Any] | str] = [row(n, activity=f"a{n % 3}", cost_usd=n / 100, rate_per_hr=0.1 * (n % 2 + 1)) for n in range(1, 80)]
    log = write(tmp_path / "log", *rows[:40], "{torn", "", *rows[40:])
    whole = read_ledger(log).sums
    monkeypatch.setattr(module, "_loads", lambda: json.loads)
    for size in (1, 300, 5000):
        monkeypatch.setattr(module, "BLOCK_BYTES", size)
        assert read_ledger(log).sums == whole
    assert len(whole) == 6


def test_crlf_and_a_byte_order_mark(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xef\xbb\xbf" + json.dumps(row(1)).encode() + b"\r\n" + json.dumps(row(2)).encode() + b"\r\n")
    assert read_ledger(log).total().sessions == 2


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "none").total().sessions == 0


def test_parts_read_by_several_processes_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, Any] | str] = [row(n, activity=f"a{n % 3}") for n in range(1, 60)]
    log = write(tmp_path / "log", *rows, "{torn", row(3), *(row(n) for n in range(60, 90)))
    whole = read_ledger(log)
    monkeypatch.setattr(module, "PART_BYTES", 1000)
    assert read_ledger(log) == whole
    assert whole.faults == ["line 60: torn or not JSON; not counted", "line 61: the id 2026-02-11_003 stands twice; not counted"]


@pytest.mark.parametrize("borders", [(0, 1), (150, 300), (299, 300, 301), (511, 512)], ids=str)
def test_every_line_is_in_one_part_wherever_the_borders_lie(tmp_path: Path, borders: tuple[int, ...]) -> None:
    log = write(tmp_path / "log", *(row(n) for n in range(1, 6)))
    days = ("0001-01-01", "9999-12-31")
    edges = [0, *borders, log.stat().st_size]
    total = module.Ledger()
    for begin, end in pairwise(edges):
        total.add(module.read_part(module.Part(log, begin, end, days)))
    assert total == module.read_part(module.Part(log, 0, log.stat().st_size, days))
    assert (total.total().sessions, total.lines) == (5, 5)
