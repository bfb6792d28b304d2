"""The demo, as a person runs it."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from tools import demo


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a demo that was run once, and what it said."""
    output = tmp_path_factory.mktemp("demo") / "lifeos_demo"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert demo.main(["--output-dir", str(output), "--count", "1"]) == 0
    return output, said.getvalue()


def test_the_demo_ends_with_approved_and_rejected_pictures(made: tuple[Path, str]) -> None:
    output, said = made
    document = json.loads((output / "batch_report.json").read_text(encoding="utf-8"))
    counts = document["counts"]
    assert counts["generated"] == 10 == counts["approved"] + counts["rejected"]
    assert counts["approved"] == len(list((output / "approved").glob("*.png"))) >= 1
    assert counts["rejected"] == len(list((output / "rejected").glob("*.png"))) >= 1
    reasons = " ".join(reason for image in document["images"] for reason in image["reasons"])
    assert "skin colour" in reasons and "skin texture" in reasons, "what the demo server spoils is found"
    assert (document["protocol"]["engine"], document["counts"]["without_face"]) == ("sface", 0)
    assert f"Open it in a browser: {(output / 'batch_report.html').as_uri()}" in said and " -m lifeos review " in said
    assert len((output / "eval_history.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert demo.main(["--output-dir", str(output), "--count", "1"]) == 0
    assert len((output / "eval_history.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_a_demo_of_other_settings_is_made_beside_the_first(
    made: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `setup` another face engine may be chosen: the demo is there to be tried, not to be refused."""
    output, _ = made
    before = (output / "batch.json").read_bytes()
    monkeypatch.setattr(demo, "SEED", 5)
    assert demo.main(["--output-dir", str(output), "--count", "1"]) == 0
    assert f": a new one is made in {output}_2\n" in capsys.readouterr().err
    assert (output.with_name("lifeos_demo_2") / "batch_report.html").exists()
    assert (output / "batch.json").read_bytes() == before
