"""The seam of the trainers: what a trainer must be able to do, what goes in and what comes out, and the registry.

A new trainer is one module (or package) with a `Trainer` in it, and one row of `TRAINERS`. A trainer is only ever a process, or several
one after the other: nothing of it is imported. Staging, record, runner and loss curve (`tools/training`) know nothing but this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lifeos.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from lifeos.findings import Finding
    from tools.families.families import Family
    from tools.trainers.packages import NeededPackage
    from tools.trainers.trainer_checkout import TrainerCheckout
    from tools.trainers.training_settings import TrainingSettings

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Subset:
    """One flat folder that the trainer reads, and how many `pictures` it holds."""

    image_dir: Path
    num_repeats: int
    class_tokens: str
    is_reg: bool = False
    pictures: int = 0
    uncaptioned: int = 0
    """Of them without a caption file."""
    same_names: int = 0
    """How many would lose their cache to another where a trainer calls caches by the picture's name without its extension."""
    endings: tuple[str, ...] = ()
    """The endings of its pictures, in small letters."""


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What every LoRA file of a run must say of itself. The dataset's two are None where no manifest is written."""

    run_id: str
    dataset_id: str | None
    manifest_hash: str | None
    parts: tuple[int, ...] = ()
    """Of a run that was continued: the steps that its later parts began at."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """A whole state that a run can be continued from: where it lies (a folder, or a file, the LoRA file itself where a trainer goes on
    from that), its step counted from the run's start, and the run that saved it as far as the state, or the LoRA file that was saved with
    it, says so itself. `beside`: what lies beside it and belongs to it, such as the optimizer's file."""

    folder: Path
    step: int
    run_id: str | None = None
    beside: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """All that a trainer needs to know to plan a run. `resume`: go on from there."""

    settings: TrainingSettings
    family: Family
    checkout: TrainerCheckout
    subsets: tuple[Subset, ...]
    identity: RunIdentity
    resume: SavedState | None = None


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to write before the first process. `signature`: how it begins, so that one of somebody else is never overwritten.
    `document`: its content as values."""

    path: Path
    text: str
    signature: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TrainerProcess:
    """One process: what it does in a word or two, its whole argument vector, and the folder that it runs in. It gets the environment
    of `trainer_checkout.trainer_environment`."""

    name: str
    argv: tuple[str, ...]
    cwd: Path


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The files, and the processes in their order: each starts when the one before has ended with 0. The last one trains."""

    files: tuple[PlannedFile, ...]
    processes: tuple[TrainerProcess, ...]

    @property
    def training(self) -> TrainerProcess:
        return self.processes[-1]


@dataclass(frozen=True, slots=True)
class StepReport:
    """One refresh of a step counter. `step` counts from the run's very beginning, also in a run that was continued. `loss` is the moving
    average: None before the first step, NaN if it has diverged."""

    step: int
    seconds_per_step: float | None
    loss: float | None


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A LoRA file that is being saved, as the trainer names it."""

    path: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that a person should know of the run, in our words; told once, and kept in its record."""

    text: str


class OutputReader(Protocol):
    """Reads what one process prints, from its first line to its last."""

    def read(self, line: str, stream: Stream) -> StepReport | SavedFile | Remark | None:
        """What a line tells; None for one that tells nothing."""
        ...

    def cause(self) -> str:
        """Why the process failed, as far as it said so; empty if it gave no message."""
        ...


@dataclass(frozen=True, slots=True)
class ParserVerdict:
    """What the trainer's own parser says. `checked`: what it looked at; `fault`: its words, empty if it accepts."""

    checked: tuple[str, ...]
    fault: str


@dataclass(frozen=True, slots=True)
class OptionChange:
    """An option that a continued run must share with its beginning, and does not."""

    option: str
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class CheckpointName:
    """What a LoRA file's name says: the step, counted from the run's start; None where it does not count steps. The one that a run
    ends with `is_final`."""

    step: int | None
    is_final: bool


class HeaderDialect(Protocol):
    """How a trainer's LoRA files describe themselves. Metadata are the header's `__metadata__`: all text."""

    def recognises(self, metadata: Mapping[str, str]) -> bool: ...

    def read_parameters(self, metadata: Mapping[str, str]) -> dict[str, Any]:
        """The parameters that were set, by our names; values are text and finite numbers."""
        ...

    def read_run_id(self, metadata: Mapping[str, str]) -> str | None:
        """The run that wrote the file; None where it does not say."""
        ...


class Trainer(Protocol):
    """One trainer. Nothing here starts a training or changes a file; `ask_parser` and `find` may start short processes."""

    name: str
    dialect: HeaderDialect

    def find(self, folder: Path, python: str | None, family: Family) -> TrainerCheckout:
        """The trainer in a folder. Raises UnavailableError if it is not there, or lacks what that family needs."""
        ...

    def plan(self, job: TrainingJob) -> TrainingPlan:
        """The files and processes of a run. What the LoRA files say of themselves must hold `job.identity`."""
        ...

    def find_conflicts(self, job: TrainingJob, plan: TrainingPlan) -> list[Finding]:
        """Combinations of options that would fail, or quietly teach the wrong thing, and what the job asks for that this trainer cannot
        do, such as regularisation pictures; `rule` is the option."""
        ...

    def needed_packages(self, plan: TrainingPlan) -> tuple[NeededPackage, ...]:
        """The packages that the plan needs in the trainer's Python: its own, the optimizer's, the attention's."""
        ...

    def ask_parser(self, checkout: TrainerCheckout, plan: TrainingPlan) -> ParserVerdict:
        """Have the trainer's own parser judge the plan. Raises UnavailableError if it cannot even be started."""
        ...

    def open_output(self, process: TrainerProcess, *, first_step: int, max_steps: int) -> OutputReader:
        """A reader for that process of a run of `max_steps` in all, which goes on at `first_step` (0: from its beginning)."""
        ...

    def find_states(self, output_dir: Path, output_name: str) -> list[SavedState]:
        """The whole states of that output name, of whichever run, earliest step first."""
        ...

    def read_state(self, folder: Path) -> SavedState:
        """The state in a folder (or file) that somebody named. Raises InputError if it is not whole."""
        ...

    def is_state(self, file_name: str, output_name: str) -> bool:
        """Whether a file or folder of that name is a state, or a part of one, of a run of that output name, and nothing else: a LoRA file
        that a run can be continued from is a checkpoint, and is kept when states are removed."""
        ...

    def find_changes(self, recorded_argv: Sequence[str], plan: TrainingPlan) -> list[OptionChange]:
        """In what a continued run is not asked for what it began with. `recorded_argv`: of the process that trained."""
        ...

    def correct_metadata(self, metadata: Mapping[str, str], earlier: Mapping[str, str]) -> dict[str, str]:
        """What to change in the metadata of a file that a continued run saved, so that it tells the whole run and not its last part alone.
        `earlier`: of a file that the run saved before."""
        ...

    def checkpoint_name(self, output_name: str) -> str:
        """The name of the file that a run ends with."""
        ...

    def settled_name(self, file_name: str, output_name: str) -> str:
        """What a LoRA file of a run is to be called: its own name, unless the trainer counts a continued part from 0. Such a trainer is
        given another output name for the part (`NAME-from00000010`), and its files are renamed to what they are
        (`NAME-from00000010-step00000005` is `NAME-step00000015`). `read_checkpoint_name` knows both names."""
        ...

    def read_checkpoint_name(self, file_name: str, output_name: str) -> CheckpointName | None:
        """What a file name says; None if it is no LoRA file of a run of that output name."""
        ...


@dataclass(frozen=True, slots=True)
class TrainerRow:
    """One trainer of the registry.

    `module` holds it under the name TRAINER. `folder_key`: the policy's key in `training`, and with dashes the flag, for its folder.
    `repository`: where it is had from. `process_marks`: what a command line holds when it is at work.
    """

    name: str
    module: str
    folder_key: str
    repository: str
    process_marks: tuple[str, ...]

    def load(self) -> Trainer:
        from importlib import import_module

        trainer: Trainer = import_module(self.module).TRAINER
        return trainer


TRAINERS: tuple[TrainerRow, ...] = (
    TrainerRow(
        "sd-scripts",
        "tools.trainers.sd_scripts.member",
        "sd_scripts_dir",
        "kohya-ss/sd-scripts",
        ("train_network.py", "sdxl_train", "train_db.py", "accelerate launch"),
    ),
    TrainerRow(
        "musubi-tuner",
        "tools.trainers.musubi_tuner.musubi_trainer",
        "musubi_tuner_dir",
        "kohya-ss/musubi-tuner",
        ("musubi_tuner.", "musubi_tuner/"),
    ),
    TrainerRow(
        "ai-toolkit",
        "tools.trainers.ai_toolkit.toolkit_trainer",
        "ai_toolkit_dir",
        "ostris/ai-toolkit",
        ("ai-toolkit/run.py", "ai_toolkit_job.yaml"),
    ),
)
DEFAULT_TRAINER = TRAINERS[0].name


def find_row(name: str = DEFAULT_TRAINER) -> TrainerRow:
    """The row of a trainer. Raises InputError for a name that is not in the registry."""
    for row in TRAINERS:
        if row.name == name:
            return row
    raise InputError(f"trainer {name}", "is not known", did_you_mean(name, (row.name for row in TRAINERS)))


def dialects() -> list[HeaderDialect]:
    """How the files of all trainers describe themselves, each dialect once."""
    found: list[HeaderDialect] = []
    for row in TRAINERS:
        dialect = row.load().dialect
        if dialect not in found:
            found.append(dialect)
    return found
