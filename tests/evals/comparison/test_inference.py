"""Estimates against known answers, and against simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from evals.comparison import inference, selection
from evals.comparison.student import t_cdf, t_quantile
from evals.comparison.verdicts import judge_delta, judge_estimate, level_text


def select(
    names: list[str], scores: np.ndarray, prompts: list[int], *, confidence: float, minimum_effect: float, baseline: str | None = None
) -> selection.Selection:
    trials = selection.Trials.of_scores(names, scores, prompts)
    return selection.select(trials, confidence=confidence, minimum_effect=minimum_effect, baseline=baseline)


@pytest.mark.parametrize(
    ("probability", "degrees", "value"),
    # published tables of Student's t
    [(0.975, 1, 12.7062), (0.975, 4, 2.77645), (0.95, 10, 1.81246), (0.995, 30, 2.74999), (0.975, 1e7, 1.95996), (0.025, 9, -2.26216)],
)
def test_student_quantiles(probability: float, degrees: float, value: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(value, abs=2e-4)
    assert t_cdf(value, degrees) == pytest.approx(probability, abs=1e-5)


def test_cluster_error_by_hand() -> None:
    # prompts with sums 2, 4, 9 of 2, 2, 3 values: mean 15/7; residuals 2-30/7, 4-30/7, 9-45/7 = -16/7, -2/7, 18/7
    data = inference.sum_by_prompt(np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]), ["a", "a", "b", "b", "c", "c", "c"])
    mean, error, groups = inference.means_and_errors(data)
    assert (mean[0], groups[0]) == (pytest.approx(15 / 7), 3)
    assert error[0] == pytest.approx(np.sqrt((16**2 + 2**2 + 18**2) / 49 * 3 / 2) / 7)


def test_few_prompts_take_student_with_prompts_as_the_sample() -> None:
    # three prompts of many pictures: mean 0.02, error of three numbers .01 .02 .03 = .01/sqrt(3), t(2) = 4.30265
    values = np.repeat([0.01, 0.02, 0.03], 100)
    estimate = inference.estimate_means(
        inference.sum_by_prompt(values, np.repeat([1, 2, 3], 100).tolist()), confidence=0.95, resamples=500
    )[0]
    assert estimate.method == "t"
    assert estimate.half_width == pytest.approx(4.30265 * 0.01 / np.sqrt(3), rel=1e-4)


@pytest.mark.parametrize(
    ("values", "prompts"),
    [([0.5], [1]), ([0.1, 0.4, 0.2], [1, 1, 1]), ([0.1, 0.1, 0.1], [1, 2, 3])],
    ids=["one picture", "one prompt", "all alike"],
)
def test_no_interval_without_knowledge_of_the_spread(values: list[float], prompts: list[int]) -> None:
    estimate = inference.estimate_means(inference.sum_by_prompt(np.array(values), prompts), confidence=0.95, resamples=500)[0]
    assert (estimate.low, estimate.high, estimate.probability) == (None, None, None)
    assert judge_estimate(estimate, 0.02) == "INCONCLUSIVE"


def test_missing_scores_are_left_out_of_their_column_only() -> None:
    values = np.array([[1.0, np.nan], [3.0, 5.0], [5.0, 7.0]])
    estimates = inference.estimate_means(inference.sum_by_prompt(values, [1, 2, 3]), confidence=0.9, resamples=0)
    assert [(estimate.effect, estimate.pairs) for estimate in estimates] == [(3.0, 3), (6.0, 2)]


@pytest.mark.parametrize("prompts", [5, 10, 30])
def test_the_interval_holds_the_truth_as_often_as_it_says(prompts: int) -> None:
    rng = np.random.default_rng(prompts)
    labels = np.repeat(np.arange(prompts), 3).tolist()
    held = 0
    for number in range(300):
        change = 0.03 * (1 - rng.exponential(size=prompts))  # skewed, mean 0
        values = np.repeat(change, 3) + 0.06 * rng.standard_normal(3 * prompts)
        estimate = inference.estimate_means(inference.sum_by_prompt(values, labels), confidence=0.95, resamples=499, seed=number)[0]
        assert estimate.low is not None and estimate.high is not None
        held += estimate.low <= 0 <= estimate.high
    # 95 % of 300 is 285, with a standard error of 3.8: three of them either way
    assert 274 <= held <= 297


def test_training_runs_widen_the_interval_to_the_truth() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        tables = [0.6 + 0.08 * rng.standard_normal((3, 1)) + 0.04 * rng.standard_normal((3, 10)) for _ in range(2)]
        estimate = inference.estimate_versions(tables[0], tables[1], np.full(10, 4.0), confidence=0.95)
        assert estimate.low is not None and estimate.high is not None
        held += estimate.low <= 0 <= estimate.high
    assert 274 <= held <= 299


def test_shares_by_wilson() -> None:
    # 7 of 10 independent pictures: Wilson's 95 % interval is .3968 to .8922
    low, high = inference.share_interval(np.array([1.0] * 7 + [0.0] * 3), list(range(10)), 0.95) or (0, 0)
    assert (low, high) == (pytest.approx(0.3968, abs=1e-4), pytest.approx(0.8922, abs=1e-4))
    # all alike: the four prompts are what was tried, not the forty pictures: 4 / (4 + 1.96^2)
    low, high = inference.share_interval(np.ones(40), np.repeat([1, 2, 3, 4], 10).tolist(), 0.95) or (0, 0)
    assert (low, high) == (pytest.approx(0.510, abs=0.001), 1.0)


def test_prompts_that_settle_really_settle() -> None:
    rng = np.random.default_rng(5)
    labels = list(range(12))
    first = inference.estimate_means(inference.sum_by_prompt(0.02 + 0.06 * rng.standard_normal(12), labels), confidence=0.95, resamples=0)[
        0
    ]
    needed = inference.prompts_that_settle(first, 0.02, 0.95)
    assert needed is not None and first.error is not None
    error = first.error * np.sqrt(12 / needed)
    wanted = max(abs(first.effect), 0.02 - abs(first.effect))
    assert t_quantile(0.975, needed - 1) * error <= wanted
    assert t_quantile(0.975, needed - 2) * first.error * np.sqrt(12 / (needed - 1)) > wanted or needed == 13


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.05, "IMPROVED"),
        (-0.05, -0.01, "REGRESSED"),
        (-0.015, 0.02, "UNCHANGED"),
        (0.001, 0.019, "UNCHANGED"),
        (-0.01, 0.03, "INCONCLUSIVE"),
        (0.0, 0.05, "INCONCLUSIVE"),
    ],
)
def test_verdicts_of_intervals(low: float, high: float, verdict: str) -> None:
    estimate = inference.Estimate((low + high) / 2, low, high, 0.5, 0.01, 9, 10, 10, "t")
    assert judge_estimate(estimate, 0.02) == verdict


@pytest.mark.parametrize(("delta", "verdict"), [(0.02, "IMPROVED"), (0.01999999, "IMPROVED"), (0.0199, "UNCHANGED"), (-0.02, "REGRESSED")])
def test_verdicts_of_plain_differences(delta: float, verdict: str) -> None:
    assert judge_delta(delta, 0.02) == verdict


@pytest.mark.parametrize(("levels", "text"), [(2, "+2 levels"), (-2, "-2 levels"), (1, "+1 level"), (0, "0 levels")])
def test_levels(levels: int, text: str) -> None:
    assert level_text(levels) == text


def test_the_best_of_equals_is_not_called_best() -> None:
    rng = np.random.default_rng(11)
    names, labels = [f"c{number}" for number in range(27)], np.repeat(np.arange(10), 2).tolist()
    called = 0
    for _ in range(60):
        found = select(names, 0.6 + 0.06 * rng.standard_normal((20, 27)), labels, confidence=0.95, minimum_effect=0.0, baseline="c0")
        called += not found.rivals or found.baseline_verdict in ("IMPROVED", "REGRESSED")
    assert called <= 6  # 5 % of 60 is 3; a plain test of the winner would say so 35 times


def test_a_clear_winner_is_named_and_its_score_corrected() -> None:
    rng = np.random.default_rng(2)
    levels = np.array([0.5, 0.7, 0.5, 0.5])
    scores = levels + 0.03 * rng.standard_normal((40, 4))
    found = select(list("abcd"), scores, np.repeat(np.arange(10), 4).tolist(), confidence=0.95, minimum_effect=0.02, baseline="a")
    assert (found.ranked[0].name, found.rivals, found.regret, found.baseline_verdict) == ("b", (), 0.0, "IMPROVED")
    assert found.fair_score == pytest.approx(0.7, abs=0.02)
    assert selection.how_sure(found) == "Use b: it is the best of the 4 tried (95 % sure)."


def test_a_configuration_that_was_dropped_early_cannot_be_chosen() -> None:
    scores = np.full((12, 2), 0.6) + 0.01 * np.random.default_rng(3).standard_normal((12, 2))
    scores[4:, 1] = np.nan
    scores[:4, 1] = 0.9  # lucky at first, and not made again
    found = select(["kept", "dropped"], scores, [number % 4 for number in range(12)], confidence=0.95, minimum_effect=0.02)
    assert found.ranked[0].name == "kept"
    assert found.ranked[1].may_be_best
    assert found.regret is not None and found.regret > 0.25


def test_the_bound_on_the_loss_by_hand() -> None:
    a = np.array([0.6, 0.7, 0.8, 0.9])
    scores = np.column_stack([a, a - [0.01, 0.03, 0.05, 0.07], a - [0.30, 0.31, 0.32, 0.33]])
    found = select(["a", "b", "c"], scores, [1, 2, 3, 4], confidence=0.95, minimum_effect=0.02)
    # b lies .04 behind with a standard error of .02582 / 2; two rivals: t(3) at 1 - .05/2 is 3.18245, so b may be ahead by .00108
    assert found.regret == pytest.approx(3.18245 * np.sqrt(0.002 / 3) / 2 - 0.04, abs=1e-6)
    assert [rival.name for rival in found.rivals] == ["b"]


@pytest.mark.parametrize(
    ("scores", "prompts", "sentence"),
    [
        ([[0.6], [0.7], [0.8]], [1, 2, 3], "Only a was tried: there is nothing to choose among."),
        ([[0.6, 0.5], [0.7, 0.6]], [1, 2], "Use a. With fewer than 3 prompts it cannot be said how sure that is."),
        (
            [[0.6, 0.5], [0.7, np.nan], [0.8, np.nan]],
            [1, 2, 3],
            "Use a. The others were tried on too few prompts to say how sure that is.",
        ),
        (
            [[0.60, 0.50, 0.59], [0.70, np.nan, 0.67], [0.80, np.nan, 0.75], [0.90, np.nan, 0.83]],
            [1, 2, 3, 4],
            "Use a: less than 0.01 below the best of the 2 tried enough (95 % sure); c may be as good or better; "
            "1 was dropped early after too few pictures, and may be as good.",
        ),
    ],
    ids=["one", "two prompts", "dropped at once", "one dropped"],
)
def test_how_sure_a_choice_is(scores: list[list[float]], prompts: list[int], sentence: str) -> None:
    names = ["a", "b", "c"][: len(scores[0])]
    found = select(names, np.array(scores), prompts, confidence=0.95, minimum_effect=0.02)
    assert selection.how_sure(found) == sentence
