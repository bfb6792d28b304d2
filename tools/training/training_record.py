"""`training_record.json`: what a run is, how far it came and what it cost, true at every moment of it.

Written when the run begins and again as it goes, so that a run killed without warning leaves a record that says `running` and how
far it was. Whether that process still lives is for the reader to ask: `is_running`, or `tell_state` for what a person should read.
"""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lifeos import files, foreign
from lifeos.liveness import boot_id
from lifeos.locks import is_held
from tools.families.families import DEFAULT_FAMILY
from tools.trainers.trainer import DEFAULT_TRAINER
from tools.training.process_identity import is_same_group
from tools.training.saved_states import RecordedState

RECORD_FILE = "training_record.json"
LOCK_FILE = ".training.lock"
"""Held in the output folder by the command that trains there."""
SCHEMA = 1
LARGEST_GROUP = 1 << 31
"""A process id is smaller everywhere; the system call refuses what is larger."""

State = Literal["prepared", "running", "finished", "failed", "interrupted"]
FINISHED: Literal["finished"] = "finished"
UNENDED = frozenset({"prepared", "running"})
"""What a record says of a run that goes on, and for ever of one whose end nobody could write down."""
KILLED = "killed"
"""What a run of such a record is called once nobody is at work on it."""


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
    staged_sha256: str | None = None
    """Of all that the trainer is shown: pictures, captions, repeats, class tokens; regularisation too."""
    base_fingerprint: str | None = None
    """Of the base model, by both ends of its files and their sizes (`saved_states.fingerprint`)."""
    parts: list[dict[str, Any]] = field(default_factory=list)
    """What went before, if the run was continued: of each part its first and last step, seconds, cost, state and failure."""
    schema: int = SCHEMA
    host: str = field(default_factory=socket.gethostname)
    process: str | None = None
    """What is at work: the name of the plan's process that was started last."""
    process_group: int | None = None
    process_started: float | None = None
    boot_id: str | None = field(default_factory=boot_id)
    """Together they tell whether a process of that id is still the one that was started (`process_identity`)."""
    ended: str | None = None
    seconds: float = 0.0
    steps: int = 0
    loss: float | None = None
    cost_usd: float = 0.0
    last_progress: str | None = None
    """When the trainer last said or saved something new."""
    is_stalled: bool = False
    """Whether that is longer ago than the policy has it (`training.stall_minutes`); a run that then goes on is stalled no longer."""
    returncode: int | None = None
    failure: str | None = None
    lora_files: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What a person should know of how it went."""
    has_diverged: bool = False
    """Whether its weights turned into NaN or infinity: from its states of later steps nothing can be continued."""
    last_good: str | None = None
    """The latest LoRA file whose weights are sound."""
    states: list[RecordedState] = field(default_factory=list)
    """The saved states that are there and are this run's."""

    def account(self, seconds: float) -> None:
        """Wall time of this part so far; the record tells time and cost of all parts together."""
        before = [(float(part.get("seconds") or 0), float(part.get("cost_usd") or 0)) for part in self.parts]
        self.seconds = round(sum(each[0] for each in before) + seconds, 3)
        self.cost_usd = round(sum(each[1] for each in before) + seconds / 3600 * self.rate_per_hr, 4)

    def remark(self, text: str) -> bool:
        """Keep what a person should know; False if there is nothing to say, or it is said already."""
        is_new = bool(text) and text not in self.remarks
        if is_new:
            self.remarks.append(text)
        return is_new

    def write(self) -> None:
        files.write_json(Path(self.output_dir) / RECORD_FILE, asdict(self))


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """Of a record what is asked of it later. Version 3.0.0 wrote no `process`, `output_name` aside from its files, `parts`, `states`."""

    run_id: str
    state: str = ""
    started: str | None = None
    ended: str | None = None
    output_name: str | None = None
    dataset_id: str | None = None
    staged_sha256: str | None = None
    base_fingerprint: str | None = None
    argv: list[str] = field(default_factory=list)
    host: str | None = None
    process_group: int | None = None
    process_started: float | None = None
    boot_id: str | None = None
    first_step: int = 0
    steps: int = 0
    max_train_steps: int | None = None
    seconds: float = 0.0
    cost_usd: float = 0.0
    gpu: str | None = None
    rate_per_hr: float | None = None
    failure: str | None = None
    last_progress: str | None = None
    is_stalled: bool = False
    parts: list[dict[str, Any]] = field(default_factory=list)
    states: list[RecordedState] = field(default_factory=list)

    def all_parts(self) -> list[dict[str, Any]]:
        """The parts so far of a run that nobody is at work on, the last one among them, whose time and cost are what the earlier ones leave
        of the whole."""
        seconds = self.seconds - sum(float(part.get("seconds") or 0) for part in self.parts)
        cost = self.cost_usd - sum(float(part.get("cost_usd") or 0) for part in self.parts)
        last = {
            "first_step": self.first_step,
            "last_step": self.steps,
            "ended": self.ended,
            "seconds": round(max(0.0, seconds), 3),
            "cost_usd": round(max(0.0, cost), 4),
            "gpu": self.gpu,
            "rate_per_hr": self.rate_per_hr,
            "state": KILLED if self.state in UNENDED else self.state,
            "failure": self.failure,
        }
        return [*self.parts, last]


def read_record(output_dir: Path) -> RecordedRun | None:
    """The record of the last run there, None if there is none. Raises InputError if it is no record."""
    path = output_dir / RECORD_FILE
    if not path.exists():
        return None
    return foreign.read_file(path, RecordedRun, fix="it is no record of a training run: move it away")


def read_whole_record(output_dir: Path) -> TrainingRecord:
    """The record there, to be written on. The folder may have been moved; version 3.0.0 wrote neither trainer nor family, since it knew but
    one of each. Raises InputError if it is no record."""
    path = output_dir / RECORD_FILE
    document: dict[str, Any] = foreign.read_file(path, dict)
    known = {"trainer": DEFAULT_TRAINER, "family": DEFAULT_FAMILY, **document, "output_dir": str(output_dir)}
    record: TrainingRecord = foreign.convert(known, TrainingRecord, path, fix="it is no record of a training run: move it away")
    return record


def tell_state(output_dir: Path, record: RecordedRun) -> str:
    """The state of a run for people: `killed` where its record says that it goes on and nobody is at work on it."""
    if record.state not in UNENDED or is_running(record) or is_held(output_dir / LOCK_FILE):
        return record.state
    return KILLED


def is_running(record: RecordedRun) -> bool:
    """Whether the trainer of a record is still at work on this machine, though whoever watched it may be gone."""
    group = record.process_group
    if record.state != "running" or record.host != socket.gethostname() or group is None or not 1 < group < LARGEST_GROUP:
        return False
    return is_same_group(group, record.run_id, record.boot_id, record.process_started, record.started)
