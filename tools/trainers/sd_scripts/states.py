"""sd-scripts' files in the output folder: LoRA files by their names, and the states that a run can be continued from."""

from __future__ import annotations

import re
from pathlib import Path

from lifeos import foreign
from lifeos.errors import InputError, LifeosError
from tools.trainers.lora_header import read_lora_header
from tools.trainers.trainer import CheckpointName, SavedState

STATE_FOLDER = re.compile(r"(.+)-step(\d{8})-state")
STEP_FILE = "train_state.json"
LAST_WRITTEN = "random_states_0.pkl"
"""accelerate writes the step first and this last: a folder without it was cut off."""

MOST_STEPS = 10**9
STATE_BYTES = 1 << 16


def find_states(output_dir: Path, output_name: str, run_id: str) -> list[SavedState]:
    """The whole states of a run, earliest step first.

    A state does not say whose it is, but the LoRA file that was saved just before it does: only a state with such a file of the run counts.
    """
    folders = [path for path in output_dir.iterdir() if is_state(path.name, output_name)] if output_dir.is_dir() else []
    whole = [_read(path) for path in folders if is_whole(path) and run_of(path) == run_id]
    return sorted(whole, key=lambda state: state.step)


def read_state(folder: Path, run_id: str | None) -> SavedState:
    """The state in a folder. Raises InputError if it is not whole, or of another run."""
    if not is_whole(folder):
        raise InputError(folder, "is no whole training state", f"it must hold {STEP_FILE} and {LAST_WRITTEN}")
    found = run_of(folder)
    if run_id is not None and found is not None and found != run_id:
        raise InputError(folder, f"is of run {found}, not of {run_id}, which this folder's record is of", "resume from a state of that run")
    return _read(folder)


def is_state(file_name: str, output_name: str) -> bool:
    match = STATE_FOLDER.fullmatch(file_name)
    return match is not None and match[1] == output_name


def is_whole(folder: Path) -> bool:
    return (folder / STEP_FILE).is_file() and (folder / LAST_WRITTEN).is_file()


def run_of(folder: Path) -> str | None:
    """The run of a state, as the LoRA file of its step says; None where there is no such file."""
    if not STATE_FOLDER.fullmatch(folder.name):
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
    return SavedState(folder, step)


def read_checkpoint_name(file_name: str, output_name: str) -> CheckpointName | None:
    """`NAME.safetensors`, `NAME-step00000500.safetensors`, `NAME-000003.safetensors` (of an epoch)."""
    if not (file_name.startswith(output_name) and file_name.endswith(".safetensors")):
        return None
    rest = file_name.removesuffix(".safetensors").removeprefix(output_name)
    if not rest:
        return CheckpointName(None, is_final=True)
    match = re.fullmatch(r"-(step)?(\d{1,12})", rest, re.ASCII)
    return CheckpointName(int(match[2]) if match[1] else None, is_final=False) if match else None
