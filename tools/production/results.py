"""What became of each picture of a batch, read back from its journal; and the numbers that a report is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from evals.judging.records import Assessment
from lifeos.files import read_records, warn
from lifeos.picture_names import parse_picture_name
from tools.production.filing import APPROVED, REJECTED, BatchFolder
from tools.production.journal import JOURNAL_FILE, BatchState
from tools.production.plan import Plan

OTHER_PLACE = "removed"
"""Of a picture that was filed and is in neither folder: its owner took it away."""


@dataclass(frozen=True, slots=True)
class PictureResult:
    """One filed picture. `place` is where it lies now: its owner may have moved it."""

    index: int
    file: str
    place: str
    approved: bool
    reasons: tuple[str, ...]
    assessment: Assessment
    prompt_id: int | None
    variation: int | None
    seed: int | None
    config: str
    prompt: str
    seconds: float | None = None
    source: str | None = None

    @property
    def face(self) -> float | None:
        return self.assessment.face.score

    @property
    def skin(self) -> float | None:
        return self.assessment.skin.score

    @property
    def shot(self) -> str:
        return self.assessment.geometry.shot_type if self.assessment.geometry is not None else "no face"


@dataclass(slots=True)
class BatchResults:
    """All pictures in the order of the plan, and the items that ended without one: number and reason."""

    pictures: list[PictureResult] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)


def read_results(plan: Plan, folder: BatchFolder, state: BatchState, on_warning: Callable[[str], None] = warn) -> BatchResults:
    """The results of a batch, of which the pictures are all filed or on the way to it."""
    scored: dict[str, dict[str, Any]] = {}
    path = folder.root / JOURNAL_FILE
    for record in read_records(path, on_warning) if path.exists() else ():
        if record.data.get("event") == "scored" and record.data.get("file") in state.filed:
            scored[record.data["file"]] = record.data
    results = BatchResults()
    for index, item in sorted(state.items.items()):
        if item.failure is not None and not item.files:
            results.failures.append((index, item.failure))
        for name in item.files:
            if name in scored:
                results.pictures.append(_result(plan, folder, index, name, scored[name], item.seconds))
    return results


def _result(plan: Plan, folder: BatchFolder, index: int, name: str, record: dict[str, Any], seconds: float | None) -> PictureResult:
    item = plan.item(index)
    place = folder.place_of(name)
    told = parse_picture_name(item.source) if item.source is not None else None
    return PictureResult(
        index=index,
        file=name,
        place=place if place in (APPROVED, REJECTED) else OTHER_PLACE,
        approved=bool(record["approved"]),
        reasons=tuple(record["reasons"]),
        assessment=Assessment.from_json(record["assessment"]),
        prompt_id=told.prompt_id if told else item.prompt_id,
        variation=told.variation if told else item.variation,
        seed=told.seed if told else item.seed,
        config=(told.config or "") if told else plan.config_of(item),
        prompt=plan.prompt_of(item),
        seconds=seconds,
        source=item.source,
    )


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of the values that there are, to 4 decimals; None where there is none. A missing score is not 0."""
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None


def means(pictures: Sequence[PictureResult]) -> dict[str, Any]:
    return {
        "pictures": len(pictures),
        "face_similarity": mean_of(picture.face for picture in pictures),
        "skin_realism": mean_of(picture.skin for picture in pictures),
        "skin_texture": mean_of(picture.assessment.skin.texture for picture in pictures),
        "skin_color": mean_of(picture.assessment.skin.color for picture in pictures),
    }


def tabulate(pictures: Sequence[PictureResult], key: Callable[[PictureResult], Any]) -> dict[Any, dict[str, Any]]:
    """Counts and means of the pictures, by what `key` says of each, in order of first appearance."""
    groups: dict[Any, list[PictureResult]] = {}
    for picture in pictures:
        groups.setdefault(key(picture), []).append(picture)
    return {name: _counts(group) for name, group in groups.items()}


def _counts(pictures: Sequence[PictureResult]) -> dict[str, Any]:
    approved = sum(picture.approved for picture in pictures)
    return {
        "generated": len(pictures),
        "approved": approved,
        "rejected": len(pictures) - approved,
        "approval_rate": round(approved / len(pictures), 4),
        "face_similarity_mean": mean_of(picture.face for picture in pictures),
        "skin_realism_mean": mean_of(picture.skin for picture in pictures),
    }
