"""Which picture of one version stands against which of the other: by prompt and seed where both have it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.comparison.runs import ImageScore, Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MEASURES = ("face", "skin", "overall", "approved", "has_face")
"""The columns of a table of pictures: two scores, their weighted mean, and two things that are true (1) or not (0)."""

Key = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class PassMark:
    """What the policy says of one picture: the weights of the overall score and what it needs to be approved."""

    face_weight: float
    skin_weight: float
    face_pass: float
    skin_pass: float

    @classmethod
    def of(cls, policy: dict[str, Any]) -> PassMark:
        weights = policy["scorecard"]["weights"]
        return cls(
            weights["face_similarity"],
            weights["skin_realism"],
            policy["face_similarity"]["pass_threshold"],
            policy["skin_realism"]["overall_pass_threshold"],
        )

    def measure(self, image: ImageScore) -> tuple[float, ...]:
        """The row of MEASURES for one picture; NaN where there is no score."""
        nan = float("nan")
        face = nan if image.face is None else image.face
        skin = nan if image.skin is None else image.skin
        overall = self.face_weight * face + self.skin_weight * skin
        approved = image.approved
        if approved is None:  # compared after rounding: 0.6 must not fail as 0.59999999
            approved = round(face, 4) >= self.face_pass and round(skin, 4) >= self.skin_pass
        return (face, skin, overall, float(approved), float(image.face is not None))


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pictures side by side. `first` and `second` are pairs x MEASURES; `runs_*` the same for each training run."""

    matched_by: str
    """`prompt and seed`, `prompt`, `file name`, or `nothing`."""
    keys: tuple[Key, ...]
    prompts: tuple[Hashable, ...]
    first: Floats
    second: Floats
    runs_first: tuple[Floats, ...]
    runs_second: tuple[Floats, ...]
    images_first: tuple[ImageScore, ...]
    images_second: tuple[ImageScore, ...]
    unmatched_first: int
    unmatched_second: int

    @property
    def prompt_count(self) -> int:
        return len(set(self.prompts))


def _by_config(image: ImageScore) -> Key | None:
    return None if image.prompt_id is None or image.seed is None else (image.prompt_id, image.seed, image.config)


def _by_seed(image: ImageScore) -> Key | None:
    return None if image.prompt_id is None or image.seed is None else (image.prompt_id, image.seed)


def _by_prompt(image: ImageScore) -> Key | None:
    return None if image.prompt_id is None else (image.prompt_id,)


def _by_file(image: ImageScore) -> Key | None:
    return (image.file,) if image.file and image.prompt_id is None else None


WAYS: tuple[tuple[str, Callable[[ImageScore], Key | None]], ...] = (
    ("prompt and seed", _by_config),
    ("prompt and seed", _by_seed),
    ("prompt", _by_prompt),
    ("file name", _by_file),
)


def pair_runs(first: Sequence[Run], second: Sequence[Run], mark: PassMark) -> Pairs:
    """Pair the pictures that every run has, in the closest way that finds any; several pictures of one key are averaged."""
    for matched_by, key_of in WAYS:
        tables = [_group(run, key_of, mark) for run in (*first, *second)]
        common = set(tables[0]).intersection(*tables[1:])
        if common:
            return _pairs(matched_by, sorted(common, key=_sortable), tables, len(first))
    return _unpaired(first, second, mark)


@dataclass(slots=True)
class _Cell:
    rows: list[tuple[float, ...]]
    image: ImageScore


def _group(run: Run, key_of: Callable[[ImageScore], Key | None], mark: PassMark) -> dict[Key, _Cell]:
    cells: dict[Key, _Cell] = {}
    for image in run.images:
        key = key_of(image)
        if key is None:
            continue
        cell = cells.setdefault(key, _Cell([], image))
        cell.rows.append(mark.measure(image))
    return cells


def _pairs(matched_by: str, keys: list[Key], tables: list[dict[Key, _Cell]], split: int) -> Pairs:
    import numpy as np

    runs = [np.array([_mean_row(table[key].rows) for key in keys]) for table in tables]
    paired = set(keys)
    unmatched = [sum(len(cell.rows) for key, cell in table.items() if key not in paired) for table in _sides(tables, split)]
    return Pairs(
        matched_by=matched_by,
        keys=tuple(keys),
        prompts=tuple(key[0] for key in keys),
        first=np.mean(runs[:split], axis=0),
        second=np.mean(runs[split:], axis=0),
        runs_first=tuple(runs[:split]),
        runs_second=tuple(runs[split:]),
        images_first=tuple(tables[0][key].image for key in keys),
        images_second=tuple(tables[split][key].image for key in keys),
        unmatched_first=unmatched[0],
        unmatched_second=unmatched[1],
    )


def _sides(tables: list[dict[Key, _Cell]], split: int) -> tuple[dict[Key, _Cell], dict[Key, _Cell]]:
    """One table per version, for counting what has no partner."""
    merged: tuple[dict[Key, _Cell], dict[Key, _Cell]] = ({}, {})
    for index, table in enumerate(tables):
        merged[index >= split].update(table)
    return merged


def _mean_row(rows: list[tuple[float, ...]]) -> tuple[float, ...]:
    if len(rows) == 1:
        return rows[0]
    columns = []
    for values in zip(*rows, strict=True):
        there = [value for value in values if value == value]
        columns.append(sum(there) / len(there) if there else float("nan"))
    return tuple(columns)


def _unpaired(first: Sequence[Run], second: Sequence[Run], mark: PassMark) -> Pairs:
    import numpy as np

    sides = []
    for runs in (first, second):
        rows = [mark.measure(image) for run in runs for image in run.images]
        sides.append(np.array(rows) if rows else np.empty((0, len(MEASURES))))
    return Pairs("nothing", (), (), sides[0], sides[1], (), (), (), (), len(sides[0]), len(sides[1]))


def _sortable(key: Key) -> tuple[str, ...]:
    return tuple(f"{part:020d}" if isinstance(part, int) else str(part) for part in key)
