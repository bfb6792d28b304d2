"""The ranking: order, intervals, protocols apart, newest row of a run id, every format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.leaderboard import main
from lifeos import cli
from tests.evals.comparison.rows import DRESSED, POSED, TURNED, make_row, steady, write_history


def run(folder: Path, *flags: str) -> int:
    return cli.run(lambda: main(["--history", str(folder / "h.jsonl"), "--output", str(folder / "lb.md"), *flags]))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    rows = [
        make_row("low", steady(0.50), timestamp="2026-11-20T10:00:00Z"),
        make_row("again", steady(0.90), timestamp="2026-11-21T10:00:00Z"),
        make_row("high", steady(0.80), timestamp="2026-11-22T10:00:00Z"),
        make_row("elsewhere", steady(0.95), protocol_id="p0"),
        '{"run_id": "torn',
        "\n",
        {"run_id": "by_hand", "protocol_id": "p1", "eval_scores": {"overall_score": 0.6}},
        {"run_id": "empty"},
        make_row("again", steady(0.60), timestamp="2026-11-23T10:00:00Z"),
    ]
    write_history(tmp_path / "h.jsonl", rows)
    return tmp_path


def test_ranking_as_json(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(history, "--json", "--no-pictures") == 0
    document = json.loads(capsys.readouterr().out)
    boards = {board["protocol_id"]: [entry["run_id"] for entry in board["ranking"]] for board in document["boards"]}
    # by_hand's .6 lies above again's .6 - .025; the older row of again does not count
    assert boards == {"p1": ["high", "by_hand", "again", "low"], "p0": ["elsewhere"]}
    assert [board["protocol_id"] for board in document["boards"]] == ["p1", "p0"]  # the board of the newest run first
    assert (document["unranked"], document["damaged"], document["replaced"]) == (1, 1, 1)
    top = document["boards"][0]["ranking"][0]
    assert top["overall"]["low"] < top["overall"]["mean"] < top["overall"]["high"]
    assert document["boards"][0]["ranking"][1]["overall"]["low"] is None


def test_text_and_markdown(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(history) == 0
    text = capsys.readouterr().out
    assert [line.split()[:2] for line in text.splitlines() if line[:1].isdigit()][:2] == [["1", "high"], ["2", "by_hand"]]
    assert "2 protocols: runs that were scored in different ways are ranked apart." in text
    markdown = (history / "lb.md").read_text(encoding="utf-8")
    assert "| 2 | by_hand | - | 0.60 | not known | - | - | C | not known | not recorded | - | - | - |" in markdown
    assert "](lb.png)" in markdown
    assert (history / "lb.png").read_bytes()[:4] == b"\x89PNG"


def test_variety_stands_beside_the_grade(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One pose is said in words as well; a row that is older than the figures is not known."""
    rows = [
        make_row("posed", steady(0.80), sameness={**POSED, **DRESSED}),
        make_row("turned", steady(0.70), sameness=TURNED),
        make_row("older", steady(0.60)),
    ]
    write_history(tmp_path / "h.jsonl", rows)
    assert run(tmp_path, "--no-pictures") == 0
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line[:1].isdigit()]
    shown = ("one pose (2.4°)", "varied (23.8°)")
    assert [next((word for word in shown if word in line), "not known") for line in lines[:3]] == [*shown, "not known"]
    assert "posed: one pose: yaw spread 2.4°, 99 % of pairs within 10°." in text.splitlines()
    assert "97 % of pairs" in lines[0] and "not recorded" in lines[1]
    assert "posed: one scene: 97 % of pairs have the same clothes and place." in text.splitlines()
    assert "turned: " not in text and "older: " not in text
    assert run(tmp_path, "--no-pictures", "--json") == 0
    entries = json.loads(capsys.readouterr().out)["boards"][0]["ranking"]
    assert [(entry["sameness"]["verdict"], entry["sameness"]["yaw_spread_deg"]) for entry in entries] == [
        ("same", 2.4),
        ("varied", 23.8),
        (None, None),
    ]
    assert entries[2]["sameness"]["line"] == "not recorded"


def test_what_people_decided_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = make_row("judged", steady(0.8))
    for image, approved in zip(row["images"], (True, False), strict=False):
        image.update(approved=approved, gates_approved=True, decided_by="anna")
    write_history(tmp_path / "h.jsonl", [row, make_row("gates alone", steady(0.7))])
    line = "2 pictures were decided by people: 0 of them approved and 1 rejected against the gates"
    assert run(tmp_path, "--json", "--no-pictures") == 0
    assert [entry["decided"] for entry in json.loads(capsys.readouterr().out)["boards"][0]["ranking"]] == [line, None]
    assert run(tmp_path, "--no-pictures") == 0
    assert f"judged: {line}." in capsys.readouterr().out


def test_top_keeps_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(tmp_path / "h.jsonl", [{"run_id": f"r{n}", "eval_scores": {"overall_score": (n * 37 % 101) / 101}} for n in range(101)])
    assert run(tmp_path, "--top", "3", "--json", "--no-pictures") == 0
    board = json.loads(capsys.readouterr().out)["boards"][0]
    # the scores are k/101 for every k from 0 to 100, in another order
    assert [entry["overall"]["mean"] for entry in board["ranking"]] == [round(k / 101, 6) for k in (100, 99, 98)]
    assert board["runs"] == 101


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (None, "no history to rank"),
        ([], "no history to rank"),
        ([{"run_id": "a"}, '{"x\n'], "no run with a score (1 without, 1 damaged lines)"),
    ],
    ids=["no file", "empty file", "no scores"],
)
def test_nothing_to_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, str] | str] | None, error: str) -> None:
    if rows is not None:
        write_history(tmp_path / "h.jsonl", rows)
    assert run(tmp_path) == 2
    assert error in capsys.readouterr().err


def test_what_no_lora_made_has_no_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Demo pictures would be first with their perfect face; a sorted folder says nothing about one LoRA."""
    demo = make_row("demo", steady(0.99)) | {"notes": "Rendered by the embedded demo server of LifeOS: variations of a portrait."}
    holidays = make_row("holidays", steady(0.98)) | {"kind": "sorting"}
    write_history(tmp_path / "h.jsonl", [demo, make_row("v3", steady(0.70)), holidays])
    assert run(tmp_path, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [entry["run_id"] for board in document["boards"] for entry in board["ranking"]] == ["v3"]
    assert document["set_aside"] == 2
    table = (tmp_path / "lb.md").read_text()
    assert "2 rows hold pictures of the demo server or a sorted folder: they say nothing about a LoRA." in table
