"""The scorecard of a run: means over its pictures, one overall score, a grade, and whether promotion is recommended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evals.judging import eval_command, gates
from evals.judging.duplicates import CopyOf, Entry, find_copies
from evals.judging.gates import Means
from evals.judging.picture_verdict import Verdict, verdict
from evals.judging.records import Assessment, Reading
from evals.judging.run_kinds import WHY_NO_EVIDENCE, kind_of_row
from evals.judging.variety import BLOCK, SAME, Sameness, measure_sameness
from evals.scorecards.card_inputs import Manifest
from lifeos.picture_names import parse_picture_name

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class ConfigScore:
    """One configuration of a sweep."""

    config: str
    images: int
    faceless: int
    approved: int
    means: Means
    grade: str | None


@dataclass(frozen=True, slots=True)
class ScoredPicture:
    """One picture of a run: what its name says, its assessment, the verdict."""

    file: str
    config: str | None
    prompt_id: int | None
    seed: int | None
    assessment: Assessment
    verdict: Verdict
    readings: Mapping[str, Reading]
    """What each gate in force read from it."""
    overall: float | None
    """None where a gate that has a weight could not be measured."""
    copy: CopyOf | None = None
    """What it is a duplicate of."""

    def history_entry(self) -> dict[str, Any]:
        geometry = self.assessment.geometry
        return {
            "file": self.file,
            "config": self.config,
            "prompt_id": self.prompt_id,
            "seed": self.seed,
            **{gate.picture_name: self.readings[gate.key].score for gate in gates.GATES if gate.key in self.readings},
            "reason": self.assessment.face.reason,
            "shot_type": geometry.shot_type if geometry else None,
            "approved": self.verdict.approved,
            "sha256": self.assessment.sha256,
            **({"duplicate_of": self.copy.file} if self.copy is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The scores of a run. `history_row` is its line in the evaluation history, `to_json` the whole of it."""

    run_id: str
    timestamp: str
    lora_version: str
    protocol: Mapping[str, Any]
    thresholds: Mapping[str, float]
    minimum_grade: str
    grade_is_enough: bool
    shortfall: str
    """Why its numbers cannot carry a promotion or a rank: too few pictures, or too few with a score. Empty where they can."""
    pictures: tuple[ScoredPicture, ...]
    configs: tuple[ConfigScore, ...]
    means: Means
    sameness: Sameness
    """Of all its pictures, approved or not: those that the grade is about."""
    grade: str | None
    training_params: Mapping[str, Any]
    manifest: Manifest | None
    notes: str
    generated_dir: str
    reference_dir: str
    provider: str
    kind: str = ""
    """Empty, or what kind of pictures these are that say nothing about a LoRA (`evals/judging/run_kinds.py`)."""
    one_pose_blocks: bool = False
    """Whether the policy promotes no run of one pose (`scorecard.one_pose`)."""
    one_scene_blocks: bool = False
    """Whether it promotes no run of one clothes and place (`scorecard.one_scene`)."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What was left out of the folders (`eval_command.inputs_document`); empty where nobody listed them."""
    likeness: Mapping[str, Any] = field(default_factory=dict)
    """What a face score stands between (`evals.judging.likeness_range`); empty where it is not known."""
    warnings: tuple[str, ...] = ()
    """What to know before trusting its scores."""

    @property
    def passed(self) -> dict[str, bool]:
        """Whether each gate's mean reaches its limit. A mean that does not exist does not."""
        means = {key: self.means.value(key) for key in self.thresholds}
        return {key: mean is not None and gates.gate_of(key).passes(mean, self.thresholds[key]) for key, mean in means.items()}

    @property
    def promotion_recommended(self) -> bool:
        """Whether the grade is good enough, enough pictures stand behind it (`shortfall`), and they are as varied as the policy wants."""
        return self.grade_is_enough and not self.shortfall and not self.too_much_alike

    @property
    def has_one_pose(self) -> bool:
        return self.sameness.verdict == SAME

    @property
    def too_much_alike(self) -> tuple[str, ...]:
        """In what the pictures are the same though the policy promotes no such run, a line each."""
        pose = (self.sameness.line,) if self.has_one_pose and self.one_pose_blocks else ()
        scene = (self.sameness.scene_line,) if self.sameness.scene_verdict == SAME and self.one_scene_blocks else ()
        return (*pose, *scene)

    @property
    def duplicates(self) -> int:
        """The pictures that are not approved because the run holds the same file already, or by the policy nearly the same picture."""
        return sum(picture.copy is not None for picture in self.pictures)

    @property
    def approved(self) -> int:
        return sum(picture.verdict.approved for picture in self.pictures)

    @property
    def faceless(self) -> int:
        return eval_command.count_faceless(picture.assessment for picture in self.pictures)

    @property
    def ranked(self) -> tuple[ConfigScore, ...]:
        """The configurations that have an overall score, best first: the others have no rank."""
        return tuple(config for config in self.configs if config.means.overall is not None)

    def history_row(self) -> dict[str, Any]:
        """One line of evals/eval_history.jsonl."""
        ranked, passed = self.ranked, self.passed
        in_force = [gate for gate in gates.GATES if gate.key in self.thresholds]
        return {
            "schema_version": SCHEMA_VERSION,
            "run_id": self.run_id,
            "timestamp": self.timestamp,
            "lora_version": self.lora_version,
            "training_params": dict(self.training_params),
            "dataset_manifest_path": self.manifest.path if self.manifest else None,
            "dataset_manifest_hash": self.manifest.sha256 if self.manifest else None,
            "dataset_id": self.manifest.dataset_id if self.manifest else None,
            "protocol_id": self.protocol.get("id"),
            "eval_scores": {
                **{gate.mean_name: self.means.value(gate.key) for gate in in_force},
                **{gate.pass_name: passed[gate.key] for gate in in_force},
                "coverage": {gate.picture_name: round(self.means.by_gate[gate.key].coverage, gates.DIGITS) for gate in in_force},
                "overall_score": self.means.overall,
                "overall_grade": self.grade,
                "promotion_recommended": self.promotion_recommended,
                "images_evaluated": len(self.pictures),
                "images_without_face": self.faceless,
                "best_config": ranked[0].config if ranked else None,
                "worst_config": ranked[-1].config if ranked else None,
            },
            "sameness": self.sameness.to_row(),
            "notes": self.notes,
            **({"kind": self.kind} if self.kind else {}),
            "images": [picture.history_entry() for picture in self.pictures],
            "protocol": dict(self.protocol),
            **{name: folder for name in ("generated_dir", "reference_dir") if (folder := getattr(self, name))},
        }

    def to_json(self) -> dict[str, Any]:
        """The scorecard document: the history row, then thresholds, configurations, and each picture in full."""
        row = self.history_row()
        del row["images"]
        return {
            "schema": eval_command.SCHEMA,
            **row,
            "sameness": {
                **row["sameness"],
                "line": self.sameness.line,
                "scene_line": self.sameness.scene_line,
                "judgement": self.sameness.judgement,
            },
            "provider": self.provider,
            "thresholds": dict(self.thresholds),
            "pass": all(self.passed.values()),
            "approved": self.approved,
            "rejected": len(self.pictures) - self.approved,
            **self.inputs,
            "likeness": dict(self.likeness) or None,
            "warnings": list(self.warnings),
            "means": _means_json(self.means),
            "configs": [_config_json(config) for config in self.configs],
            "per_image": [_picture_json(picture) for picture in self.pictures],
        }


def build_scorecard(
    assessments: Sequence[Assessment],
    policy: Mapping[str, Any],
    *,
    run_id: str,
    lora_version: str,
    timestamp: str,
    protocol: Mapping[str, Any],
    config_of: Callable[[Assessment], str | None] | None = None,
    training_params: Mapping[str, Any] | None = None,
    manifest: Manifest | None = None,
    notes: str = "",
    generated_dir: Path | None = None,
    reference_dir: Path | None = None,
    provider: str = "",
    kind: str = "",
    inputs: Mapping[str, Any] | None = None,
    copies: Mapping[str, CopyOf] | None = None,
    likeness: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> Scorecard:
    """The scorecard of a run. `config_of` tells a picture's configuration (default: what its name says); `timestamp` is UTC with `Z`.

    `copies`: which pictures are duplicates, by the file of the assessment, where a batch has found that out. Else the first of the same
    file, in the order given, is the one that may be approved.
    """
    assessments = gates.keep_all_readings(assessments, policy)
    pictures = _mark_copies([_scored(item, policy, config_of, generated_dir) for item in assessments], copies)
    means = gates.means(assessments, policy)
    grade = gates.grade(means.overall, policy)
    kind = kind_of_row(kind, notes)
    return Scorecard(
        run_id=run_id,
        timestamp=timestamp,
        lora_version=lora_version,
        protocol=protocol,
        thresholds=gates.limits_of(policy),
        minimum_grade=policy["scorecard"]["promotion_minimum_grade"],
        grade_is_enough=gates.is_grade_enough(grade, policy),
        shortfall=gates.why_not_ranked(means, policy) or WHY_NO_EVIDENCE.get(kind, ""),
        pictures=pictures,
        configs=_rank_configs(pictures, policy),
        means=means,
        sameness=measure_sameness(
            [item.geometry for item in assessments],
            [item.dhash for item in assessments],
            [item.scene for item in assessments],
            same_pose_yaw_spread_deg=policy["production"]["same_pose_yaw_spread_deg"],
        ),
        grade=grade,
        training_params={**(manifest.training_params if manifest else {}), **(training_params or {})},
        manifest=manifest,
        notes=notes,
        generated_dir=generated_dir.as_posix() if generated_dir else "",
        reference_dir=reference_dir.as_posix() if reference_dir else "",
        provider=provider,
        kind=kind,
        one_pose_blocks=policy["scorecard"]["one_pose"] == BLOCK,
        one_scene_blocks=policy["scorecard"]["one_scene"] == BLOCK,
        inputs=inputs or {},
        likeness=likeness or {},
        warnings=tuple(warnings),
    )


def _mark_copies(pictures: Sequence[ScoredPicture], copies: Mapping[str, CopyOf] | None) -> tuple[ScoredPicture, ...]:
    """The pictures with the duplicates among them rejected."""
    if copies is None:
        copies = find_copies(
            Entry(picture.assessment.file, picture.assessment.sha256, picture.config) for picture in pictures if picture.verdict.approved
        )
    names = {picture.assessment.file: picture.file for picture in pictures}

    def marked(picture: ScoredPicture) -> ScoredPicture:
        copy = copies.get(picture.assessment.file)
        if copy is None:
            return picture
        copy = replace(copy, file=names.get(copy.file, copy.file))
        return replace(picture, copy=copy, verdict=Verdict(False, (copy.reason,)))

    return tuple(map(marked, pictures))


def _scored(
    item: Assessment, policy: Mapping[str, Any], config_of: Callable[[Assessment], str | None] | None, folder: Path | None
) -> ScoredPicture:
    name = parse_picture_name(item.file)
    config = config_of(item) if config_of else name.config
    file = eval_command.relative_name(item.file, folder) if folder else item.file
    return ScoredPicture(
        file,
        config,
        name.prompt_id,
        name.seed,
        item,
        verdict(item, policy),
        gates.readings(item, policy),
        gates.picture_overall(item, policy),
    )


def _rank_configs(pictures: Sequence[ScoredPicture], policy: Mapping[str, Any]) -> tuple[ConfigScore, ...]:
    """The configurations, best first."""
    groups: dict[str, list[ScoredPicture]] = {}
    for picture in pictures:
        if picture.config:
            groups.setdefault(picture.config, []).append(picture)
    return tuple(
        sorted(
            (
                score_config(config, [p.assessment for p in group], sum(p.verdict.approved for p in group), policy)
                for config, group in groups.items()
            ),
            key=lambda score: gates.rank_key(score.means, policy, score.config),
        )
    )


def score_config(config: str, pictures: Sequence[Assessment], approved: int, policy: Mapping[str, Any]) -> ConfigScore:
    """What the pictures of one configuration scored. `approved`: how many of them pass every gate."""
    means = gates.means(pictures, policy)
    faceless = eval_command.count_faceless(pictures)
    return ConfigScore(config, len(pictures), faceless, approved, means, gates.grade(means.overall, policy))


def _means_json(means: Means) -> dict[str, Any]:
    named = [(gate, means.by_gate[gate.key]) for gate in gates.GATES if gate.key in means.by_gate]
    return {
        **{gate.document_name: mean.value for gate, mean in named},
        "overall": means.overall,
        "coverage": {gate.document_name: round(mean.coverage, gates.DIGITS) for gate, mean in named},
    }


def _config_json(score: ConfigScore) -> dict[str, Any]:
    counts = {"images": score.images, "images_without_face": score.faceless, "approved": score.approved}
    return {"config": score.config, **counts, **_means_json(score.means), "grade": score.grade}


def _picture_json(picture: ScoredPicture) -> dict[str, Any]:
    verdict = {"approved": picture.verdict.approved, "reasons": list(picture.verdict.public_reasons)}
    named = {"config": picture.config, "prompt_id": picture.prompt_id, "seed": picture.seed}
    measured = picture.assessment.public.to_json()
    del measured["file"]
    return {"image": picture.file, **named, **verdict, **measured}
