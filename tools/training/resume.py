"""Find where a training run can be continued, and refuse to continue it as another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lifeos.errors import InputError
from tools.trainers.trainer import SavedState, Trainer, TrainingPlan
from tools.trainers.training_settings import TrainingSettings

if TYPE_CHECKING:
    from tools.training.training_record import RecordedRun

LATEST = "auto"
"""The value of `--resume` that stands for the latest state of the run."""


def find_resume(trainer: Trainer, where: str, settings: TrainingSettings, run_id: str | None) -> SavedState:
    """The state to continue from: `auto` for the latest whole one of the recorded run, else a state folder.

    Raises InputError if there is none, or nothing is left to do.
    """
    output_dir, name = settings.output_dir, settings.output_name
    if where == LATEST:
        if run_id is None:
            raise InputError(output_dir, "holds no record of a run to resume", "start without --resume")
        states = trainer.find_states(output_dir, name, run_id)
        if not states:
            fix = "start without --resume, or name a state folder: --resume DIR"
            raise InputError(output_dir, f"holds no whole state of {name} that run {run_id} has saved", fix)
        state = states[-1]
    else:
        state = trainer.read_state(Path(where).expanduser().absolute(), run_id)
    if state.step >= settings.max_train_steps:
        why = f"was saved at step {state.step} of {settings.max_train_steps}: nothing is left to train"
        raise InputError(state.folder, why, "give a later --max-train-steps")
    return state


def check_same_run(trainer: Trainer, record: RecordedRun | None, plan: TrainingPlan, dataset_id: str | None) -> None:
    """Raises InputError if what is asked for is not the recorded run continued."""
    if record is None:
        return
    if record.dataset_id != dataset_id:
        was, now = str(record.dataset_id)[:12], str(dataset_id)[:12]
        why = f"the dataset is not the one that this run began with ({was}, now {now})"
        raise InputError("--resume", why, "put it back, or start a new run")
    for change in trainer.find_changes(record.argv, plan):
        why = f"{change.option} was {change.was!r} and is now {change.now!r}"
        raise InputError("--resume", why, "give the flags of the first run, or start a new one")
