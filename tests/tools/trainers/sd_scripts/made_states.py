"""States as sd-scripts saves them, made for tests."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tools.trainers.safetensors_files import write_lora


def make_state(folder: Path, step: int, run_id: str | None, *, whole: bool = True, text: str | None = None, name: str = "v3") -> Path:
    state = folder / f"{name}-step{step:08d}-state"
    state.mkdir(parents=True)
    (state / "train_state.json").write_text(json.dumps({"current_epoch": 0, "current_step": step}) if text is None else text)
    if whole:
        (state / "random_states_0.pkl").write_bytes(b"random")
    if run_id is not None:
        write_lora(folder / f"{name}-step{step:08d}.safetensors", {"ss_training_comment": json.dumps({"run_id": run_id})})
    return state
