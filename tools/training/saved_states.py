"""Saved states of a run: which are its own, which are sound, and where those go that no longer belong in the output folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lifeos.errors import InputError
from tools.trainers.trainer import SavedState
from tools.trainers.weights_check import check_weights

KEEP_ALL, KEEP_LAST, KEEP_NONE = "all", "last", "none"
"""What the policy can say of the states of a finished run."""

EDGE_BYTES = 1 << 16
"""So much of a file's beginning and end goes into its state's fingerprint: enough to tell two states, without reading gigabytes."""


@dataclass(frozen=True, slots=True)
class RecordedState:
    """A state as a run's record knows it: its name, its step, and what it held."""

    state: str
    step: int
    fingerprint: str


def fingerprint(state: Path) -> str:
    """What a state (a folder, or a file) holds: SHA-256 over names, sizes and both ends of its files. Times and place do not count."""
    digest = hashlib.sha256()
    for path in sorted(state.rglob("*")) if state.is_dir() else [state]:
        if not path.is_file():
            continue
        name = path.relative_to(state).as_posix() if state.is_dir() else ""
        size = path.stat().st_size
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with open(path, "rb") as file:
            digest.update(file.read(EDGE_BYTES))
            file.seek(max(0, size - EDGE_BYTES))
            digest.update(file.read(EDGE_BYTES))
    return digest.hexdigest()


def refuse_stranger(state: SavedState, run_id: str, known: list[RecordedState]) -> None:
    """Raises InputError unless a state is one that the run saved.

    The record knows the states that were there while it was kept. One that was saved in the last seconds before a kill is known by the LoRA
    file that was saved with it. A state that nothing explains could be any run's.
    """
    same_place = [each for each in known if (each.state, each.step) == (state.folder.name, state.step)]
    if same_place:
        if fingerprint(state.folder) not in {each.fingerprint for each in same_place}:
            why = f"is not the state that run {run_id} saved at step {state.step}: its content is another"
            raise InputError(state.folder, why, "resume from another state, or start a new run")
        return
    if state.run_id is None:
        why = f"does not tell which run saved it, and the record of run {run_id} does not know it"
        raise InputError(state.folder, why, "give --output-dir the folder where its run's training_record.json lies, or start a new run")
    if state.run_id != run_id:
        why = f"is of run {state.run_id}, not of {run_id}, which this folder's record is of"
        raise InputError(state.folder, why, "resume from a state of that run")


def find_unsound(state: SavedState, checkpoints: dict[int, Path]) -> str:
    """What is wrong with the weights of a state, or of the LoRA file of its step; empty if nothing is.

    `checkpoints`: the run's LoRA files by their step.
    """
    inside = sorted(state.folder.rglob("*.safetensors")) if state.folder.is_dir() else []
    for path in [*inside, *([checkpoints[state.step]] if state.step in checkpoints else [])]:
        try:
            fault = check_weights(path).fault
        except InputError as error:
            fault = error.why
        except OSError as error:
            fault = f"cannot be read: {error.strerror}"
        if fault:
            return f"{path.name}: {fault}"
    return ""
