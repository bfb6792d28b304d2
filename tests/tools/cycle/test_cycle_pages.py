"""The page of a cycle: what failed comes first, what is there is linked, and a Python alone gets the text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.cycle import cycle_pages
from tools.cycle.cycle_pages import write_pages
from tools.cycle.cycle_record import DONE, FAILED, SKIPPED, CycleRecord, StepRecord

TITLES = {"agent": "The agent", "scorecard": "Scorecard"}


def record(status: str = FAILED) -> CycleRecord:
    steps = [
        StepRecord("agent", DONE, seconds=3.0, log="cycle_runs/c1/agent.log", artefacts=["evals/a b.md", "evals/gone.md"]),
        StepRecord("scorecard", status, "why <b>", "python x.py --flag 'a b'", 1, 12.0, "cycle_runs/c1/scorecard.log"),
        StepRecord("commit", SKIPPED, "--skip-commit", left=["new.txt"]),
    ]
    return CycleRecord("c1", "f", "2026-02-11T15:00:00Z", status=status, ended="2026-02-11T15:20:00Z", cost_usd="0.42", steps=steps)


def test_what_failed_comes_first_and_files_that_are_there_are_linked(tmp_path: Path) -> None:
    for name in ("evals/a b.md", "cycle_runs/c1/scorecard.log", "cycle_runs/c1/agent.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("there", encoding="utf-8")
    page = write_pages(tmp_path / "cycle_report.json", record(), TITLES)
    assert page == tmp_path / "cycle_report.html"
    text = page.read_text(encoding="utf-8")
    assert "The cycle ended early, at the step Scorecard" in text and "python x.py --flag &#x27;a b&#x27;" in text
    assert text.index("why &lt;b&gt;") < text.index("The agent") and "$0.42" in text
    assert re.findall(r'href="(.*?)"', text) == [
        *("cycle_runs/c1/scorecard.log", "evals/a%20b.md", "cycle_runs/c1/agent.log", "cycle_runs/c1/scorecard.log"),
    ]
    assert re.findall(r'em style="width:(\d+)%"', text) == ["25", "100"]  # 3 and 12 seconds
    assert "evals/gone.md" in text and "new.txt" in text


def test_a_cycle_that_is_done_says_so(tmp_path: Path) -> None:
    page = write_pages(tmp_path / "cycle_report.json", record(DONE), TITLES)
    assert page and "Every step is done." in page.read_text(encoding="utf-8") and "To repeat" not in page.read_text(encoding="utf-8")


def test_a_python_alone_writes_the_text_and_leaves_no_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")

    (tmp_path / "cycle_report.html").write_text("of another cycle", encoding="utf-8")
    monkeypatch.setattr(cycle_pages, "write_page", missing)
    assert write_pages(tmp_path / "cycle_report.json", record(), TITLES) is None
    assert (tmp_path / "cycle_report.md").is_file() and not (tmp_path / "cycle_report.html").exists()
    assert "no page is written, because jinja2 is not installed (python -m lifeos setup installs it)" in capsys.readouterr().err
