"""Rows that hands, crashes and other versions left: read as far as they go, and what is missing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.comparison.comparing import VersionComparison, compare
from evals.comparison.history import find_runs
from evals.comparison.rendering import render
from evals.comparison.runs import read_run
from evals.load_thresholds import load_thresholds
from lifeos.errors import InputError
from tests.evals.comparison.rows import make_row, steady, write_history


def compared(first: dict[str, Any], second: dict[str, Any]) -> VersionComparison:
    return compare([read_run(first)], [read_run(second)], load_thresholds())


@pytest.mark.parametrize(
    ("scores", "value", "problem"),
    [
        ({"face_similarity_mean": "0.52"}, 0.52, "is a number written as text: read as 0.52"),
        ({"face_similarity_mean": "good"}, None, 'is the text "good", not a number: left out'),
        ({"face_similarity_mean": float("nan")}, None, "is nan: left out"),
        ({"face_similarity_mean": 52}, None, "is 52, which no score can be: left out"),
        ({"face_similarity_mean": "inf"}, None, "is inf: left out"),
        ({"face_similarity_mean": True}, None, ": a number or text is wanted, not true or false: left out"),
        ({"face_similarity_mean": [0.5]}, None, ": a number or text is wanted, not a list: left out"),
        ({"face_similarity_mean": 10**400}, None, 'is the text "an integer of 1329 bits", not a number: left out'),
    ],
    ids=["text", "word", "nan", "percent", "infinity", "true", "list", "400 digits"],
)
def test_odd_numbers(scores: dict[str, Any], value: float | None, problem: str) -> None:
    run = read_run({"schema_version": 1, "run_id": "a", "eval_scores": scores})
    assert run.means["face"] == value
    assert run.problems == (f"eval_scores.face_similarity_mean{'' if problem.startswith(':') else ' '}{problem}",)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"run_id": "a", "schema_version": 9}, "schema_version 9, this reads 1"),
        ({"run_id": "a", "eval_scores": 3}, "eval_scores: an object is wanted, not a whole number: left out"),
        ({"run_id": "a"}, "the row has no eval_scores"),
        ({"run_id": "a", "images": {"x": 1}}, "images: a list is wanted, not an object: left out"),
        ({"run_id": "a", "images": [3, {}]}, "1 entries of images are no mappings"),
        ({"run_id": "a", "training_params": "lots"}, "training_params: an object is wanted, not text: left out"),
    ],
    ids=["schema", "scores", "no scores", "images", "entries", "params"],
)
def test_odd_rows_are_read_as_far_as_they_go(row: dict[str, Any], problem: str) -> None:
    assert any(problem in said for said in read_run(row).problems)
    assert compared(row, make_row("b", steady(0.6))).metrics["face"].verdict == "-"


def test_no_numbers_are_invented_for_what_is_missing() -> None:
    comparison = compared({"run_id": "a", "eval_scores": {"face_similarity_mean": 0.5}}, make_row("b", steady(0.6)))
    report = render(comparison)
    assert "| Skin Realism (mean) | - | 0.50 | - | - |" in report
    assert "| Overall Grade | - | C | - | - |" in report
    assert "a: skin_realism_mean is missing: it is not compared" in report


@pytest.mark.parametrize(
    ("first", "second", "doubt"),
    [
        (
            make_row("a", steady(0.5), prompts=1, seeds=1),
            make_row("b", steady(0.6), prompts=1, seeds=1),
            "one pair of pictures cannot show",
        ),
        (make_row("a", steady(0.5), prompts=1, seeds=9), make_row("b", steady(0.6), prompts=1, seeds=9), "all pictures are of one prompt"),
        (make_row("a", lambda p, s: None), make_row("b", steady(0.6)), "no score is known of both versions"),
        (
            make_row("a", lambda p, s: 0.5),
            make_row("b", lambda p, s: 0.6),
            "all prompts changed by the same amount (+0.10)",
        ),
    ],
    ids=["one picture", "one prompt", "no faces", "copies"],
)
def test_what_cannot_be_known_is_inconclusive(first: dict[str, Any], second: dict[str, Any], doubt: str) -> None:
    comparison = compared(first, second)
    report = render(comparison)
    assert comparison.verdict in ("INCONCLUSIVE", "-")
    assert "It cannot be said which is better" in report
    assert doubt in report


def test_versions_without_a_common_prompt_are_not_judged() -> None:
    other = make_row("b", steady(0.9))
    for image in other["images"]:
        image["prompt_id"] += 100
    comparison = compared(make_row("a", steady(0.5)), other)
    assert {comparison.metrics[key].verdict for key in ("face", "skin", "overall")} == {"INCONCLUSIVE"}
    assert "the versions have no prompt in common" in render(comparison)


def test_other_seeds_are_paired_by_prompt_and_said() -> None:
    other = make_row("b", steady(0.7))
    for image in other["images"]:
        image["seed"] += 1000
    comparison = compared(make_row("a", steady(0.5)), other)
    assert comparison.pairs is not None
    assert (comparison.pairs.matched_by, len(comparison.pairs.keys)) == ("prompt", 10)
    assert "the seeds differ" in render(comparison)
    assert comparison.verdict == "IMPROVED"


def test_pictures_without_prompts_are_paired_by_file_name() -> None:
    rows = [make_row("a", steady(0.5)), make_row("b", steady(0.7))]
    for row in rows:
        for image in row["images"]:
            image["prompt_id"] = image["seed"] = None
    comparison = compared(*rows)
    assert comparison.pairs is not None
    assert (comparison.pairs.matched_by, comparison.pairs.prompt_count, comparison.verdict) == ("file name", 20, "IMPROVED")


def test_grades_outside_the_policy_are_not_compared() -> None:
    row = make_row("b", steady(0.6))
    row["eval_scores"]["overall_grade"] = "S"
    comparison = compared(make_row("a", steady(0.5)), row)
    report = render(comparison)
    assert "the grade S is not one of the policy's (A, B, C, D, F)" in report
    assert "Whether b meets promotion threshold (grade >= C) is not known" in report


def test_names_cannot_break_the_table() -> None:
    first, second = make_row("a", steady(0.5)), make_row("b|<script>`x`", steady(0.6))
    report = render(compared(first, second))
    assert "| Metric | a | b\\|&lt;script>\\`x\\` | Delta | Verdict |" in report


@pytest.mark.parametrize("spelling", ['"vé_1"', '"v\\u00e9_1"', '"v\\u00E9_1"'], ids=["utf-8", "escaped", "upper case"])
def test_run_ids_are_found_however_they_are_spelt(tmp_path: Path, spelling: str) -> None:
    history = write_history(tmp_path / "h.jsonl", [f'{{"note": "x", "run_id" : {spelling}}}\n'])
    assert [found.run.run_id for found in find_runs(history, ["vé_1"])] == ["vé_1"]


def test_a_run_whose_only_line_is_torn_is_to_be_scored_again(tmp_path: Path) -> None:
    history = write_history(tmp_path / "h.jsonl", [make_row("other", steady(0.5)), '{"run_id": "v3_sweep", "eval_sc\n'])
    with pytest.raises(InputError, match="a damaged line names it: score that run again"):
        find_runs(history, ["v3_sweep"])


def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    rows = [
        "\ufeff",
        make_row("wanted", steady(0.5)),
        make_row("other", steady(0.5), notes='about "run_id": "wanted"'),
        {"run_id": "third", "parent": {"run_id": "wanted"}},
        '{"run_id": "wanted", "eval_scores": {"face_sim',
    ]
    history = write_history(tmp_path / "h.jsonl", rows)
    found = find_runs(history, ["wanted"])[0]
    assert (found.rows, found.is_exact, len(found.run.images)) == (1, True, 20)
    # the torn line may have been the newest scorecard of that run: taking the older one is said
    assert found.explain() == ["a damaged line names wanted and cannot be read: if that was a newer scorecard, score it again"]


def test_lines_across_blocks_and_endless_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.comparison.history.BLOCK_BYTES", 50)
    monkeypatch.setattr("evals.comparison.history.LONGEST_LINE", 400)
    filler = [{"run_id": f"r{number}", "notes": "n" * number} for number in range(120)]
    endless = '{"run_id": "endless", "x": "' + "y" * 3000 + '"}\n'
    history = write_history(tmp_path / "h.jsonl", [*filler, endless, {"run_id": "last"}])
    names = ["r0", "r1", "r77", "r119", "last"]
    assert [found.run.run_id for found in find_runs(history, names)] == names
    with pytest.raises(Exception, match="no run in"):
        find_runs(history, ["endless"])
