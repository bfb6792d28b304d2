"""A training set as it was read: its pictures with their captions, and what lies beside them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.dataset.picture_header import PictureHeader


@dataclass(slots=True)
class Caption:
    """`text` without the final line end. `faults`: `empty`, `blank`, `bom`, `not_utf8`, `multi_line`, `very_long`.
    `name`: of its file; of its picture where it `is_file` not, but stands in a dataset document."""

    name: str
    sha256: str
    text: str
    faults: tuple[str, ...] = ()
    is_file: bool = True


@dataclass(slots=True)
class PictureRecord:
    """One picture of the set. `damage`: None if it was not decoded, else what is wrong with its data, empty if nothing is."""

    name: str
    sha256: str
    size: int
    header: PictureHeader
    caption: Caption | None = None
    damage: str | None = None


@dataclass(slots=True)
class TrainingSet:
    """`records` come in the order of their names' bytes. `orphans`: captions of no picture; `skipped`: names by why they are no part of
    the set (see `ListedFile`); `held_out`: pictures of the folder that are not trained on, and no longer among `records`."""

    records: list[PictureRecord]
    caption_extension: str = ".txt"
    orphans: tuple[str, ...] = ()
    skipped: dict[str, list[str]] = field(default_factory=dict)
    held_out: list[PictureRecord] = field(default_factory=list)

    @property
    def captions(self) -> list[Caption]:
        """The pictures' captions, in the order of the pictures; one that two pictures share stands twice."""
        return [record.caption for record in self.records if record.caption is not None]
