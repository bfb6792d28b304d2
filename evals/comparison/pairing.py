"""Which picture of one version is compared with which of the other: that of the same prompt and seed where both have it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.comparison.runs import RowPicture, Run
from evals.judging.gates import Gate, effective, headline_gates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TRUTHS = ("approved", "has_face")
"""Two columns of things that are true (1) or not (0) of a picture."""

Key = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """What is known of one picture as a row of numbers: what each gate's score counts for (NaN for none), then TRUTHS."""

    gates: tuple[Gate, ...]
    policy: Mapping[str, Any]

    @classmethod
    def of(cls, policy: Mapping[str, Any]) -> Columns:
        return cls(headline_gates(policy), policy)

    @property
    def names(self) -> tuple[str, ...]:
        return (*(gate.key for gate in self.gates), *TRUTHS)

    def row(self, picture: RowPicture) -> tuple[float, ...]:
        readings = picture.readings()
        scores = [effective(gate, readings[gate.key], self.policy) if gate.key in readings else None for gate in self.gates]
        truths = float(picture.is_approved(self.policy)), float(picture.has_face)
        return (*(math.nan if score is None else score for score in scores), *truths)

    def weights(self) -> Floats:
        """Columns x numbers: one number for each column, and the overall score last."""
        import numpy as np

        count = len(self.names)
        overall = [gate.weight(self.policy) for gate in self.gates] + [0.0] * len(TRUTHS)
        return np.column_stack([np.eye(count), overall])


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pictures side by side. `first` and `second` are pairs x columns; `runs_*` the same for each training run."""

    columns: Columns
    matched_by: str
    """`prompt and seed`, `prompt`, `file name`, or `nothing`."""
    keys: tuple[Key, ...]
    prompts: tuple[Hashable, ...]
    first: Floats
    second: Floats
    runs_first: tuple[Floats, ...]
    runs_second: tuple[Floats, ...]
    images_first: tuple[RowPicture, ...]
    images_second: tuple[RowPicture, ...]
    unmatched_first: int
    unmatched_second: int

    @property
    def prompt_count(self) -> int:
        return len(set(self.prompts))


def _by_config(image: RowPicture) -> Key | None:
    return None if image.prompt_id is None or image.seed is None else (image.prompt_id, image.seed, image.config)


def _by_seed(image: RowPicture) -> Key | None:
    return None if image.prompt_id is None or image.seed is None else (image.prompt_id, image.seed)


def _by_prompt(image: RowPicture) -> Key | None:
    return None if image.prompt_id is None else (image.prompt_id,)


def _by_file(image: RowPicture) -> Key | None:
    return (image.file,) if image.file and image.prompt_id is None else None


WAYS: tuple[tuple[str, Callable[[RowPicture], Key | None]], ...] = (
    ("prompt and seed", _by_config),
    ("prompt and seed", _by_seed),
    ("prompt", _by_prompt),
    ("file name", _by_file),
)


def pair_runs(first: Sequence[Run], second: Sequence[Run], columns: Columns) -> Pairs:
    """Pair the pictures that every run has, in the closest way that finds any; several pictures of one key are averaged."""
    for matched_by, key_of in WAYS:
        tables = [_group(run, key_of, columns) for run in (*first, *second)]
        common = set(tables[0]).intersection(*tables[1:])
        if common:
            return _pairs(columns, matched_by, sorted(common, key=_sortable), tables, len(first))
    return _unpaired(first, second, columns)


@dataclass(slots=True)
class _Cell:
    rows: list[tuple[float, ...]]
    image: RowPicture


def _group(run: Run, key_of: Callable[[RowPicture], Key | None], columns: Columns) -> dict[Key, _Cell]:
    cells: dict[Key, _Cell] = {}
    for image in run.images:
        key = key_of(image)
        if key is None:
            continue
        cell = cells.setdefault(key, _Cell([], image))
        cell.rows.append(columns.row(image))
    return cells


def _pairs(columns: Columns, matched_by: str, keys: list[Key], tables: list[dict[Key, _Cell]], split: int) -> Pairs:
    import numpy as np

    runs = [np.array([_mean_row(table[key].rows) for key in keys]) for table in tables]
    paired = set(keys)
    unmatched = [sum(len(cell.rows) for key, cell in table.items() if key not in paired) for table in _sides(tables, split)]
    return Pairs(
        columns=columns,
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
    means = []
    for values in zip(*rows, strict=True):
        there = [value for value in values if value == value]
        means.append(sum(there) / len(there) if there else math.nan)
    return tuple(means)


def _unpaired(first: Sequence[Run], second: Sequence[Run], columns: Columns) -> Pairs:
    import numpy as np

    sides = []
    for runs in (first, second):
        rows = [columns.row(image) for run in runs for image in run.images]
        sides.append(np.array(rows) if rows else np.empty((0, len(columns.names))))
    return Pairs(columns, "nothing", (), (), sides[0], sides[1], (), (), (), (), len(sides[0]), len(sides[1]))


def _sortable(key: Key) -> tuple[str, ...]:
    return tuple(f"{part:020d}" if isinstance(part, int) else str(part) for part in key)
