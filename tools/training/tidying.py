"""Remove what nobody needs once a run has ended: the states of a finished one, the staged pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from lifeos.errors import InputError
from tools.trainers.trainer import Trainer
from tools.training.evidence import place_aside
from tools.training.removal import find_half_removed, remove
from tools.training.saved_states import KEEP_ALL, KEEP_LAST
from tools.training.staging import STAGE_FOLDER, is_our_stage, remove_stage
from tools.training.training_record import FINISHED, TrainingRecord


def tidy_states(trainer: Trainer, record: TrainingRecord, keep: str, tell: Callable[[str], None]) -> None:
    """Remove what the policy does not keep: `all`, `last` (the run can still be made longer), or `none`. Each state weighs ten times its
    LoRA, and nothing but a longer run needs it.

    Only of this run, and only once its record says that it finished and its LoRA is sound. Also the states that were moved away when it was
    continued from an earlier step.
    """
    output_dir = Path(record.output_dir)
    aside = place_aside(output_dir, record.run_id)
    for left in [*find_half_removed(output_dir), *find_half_removed(aside)]:
        _remove(left)
    if keep == KEEP_ALL or record.state != FINISHED or record.has_diverged:
        return
    own = {state.state: state.step for state in record.states}
    kept = max(own, key=lambda name: (own[name], name), default=None) if keep == KEEP_LAST else None
    # by what is there, not by the record: killed below, it knows those no more that are still to go. What was there before the run began
    # was moved away, so all are its own
    found = trainer.find_states(output_dir, record.output_name)
    keeping = {kept, *(path.name for state in found if state.folder.name == kept for path in state.beside)}
    going = [path for path in _states_in(output_dir, trainer, record) if path.name not in keeping] + _states_in(aside, trainer, record)
    record.states = [state for state in record.states if state.state == kept]
    record.write()  # first: a state that the record does not know any more may go
    for path in going:
        _remove(path)
    if going:
        more = f"; {kept} is kept, so that it can be made longer with --resume --max-train-steps" if kept else ""
        tell(f"{len(going)} saved state(s) of the finished run were removed (training.finished_states){more}")


def find_leftovers(output_dir: Path, run_id: str) -> list[Path]:
    """What shows that nobody finished cleaning up after a run: the staged pictures, which go last, and what is half removed."""
    stage = output_dir / STAGE_FOLDER
    half_removed = [*find_half_removed(output_dir), *find_half_removed(place_aside(output_dir, run_id))]
    return [*half_removed, *([stage] if is_our_stage(stage) else [])]


def remove_staged(output_dir: Path) -> None:
    """Nobody reads the staged pictures any more. A folder of that name that is not ours stays."""
    with contextlib.suppress(OSError, InputError):
        remove_stage(output_dir / STAGE_FOLDER)


def _states_in(folder: Path, trainer: Trainer, record: TrainingRecord) -> list[Path]:
    return sorted(path for path in folder.iterdir() if trainer.is_state(path.name, record.output_name)) if folder.is_dir() else []


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        remove(path)
