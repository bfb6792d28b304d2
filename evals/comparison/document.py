"""A comparison as one JSON document, for other programs. No NaN: what is not known is null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evals.comparison import wording
from evals.comparison.comparing import MetricResult, Side, VersionComparison
from evals.comparison.estimating import Slice
from evals.comparison.guard_stops import GuardStops
from evals.comparison.inference import Estimate
from evals.comparison.promotion import PromotionGate
from evals.comparison.runs import Run
from evals.comparison.verdicts import REGRESSED
from evals.judging.run_kinds import DEMO_NOTICE
from evals.judging.variety import PoseFigures

SCHEMA = 1


def to_document(
    comparison: VersionComparison, gate: PromotionGate, champion: Mapping[str, Any] | None, report: Path, pictures: Sequence[str]
) -> dict[str, Any]:
    """Everything that the report says."""
    pairs = comparison.pairs
    return {
        "schema": SCHEMA,
        "v1": _side(comparison.first, comparison),
        "v2": _side(comparison.second, comparison),
        "verdict": comparison.verdict,
        "sentence": wording.verdict_sentence(comparison),
        "recommendation": wording.recommendation(comparison, gate.objections, gate.warnings),
        "regressed": any(result.verdict == REGRESSED for result in comparison.scores),
        "metrics": {key: _metric(result) for key, result in comparison.metrics.items()},
        "guards": {each.gate.key: _stops(each) for each in comparison.guards},
        "grade": {"levels": comparison.grade_levels, "verdict": comparison.grade_verdict},
        "claim": "versions" if comparison.claims_versions else "files",
        "paired_by": pairs.matched_by if pairs else None,
        "pairs": len(pairs.keys) if pairs else 0,
        "prompts": pairs.prompt_count if pairs else 0,
        "by_shot": [_slice(part) for part in comparison.by_shot],
        "by_config": [_slice(part) for part in comparison.by_config],
        "settings": dict(comparison.policy["comparison"]),
        "promotion": {
            "passed": gate.passed,
            "checks": [{"check": check.title, "outcome": check.outcome, "why": check.why} for check in gate.checks],
        },
        "champion": champion["run_id"] if champion else None,
        "notice": DEMO_NOTICE if comparison.is_demo else None,
        "notes": list(comparison.notes),
        "report": str(report),
        "pictures": list(pictures),
    }


def _stops(each: GuardStops) -> dict[str, Any]:
    sides = {name: {"stopped": side.stopped, "measured": side.measured} for name, side in (("v1", each.first), ("v2", each.second))}
    return {**sides, "more": each.is_more}


def finite(value: float | None, digits: int = 6) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def estimate_document(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "difference": finite(estimate.effect),
        "low": finite(estimate.low),
        "high": finite(estimate.high),
        "probability_better": finite(estimate.probability),
        "pairs": estimate.pairs,
        "prompts": estimate.prompts,
        "method": estimate.method,
    }


def _side(side: Side, comparison: VersionComparison) -> dict[str, Any]:
    return {
        "name": side.name,
        "run_ids": [run.run_id for run in side.runs],
        "lora_version": side.version,
        "scores": {key: finite(side.score(key)) for key in (*comparison.metrics, *side.shares)},
        "coverage": {key: finite(mean.coverage) for key, mean in side.numbers.means.by_gate.items()},
        "shortfall": side.numbers.shortfall or None,
        "grade": side.grade,
        "best_config": side.best_config,
        "images": side.images,
        "images_without_face": side.faceless,
        "sameness": [pose_document(run, comparison.policy) for run in side.runs],
    }


def pose_document(run: Run, policy: Mapping[str, Any]) -> dict[str, Any]:
    """How varied the pictures of a run are: the figures (null where they are not recorded), the verdict by today's rule, and the line."""
    figures = dict.fromkeys(asdict(PoseFigures(0))) if run.sameness is None else asdict(run.sameness)
    scenes = {"scene_verdict": run.scene_verdict or None, "scene_line": run.scene_line}
    return {**figures, "verdict": run.pose_verdict(policy) or None, "line": run.pose_line(policy), **scenes}


def _metric(result: MetricResult) -> dict[str, Any]:
    return {
        "v1": finite(result.first),
        "v2": finite(result.second),
        "delta": finite(result.delta),
        "verdict": result.verdict,
        "estimate": estimate_document(result.estimate),
        "pictures_that_settle": result.settle.pictures if result.settle else None,
        "doubt": result.doubt or None,
    }


def _slice(part: Slice) -> dict[str, Any]:
    return {"name": part.name, "pairs": part.pairs, **{key: estimate_document(estimate) for key, estimate in part.estimates.items()}}
