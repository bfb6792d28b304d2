"""checkpoint_choice: its rules on known numbers, and a few trainings through the real code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.checkpoint_choice import figures_of, follow, follow_all, usual_stop
from benchmarks.simulated_trainings import NOISES, SHAPES, Training, draw_truth
from tests.tools.sweep.curves import QUICK, make_curve


def training(levels: list[float], noise: float = 0.001) -> Training:
    curve = make_curve({250 * (place + 1): [level] for place, level in enumerate(levels)}, noise=noise)
    return Training("plateau", np.array(levels)[:, None], curve)


@pytest.mark.parametrize(
    ("levels", "trained"),
    [([0.5, 0.7, 0.6, 0.6, 0.6, 0.6], 4), ([0.5, 0.7, 0.6, 0.8, 0.6, 0.6], 6), ([0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 6)],
    ids=["the highest gets two checkpoints old", "a higher one in time", "rising"],
)
def test_the_usual_rule(levels: list[float], trained: int) -> None:
    assert usual_stop(training(levels), patience=2) == trained


def test_a_stop_before_a_later_gain_is_early_and_its_loss_is_that_of_the_whole_training() -> None:
    went = follow(training([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9]), QUICK)
    assert (went.kind, went.early, went.within_noise) == ("stop", True, False)
    assert went.stopped < 7
    assert went.loss == pytest.approx(0.4)
    whole = follow(training([0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9]), QUICK)
    assert (whole.kind, whole.stopped, whole.early, whole.loss) == ("go on", 7, False, 0.0)


def test_the_shapes_are_what_they_are_called() -> None:
    rng = np.random.default_rng(3)
    curves = {shape: np.mean([draw_truth(shape, 10, rng)[0][:, 1] for _ in range(40)], axis=0) for shape in SHAPES}
    assert np.ptp(curves["flat"]) < 0.01
    assert curves["plateau"][-1] - curves["plateau"][5] < 0.02 < curves["plateau"][5] - curves["plateau"][0]
    assert curves["overtrained"].max() - curves["overtrained"][-1] > 0.04
    assert curves["late"][7] - curves["late"][2] > 0.05


def test_a_few_trainings_give_figures_with_their_goals() -> None:
    quiet = replace(NOISES[0], picture=0.02, change=0.01)
    figures = figures_of("quiet", follow_all(quiet, QUICK, trainings=8, checkpoints=6, prompts=6, seeds=1), 6)
    goals = {figure.name: (figure.goal, figure.status) for figure in figures if figure.goal is not None}
    assert goals["stopped before the best"] == (0.05, "not shown")  # eight trainings show nothing
    assert len(goals) == 5
