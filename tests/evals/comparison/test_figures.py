"""What the figures say in words: counts over the scatter, ends of a short trend."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evals.comparison import figures
from evals.comparison.comparing import compare
from evals.comparison.inference import Estimate
from evals.comparison.runs import read_run
from evals.load_thresholds import load_thresholds
from tests.evals.comparison.rows import make_row

POLICY = load_thresholds()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is saved."""
    kept: list[Any] = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: kept.append(figure))
    return kept


def test_pairs_that_hardly_differ_are_alike(drawn: list[Any]) -> None:
    # ten prompts of two seeds: of prompts 1 and 2 the new version is better by 0.2, of 3 worse by 0.1, of the rest worse by 0.01
    changes = {1: 0.2, 2: 0.2, 3: -0.1}
    first, second = make_row("a", lambda p, s: 0.5), make_row("b", lambda p, s: 0.5 + changes.get(p, -0.01))
    figures.draw_scatter(compare([read_run(first)], [read_run(second)], POLICY), Path("unused.png"))
    assert drawn[0].axes[0].get_title(loc="left") == "Face similarity: 4 better, 2 worse, 14 alike"


def test_the_sides_of_the_interval_figure_name_who_is_better_there(drawn: list[Any]) -> None:
    comparison = compare([read_run(make_row("a", lambda p, s: 0.5))], [read_run(make_row("b", lambda p, s: 0.5 + p / 100))], POLICY)
    figures.draw_intervals(comparison, Path("unused.png"))
    axes = drawn[0].axes[0]
    assert axes.xaxis.label.get_text() == "← a is better"
    assert [text.get_text() for text in axes.texts if "→" in text.get_text()] == ["b is better →"]


@pytest.mark.parametrize(
    ("apart", "ticks"),
    [(timedelta(seconds=2), ["2026-11-23 10:00", "2026-11-23 10:00"]), (timedelta(0), ["2026-11-23 10:00"])],
    ids=["seconds", "at once"],
)
def test_a_trend_of_seconds_shows_when_it_began_and_ended(drawn: list[Any], apart: timedelta, ticks: list[str]) -> None:
    began = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    estimate = Estimate(0.5, 0.4, 0.6, None, None, 9, 10, 20, "t")
    trend = {"overall": [(began, estimate), (began + apart, estimate)]}
    figures.draw_leaderboard(["a", "b"], [estimate, estimate], trend, Path("unused.png"), confidence=0.95)
    assert [label.get_text() for label in drawn[0].axes[1].get_xticklabels()] == ticks
