"""A history, a champion's record and a sweep's state that anything may have written: read as far as they go, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evals.comparison.comparing import compare
from evals.comparison.document import to_document
from evals.comparison.history import find_runs, read_rows
from evals.comparison.memorisation import read_training_set
from evals.comparison.promotion import check_promotion, read_champion
from evals.comparison.rendering import render
from evals.comparison.run_pictures import find_run_pictures, with_batch_facts, with_folders
from evals.comparison.runs import read_run
from evals.comparison.standings import rank_runs
from evals.leaderboard import render_markdown, render_text
from evals.leaderboard import to_document as board_document
from evals.load_thresholds import load_thresholds
from tests.evals.comparison.rows import make_row, steady
from tests.examples import EXAMPLES
from tests.fuzzing import JSON, foreign_bytes, only_our_errors, spoilt

POLICY = load_thresholds(overrides={"comparison.resamples": 100})
GOOD = make_row(
    "a",
    steady(0.6),
    prompts=3,
    seeds=1,
    best_config={"config": "x"},
    sameness={"yaw_spread_deg": 3.0},
    cost={"usd": 1.0},
    generated_dir="out",
    reference_dir="refs",
)
OTHER = make_row("b", steady(0.7), prompts=3, seeds=1)
CHAMPION = {"run_id": "a", "protocol_id": "p1", "scores": {"face": 0.6, "skin": None, "overall": 0.6}, "former": [{"run_id": "z"}]}


def use_row(row: dict[str, Any]) -> None:
    """Everything that is done with a row."""
    run = with_batch_facts(with_folders(read_run(row), Path("h.jsonl")))
    find_run_pictures(run)
    if run.run_id != "b":
        comparison = compare([run], [read_run(OTHER)], POLICY, allow_protocol_mismatch=True)
        gate = check_promotion(comparison, None)
        render(comparison, gate)
        json.dumps(to_document(comparison, gate, None, Path("r.md"), []), allow_nan=False)
    standings = rank_runs([row, OTHER], POLICY, 5)
    render_text(standings, 0.95)
    render_markdown(standings, 0.95, None)
    json.dumps(board_document(standings), allow_nan=False)


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt(GOOD))
def test_a_row_with_something_wrong(row: dict[str, Any]) -> None:
    only_our_errors(lambda: use_row(row))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.dictionaries(st.sampled_from(list(GOOD)), JSON))
def test_a_row_of_anything(row: dict[str, Any]) -> None:
    only_our_errors(lambda: use_row(row))


@settings(max_examples=EXAMPLES, deadline=None)
@given(foreign_bytes(GOOD))
def test_a_history_of_anything(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "foreign.jsonl"
    path.write_bytes(data + b"\n" + json.dumps(OTHER).encode() + b"\n")

    def read() -> None:
        rank_runs(read_rows(path), POLICY, 5)
        find_runs(path, ["a", "b"])

    only_our_errors(read)
    assert [found.run.run_id for found in find_runs(path, ["b"])] == ["b"]


@settings(max_examples=EXAMPLES, deadline=None)
@given(foreign_bytes(CHAMPION))
def test_a_champion_of_anything(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "champion.json"
    path.write_bytes(data)
    comparison = compare([read_run(GOOD)], [read_run(OTHER)], POLICY)
    only_our_errors(lambda: check_promotion(comparison, read_champion(path)))


MANIFEST = {"manifest_version": 1, "dataset_dir": "/nowhere", "images": [{"filename": "a.png", "sha256": "0" * 64}]}


@settings(max_examples=EXAMPLES, deadline=None)
@given(foreign_bytes(MANIFEST))
def test_a_manifest_of_anything(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "manifest.json"
    path.write_bytes(data)
    only_our_errors(lambda: read_training_set(path))
