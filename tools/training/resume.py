"""Find where a training run can be continued."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifeos.errors import InputError
from tools.trainers.sd_scripts_command import Resume

STATE_FOLDER = re.compile(r"(.+)-step(\d{8})-state")
STEP_FILE = "train_state.json"
LAST_WRITTEN = "random_states_0.pkl"
"""accelerate writes the step first and this last: a folder without it was cut off."""

SAME_ARGUMENTS = (
    *("--network_dim", "--network_alpha", "--resolution", "--train_batch_size", "--max_train_steps", "--seed", "--optimizer_type"),
    *("--optimizer_args", "--learning_rate", "--unet_lr", "--text_encoder_lr", "--lr_scheduler", "--lr_warmup_steps"),
    *("--network_train_unet_only", "--pretrained_model_name_or_path", "--mixed_precision"),
)
"""With another value the saved state does not fit, or it would not be the same run continued."""


def find_resume(where: str, output_dir: Path, output_name: str, max_train_steps: int) -> Resume:
    """The state to continue from: `auto` for the latest whole one of the output folder, else a state folder.

    Raises InputError if there is none, or nothing is left to do.
    """
    if where == "auto":
        states = [path for path in output_dir.glob(f"{_escape(output_name)}-step*-state") if STATE_FOLDER.fullmatch(path.name)]
        whole = [path for path in sorted(states, key=lambda path: path.name) if is_whole(path)]
        if not whole:
            raise InputError(output_dir, f"holds no whole state of {output_name} to resume from", "start without --resume")
        state_dir = whole[-1]
    else:
        state_dir = Path(where).expanduser().absolute()
        if not is_whole(state_dir):
            raise InputError(state_dir, "is no whole training state", f"it must hold {STEP_FILE} and {LAST_WRITTEN}")
    step = _read_step(state_dir)
    if step >= max_train_steps:
        raise InputError(
            state_dir, f"was saved at step {step} of {max_train_steps}: nothing is left to train", "give a later --max-train-steps"
        )
    return Resume(state_dir, step)


def is_whole(state_dir: Path) -> bool:
    return (state_dir / STEP_FILE).is_file() and (state_dir / LAST_WRITTEN).is_file()


def _read_step(state_dir: Path) -> int:
    try:
        step = json.loads((state_dir / STEP_FILE).read_text(encoding="utf-8"))["current_step"]
    except (OSError, ValueError, KeyError, TypeError):
        step = None
    if not isinstance(step, int) or step < 1:
        raise InputError(state_dir / STEP_FILE, "does not say at which step it was saved", "resume from another state")
    return step


def _escape(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def check_same_run(record: Mapping[str, Any] | None, argv: list[str], dataset_id: str | None) -> None:
    """Raises InputError if what is asked for is not the recorded run continued."""
    if record is None:
        return
    if record.get("dataset_id") != dataset_id:
        was, now = str(record.get("dataset_id"))[:12], str(dataset_id)[:12]
        raise InputError(
            "--resume", f"the dataset is not the one that this run began with ({was}, now {now})", "put it back, or start a new run"
        )
    before, after = _arguments(record.get("argv", [])), _arguments(argv)
    for name in SAME_ARGUMENTS:
        if before.get(name) != after.get(name):
            was, now = (" ".join(found[name]) if name in found else "not given" for found in (before, after))
            raise InputError("--resume", f"{name} was {was!r} and is now {now!r}", "give the flags of the first run, or start a new one")


def _arguments(argv: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in argv:
        if item.startswith("--"):
            found[item] = current = []
        elif found:
            current.append(item)
    return found
