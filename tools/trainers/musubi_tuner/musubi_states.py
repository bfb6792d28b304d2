"""The states that a run of musubi-tuner can be continued from.

A state is accelerate's folder and nothing more: it says neither its step nor its run. The step stands in its name; that of the last one,
and the run of each, in the LoRA file that was saved with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lifeos.errors import InputError, LifeosError
from tools.trainers import accelerate_states
from tools.trainers.kohya_header import read_run_id
from tools.trainers.lora_header import read_lora_header
from tools.trainers.musubi_tuner.musubi_metadata import steps_of
from tools.trainers.musubi_tuner.musubi_names import read_name, settled_name
from tools.trainers.trainer import SavedState

STATE = "-state"


def find_states(output_dir: Path, output_name: str) -> list[SavedState]:
    """The whole states of an output name whose step is known, earliest first."""
    folders = output_dir.iterdir() if output_dir.is_dir() else ()
    found = [read_of(path, output_name) for path in folders if is_state(path.name, output_name) and accelerate_states.is_whole(path)]
    return sorted((state for state in found if state), key=lambda state: (state.step, state.folder.name))


def is_state(name: str, output_name: str) -> bool:
    named = read_name(name, output_name)
    return named is not None and named.is_state


def read_state(folder: Path) -> SavedState:
    """The state in a folder. Raises InputError if it is not whole, or does not tell its step."""
    if not accelerate_states.is_whole(folder):
        raise InputError(folder, "is no whole training state", f"it must hold {accelerate_states.LAST_WRITTEN}")
    state = read_of(folder, "")
    if state is None:
        why = "does not tell at which step it was saved: neither its name does, nor a LoRA file of its name beside it"
        raise InputError(folder, why, "resume from another state")
    return state


def read_of(folder: Path, output_name: str) -> SavedState | None:
    """A state by its name and its LoRA file; None if neither tells its step. `output_name`: empty where it is not known."""
    named = read_name(folder.name, output_name or _output_name(folder.name))
    if named is None or not named.is_state:
        return None
    metadata = _metadata_with(folder, output_name or _output_name(folder.name))
    step = named.step if named.step is not None else steps_of(metadata)
    return SavedState(folder, step, read_run_id(metadata)) if step else None


def _output_name(state_name: str) -> str:
    """What comes before the first of the endings that this trainer and we give names."""
    for mark in ("-from", "-step"):
        head, found, rest = state_name.rpartition(mark)
        if found and rest[:8].isdigit():
            state_name = head
    return state_name.removesuffix(STATE)


def _metadata_with(folder: Path, output_name: str) -> Mapping[str, str]:
    """Of the LoRA file that was saved with a state, under the name that the trainer gave it, or the one that it got then."""
    given = folder.name.removesuffix(STATE) + ".safetensors"
    for name in dict.fromkeys((settled_name(given, output_name), given)):
        try:
            return read_lora_header(folder.with_name(name)).metadata
        except (LifeosError, OSError):
            continue
    return {}
