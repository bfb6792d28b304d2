"""What a picture and a training run cost, from the batch reports and training records that lie in the given folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from lifeos import files, foreign
from lifeos.errors import LifeosError
from tools.training.training_record import RECORD_FILE, UNENDED, read_record, tell_state

T = TypeVar("T")

BATCH_REPORT = "batch_report.json"
MAX_DEPTH = 3
MAX_USD = 10**12


@dataclass(frozen=True, slots=True)
class KindCost:
    """What a kind of server made and cost in a batch; None where it is not known."""

    kind: str
    pictures: int
    approved: int
    usd: Decimal | None

    @property
    def each(self) -> Decimal | None:
        """Dollars for an approved picture."""
        return self.usd / self.approved if self.usd is not None and self.approved else None


@dataclass(frozen=True, slots=True)
class BatchCost:
    """A production batch: how many pictures, and what the GPU cost while it ran (None if its report does not say)."""

    run_id: str
    lora_version: str
    day: str
    generated: int
    approved: int
    usd: Decimal | None
    kinds: tuple[KindCost, ...] = ()
    """By kind of server; empty in reports of older versions."""


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """A training run, how it stands (`finished`, `killed` …; empty if its record does not say) and what it cost (None likewise)."""

    name: str
    day: str
    steps: int
    usd: Decimal | None
    state: str = ""


@dataclass(frozen=True, slots=True)
class PictureCounts:
    generated: int = 0
    approved: int = 0


@dataclass(frozen=True, slots=True)
class MoneySpent:
    usd: float | str | None = None


@dataclass(frozen=True, slots=True)
class KindRow:
    """What is read of a row of `servers.by_kind`."""

    kind: str = ""
    pictures: int = 0
    approved: int = 0
    usd: float | str | None = None


@dataclass(frozen=True, slots=True)
class ServersSection:
    by_kind: tuple[KindRow, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchReportFile:
    """What is read of a batch_report.json."""

    counts: PictureCounts | None = None
    cost: MoneySpent | None = None
    engine_notice: str | None = None
    batch_id: str | None = None
    run_id: str | None = None
    lora_version: str | None = None
    started: str | None = None
    servers: ServersSection | None = None


@dataclass(frozen=True, slots=True)
class TrainingRecordFile:
    """What is read of a training_record.json."""

    output_name: str | None = None
    state: str | None = None
    started: str | None = None
    steps: int | None = None
    cost_usd: float | str | None = None


def read_batches(folders: Iterable[Path]) -> list[BatchCost]:
    """Every readable batch report below the folders, oldest first; a batch whose pictures are the embedded server's costs nothing.

    A batch that lies there more than once, as a copy of its directory, counts once: where it has come furthest.
    """
    batches = []
    for report in _without_copies(_documents(folders, BATCH_REPORT, BatchReportFile)):
        usd = _money(report.cost.usd) if report.cost else None
        made = report.counts or PictureCounts()
        counts = max(made.generated, 0), max(made.approved, 0)
        rows = report.servers.by_kind if report.servers is not None else ()
        kinds = tuple(KindCost(row.kind, max(row.pictures, 0), max(row.approved, 0), _money(row.usd)) for row in rows)
        batches.append(BatchCost(report.run_id or "", report.lora_version or "", (report.started or "")[:10], *counts, usd, kinds))
    return sorted(batches, key=lambda batch: batch.day)


def add_kinds(batches: Iterable[BatchCost]) -> list[KindCost]:
    """All batches together by kind of server, the most pictures first; a kind of which one batch does not know the cost has none."""
    found: dict[str, KindCost] = {}
    for kind in (kind for batch in batches for kind in batch.kinds):
        known = found.get(kind.kind, KindCost(kind.kind, 0, 0, Decimal(0)))
        usd = None if known.usd is None or kind.usd is None else known.usd + kind.usd
        found[kind.kind] = KindCost(kind.kind, known.pictures + kind.pictures, known.approved + kind.approved, usd)
    return sorted(found.values(), key=lambda kind: -kind.pictures)


def _without_copies(documents: Iterable[tuple[Path, BatchReportFile]]) -> list[BatchReportFile]:
    """The reports that say what was made on a GPU, of each batch one."""
    kept: dict[str, tuple[Path, int, BatchReportFile]] = {}
    for path, report in documents:
        if report.counts is None or report.engine_notice:
            continue
        key, made = report.batch_id or str(path), report.counts.generated
        known = kept.get(key)
        if known is not None:
            further, other = (path, known[0]) if made > known[1] else (known[0], path)
            files.warn(f"left out of the report: {other.parent} holds the same batch as {further.parent}")
        if known is None or made > known[1]:
            kept[key] = path, made, report
    return [report for _, _, report in kept.values()]


def read_trainings(folders: Iterable[Path]) -> list[TrainingCost]:
    """Every readable training record below the folders, oldest first."""
    trainings = []
    for path, record in _documents(folders, RECORD_FILE, TrainingRecordFile):
        name, day = record.output_name or path.parent.name, (record.started or "")[:10]
        state = _tell_state(path.parent, record.state or "")
        trainings.append(TrainingCost(name, day, max(record.steps or 0, 0), _money(record.cost_usd), state))
    return sorted(trainings, key=lambda training: training.day)


def _tell_state(folder: Path, recorded: str) -> str:
    """How a run stands: one that was killed has a record that goes on saying `running`."""
    if recorded not in UNENDED:
        return recorded
    with contextlib.suppress(LifeosError):  # not enough of a record to ask for its processes
        if record := read_record(folder):
            return tell_state(folder, record)
    return recorded


def _documents(folders: Iterable[Path], name: str, kind: type[T]) -> Iterator[tuple[Path, T]]:
    """The files of that name, as records; one that cannot be read is named and left out."""
    found = {path.resolve() for folder in folders for depth in range(MAX_DEPTH + 1) for path in folder.glob("*/" * depth + name)}
    for path in sorted(found):
        try:
            yield path, foreign.read_file(path, kind)
        except LifeosError as error:
            files.warn(f"left out of the report: {error}")


def _money(value: float | str | None) -> Decimal | None:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount <= MAX_USD else None
