"""sd-scripts' files in the output folder: LoRA files by their names, and the states that a run can be continued from."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from lifeos import foreign
from lifeos.errors import InputError, LifeosError
from tools.trainers import accelerate_states
from tools.trainers.accelerate_states import LAST_WRITTEN
from tools.trainers.lora_header import read_lora_header
from tools.trainers.trainer import CheckpointName, SavedState

STATE_ENDING = re.compile(r"(?:-step(\d{8})|-\d{6})?-state", re.ASCII)
"""Of a step, of an epoch (`--save_every_n_epochs`), and the last one, which the trainer saves before the final LoRA."""
STEP_FILE = "train_state.json"

MOST_STEPS = 10**9
STATE_BYTES = 1 << 16


def find_states(output_dir: Path, output_name: str) -> list[SavedState]:
    """The whole states of an output name, earliest step first; of two of one step the one that is named after it."""
    folders = [path for path in output_dir.iterdir() if is_state(path.name, output_name)] if output_dir.is_dir() else []
    whole: list[SavedState] = []
    for folder in filter(is_whole, folders):
        with contextlib.suppress(InputError):  # a step file that is none: no state to use, an older one may be
            whole.append(_read(folder))
    return sorted(whole, key=lambda state: (state.step, "-step" in state.folder.name))


def read_state(folder: Path) -> SavedState:
    """The state in a folder. Raises InputError if it is not whole."""
    if not is_whole(folder):
        raise InputError(folder, "is no whole training state", f"it must hold {STEP_FILE} and {LAST_WRITTEN}")
    return _read(folder)


def is_state(file_name: str, output_name: str) -> bool:
    rest = file_name.removeprefix(output_name) if file_name.startswith(output_name) else ""
    return STATE_ENDING.fullmatch(rest) is not None


def is_whole(folder: Path) -> bool:
    """Whether every file of a state is there to its end, as far as that can be told without loading it."""
    return (folder / STEP_FILE).is_file() and accelerate_states.is_whole(folder)


def run_of(folder: Path) -> str | None:
    """The run of a state. It does not say so itself, but the LoRA file that was saved with it does; None where there is no such file."""
    if not folder.name.endswith("-state"):
        return None
    try:
        return read_lora_header(folder.with_name(folder.name.removesuffix("-state") + ".safetensors")).run_id
    except (LifeosError, OSError):
        return None


def _read(folder: Path) -> SavedState:
    fix = "resume from another state"
    document = foreign.read_file(folder / STEP_FILE, dict, max_bytes=STATE_BYTES, fix=fix)
    step = document.get("current_step")
    if not isinstance(step, int) or isinstance(step, bool) or not 1 <= step <= MOST_STEPS:
        raise InputError(folder / STEP_FILE, "does not say at which step it was saved", fix)
    named = STATE_ENDING.search(folder.name)
    if named and named[1] and int(named[1]) != step:
        raise InputError(folder, f"is named after step {int(named[1])} but was saved at step {step}", fix)
    return SavedState(folder, step, run_of(folder))


def read_checkpoint_name(file_name: str, output_name: str) -> CheckpointName | None:
    """`NAME.safetensors`, `NAME-step00000500.safetensors`, `NAME-000003.safetensors` (of an epoch)."""
    if not (file_name.startswith(output_name) and file_name.endswith(".safetensors")):
        return None
    rest = file_name.removesuffix(".safetensors").removeprefix(output_name)
    if not rest:
        return CheckpointName(None, is_final=True)
    match = re.fullmatch(r"-(step)?(\d{1,12})", rest, re.ASCII)
    return CheckpointName(int(match[2]) if match[1] else None, is_final=False) if match else None
