"""What each server of a batch did, as the journal tells it: of this version, and of the one before, which named no server."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from evals.load_thresholds import load_thresholds
from lifeos.files import read_records
from tests.tools.production.scenes import HashScorer, make_plan
from tools.backends.backend import PromptEnd
from tools.cost.spending import SharedPurse, SpendingLimits
from tools.production.batch_forecast import find_paces
from tools.production.batch_spending import BatchSpending
from tools.production.budget import Limits
from tools.production.charging import Charging
from tools.production.equipment import Equipment
from tools.production.journal import Journal, read_state
from tools.production.server_work import PricedServer

A, B = "http://a", "runpod://b"
PRICES = (PricedServer(A, "ComfyUI", usd_per_hour=0.6), PricedServer(B, "RunPod serverless", usd_per_second=0.01))


def charging(path: Path, journal: Journal) -> Charging:
    return Charging(Equipment(HashScorer(), load_thresholds(), prices=PRICES), Limits(), read_state(path), journal)


def written(path: Path, *records: tuple[str, dict[str, Any]]) -> Path:
    journal = Journal(path)
    for event, fields in records:
        journal.append(event, **fields)
    journal.close()
    return path


def test_a_prompt_is_charged_once_also_when_a_killed_run_did_so(tmp_path: Path) -> None:
    path = written(
        tmp_path / "journal.jsonl",
        ("started", {"servers": [A, B], "rate_per_hr": 0.3}),
        ("submitted", {"item": 1, "prompt_id": "p1", "server": B}),
    )
    for _ in range(2):  # it is charged, and killed before its pictures were taken in; the next run is told of its end again
        journal = Journal(path)
        charging(path, journal).charge(PromptEnd("p1", "done", seconds=10.0), B, 1)
        journal.close()
    written(path, ("downloaded", {"item": 1, "files": [{"file": "x.png"}], "seconds": 10.0, "prompt_id": "p1", "server": B}))
    state = read_state(path)
    assert state.sessions[0].charged == pytest.approx(0.1)
    assert (state.sessions[0].works[B].done, state.sessions[0].works[B].seconds, state.sessions[0].works[B].failed) == (1, 10.0, 0)
    assert state.items[1].server == B
    assert state.charged_prompts == set()


def test_tries_that_failed_and_answers_that_were_dropped_are_work_too(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl", ("started", {"servers": [A, B], "rate_per_hr": 0.3}))
    journal = Journal(path)
    money = charging(path, journal)
    for number, (kind, seconds, server) in enumerate([("done", 4.0, A), ("failed", 3.0, B), ("done", 5.0, B), ("lost", None, B)]):
        money.charge(PromptEnd(f"p{number}", kind, seconds=seconds), server)  # type: ignore[arg-type]
    journal.close()
    (session,) = read_state(path).sessions
    assert session.charged == pytest.approx(0.08)  # 3 s and 5 s at 0.01; A is paid by the hour
    told = {server: (work.done, work.failed, work.seconds, round(work.charged, 6)) for server, work in session.works.items()}
    assert told == {A: (1, 0, 4.0, 0.0), B: (1, 2, 8.0, 0.08)}
    assert list(session.works[B].recent) == [5.0]


def test_a_journal_of_before_tells_the_server_by_where_the_prompt_was_sent(tmp_path: Path) -> None:
    path = written(
        tmp_path / "journal.jsonl",
        ("started", {"servers": [A, B], "rate_per_hr": 0.3}),
        ("submitted", {"item": 1, "prompt_id": "p1", "server": B}),
        ("charged", {"usd": 0.05, "item": 1}),
        ("downloaded", {"item": 1, "files": [{"file": "x.png"}], "seconds": 5.0, "prompt_id": "p1"}),
        ("submitted", {"item": 2, "prompt_id": "p2", "server": A}),
        ("failed", {"item": 2, "reason": "no", "seconds": 2.0}),
    )
    (session,) = read_state(path).sessions
    told = {server: (work.done, work.failed, work.seconds, work.charged) for server, work in session.works.items()}
    assert told == {A: (0, 1, 2.0, 0.0), B: (1, 0, 5.0, 0.05)}
    assert [(price.server, price.usd_per_hour) for price in session.prices] == [(A, 0.3), (B, 0.3)]


def test_a_run_stops_at_the_budget_of_the_day_and_its_charges_are_rows_of_the_log(tmp_path: Path) -> None:
    purse = SharedPurse(tmp_path, tmp_path / "cost_log.jsonl", SpendingLimits(day=1.0))
    prices, plan = PRICES[1:], make_plan()
    spending = BatchSpending(purse, tmp_path, plan, prices, activity="production", gpu="RTX 4090")
    journal = Journal(tmp_path / "journal.jsonl")
    money = Charging(
        Equipment(HashScorer(), load_thresholds(), prices=prices, spending=spending), Limits(), read_state(tmp_path / "no.jsonl"), journal
    )
    money.begin(plan)
    assert money.why_stop(0) == ""
    money.charge(PromptEnd("p1", "done", seconds=60.0), B, 1)  # 0.60 dollars; the next one costs as much
    assert money.why_stop(0) == "--max-cost-day: $0.60 of $1.00 are spent today (UTC), and the next picture would go over it"
    money.end(journal.append("ended", why="max_cost"))
    journal.close()
    (row,) = [record.data for record in read_records(purse.cost_log)]
    assert (row["cost_usd"], row["gpu"], row["batch"]) == (0.6, "RunPod serverless", plan.run_id)
    assert read_state(tmp_path / "journal.jsonl").sessions[0].usd == pytest.approx(0.6)


def test_the_pace_of_earlier_runs_counts_also_where_the_embedded_server_has_another_port(tmp_path: Path) -> None:
    ports = [PricedServer(f"http://127.0.0.1:{port}", "embedded") for port in (1, 2)]
    path = written(
        tmp_path / "journal.jsonl",
        ("started", {"servers": [A, ports[0].server], "rate_per_hr": 0, "prices": [asdict(PRICES[0]), asdict(ports[0])]}),
        ("charged", {"usd": 0.0, "outcome": "done", "seconds": 2.0, "server": ports[0].server, "prompt_id": "p1"}),
        ("charged", {"usd": 0.0, "outcome": "done", "seconds": 5.0, "server": A, "prompt_id": "p2"}),
    )
    paces = find_paces([*PRICES, ports[1]], 8.0, sessions=read_state(path).sessions)
    assert [pace.seconds for pace in paces.values()] == [5.0, 8.0, 2.0]
