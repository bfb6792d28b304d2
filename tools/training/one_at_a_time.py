"""One training at a time in an output folder."""

from __future__ import annotations

import os
from pathlib import Path

from lifeos.errors import LockedError
from tools.training.training_record import RecordedRun, is_running, read_record


def refuse_second(output_dir: Path) -> RecordedRun | None:
    """The record of the last run there. Raises LockedError while its trainer is still at work, though nobody may watch it any more."""
    record = read_record(output_dir)
    if record and is_running(record):
        group = record.process_group
        fix = f"wait for it to end, or stop it: {f'taskkill /T /PID {group}' if os.name == 'nt' else f'kill -INT -- -{group}'}"
        why = f"the trainer of run {record.run_id} is still running, although the command that started it has ended"
        raise LockedError(output_dir, why, fix)
    return record
