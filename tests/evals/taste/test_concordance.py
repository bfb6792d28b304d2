"""How far two agree: numbers that were worked out by hand, and intervals that know how little few prompts tell."""

from __future__ import annotations

import numpy as np
import pytest

from evals.taste.concordance import Asked, compare, mean_of, trace


def asked(count: int, prompts: int = 10, weights: list[float] | None = None) -> Asked:
    return Asked(np.arange(count) % prompts, np.array(weights or [1.0] * count))


def flags(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Two judges: both approve, the first alone, the second alone, neither."""
    cells = [(True, True), (True, False), (False, True), (False, False)]
    pairs = [cell for cell, count in zip(cells, counts, strict=True) for _ in range(count)]
    return np.array([one for one, _ in pairs]), np.array([other for _, other in pairs])


def test_kappa_precision_and_recall() -> None:
    """20 both, 5 and 10 one alone, 15 neither: alike in 0.7, by chance 0.5 x 0.6 + 0.5 x 0.4 = 0.5, so kappa (0.7 - 0.5) / 0.5 = 0.4."""
    found = compare(*flags(20, 5, 10, 15), asked(50))
    assert (found.both, found.first_alone, found.second_alone, found.neither) == (20, 5, 10, 15)
    assert found.kappa.value == pytest.approx(0.4)
    assert found.precision.value == pytest.approx(0.8) and found.recall.value == pytest.approx(20 / 30)
    for each in (found.kappa, found.precision, found.recall):
        assert each.low is not None and each.high is not None and each.value is not None
        assert each.low < each.value < each.high


def test_weights_bring_a_picked_sample_back_to_its_batch() -> None:
    """One picture in the sample stands for nine like it: 9 right of 10 that are approved."""
    found = compare(*flags(1, 1, 0, 0), asked(2, weights=[9.0, 1.0]))
    assert found.precision.value == pytest.approx(0.9)


def test_all_alike_is_not_certain() -> None:
    """Ten prompts, never wrong: Wilson's lower end for 10 of 10 is 0.72. Kappa of two who only approve says nothing."""
    found = compare(*flags(10, 0, 0, 0), asked(10))
    assert found.precision.value == 1.0 and found.precision.low == pytest.approx(0.72, abs=0.01)
    assert found.kappa.value is None


def test_pictures_of_one_prompt_count_together() -> None:
    """The same forty verdicts: with each prompt all right or all wrong, four prompts' worth less is known."""
    first, second = flags(20, 20, 0, 0)
    alone = compare(first, second, asked(40, prompts=40)).precision
    together = compare(first, second, Asked(np.arange(40) // 4, np.ones(40))).precision
    widths = [each.high - each.low for each in (alone, together) if each.high is not None and each.low is not None]
    assert widths[1] > 1.6 * widths[0]


def test_the_curve_and_its_area() -> None:
    """0.9 and 0.7 approved, 0.8 and 0.6 rejected: three of four pairs are in order. A tie counts half."""
    curve = trace(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]), asked(4))
    assert curve.area.value == pytest.approx(0.75)
    assert curve.points == ((0.9, 0.0, 0.5), (0.8, 0.5, 0.5), (0.7, 0.5, 1.0), (0.6, 1.0, 1.0))
    assert trace(np.array([0.5, 0.5]), np.array([True, False]), asked(2)).area.value == pytest.approx(0.5)
    assert trace(np.array([0.5, 0.6]), np.array([True, True]), asked(2)).area.value is None


def test_a_mean_with_few_prompts_has_no_interval() -> None:
    values = np.array([0.0, 100.0, 0.0, 100.0])
    assert mean_of(values, asked(4, prompts=4)).low is None
    found = mean_of(np.tile(values, 5), asked(20, prompts=20))
    assert found.value == 50.0 and found.low is not None and 20 < found.low < 50
