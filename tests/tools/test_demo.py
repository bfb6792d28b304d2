"""The demo, as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import demo


def test_the_demo_ends_with_approved_and_rejected_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "lifeos_demo"
    assert demo.main(["--output-dir", str(output), "--count", "1"]) == 0
    document = json.loads((output / "batch_report.json").read_text(encoding="utf-8"))
    counts = document["counts"]
    assert counts["generated"] == 10 == counts["approved"] + counts["rejected"]
    assert counts["approved"] == len(list((output / "approved").glob("*.png"))) >= 1
    assert counts["rejected"] == len(list((output / "rejected").glob("*.png"))) >= 1
    assert f"Open it in a browser: {(output / 'batch_report.html').as_uri()}" in capsys.readouterr().out
    assert len((output / "eval_history.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert demo.main(["--output-dir", str(output), "--count", "1"]) == 0
    assert len((output / "eval_history.jsonl").read_text(encoding="utf-8").splitlines()) == 1
