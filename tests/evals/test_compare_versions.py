"""The command: the specification's report, every verdict, every refusal, every exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evals.compare_versions import build_parser, main
from lifeos import cli
from tests.evals.comparison.rows import DRESSED, POSED, SPECIFIED, SPECIFIED_HEAD, make_row, steady, write_history

SCRIPT = Path(__file__).resolve().parents[2] / "evals" / "compare_versions.py"


def run(folder: Path, *flags: str) -> int:
    """The script as its last line runs it, on the history in `folder`, without a project's champion."""
    argv = ["--history", str(folder / "h.jsonl"), "--output", str(folder / "r.md"), "--champion", str(folder / "champion.json"), *flags]
    return cli.run(lambda: main(argv))


def compare(folder: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    assert run(folder, "--no-pictures", "--json", *flags) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_specified_example_stands_at_the_head_letter_for_letter(tmp_path: Path) -> None:
    write_history(tmp_path / "h.jsonl", SPECIFIED)
    assert run(tmp_path, "--v1", "v2_sweep", "--v2", "v3_sweep") == 0
    report = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert report.startswith(SPECIFIED_HEAD)
    assert "no interval can be computed: the verdicts above are plain differences and may be chance." in report


def test_command_of_the_specification_works_from_another_folder(tmp_path: Path) -> None:
    write_history(tmp_path / "h.jsonl", SPECIFIED)
    command = [sys.executable, str(SCRIPT), "--history", "h.jsonl", "--v1", "v2_sweep", "--v2", "v3_sweep", "--output", "r.md"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONUTF8": "1"}, check=False)
    assert (done.returncode, done.stdout[: len(SPECIFIED_HEAD)]) == (0, SPECIFIED_HEAD)


def test_a_true_difference_is_found_with_its_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(tmp_path / "h.jsonl", [make_row("a", steady(0.60)), make_row("b", steady(0.70))])
    document = compare(tmp_path, capsys, "--v1", "a", "--v2", "b")
    estimate = document["metrics"]["face"]["estimate"]
    assert document["verdict"] == "IMPROVED"
    assert (estimate["pairs"], estimate["prompts"], document["paired_by"]) == (20, 10, "prompt and seed")
    assert 0.05 < estimate["low"] < estimate["difference"] < estimate["high"] < 0.15
    assert document["sentence"].startswith("b is better than a: the true difference in overall score is between +0.0")
    backwards = compare(tmp_path, capsys, "--v1", "b", "--v2", "a")
    assert (backwards["verdict"], backwards["regressed"]) == ("REGRESSED", True)
    assert "is worse than b. Recommend keeping b LoRA." in backwards["recommendation"]


def test_a_difference_too_small_to_matter_is_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(tmp_path / "h.jsonl", [make_row("a", steady(0.600, 0.002)), make_row("b", steady(0.605, 0.002))])
    document = compare(tmp_path, capsys, "--v1", "a", "--v2", "b")
    assert document["verdict"] == "UNCHANGED"
    assert document["sentence"].startswith("There is no difference that matters between a and b")
    assert compare(tmp_path, capsys, "--v1", "a", "--v2", "b", "--min-effect", "0.0")["verdict"] == "IMPROVED"


def test_noise_is_inconclusive_and_says_how_many_pictures_settle_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(tmp_path / "h.jsonl", [make_row("a", steady(0.60, 0.2)), make_row("b", steady(0.63, 0.2))])
    document = compare(tmp_path, capsys, "--v1", "a", "--v2", "b")
    assert document["verdict"] == "INCONCLUSIVE"
    assert document["metrics"]["overall"]["pictures_that_settle"] > 20
    report = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "would settle it, if the difference stays as large as it looks" in report
    assert "is not shown to be better than a. Recommend keeping a LoRA." in report


def test_fail_on_regression_is_a_gate(tmp_path: Path) -> None:
    write_history(tmp_path / "h.jsonl", [make_row("a", steady(0.70)), make_row("b", steady(0.60))])
    assert run(tmp_path, "--v1", "a", "--v2", "b", "--no-pictures") == 0
    assert run(tmp_path, "--v1", "a", "--v2", "b", "--no-pictures", "--fail-on-regression") == 1
    assert run(tmp_path, "--v1", "b", "--v2", "a", "--no-pictures", "--fail-on-regression") == 0


def test_several_runs_of_a_version_widen_the_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [make_row(f"{v}{i}", steady(level + 0.05 * i), version=v) for v, level in (("v2", 0.55), ("v3", 0.60)) for i in (0, 1)]
    write_history(tmp_path / "h.jsonl", rows)
    files = compare(tmp_path, capsys, "--v1", "v20", "--v2", "v30")
    versions = compare(tmp_path, capsys, "--v1", "v20", "--v1", "v21", "--v2", "v30", "--v2", "v31")
    assert (files["claim"], versions["claim"]) == ("files", "versions")
    # runs of one version differ by .05 as the versions do: with two of each nothing can be concluded
    assert (files["verdict"], versions["verdict"]) == ("IMPROVED", "INCONCLUSIVE")
    narrow, wide = (document["metrics"]["overall"]["estimate"] for document in (files, versions))
    assert wide["high"] - wide["low"] > 3 * (narrow["high"] - narrow["low"])
    assert versions["v1"]["name"] == "v2"


@pytest.mark.parametrize(
    ("name", "wanted", "note"),
    [
        ("v3", "v3_new", "note: no run is called v3: taken is the newest whose id contains it, v3_new"),
        ("twice", "twice", "note: 2 rows carry the run id twice: the newest (the last in the file) is used"),
    ],
    ids=["substring", "duplicate"],
)
def test_which_run_was_taken_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, wanted: str, note: str) -> None:
    rows = [
        make_row("v3_old", steady(0.5)),
        make_row("twice", steady(0.5)),
        make_row("v3_new", steady(0.6)),
        make_row("twice", steady(0.7)),
    ]
    write_history(tmp_path / "h.jsonl", [make_row("base", steady(0.55)), *rows])
    assert run(tmp_path, "--v1", "base", "--v2", name, "--no-pictures", "--json") == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert note in said.err
    assert document["v2"]["run_ids"] == [wanted]
    assert document["verdict"] == "IMPROVED"


@pytest.mark.parametrize(
    ("rows", "flags", "error"),
    [
        (
            [make_row("v2_sweep", steady(0.5))],
            ["--v1", "v2_sweep", "--v2", "v2_swep"],
            "error: v2_swep: no run in {h} has this id or contains it (did you mean v2_sweep?)",
        ),
        (
            [make_row("a", steady(0.5))],
            ["--v1", "a", "--v2", "a"],
            "error: --v1 and --v2: a is given for both (name two different runs; --list shows them)",
        ),
        (
            [make_row("a", steady(0.5)), make_row("b", steady(0.5), protocol_id="p2")],
            ["--v1", "a", "--v2", "b"],
            "error: a and b: scored in different ways: protocol p1 against p2 "
            "(score both again in one way: python evals/compare_versions.py --v1 a --v2 b --rescore)",
        ),
        (
            [
                make_row("a", steady(0.5), protocol_id="x", protocol={"id": "x", "engine": "dlib", "references": 6}),
                make_row("b", steady(0.5), protocol_id="y", protocol={"id": "y", "engine": "insightface", "references": 6}),
            ],
            ["--v1", "a", "--v2", "b"],
            "error: a and b: scored in different ways: engine dlib against insightface "
            "(score both again in one way: python evals/compare_versions.py --v1 a --v2 b --rescore)",
        ),
        (
            [
                make_row("a", steady(0.5), protocol_id="x", protocol={"id": "x", "engine": "dlib", "scale": {"pass": 0.3, "same": 1.0}}),
                make_row("b", steady(0.5), protocol_id="y", protocol={"id": "y", "engine": "dlib", "scale": {"pass": 0.4, "same": 1.0}}),
            ],
            ["--v1", "a", "--v2", "b"],
            "error: a and b: scored in different ways: scale.pass 0.3 against 0.4 "
            "(score both again in one way: python evals/compare_versions.py --v1 a --v2 b --rescore)",
        ),
        (
            [
                make_row("a", steady(0.5), protocol_id="x", protocol={"engine": "dlib", "models": {"a": "1"}, "references": 6}),
                make_row("b", steady(0.5), protocol_id="y", protocol={"engine": "insightface", "models": {"b": "2"}, "references": 5}),
            ],
            ["--v1", "a", "--v2", "b"],  # other models are said by the other engine
            "error: a and b: scored in different ways: engine dlib against insightface; references 6 against 5 "
            "(score both again in one way: python evals/compare_versions.py --v1 a --v2 b --rescore)",
        ),
        (
            [make_row("a", steady(0.5))],
            ["--v1", "a"],
            "error: --v1 and --v2: two runs are needed (name a run id for each; --list shows them)",
        ),
        (
            ["\n"],
            ["--v1", "a", "--v2", "b"],
            "error: a: no run in {h} has this id or contains it (the history holds no run that can be read)",
        ),
    ],
    ids=["unknown run", "same run", "protocols", "protocols in full", "one setting", "another engine", "one run", "nothing readable"],
)
def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[Any], flags: list[str], error: str) -> None:
    history = write_history(tmp_path / "h.jsonl", rows)
    assert run(tmp_path, *flags) == 2
    assert capsys.readouterr().err.strip() == error.format(h=history)
    assert not (tmp_path / "r.md").exists()


def test_protocols_can_be_forced_and_the_report_says_so(tmp_path: Path) -> None:
    write_history(tmp_path / "h.jsonl", [make_row("a", steady(0.5)), make_row("b", steady(0.6), protocol_id="p2")])
    assert run(tmp_path, "--v1", "a", "--v2", "b", "--allow-protocol-mismatch", "--no-pictures") == 0
    assert "FORCED: a and b were scored in different ways (protocol p1 against p2)" in (tmp_path / "r.md").read_text(encoding="utf-8")


def test_instructions_without_a_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--v1", "a", "--v2", "b") == 2
    said = capsys.readouterr().err
    assert "python evals/scorecard.py --generated-dir PICTURES_OF_V2" in said
    assert said.strip().endswith("no history to compare (score both versions first: the commands are above)")


def test_list_streams_every_run_and_skips_torn_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [make_row("a", steady(0.6, 0.0)), '{"run_id": "torn", "eval_sc\n', {"run_id": "by_hand", "eval_scores": {"overall_grade": "B"}}]
    rows.append({**make_row("varied", steady(0.6)), "sameness": {**POSED, **DRESSED}})
    write_history(tmp_path / "h.jsonl", rows)
    assert run(tmp_path, "--list") == 0
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[1] == ["a", "2026-11-20T10:00:00Z", "a", "0.60", "0.50", "0.57", "C", "-", "-", "20"]
    assert lines[2] == ["by_hand", "-", "-", "-", "B", "-", "-", "-"]
    assert lines[3][-5:] == ["99", "%", "97", "%", "20"]
    assert "1 line of" in said.err
    assert run(tmp_path, "--list", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["run_id"] for entry in entries] == ["a", "by_hand", "varied"]
    assert [entry["sameness"] and entry["sameness"]["same_scene_share"] for entry in entries] == [None, None, 0.97]


def test_pictures_lie_beside_the_report_and_are_linked(tmp_path: Path) -> None:
    from PIL import Image

    rows = [make_row("a", steady(0.5), generated_dir=str(tmp_path / "a")), make_row("b", steady(0.6), generated_dir=str(tmp_path / "b"))]
    for row in rows:
        folder = Path(row["generated_dir"])
        folder.mkdir()
        for image in row["images"]:
            Image.new("RGB", (20, 30), "red").save(folder / image["file"])
    write_history(tmp_path / "h.jsonl", rows)
    assert run(tmp_path, "--v1", "a", "--v2", "b") == 0
    report = (tmp_path / "r.md").read_text(encoding="utf-8")
    for name in ("r_intervals.png", "r_pairs.png", "r_contact_sheet.png"):
        assert f"]({name})" in report
        with Image.open(tmp_path / name) as picture:
            assert (picture.format, picture.width > 300) == ("PNG", True)


def test_promotion_updates_the_champion_only_when_the_gate_says_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [make_row("v1", steady(0.60)), make_row("v2", steady(0.70)), make_row("v3", steady(0.62)), make_row("few", steady(0.9), seeds=1)]
    write_history(tmp_path / "h.jsonl", rows)
    champion = tmp_path / "champion.json"
    assert run(tmp_path, "--v1", "v1", "--v2", "v2", "--promote", "--no-pictures") == 0
    record = json.loads(champion.read_text())
    assert (record["run_id"], record["evidence"]["compared_with"], record["evidence"]["verdict"]) == ("v2", ["v1"], "IMPROVED")
    before = champion.read_bytes()
    # better than v1, but worse than the champion
    assert run(tmp_path, "--v1", "v1", "--v2", "v3", "--promote", "--no-pictures") == 1
    # ten pictures where twenty are wanted
    assert run(tmp_path, "--v1", "v2", "--v2", "few", "--promote", "--no-pictures") == 1
    assert champion.read_bytes() == before
    said = capsys.readouterr().out
    assert "worse than the champion v2 by more than 0.02" in said
    assert "10 scored, 20 are wanted" in said


def test_the_champion_before_is_kept(tmp_path: Path) -> None:
    write_history(tmp_path / "h.jsonl", [make_row("a", steady(0.60)), make_row("b", steady(0.70)), make_row("c", steady(0.80))])
    assert run(tmp_path, "--v1", "a", "--v2", "b", "--promote", "--no-pictures") == 0
    assert run(tmp_path, "--v1", "b", "--v2", "c", "--promote", "--no-pictures") == 0
    record = json.loads((tmp_path / "champion.json").read_text())
    assert (record["run_id"], [former["run_id"] for former in record["former"]]) == ("c", ["b"])
    assert record["former"][0]["until"] == record["since"]


def test_help_names_every_contracted_flag() -> None:
    text = build_parser().format_help()
    flags = ("--history", "--v1", "--v2", "--output", "--json", "--list", "--min-effect", "--confidence", "--allow-protocol-mismatch")
    assert [flag for flag in flags if flag not in text] == []
