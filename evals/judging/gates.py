"""The gates: whether a picture may be published, by the policy's thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evals.judging.records import NOT_MEASURED, Assessment, explain_reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a picture may be published, and every reason why not, as sentences for people."""

    approved: bool
    reasons: tuple[str, ...]


def judge(assessment: Assessment, policy: Mapping[str, Any]) -> Verdict:
    """The verdict on one picture by the pass thresholds of the policy. Scores are compared after rounding to 4 decimals.

    A gate that could not measure says no: a picture is approved on evidence. Skin that was never asked for is no gate.
    """
    if assessment.reason is not None:
        return Verdict(False, (explain_reason(assessment.reason),))
    if assessment.face.score is None:
        return Verdict(False, (explain_reason(assessment.face.reason or "no_face"),))
    skin, limits = assessment.skin, policy["skin_realism"]
    face_limit = policy["face_similarity"]["pass_threshold"]
    gates: list[tuple[str, float | None, float]] = [("face similarity", assessment.face.score, face_limit)]
    if skin.score is not None:
        gates += [
            ("skin realism", skin.score, limits["overall_pass_threshold"]),
            ("skin texture", skin.texture, limits["texture_pass_threshold"]),
            ("skin colour", skin.color, limits["color_naturalness_pass_threshold"]),
        ]
    reasons = [describe_miss(name, score, limit) for name, score, limit in gates if score is not None and not passes(score, limit)]
    if skin.score is None and skin.reason != NOT_MEASURED:
        reasons.append(f"skin cannot be judged: {explain_reason(skin.reason or '')}")
    return Verdict(not reasons, tuple(reasons))


def passes(score: float, threshold: float) -> bool:
    """Whether a score reaches a threshold, both at 4 decimals: 0.59996 passes 0.60."""
    return round(score, 4) >= round(threshold, 4)


def describe_miss(name: str, score: float, threshold: float) -> str:
    """`face similarity 0.41 is below 0.60`, with as many decimals as show the difference."""
    digits = next((digits for digits in (2, 3) if f"{score:.{digits}f}" != f"{threshold:.{digits}f}"), 4)
    return f"{name} {score:.{digits}f} is below {threshold:.{digits}f}"
