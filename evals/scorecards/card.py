"""The scorecard of a run: means over its pictures, one overall score, a grade, and whether promotion is recommended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.judging import eval_command
from evals.judging.gates import Verdict, judge, passes
from evals.judging.records import Assessment
from evals.scorecards.card_inputs import Manifest
from lifeos.picture_names import parse_picture_name

SCHEMA_VERSION = 1
LEAST_FACES = 0.5
"""A configuration in which fewer of the pictures show a face cannot be the best, however well the few score."""


@dataclass(frozen=True, slots=True)
class Means:
    """Mean scores over the pictures that have one. `overall` is the weighted mean of face and skin; None without either of them."""

    face: float | None
    skin: float | None
    texture: float | None
    color: float | None
    overall: float | None


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

    def history_entry(self) -> dict[str, Any]:
        geometry = self.assessment.geometry
        return {
            "file": self.file,
            "config": self.config,
            "prompt_id": self.prompt_id,
            "seed": self.seed,
            "face": self.assessment.face.score,
            "skin": self.assessment.skin.score,
            "shot_type": geometry.shot_type if geometry else None,
            "approved": self.verdict.approved,
            "sha256": self.assessment.sha256,
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
    pictures: tuple[ScoredPicture, ...]
    configs: tuple[ConfigScore, ...]
    means: Means
    grade: str | None
    training_params: Mapping[str, Any]
    manifest: Manifest | None
    notes: str
    generated_dir: str
    reference_dir: str
    provider: str

    @property
    def gates(self) -> dict[str, bool]:
        """Whether each mean reaches its threshold. A mean that does not exist does not."""
        values = {"face": self.means.face, "skin": self.means.skin, "texture": self.means.texture, "color": self.means.color}
        return {name: value is not None and passes(value, self.thresholds[name]) for name, value in values.items()}

    @property
    def promotion_recommended(self) -> bool:
        return self.grade is not None and self.grade <= self.minimum_grade  # A sorts before F

    @property
    def approved(self) -> int:
        return sum(picture.verdict.approved for picture in self.pictures)

    @property
    def faceless(self) -> int:
        return eval_command.count_faceless(picture.assessment for picture in self.pictures)

    @property
    def best_config(self) -> ConfigScore | None:
        return self.configs[0] if self.configs else None

    @property
    def worst_config(self) -> ConfigScore | None:
        return self.configs[-1] if self.configs else None

    def history_row(self) -> dict[str, Any]:
        """One line of evals/eval_history.jsonl."""
        gates, best, worst = self.gates, self.best_config, self.worst_config
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
                "face_similarity_mean": self.means.face,
                "face_similarity_pass": gates["face"],
                "skin_realism_mean": self.means.skin,
                "skin_realism_pass": gates["skin"],
                "skin_texture_pass": gates["texture"],
                "skin_color_pass": gates["color"],
                "overall_score": self.means.overall,
                "overall_grade": self.grade,
                "promotion_recommended": self.promotion_recommended,
                "images_evaluated": len(self.pictures),
                "images_without_face": self.faceless,
                "best_config": best.config if best else None,
                "worst_config": worst.config if worst else None,
            },
            "notes": self.notes,
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
            "provider": self.provider,
            "thresholds": dict(self.thresholds),
            "pass": all(self.gates.values()),
            "approved": self.approved,
            "rejected": len(self.pictures) - self.approved,
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
) -> Scorecard:
    """The scorecard of a run. `config_of` tells a picture's configuration (default: what its name says); `timestamp` is UTC with `Z`."""
    pictures = tuple(_scored(item, policy, config_of, generated_dir) for item in assessments)
    means = measure_means(assessments, policy)
    skin = policy["skin_realism"]
    return Scorecard(
        run_id=run_id,
        timestamp=timestamp,
        lora_version=lora_version,
        protocol=protocol,
        thresholds={
            "face": policy["face_similarity"]["pass_threshold"],
            "skin": skin["overall_pass_threshold"],
            "texture": skin["texture_pass_threshold"],
            "color": skin["color_naturalness_pass_threshold"],
        },
        minimum_grade=policy["scorecard"]["promotion_minimum_grade"],
        pictures=pictures,
        configs=_rank_configs(pictures, policy),
        means=means,
        grade=grade_of(means.overall, policy),
        training_params=training_params or {},
        manifest=manifest,
        notes=notes,
        generated_dir=generated_dir.as_posix() if generated_dir else "",
        reference_dir=reference_dir.as_posix() if reference_dir else "",
        provider=provider,
    )


def _scored(
    item: Assessment, policy: Mapping[str, Any], config_of: Callable[[Assessment], str | None] | None, folder: Path | None
) -> ScoredPicture:
    name = parse_picture_name(item.file)
    config = config_of(item) if config_of else name.config
    file = eval_command.relative_name(item.file, folder) if folder else item.file
    return ScoredPicture(file, config, name.prompt_id, name.seed, item, judge(item, policy))


def measure_means(assessments: Sequence[Assessment], policy: Mapping[str, Any]) -> Means:
    """The mean scores. Pictures without a face count as 0 in the face mean only where the policy says so."""
    zeros = eval_command.zeros_for_faceless(assessments, policy)
    face = eval_command.mean_score((item.face.score for item in assessments), zeros=zeros)
    skin = eval_command.mean_score(item.skin.score for item in assessments)
    texture = eval_command.mean_score(item.skin.texture for item in assessments)
    color = eval_command.mean_score(item.skin.color for item in assessments)
    return Means(face, skin, texture, color, overall_score(face, skin, policy))


def overall_score(face: float | None, skin: float | None, policy: Mapping[str, Any]) -> float | None:
    """The weighted mean of face and skin, at 4 decimals; None where a part that has weight is missing."""
    weights = policy["scorecard"]["weights"]
    parts = [(face, weights["face_similarity"]), (skin, weights["skin_realism"])]
    if any(score is None and weight > 0 for score, weight in parts):
        return None
    return round(float(sum(score * weight for score, weight in parts if score is not None)), eval_command.DIGITS)


def grade_of(score: float | None, policy: Mapping[str, Any]) -> str | None:
    """The best grade whose boundary the score reaches, both at 4 decimals."""
    if score is None:
        return None
    bounds: Mapping[str, float] = policy["scorecard"]["grade_boundaries"]
    return next((grade for grade in sorted(bounds) if passes(score, bounds[grade])), max(bounds))


def _rank_configs(pictures: Sequence[ScoredPicture], policy: Mapping[str, Any]) -> tuple[ConfigScore, ...]:
    """The configurations, best first."""
    groups: dict[str, list[ScoredPicture]] = {}
    for picture in pictures:
        if picture.config:
            groups.setdefault(picture.config, []).append(picture)
    return tuple(sorted((_score_config(config, group, policy) for config, group in groups.items()), key=_rank))


def _score_config(config: str, group: Sequence[ScoredPicture], policy: Mapping[str, Any]) -> ConfigScore:
    items = [picture.assessment for picture in group]
    means = measure_means(items, policy)
    approved = sum(picture.verdict.approved for picture in group)
    return ConfigScore(config, len(group), eval_command.count_faceless(items), approved, means, grade_of(means.overall, policy))


def _rank(score: ConfigScore) -> tuple[bool, bool, float, str]:
    few_faces = score.images - score.faceless < LEAST_FACES * score.images
    return score.means.overall is None, few_faces, -(score.means.overall or 0.0), score.config


def _means_json(means: Means) -> dict[str, float | None]:
    return {
        "face_similarity": means.face,
        "skin_realism": means.skin,
        "texture_score": means.texture,
        "color_naturalness_score": means.color,
        "overall": means.overall,
    }


def _config_json(score: ConfigScore) -> dict[str, Any]:
    counts = {"images": score.images, "images_without_face": score.faceless, "approved": score.approved}
    return {"config": score.config, **counts, **_means_json(score.means), "grade": score.grade}


def _picture_json(picture: ScoredPicture) -> dict[str, Any]:
    verdict = {"approved": picture.verdict.approved, "reasons": list(picture.verdict.reasons)}
    named = {"config": picture.config, "prompt_id": picture.prompt_id, "seed": picture.seed}
    measured = picture.assessment.to_json()
    del measured["file"]
    return {"image": picture.file, **named, **verdict, **measured}
