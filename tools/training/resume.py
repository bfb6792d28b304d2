"""Find where a training run can be continued, and refuse to continue it as another."""

from __future__ import annotations

from pathlib import Path

from lifeos.errors import InputError
from lifeos.files import warn
from tools.trainers.trainer import SavedState, Trainer, TrainingPlan
from tools.trainers.training_settings import TrainingSettings
from tools.trainers.weights_check import check_weights
from tools.training.saved_states import find_unsound, refuse_stranger
from tools.training.training_choices import PREVIOUS_RUNS
from tools.training.training_record import RECORD_FILE, RecordedRun

LATEST = "auto"
"""The value of `--resume` that stands for the latest state of the run."""

LATER_STEPS = "give a larger --max-train-steps to train it further"


def find_resume(trainer: Trainer, where: str, settings: TrainingSettings, record: RecordedRun | None) -> SavedState:
    """The state to continue from: `auto` or the run's id for the latest sound one of the recorded run, else a state folder.

    Raises InputError if there is none, if it is not of that run, or if nothing is left to do.
    """
    output_dir = settings.output_dir
    aside = output_dir / PREVIOUS_RUNS / Path(where).name
    if record is None or (where not in (LATEST, record.run_id) and (aside / RECORD_FILE).is_file()):
        if where != LATEST and (aside / RECORD_FILE).is_file():
            raise InputError("--resume", f"run {where} was set aside when another began", f"give --resume --output-dir {aside}")
        raise InputError(
            output_dir, "holds no record of a run to resume", "start without --resume, or give --output-dir the folder of the run"
        )
    if record.output_name not in (None, settings.output_name):
        why = f"the run of this folder's record made {record.output_name}, not {settings.output_name}"
        raise InputError("--resume", why, f"give --output-name {record.output_name}, or start a new run")
    if where in (LATEST, record.run_id):
        state = _find_latest(trainer, settings, record)
    else:
        state = trainer.read_state(Path(where).expanduser().absolute())
        refuse_stranger(state, record.run_id, record.states)
        if fault := find_unsound(state, _checkpoints(trainer, settings)):
            raise InputError(state.folder, f"was saved after the run had diverged: {fault}", "resume from an earlier state")
    if state.step >= settings.max_train_steps:
        why = f"was saved at step {state.step} of {settings.max_train_steps}: nothing is left to train"
        if record.state in ("prepared", "running"):  # killed so late that nobody could write its end down
            why += f". The run was killed after its last save, and {_newest_lora(trainer, settings, state).name} is its LoRA"
        raise InputError(state.folder, why, LATER_STEPS)
    return state


def _find_latest(trainer: Trainer, settings: TrainingSettings, record: RecordedRun) -> SavedState:
    checkpoints, passed_over = _checkpoints(trainer, settings), 0
    for state in reversed(trainer.find_states(settings.output_dir, settings.output_name)):
        try:
            refuse_stranger(state, record.run_id, record.states)
        except InputError:
            passed_over += state.run_id == record.run_id
            continue
        if fault := find_unsound(state, checkpoints):
            warn(f"{state.folder.name} is passed over: it was saved after the run had diverged ({fault})")
            passed_over += 1
            continue
        return state
    why = f"holds no whole state of {settings.output_name} that run {record.run_id} has saved"
    why += f" and whose weights are sound ({passed_over} are not usable)" if passed_over else ""
    raise InputError(settings.output_dir, why, "start anew with --overwrite, or name a state folder: --resume DIR")


def _newest_lora(trainer: Trainer, settings: TrainingSettings, state: SavedState) -> Path:
    """The final file if it is whole, else that of the last state's step."""
    final = settings.output_dir / trainer.checkpoint_name(settings.output_name)
    try:
        return final if not check_weights(final).fault else _checkpoints(trainer, settings).get(state.step, final)
    except (InputError, OSError):  # not there, or cut off by the kill
        return _checkpoints(trainer, settings).get(state.step, final)


def _checkpoints(trainer: Trainer, settings: TrainingSettings) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in settings.output_dir.iterdir() if settings.output_dir.is_dir() else ():
        named = trainer.read_checkpoint_name(path.name, settings.output_name)
        if named and named.step is not None:
            found[named.step] = path
    return found


def check_same_run(
    trainer: Trainer,
    record: RecordedRun,
    plan: TrainingPlan,
    *,
    max_train_steps: int,
    dataset_id: str | None,
    staged_sha256: str | None,
    base_fingerprint: str | None,
) -> None:
    """Raises InputError if what is asked for is not the recorded run continued. `staged_sha256`: of what the trainer would be shown."""
    if record.staged_sha256 and record.staged_sha256 != staged_sha256 and record.dataset_id == dataset_id:
        why = "what would be trained on is not what this run began with: pictures, captions, repeats, class tokens or regularisation"
        raise InputError("--resume", why, "put it back, or start a new run")
    if record.dataset_id != dataset_id:
        was, now = str(record.dataset_id)[:12], str(dataset_id)[:12]
        why = f"the dataset is not the one that this run began with ({was}, now {now})"
        raise InputError("--resume", why, "put it back, or start a new run")
    if record.max_train_steps is not None and max_train_steps < record.max_train_steps:
        why = f"--max-train-steps was {record.max_train_steps} and is now {max_train_steps}: a run can be made longer, not shorter"
        raise InputError("--resume", why, "give as many or more, or start a new run")
    if record.base_fingerprint and base_fingerprint and record.base_fingerprint != base_fingerprint:
        raise InputError(
            "--resume", "the base model is another file than the one that this run began with", "put it back, or start a new run"
        )
    for change in trainer.find_changes(record.argv, plan):
        why = f"{change.option} was {change.was!r} and is now {change.now!r}"
        raise InputError("--resume", why, "give the flags of the first run, or start a new one")
