"""Promotion: may this version be deployed, by policy; and who is champion, since when, on what evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.comparison.comparing import VersionComparison
from evals.comparison.estimating import OVERALL
from evals.comparison.verdicts import INCONCLUSIVE, REGRESSED
from evals.judging import gates
from evals.judging.gates import DIGITS
from evals.judging.variety import BLOCK, SAME, TOO_FEW
from lifeos import foreign
from lifeos.counting import counted, verb
from lifeos.files import write_json
from lifeos.locks import hold

CHAMPION_SCHEMA = 1
YES, NO, UNKNOWN, SKIPPED, WARNED = "yes", "NO", "not known", "not checked", "warning"
HARMLESS = (YES, SKIPPED, WARNED)
FORMER_KEPT = 50
VARIETY, SCENES = "Variety", "Clothes and places"
MUST_BE_KNOWN = ("Champion", "Memorised", VARIETY, SCENES)
"""If one of these checks was asked for and could not be made, deploying is not recommended."""


@dataclass(frozen=True, slots=True)
class PromotionCheck:
    """One condition of the gate. NO and not known prevent `--promote`; not checked and a warning do not."""

    title: str
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class PromotionGate:
    """The answer to: may the second version become champion?"""

    run_id: str
    checks: tuple[PromotionCheck, ...]

    @property
    def passed(self) -> bool:
        return all(check.outcome in HARMLESS for check in self.checks)

    @property
    def objections(self) -> tuple[str, ...]:
        """What speaks against deploying it besides its grade and the comparison."""
        others = [check for check in self.checks if check.title not in ("Grade", "Comparison")]
        return tuple(check.why for check in others if check.outcome == NO or (check.outcome == UNKNOWN and check.title in MUST_BE_KNOWN))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before deploying it, though it prevents nothing."""
        return tuple(check.why for check in self.checks if check.outcome == WARNED)

    @property
    def sentence(self) -> str:
        if self.passed:
            but = "".join(f" Its pictures show {line}." for line in self.warnings)
            return f"{self.run_id} may be promoted: it passes every check (--promote makes it the champion).{but}"
        failed = [check.title.lower() for check in self.checks if check.outcome not in HARMLESS]
        return f"{self.run_id} may not be promoted: it fails a check ({', '.join(failed)})."


def check_promotion(
    comparison: VersionComparison, champion: Mapping[str, Any] | None, memorised: PromotionCheck | None = None
) -> PromotionGate:
    """The gate of the policy on the second version. `memorised` comes from outside: it needs the training pictures."""
    checks = [_grade(comparison), _verdict(comparison), *_against_champion(comparison, champion), _enough(comparison), _covered(comparison)]
    checks += [_varied(comparison), _dressed(comparison), *_evidence(comparison)]
    checks += _guards(comparison)
    checks.append(memorised or PromotionCheck("Memorised", SKIPPED, "the training pictures were not found"))
    return PromotionGate(comparison.second.name, tuple(checks))


def _guards(comparison: VersionComparison) -> list[PromotionCheck]:
    """Only where guards are in force: a version of which more pictures must not be published is not deployed."""
    return [PromotionCheck("Guards", NO, each.sentence) for each in comparison.more_stopped] or [
        PromotionCheck("Guards", YES, f"{each.gate.title}: {each.second} stopped, before {each.first}") for each in comparison.guards
    ]


def _evidence(comparison: VersionComparison) -> list[PromotionCheck]:
    """Only where there is something to say: pictures that no LoRA made."""
    runs = [run for side in (comparison.second, comparison.first) for run in side.runs if run.why_no_evidence]
    return [PromotionCheck("Evidence", NO, f"{run.run_id}: {run.why_no_evidence}") for run in runs[:1]]


def _grade(comparison: VersionComparison) -> PromotionCheck:
    minimum, grade = comparison.policy["scorecard"]["promotion_minimum_grade"], comparison.second.grade
    if grade not in gates.grades_best_first(comparison.policy):
        return PromotionCheck("Grade", UNKNOWN, "the run has none of the policy's grades")
    met = gates.is_grade_enough(grade, comparison.policy)
    return PromotionCheck("Grade", YES if met else NO, f"{grade}, {minimum} or better is needed")


def _verdict(comparison: VersionComparison) -> PromotionCheck:
    """Worse than what it was compared with is a no, whoever is champion. Not shown to be better is not."""
    worse = [result.title for result in comparison.scores if result.verdict == REGRESSED]
    if worse:
        return PromotionCheck("Comparison", NO, f"worse than {comparison.first.name}: {', '.join(worse)}")
    if comparison.verdict == INCONCLUSIVE:
        return PromotionCheck("Comparison", UNKNOWN, f"not shown to be better than {comparison.first.name}")
    return PromotionCheck("Comparison", YES, f"not worse than {comparison.first.name}")


def _against_champion(comparison: VersionComparison, champion: Mapping[str, Any] | None) -> list[PromotionCheck]:
    allowed = comparison.policy["comparison"]["promotion_max_regression"]
    title = "Champion"
    if champion is None:
        return [PromotionCheck(title, YES, "there is no champion yet")]
    name = str(champion.get("run_id"))
    if name in {run.run_id for run in comparison.second.runs}:
        return [PromotionCheck(title, YES, f"{name} is the champion")]
    if name in {run.run_id for run in comparison.first.runs}:
        differences = {result.title: result.gain for result in comparison.metrics.values() if result.key != "has_face"}
    else:
        protocols = {run.protocol_id for run in comparison.second.runs}
        if champion.get("protocol_id") not in protocols:
            return [PromotionCheck(title, UNKNOWN, f"the champion {name} was scored in another way: compare with it, with --rescore")]
        differences = _plain_differences(champion, comparison)
    worse = [f"{key} {value:+.2f}" for key, value in differences.items() if value is not None and round(value, DIGITS) < -allowed]
    if worse:
        return [PromotionCheck(title, NO, f"worse than the champion {name} by more than {allowed:g}: {', '.join(worse)}")]
    unknown = [key for key, value in differences.items() if value is None or value != value]
    if unknown:
        return [PromotionCheck(title, UNKNOWN, f"against the champion {name} not known: {', '.join(unknown)}")]
    return [PromotionCheck(title, YES, f"on no metric worse than the champion {name} by more than {allowed:g}")]


def _plain_differences(champion: Mapping[str, Any], comparison: VersionComparison) -> dict[str, float | None]:
    """How much better than the champion's recorded scores."""
    held = champion.get("scores") or {}
    differences: dict[str, float | None] = {}
    for result in comparison.scores:
        mine, theirs = comparison.second.score(result.key), held.get(result.key)
        if theirs is None and (result.gate is None or result.gate.weight_key is None) and result.key != OVERALL:
            continue  # the champion was judged without that gate
        change = None if mine is None or theirs is None else mine - theirs
        differences[result.title] = -change if change is not None and result.lower_is_better else change
    return differences


def _enough(comparison: VersionComparison) -> PromotionCheck:
    wanted, images = comparison.policy["comparison"]["promotion_min_images"], comparison.second.images
    if images is None:
        return PromotionCheck("Pictures", UNKNOWN, f"how many were scored is not recorded; {wanted} are wanted")
    return PromotionCheck("Pictures", YES if images >= wanted else NO, f"{images} scored, {wanted} are wanted")


def _covered(comparison: VersionComparison) -> PromotionCheck:
    """A mean over few of the pictures says little about the rest."""
    policy, numbers = comparison.policy, comparison.second.numbers
    wanted = policy["scorecard"]["minimum_coverage"]
    weighted = [gate for gate in gates.gates_in_force(policy) if gate.weight(policy) > 0 and gate.key in numbers.means.by_gate]
    means = [(numbers.means.by_gate[gate.key], gate) for gate in weighted if numbers.means.by_gate[gate.key].made]
    if not means:
        return PromotionCheck("Coverage", UNKNOWN, f"how many pictures have a score is not recorded; {wanted:.0%} are wanted")
    mean, gate = min(means, key=lambda pair: pair[0].coverage)
    scored = f"{mean.scored} of {counted(mean.made, 'picture')} {verb(mean.scored, 'has', 'have')}"
    why = f"{scored} a score of {gate.title}, {wanted:.0%} are wanted"
    return PromotionCheck("Coverage", YES if mean.coverage >= wanted else NO, why)


def _varied(comparison: VersionComparison) -> PromotionCheck:
    """One pose is a warning, or by the policy (`scorecard.one_pose`) a no: then it must also be known."""
    policy, runs = comparison.policy, comparison.second.runs
    blocks = policy["scorecard"]["one_pose"] == BLOCK
    verdicts = {run.pose_verdict(policy): run.pose_line(policy) for run in runs}
    if SAME in verdicts:
        return PromotionCheck(VARIETY, NO if blocks else WARNED, verdicts[SAME])
    unknown = next((line for verdict, line in verdicts.items() if verdict in ("", TOO_FEW)), "")
    if unknown:
        return PromotionCheck(VARIETY, UNKNOWN if blocks else SKIPPED, unknown)
    return PromotionCheck(VARIETY, YES, "; ".join(verdicts.values()))


def _dressed(comparison: VersionComparison) -> PromotionCheck:
    """The same clothes and place in all pictures are a warning, or by the policy (`scorecard.one_scene`) a no: then it must be known."""
    blocks = comparison.policy["scorecard"]["one_scene"] == BLOCK
    verdicts = {run.scene_verdict: run.scene_line for run in comparison.second.runs}
    if SAME in verdicts:
        return PromotionCheck(SCENES, NO if blocks else WARNED, verdicts[SAME])
    if "" in verdicts:
        return PromotionCheck(SCENES, UNKNOWN if blocks else SKIPPED, verdicts[""])
    return PromotionCheck(SCENES, YES, "; ".join(verdicts.values()))


@dataclass(frozen=True, slots=True)
class ChampionRecord:
    """What of a champion's file is read. The rest of it is kept as it is."""

    run_id: str
    protocol_id: str | None = None
    scores: dict[str, float | None] | None = None
    former: list[dict[str, Any]] | None = None


def read_champion(path: Path) -> dict[str, Any] | None:
    """The champion's record, None where there is none yet. Raises InputError for a file that is no such record."""
    if not path.exists():
        return None
    fix = "restore it from git, or remove it to start again"
    record: dict[str, Any] = foreign.read_file(path, dict, fix=fix)
    foreign.convert(record, ChampionRecord, path, fix=fix)
    return record


def promote(
    path: Path, comparison: VersionComparison, gate: PromotionGate, now: str, *, lora: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any] | None, PromotionGate]:
    """Make the second version champion. The one before stays in `former`. Only for a gate that passed. `lora`: which file it is, at which
    strength, where that is known.

    Somebody may have made another one champion since the gate was checked: it is checked again while nobody can. Returns the champion's
    record, and the gate as it was then; where that does not pass, nothing is changed.
    """
    if not gate.passed:
        raise ValueError("the gate did not pass")
    with hold(path.with_name(path.name + ".lock"), str(path), wait=True):
        before = read_champion(path)
        if before is not None and before["run_id"] == comparison.second.runs[0].run_id:
            return before, gate
        memorised = next(check for check in gate.checks if check.title == "Memorised")
        gate = check_promotion(comparison, before, memorised)
        if not gate.passed:
            return before, gate
        record = {**_record(comparison, gate, now), **({"lora": dict(lora)} if lora else {})}
        former = before.pop("former", None) or [] if before else []
        record["former"] = ([{**before, "until": now}] if before else []) + former[:FORMER_KEPT]
        write_json(path, record)
    return record, gate


def _record(comparison: VersionComparison, gate: PromotionGate, now: str) -> dict[str, Any]:
    side = comparison.second
    newest = side.runs[0]
    overall = comparison.metrics[OVERALL]
    estimate = overall.estimate
    return {
        "schema": CHAMPION_SCHEMA,
        "run_id": newest.run_id,
        "lora_version": side.version,
        "since": now,
        "grade": side.grade,
        "scores": {result.key: side.score(result.key) for result in comparison.scores},
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
