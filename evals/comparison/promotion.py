"""Promotion: may this version be deployed, by policy; and who is champion, since when, on what evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.comparison.comparing import Comparison, Side
from evals.comparison.verdicts import DIGITS, INCONCLUSIVE, REGRESSED, grades_best_first
from lifeos.errors import InputError
from lifeos.files import read_json, write_json
from lifeos.locks import hold

CHAMPION_SCHEMA = 1
YES, NO, UNKNOWN, SKIPPED = "yes", "NO", "not known", "not checked"
FORMER_KEPT = 50


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the gate. NO and not known bar `--promote`, only a NO speaks against deploying, and not checked does neither."""

    title: str
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The answer to: may the second version become champion?"""

    run_id: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.outcome in (YES, SKIPPED) for check in self.checks)

    @property
    def objections(self) -> tuple[str, ...]:
        return tuple(check.why for check in self.checks if check.outcome == NO and check.title not in ("Grade", "Comparison"))

    @property
    def sentence(self) -> str:
        if self.passed:
            return f"{self.run_id} may be promoted: the gate says yes (--promote makes it champion)."
        failed = [check.title.lower() for check in self.checks if check.outcome not in (YES, SKIPPED)]
        return f"{self.run_id} may not be promoted: the gate says no ({', '.join(failed)})."


def check_promotion(comparison: Comparison, champion: Mapping[str, Any] | None, memorised: Check | None = None) -> Gate:
    """The gate of the policy on the second version. `memorised` comes from outside: it needs the training pictures."""
    checks = [_grade(comparison), _verdict(comparison), *_against_champion(comparison, champion), _enough(comparison)]
    checks.append(memorised or Check("Memorised", SKIPPED, "no training pictures at hand"))
    return Gate(comparison.second.name, tuple(checks))


def _grade(comparison: Comparison) -> Check:
    card = comparison.policy["scorecard"]
    ranked = grades_best_first(card["grade_boundaries"])
    minimum, grade = card["promotion_minimum_grade"], comparison.second.grade
    if grade not in ranked:
        return Check("Grade", UNKNOWN, "the run has no grade of the policy")
    met = ranked.index(grade) <= ranked.index(minimum)
    return Check("Grade", YES if met else NO, f"{grade}, {minimum} or better is wanted")


def _verdict(comparison: Comparison) -> Check:
    """Worse than what it was compared with is a no, whoever is champion. Not shown to be better is not."""
    worse = [
        result.title for key, result in comparison.metrics.items() if key in ("face", "skin", "overall") and result.verdict == REGRESSED
    ]
    if worse:
        return Check("Comparison", NO, f"worse than {comparison.first.name}: {', '.join(worse)}")
    if comparison.verdict == INCONCLUSIVE:
        return Check("Comparison", UNKNOWN, f"not shown to be better than {comparison.first.name}")
    return Check("Comparison", YES, f"not worse than {comparison.first.name}")


def _against_champion(comparison: Comparison, champion: Mapping[str, Any] | None) -> list[Check]:
    allowed = comparison.policy["comparison"]["promotion_max_regression"]
    title = "Champion"
    if champion is None:
        return [Check(title, YES, "there is no champion yet")]
    name = str(champion.get("run_id"))
    if name in {run.run_id for run in comparison.second.runs}:
        return [Check(title, YES, f"{name} is the champion")]
    if name in {run.run_id for run in comparison.first.runs}:
        differences = {r.title: r.estimate.effect if r.estimate else r.delta for k, r in comparison.metrics.items() if k != "has_face"}
    else:
        protocols = {run.protocol_id for run in comparison.second.runs}
        if champion.get("protocol_id") not in protocols:
            return [Check(title, UNKNOWN, f"the champion {name} was scored in another way: compare with it, with --rescore")]
        differences = _plain_differences(champion, comparison.second)
    worse = [f"{key} {value:+.2f}" for key, value in differences.items() if value is not None and round(value, DIGITS) < -allowed]
    if worse:
        return [Check(title, NO, f"worse than the champion {name} by more than {allowed:g}: {', '.join(worse)}")]
    unknown = [key for key, value in differences.items() if value is None or value != value]
    if unknown:
        return [Check(title, UNKNOWN, f"against the champion {name} not known: {', '.join(unknown)}")]
    return [Check(title, YES, f"on no metric worse than the champion {name} by more than {allowed:g}")]


def _plain_differences(champion: Mapping[str, Any], side: Side) -> dict[str, float | None]:
    scores = champion.get("scores")
    held: Mapping[str, Any] = scores if isinstance(scores, Mapping) else {}
    differences: dict[str, float | None] = {}
    for key, title in (("face", "Face Similarity"), ("skin", "Skin Realism"), ("overall", "Overall Score")):
        mine, theirs = side.scores.get(key), held.get(key)
        known = mine is not None and isinstance(theirs, int | float)
        differences[title] = mine - theirs if known and mine is not None and theirs is not None else None
    return differences


def _enough(comparison: Comparison) -> Check:
    wanted, images = comparison.policy["comparison"]["promotion_min_images"], comparison.second.images
    if images is None:
        return Check("Pictures", UNKNOWN, f"how many were scored is not recorded; {wanted} are wanted")
    return Check("Pictures", YES if images >= wanted else NO, f"{images} scored, {wanted} are wanted")


def read_champion(path: Path) -> dict[str, Any] | None:
    """The champion's record, None where there is none yet. Raises InputError for a file that is no such record."""
    if not path.exists():
        return None
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("run_id"), str):
        raise InputError(path, "not a champion record: run_id is missing", "restore it from git, or remove it to start anew")
    return record


def promote(path: Path, comparison: Comparison, gate: Gate, now: str) -> dict[str, Any]:
    """Make the second version champion. The one before stays in `former`. Only for a gate that passed."""
    if not gate.passed:
        raise ValueError("the gate did not pass")
    with hold(path.with_name(path.name + ".lock"), str(path), wait=True):
        before = read_champion(path)
        if before is not None and before["run_id"] == comparison.second.runs[0].run_id:
            return before
        record = _record(comparison, gate, now)
        former = before.pop("former", []) if before else []
        record["former"] = ([{**before, "until": now}] if before else []) + (former if isinstance(former, list) else [])[:FORMER_KEPT]
        write_json(path, record)
    return record


def _record(comparison: Comparison, gate: Gate, now: str) -> dict[str, Any]:
    side = comparison.second
    newest = side.runs[0]
    overall = comparison.metrics["overall"]
    estimate = overall.estimate
    return {
        "schema": CHAMPION_SCHEMA,
        "run_id": newest.run_id,
        "lora_version": side.version,
        "since": now,
        "grade": side.grade,
        "scores": {key: side.scores.get(key) for key in ("face", "skin", "overall")},
        "images": side.images,
        "best_config": side.best_config,
        "protocol_id": newest.protocol_id,
        "dataset_manifest_hash": newest.manifest_hash,
        "evidence": {
            "compared_with": [run.run_id for run in comparison.first.runs],
            "verdict": overall.verdict,
            "difference": None if overall.delta is None else (estimate.effect if estimate else overall.delta),
            "interval": [estimate.low, estimate.high] if estimate and estimate.low is not None else None,
            "confidence": comparison.policy["comparison"]["confidence"],
            "pairs": estimate.pairs if estimate else 0,
            "checks": {check.title: check.why for check in gate.checks},
        },
    }
