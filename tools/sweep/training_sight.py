"""Whether the training whose checkpoints are watched goes on, as far as the record in its folder tells."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path

from tools.training.training_record import RECORD_FILE, UNENDED, RecordedRun, read_record, tell_state

SILENT_SECONDS = 600.0
"""A training on another machine writes its record every few seconds: one that is older than this is over."""


@dataclass(frozen=True, slots=True)
class TrainingSight:
    """`state`: as of the record, `killed` where nobody is at work; empty without a record. `goes_on`: None where nothing tells."""

    record: RecordedRun | None
    state: str
    goes_on: bool | None

    @property
    def stalled_since(self) -> str:
        """Since when a training that goes on has said and saved nothing new, where that is too long; empty for one that works."""
        if not self.goes_on or self.record is None or not self.record.is_stalled:
            return ""
        return self.record.last_progress or "long ago"


def see_training(folder: Path) -> TrainingSight:
    """Look at a training's output folder. Raises InputError for a record that cannot be read."""
    record = read_record(folder)
    if record is None:
        return TrainingSight(None, "", None)
    if record.state in UNENDED and record.host not in (None, socket.gethostname()):
        silent = time.time() - (folder / RECORD_FILE).stat().st_mtime
        return TrainingSight(record, record.state, silent < SILENT_SECONDS)
    state = tell_state(folder, record)
    return TrainingSight(record, state, state in UNENDED)
