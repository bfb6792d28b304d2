"""Remove the states of a run that has finished: each weighs ten times its LoRA, and nothing but a longer run needs them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Protocol

from tools.training.evidence import place_aside
from tools.training.preparation import Preparation
from tools.training.saved_states import KEEP_ALL, KEEP_LAST
from tools.training.training_record import TrainingRecord

REMOVING = ".removing-"
"""How the name of a state begins while it is removed: half removed, it must not be taken for a whole one."""


class Teller(Protocol):
    def note(self, message: str) -> None: ...


def tidy_states(preparation: Preparation, record: TrainingRecord, keep: str, teller: Teller) -> None:
    """Remove what the policy does not keep: `all`, `last` (the run can still be made longer), or `none`.

    Only of this run, and only once its record says that it finished and its LoRA is sound. Also the states that were moved away when it was
    continued from an earlier step.
    """
    settings, trainer = preparation.settings, preparation.trainer
    for left in settings.output_dir.glob(f"{REMOVING}*"):
        _remove(left)
    if keep == KEEP_ALL or record.state != "finished" or record.has_diverged:
        return
    own = {state.state: state.step for state in record.states}
    kept = max(own, key=lambda name: (own[name], name), default=None) if keep == KEEP_LAST else None
    names = [name for name in own if name != kept]
    aside = place_aside(settings.output_dir, record.run_id)
    abandoned = [path for path in aside.iterdir() if trainer.is_state(path.name, settings.output_name)] if aside.is_dir() else []
    record.states = [state for state in record.states if state.state == kept]
    record.write()  # first: a state that the record does not know any more may go
    for path in [*(settings.output_dir / name for name in names), *abandoned]:
        _remove(path)
    if names or abandoned:
        more = f"; {kept} is kept, so that it can be made longer with --resume --max-train-steps" if kept else ""
        teller.note(f"{len(names) + len(abandoned)} saved state(s) of the finished run were removed (training.finished_states){more}")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if not path.name.startswith(REMOVING):
            path = path.rename(path.with_name(f"{REMOVING}{path.name}"))
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
