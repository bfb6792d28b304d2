"""Go on, stop, overtrained: each only on evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tools.sweep.curves import QUICK, make_curve
from tools.sweep.checkpoint_advice import GO_ON, OVERTRAINED, STOP, advise, advise_each
from tools.sweep.checkpoint_curve import COPYING, OVERALL, VARIETY, WITHHELD

STEPS = (250, 500, 750, 1000, 1250, 1500)


def flat(levels: list[float]) -> dict[int, list[float]]:
    return {step: [level] for step, level in zip(STEPS, levels, strict=False)}


@pytest.mark.parametrize(
    ("levels", "noise", "kind", "said"),
    [
        ([0.5], 0.01, GO_ON, "Go on: advice to stop takes 4 judged checkpoints, and there are 1 so far."),
        ([0.4, 0.45, 0.5, 0.55, 0.6, 0.65], 0.01, GO_ON, "Go on: the last 3 checkpoints (steps 1000 to 1500) gained 0.15"),
        ([0.3, 0.5, 0.6, 0.6, 0.6, 0.6], 0.01, GO_ON, "Go on: the last 3 checkpoints (steps 1000 to 1500) gained 0.13"),
        (
            [0.6, 0.6, 0.6, 0.6, 0.6, 0.6],
            0.005,
            STOP,
            "Stop: the last 3 checkpoints (steps 1000 to 1500) bring no gain of 0.02 or more over",
        ),
        (
            [0.6, 0.6, 0.6, 0.6, 0.6, 0.6],
            0.08,
            GO_ON,
            "Go on: a gain of 0.02 or more by the last 3 checkpoints (steps 1000 to 1500) cannot be",
        ),
    ],
    ids=["one", "rising", "just risen", "no gain", "too noisy to stop"],
)
def test_the_advice_follows_the_gain(levels: list[float], noise: float, kind: str, said: str) -> None:
    advice = advise(make_curve(flat(levels), noise=noise), QUICK)
    assert (advice.kind, advice.sentence[: len(said)]) == (kind, said)


def test_a_stop_names_what_to_keep_and_its_evidence() -> None:
    advice = advise(make_curve(flat([0.6] * 6), noise=0.005), QUICK)
    assert "Keep anna-step" in advice.sentence
    assert advice.evidence[0].startswith("gain of the last 3 checkpoints (steps 1000 to 1500) over the 3 checkpoints before: ")
    assert advice.gain is not None and advice.gain.high is not None and advice.gain.high < 0.02


def test_a_strength_that_still_gains_is_a_reason_to_go_on() -> None:
    levels = {step: [0.6 - 0.02 * place, 0.5 + 0.02 * place] for place, step in enumerate(STEPS)}
    advice = advise(make_curve(levels, strengths=(1.0, 0.6), noise=0.002), QUICK)
    assert advice.kind == GO_ON
    assert "at strength 0.60 the last 3 checkpoints (steps 1000 to 1500) look better by 0.02 or more" in advice.sentence


@pytest.mark.parametrize(
    ("copying", "variety", "kind", "shown"),
    [
        ([0.1, 0.1, 0.2, 0.6], [0.8, 0.8, 0.7, 0.4], OVERTRAINED, (COPYING, VARIETY)),
        ([0.1, 0.1, 0.2, 0.6], [0.8, 0.8, 0.8, 0.8], GO_ON, (COPYING,)),
        ([0.1, 0.1, 0.1, 0.1], [0.8, 0.8, 0.7, 0.4], GO_ON, (VARIETY,)),
        ([0.1, 0.1, 0.12, 0.14], [0.8, 0.8, 0.78, 0.74], GO_ON, ()),
        ([0.6, 0.6, 0.2, 0.1], [0.4, 0.4, 0.7, 0.8], GO_ON, ()),
    ],
    ids=["copies more and varies less", "copies more", "varies less", "less than the margins", "the other way round"],
)
def test_overtrained_takes_two_signs(copying: list[float], variety: list[float], kind: str, shown: tuple[str, ...]) -> None:
    levels = flat([0.5, 0.62, 0.605, 0.605])  # step 500 is what the newest is held against
    given = [dict(zip(STEPS, values, strict=False)) for values in (copying, variety)]
    advice = advise(make_curve(levels, noise=0.004, copying=given[0], variety=given[1]), QUICK)
    assert (tuple(name for name in advice.shown if name != OVERALL), advice.kind if OVERALL not in advice.shown else kind) == (shown, kind)
    if kind == OVERTRAINED:
        assert advice.sentence.startswith("Overtrained: since step 500 copying rose by 0.50 and variety fell by 0.4")


def test_a_falling_score_and_less_variety_is_overtrained_where_copying_is_not_measured() -> None:
    advice = advise(make_curve(flat([0.5, 0.6, 0.5, 0.4]), variety=dict(zip(STEPS, [0.8, 0.8, 0.6, 0.3], strict=False))), QUICK)
    assert (advice.kind, set(advice.shown)) == (OVERTRAINED, {VARIETY, OVERALL})


def test_where_the_references_were_trained_on_only_overtraining_is_told_and_a_stop_rests_on_skin() -> None:
    copying, variety = ({250: 0.1, 500: 0.1, 750: 0.6}, {250: 0.8, 500: 0.8, 750: 0.3})
    curve = make_curve(flat([0.60, 0.602, 0.601]), noise=0.005, references_trained=True, copying=copying, variety=variety)
    assert advise(curve, QUICK).kind == OVERTRAINED
    nothing_left = replace(make_curve(flat([0.5] * 6), references_trained=True), weights=(0.0,) * 4)
    assert advise(nothing_left, QUICK).sentence == f"No advice to stop can be given. {WITHHELD}"


def test_a_newest_one_that_scores_higher_is_not_called_overtrained() -> None:
    copying, variety = ({250: 0.1, 500: 0.1, 750: 0.6}, {250: 0.8, 500: 0.8, 750: 0.3})
    advice = advise(make_curve(flat([0.4, 0.5, 0.7]), noise=0.005, copying=copying, variety=variety), QUICK)
    assert (advice.kind, advice.shown) == (GO_ON, (COPYING, VARIETY))
    assert any("a sign of overtraining" in line for line in advice.evidence)


def test_the_advice_after_each_checkpoint_is_what_was_said_then() -> None:
    curve = make_curve(flat([0.4, 0.5, 0.6, 0.6, 0.6, 0.6]), noise=0.005)
    each = advise_each(curve, QUICK)
    assert [advice.step for advice in each] == list(STEPS)
    assert each[3] == advise(curve.up_to(1000), QUICK)
