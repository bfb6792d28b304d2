"""Comparing runs whose pictures have not every score: faces without skin, and skin without weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals import leaderboard
from evals.comparison.comparing import VersionComparison, compare
from evals.comparison.rendering import render
from evals.comparison.runs import read_run
from evals.load_thresholds import load_thresholds
from tests.evals.comparison.rows import Score, make_row, write_history

POLICY = load_thresholds()
FACE_ONLY = load_thresholds(overrides={"scorecard.weights": {"face_similarity": 1.0, "skin_realism": 0.0}})


def of_seed(*scores: float | None) -> Score:
    """One score for the pictures of each seed, none where it is None. Prompts differ, each level in its own way; the mean is kept."""

    def score(prompt: int, seed: int) -> float | None:
        level = scores[seed]
        order = (1, 3, 7, 9)[round((level or 0) * 10) % 4]  # a permutation of the ten prompts
        return None if level is None else round(level + 0.004 * (prompt * order % 10 - 4.5), 4)

    return score


def compared(first: dict[str, Any], second: dict[str, Any], policy: dict[str, Any]) -> VersionComparison:
    return compare([read_run(first)], [read_run(second)], policy)


def test_each_mean_is_over_the_pictures_that_have_the_score() -> None:
    """Old: faces .9 and .7, skin of the first only, .6. New: all .8 and .7. Overall .75 x .8 + .25 x .6, and .75 x .8 + .25 x .7."""
    old = make_row("old", of_seed(0.9, 0.7), skin=of_seed(0.6, None))
    new = make_row("new", of_seed(0.8, 0.8), skin=of_seed(0.7, 0.7))
    metrics = compared(old, new, POLICY).metrics
    found = {key: (metrics[key].first, metrics[key].second, metrics[key].delta) for key in ("face", "skin", "overall")}
    assert found["face"] == pytest.approx((0.8, 0.8, 0.0))
    assert found["skin"] == pytest.approx((0.6, 0.7, 0.1))
    assert found["overall"] == pytest.approx((0.75, 0.775, 0.025))
    estimate = metrics["overall"].estimate
    assert estimate is not None and estimate.effect == pytest.approx(0.025, abs=1e-3)  # the pairs say what the head says


def test_skin_without_weight_changes_neither_score_nor_verdict() -> None:
    """Overall is the face's mean, .7 and .8, whatever the skin."""
    for skin in (of_seed(0.2, 0.2), of_seed(0.2, None), of_seed(None, None)):
        old = make_row("old", of_seed(0.7, 0.7), skin=of_seed(0.9, 0.9), weights=(1.0, 0.0))
        new = make_row("new", of_seed(0.8, 0.8), skin=skin, weights=(1.0, 0.0))
        comparison = compared(old, new, FACE_ONLY)
        overall = comparison.metrics["overall"]
        assert (overall.first, overall.second) == pytest.approx((0.7, 0.8))
        assert comparison.verdict == "IMPROVED"


def test_no_skin_at_all_gives_no_overall_score_where_skin_has_a_weight() -> None:
    old = make_row("old", of_seed(0.7, 0.7))
    new = make_row("new", of_seed(0.9, 0.9), skin=of_seed(None, None))
    assert new["eval_scores"]["overall_score"] is None
    comparison = compared(old, new, POLICY)
    overall = comparison.metrics["overall"]
    assert (overall.second, overall.delta, comparison.second.grade) == (None, None, None)
    assert comparison.metrics["face"].verdict == "IMPROVED"
    assert "nan" not in render(comparison).lower()


@pytest.mark.parametrize(
    ("weights", "skin", "order"),
    [
        ((0.75, 0.25), of_seed(0.2, 0.2), ["plain", "good face"]),
        ((1.0, 0.0), of_seed(0.2, 0.2), ["good face", "plain"]),
        ((1.0, 0.0), of_seed(None, None), ["good face", "plain"]),
        ((0.75, 0.25), of_seed(0.7, None), ["good face", "plain"]),
    ],
    ids=["bad skin counts", "skin has no weight", "no skin and no weight", "skin of half the pictures"],
)
def test_ranks(tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: tuple[float, float], skin: Score, order: list[str]) -> None:
    rows = [
        make_row("plain", of_seed(0.7, 0.7), weights=weights, protocol={"id": "p1"}),
        make_row("good face", of_seed(0.8, 0.8), skin=skin, weights=weights, protocol={"id": "p1"}),
    ]
    (tmp_path / "evals").mkdir()
    policy = f"scorecard: {{weights: {{face_similarity: {weights[0]}, skin_realism: {weights[1]}}}}}\n"
    (tmp_path / "evals" / "thresholds.yaml").write_text(policy)
    history = write_history(tmp_path / "h.jsonl", rows)
    assert leaderboard.main(["--history", str(history), "--project-root", str(tmp_path), "--output", str(tmp_path / "lb.md")]) == 0
    text = (tmp_path / "lb.md").read_text(encoding="utf-8")
    ranked = [line for line in text.splitlines() if line.startswith("|") and ("plain" in line or "good face" in line)]
    assert [name for line in ranked for name in order if name in line][:2] == order
