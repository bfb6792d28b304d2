"""Find where a training run can be continued, and refuse to continue it as another."""

from __future__ import annotations

from pathlib import Path

from lifeos.errors import InputError
from lifeos.files import warn
from tools.trainers.trainer import SavedState, Trainer, TrainingPlan
from tools.trainers.training_settings import TrainingSettings
from tools.training.checkpoints import Checkpoints
from tools.training.saved_states import find_unsound, refuse_stranger
from tools.training.training_choices import PREVIOUS_RUNS
from tools.training.training_record import FINISHED, RECORD_FILE, RecordedRun

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
        return _find_to_go_on(trainer, settings, record)
    state = trainer.read_state(Path(where).expanduser().absolute())
    refuse_stranger(state, record.run_id, record.states)
    if fault := find_unsound(state, _checkpoints(trainer, settings)):
        raise InputError(state.folder, f"was saved after the run had diverged: {fault}", "resume from an earlier state")
    if state.step >= settings.max_train_steps:
        raise InputError(state.folder, _nothing_left(state, settings), LATER_STEPS)
    return state


def _find_to_go_on(trainer: Trainer, settings: TrainingSettings, record: RecordedRun) -> SavedState:
    """The latest sound state. Where it is of the last step, and the trainer was ended before it wrote its LoRA, the one before: no trainer
    goes on where nothing is left to train."""
    whole = trainer.find_states(settings.output_dir, settings.output_name)
    state, unusable = _find_latest(trainer, settings, record, whole)
    if state is None:
        why = f"holds no whole state of {settings.output_name} that run {record.run_id} has saved"
        why += f" and whose weights are sound ({unusable} are not usable)" if unusable else ""
        raise InputError(settings.output_dir, why, "start anew with --overwrite, or name a state that lies elsewhere: --resume DIR")
    last = settings.max_train_steps
    if state.step < last:
        return state
    why, saved = _nothing_left(state, settings), Checkpoints(trainer, settings.output_dir, settings.output_name, record.run_id)
    if saved.is_ours(saved.final) and (fault := saved.fault_of(saved.final)):
        raise InputError(state.folder, f"{why}; {saved.final.name}: {fault}", LATER_STEPS)
    if record.state == FINISHED or record.max_train_steps not in (None, last):
        raise InputError(state.folder, why, LATER_STEPS)
    earlier, _ = _find_latest(trainer, settings, record, [each for each in whole if each.step < last])
    if earlier is None:
        why = f"was saved at the last step, {state.step}, but the trainer was ended before it wrote the LoRA"
        raise InputError(state.folder, why, f"give --max-train-steps {state.step + 1}: after one step more it writes the LoRA")
    warn(f"the trainer was ended before it wrote {saved.final.name}: the steps from {earlier.step} to {last} are trained again")
    return earlier


def _nothing_left(state: SavedState, settings: TrainingSettings) -> str:
    return f"was saved at step {state.step} of {settings.max_train_steps}: nothing is left to train"


def _find_latest(
    trainer: Trainer, settings: TrainingSettings, record: RecordedRun, states: list[SavedState]
) -> tuple[SavedState | None, int]:
    """The latest sound one of the run's states, and how many of its states are not usable."""
    checkpoints, passed_over = _checkpoints(trainer, settings), 0
    for state in reversed(states):
        try:
            refuse_stranger(state, record.run_id, record.states)
        except InputError:
            passed_over += state.run_id == record.run_id
            continue
        if fault := find_unsound(state, checkpoints):
            warn(f"{state.folder.name} is passed over: it was saved after the run had diverged ({fault})")
            passed_over += 1
            continue
        return state, passed_over
    return None, passed_over


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
        why = "the base model is another file than the one that this run began with (or a text encoder or VAE is)"
        raise InputError("--resume", why, "put it back, or start a new run")
    refuse_changes(trainer, record, plan)


def refuse_changes(trainer: Trainer, record: RecordedRun, plan: TrainingPlan) -> None:
    """Raises InputError if an option that changes what is learnt is not as the recorded run has it."""
    for change in trainer.find_changes(record.argv, plan):
        why = f"{change.option} was {change.was!r} and is now {change.now!r}"
        raise InputError("--resume", why, "give the flags of the first run, or start a new one")
