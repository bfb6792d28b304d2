"""The cost report as a page: its numbers are those of the text, and every day and part has its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from lifeos.errors import EXIT_USAGE
from tests.tools.cost.cost_logs import row, write, write_costs
from tools import runpod_cost_tracker


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_costs(tmp_path_factory.mktemp("costs"))


def told(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="told">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return dict(json.loads(found[1]))


def report(folder: Path) -> int:
    places = ("--log-file", str(folder / "log.jsonl"), "--state-file", str(folder / "s.json"), "--pictures", str(folder))
    return runpod_cost_tracker.main(["--action", "report", *places, "--html", str(folder / "cost.html")])


def test_the_block_of_the_specification_comes_first(page: Path) -> None:
    """0.75 + 1.2 + 1.2 + 3.0 + 0.3 dollars; 75 + 120 + 120 + 75 + 30 minutes are 7 hours, of which 4 were idle."""
    text = page.read_text(encoding="utf-8")
    body = text[text.index("<main>") :]
    assert body.index("=== RunPod Cost Report ===\nTotal sessions: 5\nTotal hours: 7\nTotal cost: $6.45\nBy activity:\n") < body.index(
        "<h1>"
    )
    assert "$6.45 in 5 sessions and 7 hours; 57% of the hours were idle." in body


def test_idle_killed_and_approved_have_their_price(page: Path) -> None:
    """Killed: the session that ended at its last heartbeat, 1.20, and the one that nobody stopped, 0.30. 0.5 / 20 and 6.45 / 20."""
    tiles = re.findall(r'<div class="tile[^"]*"><b>(.*?)</b><span>(.*?)</span></div>', page.read_text(encoding="utf-8"))
    found = {words.split(",")[0].split(":")[0]: value for value, words in tiles}
    assert found["idle"] == "$2.40" and found["counted for 2 sessions that nobody stopped (killed"] == "$1.50"
    assert [value for value, words in tiles if words.startswith("per approved")] == ["$0.0250", "$0.3225"]
    assert "2026-02-11_005 (lora_v3_training, since 2026-02-13T17:00:00Z) was never stopped: up to $6.00" in page.read_text(
        encoding="utf-8"
    )


def test_every_day_between_the_first_and_the_last_is_in_the_chart(page: Path) -> None:
    charts = told(page)
    assert charts["over_time"]["steps"] == ["2026-02-11", "2026-02-12", "2026-02-13"]
    assert {one["name"]: one["values"] for one in charts["over_time"]["series"]} == {
        "LoRA training": [0.75, 0.0, 0.3],
        "ComfyUI idle": [2.4, 0.0, 0.0],
        "Generation": [0.0, 0.0, 3.0],
    }
    assert [(each["approved"], each["generated"]) for each in charts["per_picture"]] == [(0.025, pytest.approx(0.5 / 30)), (None, None)]
    assert charts["by_card"]["columns"] == ["RTX 4090", "H100"]  # 3.45 and 3.00 dollars


def test_a_long_time_has_a_point_for_each_month_and_many_activities_share_one_line(tmp_path: Path) -> None:
    days = ("2024-12-31", "2026-02-01")
    tags = ("training", "generation", "idle", "setup", "evaluation", "x")
    rows = [
        row(number, start=f"{day}T1{number}:00:00Z", end=f"{day}T1{number}:30:00Z", duration_min=30, cost_usd=0.3, activity=tag)
        for day in days
        for number, tag in enumerate(tags)
    ]
    write(tmp_path / "log.jsonl", *rows)
    assert report(tmp_path) == 0
    chart = told(tmp_path / "cost.html")["over_time"]
    assert (chart["unit"], len(chart["steps"]), chart["steps"][:2], chart["steps"][-1]) == ("month", 15, ["2024-12", "2025-01"], "2026-02")
    assert [sum(one["values"]) for one in chart["series"]] == pytest.approx([0.6, 0.6, 0.6, 0.6, 1.2])
    assert chart["series"][-1]["name"] == "all others"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--action", "status", "--html", "x.html"], "--html: is written by the report (give --action report)"),
        (["--action", "report", "--open"], "--open: opens the page that --html FILE writes (give --action report --html FILE)"),
    ],
)
def test_a_page_of_something_else_is_refused(capsys: pytest.CaptureFixture[str], flags: list[str], said: str) -> None:
    assert cli.run(lambda: runpod_cost_tracker.main(flags)) == EXIT_USAGE
    assert said in capsys.readouterr().err


def test_a_log_without_sessions_is_a_page_too(tmp_path: Path) -> None:
    assert report(tmp_path) == 0
    assert "No session was counted yet." in (tmp_path / "cost.html").read_text(encoding="utf-8")
