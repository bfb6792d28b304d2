"""Sweeps whose pictures were scored in an older way: what is finished stays, what is not is scored again with its own configurations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from tools.parameter_sweep import main
from tools.stand_in import render_references
from tools.stand_in.server import EmbeddedServer
from tools.sweep import running

LORAS = ("--lora", "amiranoor_v3-step0500.safetensors", "--lora", "amiranoor_v3-step2000.safetensors", "--strengths", "0.8,1.3")
SMALL = ("--width", "128", "--height", "176", "--steps", "20", "--engine", "dlib", "--skip-health-check", "--base-seed", "5")
PROMPTS = (
    "--prompt",
    "amiranoor, close up portrait",
    "--prompt",
    "amiranoor, park bench",
    "--prompt",
    "amiranoor, cafe",
    "--max-images",
    "11",
)
OLDER = "scored in an older way (aggregation mean then, centroid now)"


def age(rung: Path) -> None:
    """As if the version before had made it."""
    plan = json.loads((rung / "batch.json").read_text(encoding="utf-8"))
    plan["protocol"] |= {"aggregation": "mean", "id": "0123456789abcdef"}
    (rung / "batch.json").write_text(json.dumps(plan), encoding="utf-8")
    lines = (rung / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if json.loads(line)["event"] not in ("rescored", "protocol")]
    (rung / "journal.jsonl").write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def rescored(rung: Path) -> int:
    return (rung / "journal.jsonl").read_text(encoding="utf-8").count('"event": "rescored"')


def test_a_sweep_of_the_version_before(
    tmp_path: Path,
    embedded_server: Callable[[], EmbeddedServer],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, folder, history = embedded_server(), tmp_path / "sw", tmp_path / "h.jsonl"
    render_references(tmp_path / "references", 3)
    paths = ("--output-dir", str(folder), "--reference-dir", str(tmp_path / "references"), "--history-file", str(history))

    def run() -> tuple[dict[str, Any], str]:
        assert cli.run(lambda: main([*LORAS, *PROMPTS, *SMALL, *paths, "--comfy-url", server.url, "--json"])) == 0
        out, err = capsys.readouterr()
        return json.loads(out), err

    first, _ = run()
    made, text = len(server.executed), history.read_text(encoding="utf-8")
    history.write_text(text.replace(first["protocol"]["id"], "0123456789abcdef"), encoding="utf-8")
    rows = history.read_text(encoding="utf-8").splitlines()
    one, two = folder / "rung_1", folder / "rung_2"
    kept = [variant["config"] for variant in json.loads((two / "batch.json").read_text(encoding="utf-8"))["variants"]]

    def foretold() -> list[str]:
        """What a dry run says; it writes nothing."""
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert cli.run(lambda: main([*LORAS, *PROMPTS, *SMALL, *paths, "--dry-run", "--json"])) == 0
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        document = json.loads(capsys.readouterr().out)
        assert document["continues"] and document["unchecked"] == []
        said: list[str] = document["older_scores"]
        return said

    assert foretold() == []
    age(one)
    age(two)
    assert foretold() == [f"the pictures of this sweep were {OLDER}: nothing is left to make, so its numbers stay"]
    same, err = run()  # finished: its numbers stay, under their own protocol
    assert err.count(OLDER) == 1 and "nothing is left to make, so its numbers stay" in err
    assert (rescored(one), rescored(two)) == (0, 0) and same["ranking"] == first["ranking"]
    assert same["protocol"]["id"] == "0123456789abcdef"
    assert history.read_text(encoding="utf-8").splitlines() == rows

    # not finished: a picture of the second round was never made; the configurations of a round that was begun are not chosen again
    monkeypatch.setattr(running, "survivors", lambda *_: pytest.fail("the round was begun"))
    journal = two / "journal.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines()
    last = max(json.loads(line).get("item") or 0 for line in lines)
    journal.write_text("".join(f"{line}\n" for line in lines if json.loads(line).get("item") != last), encoding="utf-8")
    for path in two.rglob(f"*_{last:04d}_*.png"):
        path.unlink()
    scored_again = "are scored again, so that the batch has one protocol"
    assert foretold() == [
        f"round 1: its pictures were {OLDER}: all 4 {scored_again}",
        f"round 2: its pictures were {OLDER}: all {last - 1} {scored_again}",
    ]
    again, err = run()
    assert err.count(OLDER) == 2 and "round 1: its pictures were scored" in err and "round 2: its pictures were scored" in err
    assert rescored(one) == 4 and rescored(two) == last - 1 and len(server.executed) == made + 1
    assert again["protocol"] == first["protocol"]
    assert [variant["config"] for variant in json.loads((two / "batch.json").read_text(encoding="utf-8"))["variants"]] == kept
    assert [json.loads((rung / "batch.json").read_text(encoding="utf-8"))["protocol"]["id"] for rung in (one, two)] == [
        first["protocol"]["id"]
    ] * 2
    now = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    assert [row["protocol_id"] for row in now[len(rows) :]] == [first["protocol"]["id"]] * len(rows)

    # killed between the two rounds of scoring again: all is made, and still not of one protocol
    age(one)
    _, err = run()
    assert err.count(OLDER) == 1 and rescored(one) == 4 and rescored(two) == last - 1
