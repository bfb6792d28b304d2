"""The model of people's verdicts: it finds the limits that verdicts were drawn from, and keeps those of which they say nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evals.judging.gates import gate_of
from evals.load_thresholds import load_thresholds
from evals.taste import taste_model
from evals.taste.opinions import Opinion
from evals.taste.taste_model import Table, draw_prompts, fit, resample
from evals.taste.verdict_table import gates_of_taste, tabulate_opinions
from tests.evals.taste.worlds import judge, make_picture

POLICY = load_thresholds()
GATES = gates_of_taste(POLICY)


def table_of(opinions: list[Opinion]) -> Table:
    return tabulate_opinions(opinions, GATES, POLICY)[0]


def limits_of(opinions: list[Opinion]) -> dict[str, float]:
    found = fit(table_of(opinions))
    return {gate.key: float(found.limits[0, place]) for place, gate in enumerate(GATES)}


def test_two_limits_at_once_are_found() -> None:
    """Each rejection is one verdict on the whole picture; which gate it was is told by all of them together."""
    found = limits_of(judge({"face": 0.55, "texture": 0.70}, seed=1, verdicts=600))
    assert found["face"] == pytest.approx(0.55, abs=0.02)
    assert found["texture"] == pytest.approx(0.70, abs=0.02)
    assert found["color"] < 0.45, "nobody goes by it: its limit is below the scores"


def test_what_no_gate_measures_is_no_limit() -> None:
    """A fifth is rejected for hands, say: the limit stays where it was, and the fifth is told apart."""
    found = fit(table_of(judge({"face": 0.55}, seed=3, verdicts=600, lapse=0.2)))
    assert float(found.limits[0, 0]) == pytest.approx(0.55, abs=0.03)
    assert float(found.lapse[0]) == pytest.approx(0.2, abs=0.06)


def test_the_noise_and_the_cost_of_mistakes_set_the_limit() -> None:
    """limit + noise ln 3: the logistic curve there is 3 to 1 for an approval."""
    found = fit(table_of(judge({"face": 0.55}, seed=3, verdicts=400)))
    dearer = found.best_limits(3.0)[0, 0] - found.best_limits(1.0)[0, 0]
    assert dearer == pytest.approx(found.noise[0, 0] * 1.0986, abs=1e-4)
    assert found.noise[0, 0] == pytest.approx(0.05 / 1.7, abs=0.012), "a normal curve of 0.05 is about a logistic one of 0.029"


def test_a_gate_that_was_not_measured_stays_where_it_is() -> None:
    table = table_of(judge({"face": 0.55}, seed=5, verdicts=60))
    blank = replace(table, scores=table.scores * [1, 1, 1, np.nan], counts=table.counts & [True, True, True, False])
    assert float(fit(blank).limits[0, 3]) == pytest.approx(POLICY["skin_realism"]["color_naturalness_pass_threshold"], abs=1e-6)


def test_a_reason_moves_the_gate_that_it_names() -> None:
    """The same pictures are rejected; the reason alone says whether it was the face or the texture."""
    pictures = [make_picture(f"{number}.png", f"p{number}", 0.62 + number / 1000, texture=0.62 + number / 1000) for number in range(12)]
    good = [Opinion(make_picture(f"good {n}.png", f"p{n}", 0.85, texture=0.85), "anna", True, "free") for n in range(12)]

    def limits(reason: str) -> dict[str, float]:
        return limits_of([*good, *(Opinion(picture, "anna", False, "free", reason=reason) for picture in pictures)])

    face, texture = limits("wrong face"), limits("the skin texture is plastic")
    assert face["face"] > 0.62 > face["texture"]
    assert texture["texture"] > 0.62 > texture["face"]


def test_the_slope_is_that_of_the_fitness() -> None:
    """Against differences of the fitness itself, at a point that is no peak."""
    table = table_of(judge({"face": 0.55, "texture": 0.7}, seed=7, verdicts=40))
    prior = taste_model._Prior.around(table.limits)
    weights = np.ones((1, table.rows))
    point = np.concatenate([table.limits + 0.03, np.log([0.04, 0.05, 0.03, 0.06]), [-3.0, -2.0]])[None]
    slope = taste_model._look(table, weights, point, prior)[1][0]
    for place in range(point.shape[1]):
        step = np.zeros_like(point)
        step[0, place] = 1e-6
        up, down = (taste_model._look(table, weights, point + way * step, prior)[0][0] for way in (1, -1))
        assert slope[place] == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-4)


def test_resamples_draw_prompts_and_not_pictures() -> None:
    table = table_of(judge({"face": 0.55}, seed=1, verdicts=20, prompts=5))
    drawn = resample(table, 50, seed=4)
    assert drawn.shape == (50, 20)
    for prompt in range(5):
        assert (drawn[:, table.prompts == prompt].std(axis=1) == 0).all()
    assert (draw_prompts(5, 50, seed=4).sum(axis=1) == 5).all()


def test_a_gate_where_less_is_better_is_read_the_other_way_round() -> None:
    gate = replace(gate_of("face"), lower_is_better=True)
    opinions = [Opinion(make_picture(f"{n}.png", f"p{n}", n / 100), "anna", n < 30, "free") for n in range(5, 95)]
    table, rows = tabulate_opinions(opinions, [gate], POLICY)
    assert len(rows) == 90 and table.limits[0] == -0.6
    assert -float(fit(table).limits[0, 0]) == pytest.approx(0.295, abs=0.01)
