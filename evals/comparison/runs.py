"""A row of the evaluation history as a run: read as far as it goes, with a plain sentence for all that is missing or odd."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1
"""The newest schema of rows that this reads in full."""
SCORE_KEYS = ("face_similarity_mean", "skin_realism_mean", "overall_score")
SCORE_LIMIT = 1.0
MOST_PROBLEMS = 12
"""A row that is wrong in ten thousand images must not fill the report with it."""


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One picture of a run. A score of None means that there is none (no face, unreadable), never zero."""

    file: str
    config: str | None
    prompt_id: str | None
    seed: int | None
    face: float | None
    skin: float | None
    shot: str | None
    approved: bool | None
    sha256: str | None = None
    """Of the file that was scored: a folder may have been used again since."""


@dataclass(frozen=True, slots=True)
class Run:
    """One scorecard. `problems` says what could not be read, in words for the report."""

    run_id: str
    timestamp: str
    lora_version: str
    training_params: dict[str, Any]
    protocol_id: str | None
    protocol: dict[str, Any]
    manifest_path: str | None
    manifest_hash: str | None
    scores: dict[str, float | None]
    grade: str | None
    best_config: str | None
    worst_config: str | None
    images_evaluated: int | None
    images_without_face: int | None
    images: tuple[ImageScore, ...]
    notes: str
    extra: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        return self.lora_version or self.run_id


class _Reader:
    """Takes values out of a row and remembers what was wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def complain(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def number(self, value: object, name: str, *, low: float = -SCORE_LIMIT, high: float = SCORE_LIMIT) -> float | None:
        if value is None:
            return None
        if isinstance(value, str):
            text = value
            try:
                value = float(text)
            except ValueError:
                self.complain(f'{name} is the text "{text[:40]}", not a number: left out')
                return None
            self.complain(f"{name} is a number written as text: read as {value:g}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.complain(f"{name} is not a number: left out")
            return None
        if not math.isfinite(value):
            self.complain(f"{name} is {value}: left out")
            return None
        if not low <= value <= high:
            self.complain(f"{name} is {value:g}, which no score can be: left out")
            return None
        return float(value)

    def count(self, value: object, name: str) -> int | None:
        number = self.number(value, name, low=0, high=1e12)
        return None if number is None else int(number)

    def mapping(self, value: object, name: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.complain(f"{name} is not a mapping: left out")
            return {}
        return {str(key): item for key, item in value.items()}


def read_run(row: Mapping[str, Any]) -> Run:
    """A run from a history row of any age. Raises nothing for what a hand may have written."""
    reader = _Reader()
    version = row.get("schema_version")
    if version is None:
        reader.complain("the row has no schema_version: written by hand or by an older version, read as far as it goes")
    elif version != SCHEMA_VERSION:
        reader.complain(f"the row has schema_version {version}, this reads {SCHEMA_VERSION}: what it does not know is left out")
    scores = reader.mapping(row.get("eval_scores"), "eval_scores")
    values = {key: reader.number(scores.get(key), f"eval_scores.{key}") for key in SCORE_KEYS}
    if "eval_scores" not in row:
        reader.complain("the row has no eval_scores")
    images = _read_images(row.get("images"), reader)
    problems = reader.problems
    if len(problems) > MOST_PROBLEMS:
        problems = [*problems[:MOST_PROBLEMS], f"and {len(problems) - MOST_PROBLEMS} more like these"]
    return Run(
        run_id=str(row.get("run_id", "")),
        timestamp=_text(row.get("timestamp")) or "",
        lora_version=_text(row.get("lora_version")) or "",
        training_params=reader.mapping(row.get("training_params"), "training_params"),
        protocol_id=_text(row.get("protocol_id")),
        protocol=reader.mapping(row.get("protocol"), "protocol"),
        manifest_path=_text(row.get("dataset_manifest_path")),
        manifest_hash=_text(row.get("dataset_manifest_hash")),
        scores=values,
        grade=_text(scores.get("overall_grade")),
        best_config=_config_name(scores.get("best_config")),
        worst_config=_config_name(scores.get("worst_config")),
        images_evaluated=reader.count(scores.get("images_evaluated"), "eval_scores.images_evaluated"),
        images_without_face=reader.count(scores.get("images_without_face"), "eval_scores.images_without_face"),
        images=images,
        notes=_text(row.get("notes")) or "",
        extra={key: row[key] for key in ("cost", "sameness", "generated_dir", "reference_dir", "dataset_id") if key in row},
        problems=tuple(problems),
    )


def _read_images(value: object, reader: _Reader) -> tuple[ImageScore, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        reader.complain("images is not a list: left out")
        return ()
    images = [_read_image(item, reader) for item in value if isinstance(item, Mapping)]
    if len(images) < len(value):
        reader.complain(f"{len(value) - len(images)} entries of images are no mappings: left out")
    return tuple(images)


def _read_image(item: Mapping[str, Any], reader: _Reader) -> ImageScore:
    seed = item.get("seed")
    if isinstance(seed, str) and seed.isdecimal():
        seed = int(seed)
    approved = item.get("approved")
    return ImageScore(
        file=_text(item.get("file")) or "",
        config=_text(item.get("config")),
        prompt_id=_text(item.get("prompt_id")),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        face=reader.number(item.get("face"), "face of an image"),
        skin=reader.number(item.get("skin"), "skin of an image"),
        shot=_text(item.get("shot_type")) or _text(item.get("shot")),
        approved=approved if isinstance(approved, bool) else None,
        sha256=_text(item.get("sha256")),
    )


def _text(value: object) -> str | None:
    """Text on one line, or None. Numbers are taken as their digits: hands write `"run_id": 42`."""
    if value is None or isinstance(value, bool | list | dict):
        return None
    text = " ".join(str(value).split())
    return text or None


def _config_name(value: object) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("config") or value.get("name")
    return _text(value)
