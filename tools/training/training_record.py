"""`training_record.json`: what a run is, how far it came and what it cost, true at every moment of it.

Written when the run begins and again as it goes, so that a run killed without warning leaves a record that says `running` and how
far it was. Whether that process still lives is for the reader to ask: `is_running`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lifeos import files, foreign
from lifeos.process_group import is_group_alive

RECORD_FILE = "training_record.json"
SCHEMA = 1
LARGEST_GROUP = 1 << 31
"""A process id is smaller everywhere; the system call refuses what is larger."""

State = Literal["prepared", "running", "finished", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Price:
    """What the machine costs."""

    gpu: str
    rate_per_hr: float


@dataclass(slots=True)
class TrainingRecord:
    """The document. Times are UTC with `Z`; `seconds` is wall time so far; `steps` counts from the run's very beginning."""

    run_id: str
    state: State
    started: str
    output_name: str
    output_dir: str
    trainer: str
    family: str
    dataset_id: str | None
    dataset_manifest: str | None
    dataset_manifest_hash: str | None
    max_train_steps: int
    rate_per_hr: float
    gpu: str
    argv: list[str]
    trainer_commit: str | None
    resumed_from: str | None = None
    first_step: int = 0
    schema: int = SCHEMA
    host: str = field(default_factory=socket.gethostname)
    process: str | None = None
    """What is at work: the name of the plan's process that was started last."""
    process_group: int | None = None
    ended: str | None = None
    seconds: float = 0.0
    steps: int = 0
    loss: float | None = None
    cost_usd: float = 0.0
    returncode: int | None = None
    failure: str | None = None
    lora_files: list[dict[str, Any]] = field(default_factory=list)

    def account(self, seconds: float) -> None:
        """Wall time so far, and what it costs."""
        self.seconds = round(seconds, 3)
        self.cost_usd = round(seconds / 3600 * self.rate_per_hr, 4)

    def write(self) -> None:
        files.write_json(Path(self.output_dir) / RECORD_FILE, asdict(self))


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """Of a record what is asked of it later; older versions wrote all of these too, except `process`."""

    run_id: str
    state: str = ""
    dataset_id: str | None = None
    argv: list[str] = field(default_factory=list)
    host: str | None = None
    process_group: int | None = None


def read_record(output_dir: Path) -> RecordedRun | None:
    """The record of the last run there, None if there is none. Raises InputError if it is no record."""
    path = output_dir / RECORD_FILE
    if not path.exists():
        return None
    return foreign.read_file(path, RecordedRun, fix="it is no record of a training run: move it away")


def is_running(record: RecordedRun) -> bool:
    """Whether the trainer of a record is still at work on this machine, though whoever watched it may be gone."""
    group = record.process_group
    here = record.host == socket.gethostname()
    return record.state == "running" and here and group is not None and 1 < group < LARGEST_GROUP and is_group_alive(group)


def utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def list_loras(output_dir: Path, is_new: Callable[[Path], bool], is_final: Callable[[str], bool]) -> list[dict[str, Any]]:
    """The run's LoRA files, checkpoints first: name, size, hash."""
    found = [path for path in output_dir.iterdir() if is_new(path)]
    ordered = sorted(found, key=lambda path: (is_final(path.name), path.name))
    return [{"file": path.name, "size_bytes": path.stat().st_size, "sha256": files.sha256_file(path)} for path in ordered]
