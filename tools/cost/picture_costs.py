"""What a picture and a training run cost, from the batch reports and training records that lie in the given folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

BATCH_REPORT = "batch_report.json"
TRAINING_RECORD = "training_record.json"
MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """A production batch: how many pictures, and what the GPU cost while it ran (None if its report does not say)."""

    run_id: str
    lora_version: str
    day: str
    generated: int
    approved: int
    usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Training:
    """A training run and what it cost (None if its record does not say)."""

    name: str
    day: str
    steps: int
    usd: Decimal | None


def read_batches(folders: Iterable[Path]) -> list[Batch]:
    """Every readable batch report below the folders, oldest first; a batch whose pictures are the embedded server's costs nothing."""
    batches = []
    for _, document in _documents(folders, BATCH_REPORT):
        counts = document.get("counts")
        if not isinstance(counts, dict) or document.get("engine_notice"):
            continue
        cost = document.get("cost")
        usd = _money(cost.get("usd")) if isinstance(cost, dict) else None
        names = [str(document.get(key) or "") for key in ("run_id", "lora_version", "started")]
        batches.append(Batch(names[0], names[1], names[2][:10], _count(counts.get("generated")), _count(counts.get("approved")), usd))
    return sorted(batches, key=lambda batch: batch.day)


def read_trainings(folders: Iterable[Path]) -> list[Training]:
    """Every readable training record below the folders, oldest first."""
    trainings = [
        Training(
            str(document.get("output_name") or path.parent.name),
            str(document.get("started") or "")[:10],
            _count(document.get("steps")),
            _money(document.get("cost_usd")),
        )
        for path, document in _documents(folders, TRAINING_RECORD)
    ]
    return sorted(trainings, key=lambda training: training.day)


def _documents(folders: Iterable[Path], name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    found = {path.resolve() for folder in folders for depth in range(MAX_DEPTH + 1) for path in folder.glob("*/" * depth + name)}
    for path in sorted(found):
        try:
            document = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError):
            continue
        if isinstance(document, dict):
            yield path, document


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _money(value: object) -> Decimal | None:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None
