"""ai-toolkit's files in the output folder: LoRA files by their names, and what a run can be continued from.

It keeps no folder of states: a run goes on from a LoRA file, and from `optimizer.pt`, of which there is one, of the latest save. The LoRA
is written first, the optimizer right after it.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from lifeos.errors import InputError, LifeosError
from tools.trainers.header_dialects import AI_TOOLKIT
from tools.trainers.lora_header import read_lora_header
from tools.trainers.trainer import CheckpointName, SavedState

OPTIMIZER = "optimizer.pt"
MOST_STEPS = 10**9


def checkpoint_name(output_name: str) -> str:
    return f"{output_name}.safetensors"


def read_checkpoint_name(file_name: str, output_name: str) -> CheckpointName | None:
    """`NAME.safetensors`, `NAME_000000500.safetensors`."""
    if not (file_name.startswith(output_name) and file_name.endswith(".safetensors")):
        return None
    rest = file_name.removesuffix(".safetensors").removeprefix(output_name)
    if not rest:
        return CheckpointName(None, is_final=True)
    match = re.fullmatch(r"_(\d{9,12})", rest, re.ASCII)
    return CheckpointName(int(match[1]), is_final=False) if match else None


def find_states(output_dir: Path, output_name: str) -> list[SavedState]:
    """The LoRA file that the optimizer's file belongs to; all LoRA files where there is no whole one. Earliest first."""
    files = list(output_dir.iterdir()) if output_dir.is_dir() else []
    found = [state for path in files if read_checkpoint_name(path.name, output_name) and (state := _state_of(path))]
    owned = [state for state in found if state.beside]
    latest = max(owned, key=lambda state: state.folder.stat().st_mtime_ns, default=None)
    return [latest] if latest else sorted(found, key=lambda state: (state.step, state.folder.name))


def read_state(path: Path) -> SavedState:
    """A LoRA file that somebody named. Raises InputError if no run can go on from it."""
    state = _state_of(path) if path.is_file() else None
    if state is None:
        raise InputError(path, "is no whole LoRA file of ai-toolkit that tells its step", "name one of the run: NAME_000000500.safetensors")
    return state if state in find_beside(path) else SavedState(state.folder, state.step, state.run_id)


def find_beside(path: Path) -> list[SavedState]:
    """The states that lie beside a LoRA file, of its output name."""
    output_name = re.sub(r"_\d{9,12}$", "", path.stem)
    return find_states(path.parent, output_name)


def _state_of(path: Path) -> SavedState | None:
    """A LoRA file as a state, with the optimizer's file if that is not older."""
    try:
        header = read_lora_header(path)
    except (LifeosError, OSError):
        return None
    step = AI_TOOLKIT.read_parameters(header.metadata).get("steps")
    if not header.is_whole or not isinstance(step, int) or not 1 <= step <= MOST_STEPS:
        return None
    optimizer = path.with_name(OPTIMIZER)
    is_later = is_whole(optimizer) and optimizer.stat().st_mtime_ns >= path.stat().st_mtime_ns
    return SavedState(path, step, AI_TOOLKIT.read_run_id(header.metadata), (optimizer,) if is_later else ())


def is_whole(optimizer: Path) -> bool:
    """Whether a file of torch.save was written to its end."""
    try:
        return zipfile.is_zipfile(optimizer)
    except OSError:
        return False
