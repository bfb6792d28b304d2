"""What a run leaves in its output folder, put into its record."""

from __future__ import annotations

from pathlib import Path

from tools.trainers.trainer import Trainer
from tools.training.checkpoints import Checkpoints
from tools.training.saved_states import RecordedState, fingerprint
from tools.training.training_record import TrainingRecord


def take_stock(trainer: Trainer, record: TrainingRecord, checkpoints: Checkpoints) -> str:
    """The LoRA files, which of them is the last good one, and the states that are there: whatever was there before the run began was moved
    away, or is in the record already. Files of a continued run are made to tell the whole of it first. Returns a remark if one could not
    be; else an empty text."""
    why = checkpoints.correct_all()
    record.lora_files, record.last_good = checkpoints.list(), checkpoints.last_good()
    found = trainer.find_states(Path(record.output_dir), record.output_name)
    record.states = [RecordedState(state.folder.name, state.step, fingerprint(state.folder)) for state in found]
    return f"the metadata of a LoRA file tell the last part only, and could not be made to tell the whole run: {why}" if why else ""
