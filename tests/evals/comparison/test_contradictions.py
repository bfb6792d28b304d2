"""A report never says two things at once: verdicts, signs, sentences and recommendation agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evals.comparison.comparing import VersionComparison, compare
from evals.comparison.inference import Estimate, estimate_level
from evals.comparison.promotion import check_promotion
from evals.comparison.rendering import render
from evals.comparison.runs import read_run
from evals.comparison.verdicts import judge_estimate, mirrored
from evals.comparison.weighted_means import change, number_prompts, take_apart
from evals.comparison.wording import recommendation, verdict_sentence
from evals.load_thresholds import load_thresholds
from tests.evals.comparison.rows import make_row, steady

POLICY = load_thresholds()


def compared(first: dict[str, Any], second: dict[str, Any]) -> VersionComparison:
    return compare([read_run(first)], [read_run(second)], POLICY)


def partly_paired(new: float, shared: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of ten prompts two are in both runs, on which the second scores `shared`; on its other eight prompts it scores `new`."""
    first = make_row("a", steady(0.60))
    second = make_row("b", lambda p, s: steady(shared if p <= 2 else new)(p, s))
    for picture in second["images"]:
        picture["prompt_id"] += 100 if picture["prompt_id"] > 2 else 0
    return first, second


@pytest.mark.parametrize(
    ("new", "shared"), [(0.45, 0.75), (0.75, 0.45), (0.45, 0.602)], ids=["worse as a whole", "better", "alike in pairs"]
)
def test_all_pictures_and_pairs_that_disagree_conclude_nothing(new: float, shared: float) -> None:
    comparison = compared(*partly_paired(new, shared))
    overall = comparison.metrics["overall"]
    assert overall.delta is not None and overall.estimate is not None
    assert comparison.verdict == "INCONCLUSIVE"
    sentence = f"the difference is {overall.delta:+.2f}, over the pictures that have a partner it is {overall.estimate.effect:+.2f}"
    assert sentence in verdict_sentence(comparison) and sentence in render(comparison)
    assert "IMPROVED" not in render(comparison).partition("## Recommendation")[0]


def test_pairs_that_say_the_same_conclude() -> None:
    assert compared(*partly_paired(0.80, 0.81)).verdict == "IMPROVED"


def test_the_older_run_second_reads_right() -> None:
    new, old = make_row("v3_sweep", steady(0.75), version="v3", timestamp="2026-11-20T10:00:00Z"), make_row("v2_sweep", steady(0.60))
    old |= {"timestamp": "2026-10-01T10:00:00Z", "lora_version": "v2"}
    comparison = compared(new, old)
    gate = check_promotion(comparison, None)
    report = render(comparison, gate)
    assert "v2_sweep is older than v3_sweep: the table shows what would change if you went back to v2_sweep." in report
    assert "but is worse than v3_sweep. Recommend keeping v3 LoRA." in report
    assert verdict_sentence(comparison).startswith("v3_sweep is better than v2_sweep")
    assert "new" not in report.replace("LoRA", "")
    assert "is older than" not in render(compared(old, new))


def test_what_may_not_be_promoted_is_not_recommended() -> None:
    comparison = compared(make_row("a", steady(0.6)), make_row("b", steady(0.7)))
    assert recommendation(comparison, check_promotion(comparison, None).objections).endswith("Recommend deploying b LoRA.")
    elsewhere = check_promotion(comparison, {"run_id": "c", "protocol_id": "p9", "scores": {}})
    assert not elsewhere.passed
    assert recommendation(comparison, elsewhere.objections).endswith("Recommend keeping a LoRA.")


@pytest.mark.parametrize(("faceless", "outcome"), [(5, "yes"), (6, "NO")], ids=["half have a face", "fewer"])
def test_promotion_needs_enough_pictures_with_a_score(faceless: int, outcome: str) -> None:
    second = make_row("b", lambda p, s: None if p <= faceless else steady(0.8)(p, s))
    comparison = compared(make_row("a", steady(0.6)), second)
    check = next(check for check in check_promotion(comparison, None).checks if check.title == "Coverage")
    scored = 2 * (10 - faceless)
    assert (check.outcome, check.why) == (outcome, f"{scored} of 20 pictures have a score of face similarity, 50% are wanted")
    assert f"| Face Similarity | 20 of 20 | {scored} of 20 |" in render(comparison)


def test_a_grade_does_not_move_against_its_score() -> None:
    first, second = make_row("a", steady(0.60)), make_row("b", steady(0.66))
    second["eval_scores"]["overall_grade"] = "D"  # graded by another policy
    comparison = compared(first, second)
    assert (comparison.verdict, comparison.grade_levels, comparison.grade_verdict) == ("IMPROVED", -1, "INCONCLUSIVE")


def test_less_is_better_turned_round() -> None:
    estimate = Estimate(0.10, 0.05, 0.15, 0.99, 0.02, 9, 10, 10, "t")
    assert (judge_estimate(estimate, 0.02), judge_estimate(mirrored(estimate), 0.02)) == ("IMPROVED", "REGRESSED")
    assert mirrored(mirrored(estimate)) == Estimate(0.10, 0.05, 0.15, pytest.approx(0.99), 0.02, 9, 10, 10, "t")


@pytest.mark.parametrize(
    ("effect", "error", "low", "high"),
    # logit .9 = 2.1972; t(4) = 2.77645; error .03 / (.9 * .1) = .33333: 2.1972 -+ .92548
    [(0.9, 0.03, 0.78103, 0.95783), (0.5, 0.0, 0.5, 0.5), (0.99, 0.5, 0.0, 1.0)],
    ids=["by hand", "no spread", "wide"],
)
def test_an_interval_of_a_mean_stays_between_its_ends(effect: float, error: float, low: float, high: float) -> None:
    found = estimate_level(Estimate(effect, -1.0, 2.0, None, error, 4, 5, 20, "t"), 0.0, 1.0, 0.95)
    assert found.low == pytest.approx(low, abs=2e-5) and found.high == pytest.approx(high, abs=2e-5)


def test_a_weighted_sum_of_means_by_hand() -> None:
    # face: prompts 1 and 2 of two pictures each, .9 .3 and .9 .3; skin: .9 of the first pictures alone
    scores = np.array([[0.9, 0.9], [0.3, np.nan], [0.9, 0.8], [0.3, np.nan]])
    prompts, count = number_prompts([1, 1, 2, 2])
    weights = np.array([[0.75], [0.25]])
    found = take_apart(scores, prompts, count, weights)
    assert found.means[0] == pytest.approx(0.75 * 0.6 + 0.25 * 0.85)
    # face moves nothing; skin .9 and .8 around .85, one of two scores each: .25 * .05 / 2
    assert found.parts[:, 0].tolist() == pytest.approx([0.00625, -0.00625])
    sums = change(found, take_apart(np.full((4, 2), 0.75), prompts, count, weights))
    assert sums.sums.sum() / sums.counts.sum() == pytest.approx(0.75 - 0.6625)
