"""A disk that is full: tell it in what the trainer said, and say what lies there that can go."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from lifeos.errors import UnavailableError
from tools.trainers.trainer import Trainer
from tools.training.staging import StagePlan
from tools.training.training_choices import PREVIOUS_RUNS

FULL = re.compile(
    r"No space left on device|\[?Errno 28\b|os error 28\b|Disk quota exceeded|os error 122\b|not enough space on the disk|os error 112\b"
    r"|PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+"
)
"""How Python, Rust (safetensors), PyTorch and Windows say it. PyTorch's two do not name the reason."""

SHOWN = 3


def is_full(text: str) -> bool:
    return FULL.search(text) is not None


def describe_full(output_dir: Path, output_name: str, trainer: Trainer, said: str) -> str:
    """What happened, how much room there is, and what can go, largest first."""
    free = shutil.disk_usage(output_dir).free
    text = f"the disk of {output_dir} is full ({free / 1e6:.0f} MB free): {said}"
    found = sorted(find_spare(output_dir, output_name, trainer), reverse=True)
    if found:
        shown = ", ".join(f"{place.relative_to(output_dir).as_posix()} ({size / 1e6:.0f} MB)" for size, place in found[:SHOWN])
        return f"{text}. What can go there: {shown}"
    return f"{text}. Nothing of earlier runs lies there: free room elsewhere on that disk"


def find_spare(output_dir: Path, output_name: str, trainer: Trainer) -> list[tuple[int, Path]]:
    """(bytes, place) of what an output folder can do without: what was set aside, and all states but the latest whole one."""
    found = []
    with contextlib.suppress(OSError):
        latest = max(trainer.find_states(output_dir, output_name), key=lambda state: state.step, default=None)
        places = [
            path for path in output_dir.iterdir() if trainer.is_state(path.name, output_name) and (not latest or path != latest.folder)
        ]
        if (output_dir / PREVIOUS_RUNS).is_dir():
            places += (output_dir / PREVIOUS_RUNS).iterdir()
        found = [(_size(place), place) for place in places]
    return [(size, place) for size, place in found if size]


def _size(place: Path) -> int:
    members = place.rglob("*") if place.is_dir() else (place,)
    total = 0
    for path in members:
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def check_room(plan: StagePlan, min_free_gb: float) -> None:
    """Raises UnavailableError if the disk of the output folder has less than the stage and `min_free_gb` free."""
    folder = next(parent for parent in plan.stage.parents if parent.exists())
    free = shutil.disk_usage(folder).free
    wanted = plan.size + min_free_gb * 1e9
    if free < wanted:
        why = f"{free / 1e9:.1f} GB are free, {wanted / 1e9:.1f} GB are wanted for the staged pictures, checkpoints and states"
        raise UnavailableError(folder, why, "free some room, or lower training.min_free_disk_gb")
