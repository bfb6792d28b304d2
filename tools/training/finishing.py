"""Finish a run that was killed after its last step: its LoRA is there, and nobody wrote that down, or nobody cleaned up.

Needs neither the dataset nor the trainer nor a GPU. Killed itself, it is taken up again by the same command.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lifeos import files, times
from lifeos.errors import InputError
from lifeos.locks import hold
from tools.families.families import Family
from tools.trainers.trainer import RunIdentity, Trainer, TrainingJob
from tools.trainers.trainer_checkout import locate
from tools.trainers.training_settings import TrainingSettings
from tools.training.checkpoints import Checkpoints, read_earlier
from tools.training.loss_curve import draw_curve_of
from tools.training.one_at_a_time import refuse_second
from tools.training.preparation import assumed_subsets
from tools.training.resume import LATEST, refuse_changes
from tools.training.stocktaking import take_stock
from tools.training.tidying import find_leftovers, remove_staged, tidy_states
from tools.training.training_record import FINISHED, LOCK_FILE, RECORD_FILE, UNENDED, RecordedRun, TrainingRecord, read_whole_record


@dataclass(frozen=True, slots=True)
class OpenEnd:
    """The end of a run that is to be written down. `lora`: its final file, or the checkpoint of its last step where the trainer was killed
    before it wrote that one; whole and sound."""

    run_id: str
    lora: Path
    step: int


def find_open_end(trainer: Trainer, settings: TrainingSettings, family: Family, record: RecordedRun | None, where: str) -> OpenEnd | None:
    """What is left to finish of the run that `--resume` names (`where`: `auto` or its id); None if nothing is, or it is to be trained on.

    Raises InputError if what is asked for is not that run.
    """
    is_named = record is not None and where in (LATEST, record.run_id) and record.output_name in (None, settings.output_name)
    if record is None or not is_named or record.max_train_steps not in (None, settings.max_train_steps):
        return None
    is_recorded = record.state == FINISHED
    if is_recorded and not find_leftovers(settings.output_dir, record.run_id):
        return None
    earlier = read_earlier(trainer, settings.output_dir, settings.output_name, record.run_id) if record.parts else None
    saved = Checkpoints(trainer, settings.output_dir, settings.output_name, record.run_id, earlier)
    lora = find_last_lora(trainer, settings, saved)
    if lora is None or (is_recorded and not saved.is_final(lora)):
        return None
    checkout = locate(settings.trainer_dir, settings.trainer_python)
    identity = RunIdentity(record.run_id, record.dataset_id, None)
    refuse_changes(trainer, record, trainer.plan(TrainingJob(settings, family, checkout, assumed_subsets(settings), identity)))
    return OpenEnd(record.run_id, lora, settings.max_train_steps)


def find_last_lora(trainer: Trainer, settings: TrainingSettings, saved: Checkpoints) -> Path | None:
    """The whole and sound file that holds the weights of a run's last step: the final one, else the checkpoint of that step."""
    for path in reversed(saved.find()):
        named = trainer.read_checkpoint_name(path.name, settings.output_name)
        is_last = named is not None and (named.is_final or named.step == settings.max_train_steps)
        if is_last and saved.read_steps(path) == settings.max_train_steps and not saved.fault_of(path, as_final=True):
            return path
    return None


def finish_run(trainer: Trainer, settings: TrainingSettings, end: OpenEnd, keep: str, tell: Callable[[str], None]) -> TrainingRecord:
    """Write the end of a run into its record, clean up after it, and return the record. `keep`: which states the policy keeps.

    Raises LockedError if its trainer, or another command, is at work there.
    """
    output_dir = settings.output_dir
    with hold(output_dir / LOCK_FILE, str(output_dir)):
        refuse_second(output_dir)
        record = read_whole_record(output_dir)
        if record.run_id != end.run_id:
            why = f"is of run {record.run_id} by now, not of {end.run_id}"
            raise InputError(output_dir / RECORD_FILE, why, "run the same command again")
        if record.state != FINISHED:
            _write_end(trainer, settings, record, end)
        draw_curve_of(output_dir, record.output_name, trainer)
        tidy_states(trainer, record, keep, tell)
        remove_staged(output_dir)
    return record


def _write_end(trainer: Trainer, settings: TrainingSettings, record: TrainingRecord, end: OpenEnd) -> None:
    """What the files tell only until they are changed first, the record's `finished` last: whoever finds that need not look at them."""
    output_dir = settings.output_dir
    earlier = read_earlier(trainer, output_dir, settings.output_name, record.run_id) if record.parts else None
    saved = Checkpoints(trainer, output_dir, settings.output_name, record.run_id, earlier)
    final, named = saved.final, trainer.read_checkpoint_name(end.lora.name, settings.output_name)
    is_final = named is not None and named.is_final  # under the name of its part, perhaps: `take_stock` gives it its own
    what = f"its record said: {record.state}" + (f", {record.failure}" if record.failure else "")
    if record.state in UNENDED and record.ended is None:
        _account_until(record, end.lora)
    if not is_final:
        record.remark(f"the trainer ended before it had written {final.name}: it is a copy of {end.lora.name}, of the same step")
    record.write()
    if not is_final:
        with files.replacing(final) as temporary:
            shutil.copyfile(end.lora, temporary)
    record.remark(f"nobody saw this run end ({what}); its end was written down from its files at {times.stamp()}")
    record.steps, record.state, record.failure = end.step, FINISHED, None
    record.remark(take_stock(trainer, record, saved))
    record.write()


def _account_until(record: TrainingRecord, lora: Path) -> None:
    """Time and cost from the last moment that the record knows to the one at which the LoRA was written."""
    written = lora.stat().st_mtime
    unseen = max(0.0, written - (Path(record.output_dir) / RECORD_FILE).stat().st_mtime)
    record.account(record.seconds - sum(float(part.get("seconds") or 0) for part in record.parts) + unseen)
    record.ended = times.stamp(datetime.fromtimestamp(written, times.UTC))
