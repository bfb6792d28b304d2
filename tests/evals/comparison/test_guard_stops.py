"""A version of which the guards stop more pictures is no improvement, however good its scores are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.comparison import wording
from evals.comparison.comparing import VersionComparison, compare
from evals.comparison.document import to_document
from evals.comparison.promotion import check_promotion
from evals.comparison.rendering import render
from evals.comparison.runs import read_run
from evals.load_thresholds import load_thresholds

PICTURES = 20
ON = {"gates": {"second_face": {"limit": 0.5}, "age": {"limit": 25}}}


def row(run_id: str, score: float, shares: list[float] | None = None, ages: list[float] | None = None) -> dict[str, Any]:
    """A run of 20 prompts, each scored a little differently."""
    images = []
    for number in range(PICTURES):
        value = round(score + 0.004 * ((number * len(run_id + "x")) % 7), 4)
        guards = {name: values[number] for name, values in (("second_face", shares), ("age", ages)) if values is not None}
        images.append({"file": f"{number}.png", "prompt_id": f"{number:03d}", "seed": 1, "face": value, "skin": value, "texture": 0.8,
                       "color": 0.8, "reason": None, "approved": True, **guards})  # fmt: skip
    mean = score + 0.012
    means = {"face_similarity_mean": mean, "skin_realism_mean": mean, "overall_score": mean, "overall_grade": "B"}
    scores = {**means, "images_evaluated": PICTURES, "images_without_face": 0}
    return {"schema_version": 1, "run_id": run_id, "timestamp": "2026-11-01T00:00:00Z", "lora_version": run_id, "protocol_id": "p",
            "eval_scores": scores, "images": images}  # fmt: skip


def shares(beyond: int) -> list[float]:
    return [0.9] * beyond + [0.0] * (PICTURES - beyond)


def compared(first: dict[str, Any], second: dict[str, Any], policy: dict[str, Any] | None = None) -> VersionComparison:
    return compare([read_run(first)], [read_run(second)], {**load_thresholds(), **(ON if policy is None else policy)})


def test_more_stopped_is_no_improvement() -> None:
    found = compared(row("old", 0.70, shares(0)), row("newer", 0.80, shares(2)))
    assert found.verdict == "IMPROVED"
    told = "more of its pictures are stopped by the guard second face (2 of 20, before 0 of 20)"
    assert wording.verdict_sentence(found).startswith(f"newer is no improvement: {told}, though its scores are better")
    assert wording.recommendation(found) == (f"newer meets promotion threshold (grade >= C), but {told}. Recommend keeping old LoRA.")
    gate = check_promotion(found, None)
    assert not gate.passed and [(check.outcome, check.why) for check in gate.checks if check.title == "Guards"] == [("NO", told)]
    assert "| Second Face | 0 of 20 | 2 of 20 | MORE |" in render(found, gate)
    assert to_document(found, gate, None, Path("r.md"), [])["guards"] == {
        "second_face": {"v1": {"stopped": 0, "measured": 20}, "v2": {"stopped": 2, "measured": 20}, "more": True}
    }


@pytest.mark.parametrize(("before", "now"), [(0, 0), (2, 2), (3, 1)], ids=str)
def test_not_more_is_an_improvement_like_any_other(before: int, now: int) -> None:
    found = compared(row("old", 0.70, shares(before)), row("newer", 0.80, shares(now)))
    assert wording.verdict_sentence(found).startswith("newer is better than old")
    assert wording.recommendation(found).endswith("Recommend deploying newer LoRA.")
    checks = [check for check in check_promotion(found, None).checks if check.title == "Guards"]
    assert [check.outcome for check in checks] == ["yes"] and f"{now} of 20 stopped, before {before} of 20" in checks[0].why


def test_the_age_that_a_guard_reads_is_no_score_to_compare() -> None:
    """Older is not better: of a guard the pictures that it stops are counted, at its limit, and no mean is compared."""
    found = compared(row("old", 0.70, ages=[30.0] * 20), row("newer", 0.80, ages=[60.0] * 19 + [24.99]))
    assert "age" not in found.metrics and [str(each.second) for each in found.more_stopped] == ["1 of 20"]


def test_where_no_guard_is_on_nothing_is_said_of_them() -> None:
    found = compared(row("old", 0.70, shares(0)), row("newer", 0.80, shares(9)), {"gates": {}})
    gate = check_promotion(found, None)
    assert found.guards == () and "guard" not in render(found, gate).lower() and not [c for c in gate.checks if c.title == "Guards"]


def test_a_version_that_was_not_measured_is_not_said_to_be_better_or_worse() -> None:
    found = compared(row("old", 0.70), row("newer", 0.80, shares(3)))
    assert [(str(each.first), str(each.second), each.is_more) for each in found.guards] == [("not measured", "3 of 20", False)]
