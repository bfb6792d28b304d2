"""Which checkpoint at which strength, how sure, and what the runner-up costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tools.sweep.curves import QUICK, make_curve
from tools.sweep.checkpoint_choice import choose_checkpoint
from tools.sweep.checkpoint_curve import WITHHELD

RISE = {250: [0.40, 0.42], 500: [0.50, 0.60], 750: [0.52, 0.50]}


def test_the_best_pair_is_named_with_its_runner_up_and_what_that_costs() -> None:
    choice = choose_checkpoint(make_curve(RISE, strengths=(0.6, 1.0)), QUICK)
    assert choice.chosen is not None and choice.runner_up is not None and choice.cost is not None and choice.shares is not None
    assert (choice.chosen.config, choice.runner_up.config) == ("step500_str1.00", "step750_str0.60")
    assert choice.cost.effect == pytest.approx(0.08, abs=0.02)
    assert choice.shares.near > 0.95
    assert choice.within_noise == (choice.chosen,)
    assert choice.sentence.startswith("Use anna-step00000500.safetensors at strength 1.00: over 99 % sure that none of the 6 pairs")
    assert choice.sentence.endswith("none of the 5 other pairs may be as good (95 % sure).")


def test_equals_are_within_the_noise_and_no_one_is_sure_to_be_the_best() -> None:
    flat = make_curve({step: [0.5, 0.5] for step in (250, 500, 750, 1000)}, strengths=(0.6, 0.8), noise=0.03)
    choice = choose_checkpoint(flat, QUICK)
    assert len(choice.within_noise) == 8
    assert choice.shares is not None and choice.shares.best < 0.6
    assert "7 of the 7 other pairs are within the noise of it" in choice.sentence
    assert choice.detail.count(" at strength ") == 4 and choice.detail.endswith(" and 3 more.")


def test_much_noise_is_no_proof_that_nothing_differs() -> None:
    """Twenty equal pairs under so much noise that none of their differences can be real: none is sure to be within .02 of the best."""
    levels = {step: [0.5, 0.5] for step in range(250, 2750, 250)}
    shares = choose_checkpoint(make_curve(levels, strengths=(0.6, 0.8), noise=0.15), QUICK).shares
    assert shares is not None and shares.near < 0.7
    # without drawing the means together it came out best in 25 of 100, as if it were better
    calm = choose_checkpoint(make_curve(levels, strengths=(0.6, 0.8), noise=0.03), QUICK).shares
    assert calm is not None and calm.best < 0.23 and calm.near > 0.9


def test_more_looks_make_a_comparison_wider_unless_they_were_planned() -> None:
    """What the third checkpoint may use: 1 / 12 of the error with an open end, a third of it where three are planned."""
    curves = {planned: make_curve({250: [0.50], 500: [0.55], 750: [0.58]}, noise=0.02, planned=planned) for planned in (None, 3)}
    costs = {planned: choose_checkpoint(curve, QUICK).cost for planned, curve in curves.items()}
    widths = {planned: cost.half_width for planned, cost in costs.items() if cost is not None}
    open_end, three = widths[None], widths[3]
    assert open_end is not None and three is not None
    # two-sided Student's t with 7 degrees at .05 / 12 and .05 / 3: 4.19 and 3.13
    assert open_end / three == pytest.approx(4.19 / 3.13, abs=0.01)


def test_a_comparison_stays_as_it_was_at_a_later_look() -> None:
    curve = make_curve({250: [0.6], 500: [0.5], 750: [0.4]})
    early, late = choose_checkpoint(curve.up_to(500), QUICK), choose_checkpoint(curve, QUICK)
    assert early.chosen == late.chosen and early.cost is not None and late.cost is not None
    assert (early.cost.low, early.cost.high) == (late.cost.low, late.cost.high)


def test_without_identity_the_choice_is_by_what_is_left_and_says_so() -> None:
    choice = choose_checkpoint(make_curve(RISE, strengths=(0.6, 1.0), references_trained=True), QUICK)
    assert choice.sentence.startswith("By what is left without identity, take anna-step00000500.safetensors")
    assert choice.sentence.endswith(WITHHELD)
    only_identity = replace(make_curve(RISE, strengths=(0.6, 1.0), references_trained=True), weights=(0.0, 0.0, 0.0, 0.0))
    assert choose_checkpoint(only_identity, QUICK).sentence == f"No checkpoint is named as the best. {WITHHELD}"


def test_what_is_not_judged_is_not_chosen() -> None:
    curve = make_curve({250: [0.5], 500: [0.9]})
    waiting = replace(curve, shortfalls=("", "only 3 pictures have a score"))
    assert [each.step for each in choose_checkpoint(waiting, QUICK).within_noise] == [250]
    none = replace(curve, shortfalls=("no picture so far", "no picture so far"))
    expected = "No checkpoint can be chosen yet (step 250 at strength 0.80: no picture so far)."
    assert choose_checkpoint(none, QUICK).sentence == expected


def test_with_two_prompts_no_one_is_sure() -> None:
    choice = choose_checkpoint(make_curve({250: [0.5], 500: [0.6]}, prompts=2), QUICK)
    assert choice.chosen is None and "2 prompts: 3 are wanted" in choice.sentence
