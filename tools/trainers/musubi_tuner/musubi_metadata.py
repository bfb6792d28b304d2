"""What the LoRAs of a continued run must say: the trainer counts each part from 0, and writes that into them."""

from __future__ import annotations

from collections.abc import Mapping

from tools.trainers.kohya_header import read_json

CORRECTED = "lifeos_part_began_at"
"""The key that a file gets when its counts were made those of the whole run: the step that its part went on from."""

COUNTS = ("ss_steps", "ss_max_train_steps")
OF_THE_BEGINNING = ("ss_training_started_at",)


def first_step_of(metadata: Mapping[str, str]) -> int:
    """The step that the part of the run which saved a file went on from, as its training comment says; 0 for the first part."""
    said = read_json(metadata.get("ss_training_comment"), dict) or {}
    parts = said.get("continued_at")
    last = parts[-1] if isinstance(parts, list) and parts else 0
    return last if isinstance(last, int) and not isinstance(last, bool) and last > 0 else 0


def steps_of(metadata: Mapping[str, str]) -> int | None:
    """How many steps of the run a file holds, corrected or not; None if it does not say."""
    steps = _count(metadata.get("ss_steps"))
    return None if steps is None else steps + (0 if CORRECTED in metadata else first_step_of(metadata))


def correct_metadata(metadata: Mapping[str, str], earlier: Mapping[str, str]) -> dict[str, str]:
    """The values to change in a file's metadata; none if it tells the run as it was. `earlier`: of a LoRA of the run's first part."""
    first = first_step_of(metadata)
    if not first or CORRECTED in metadata:
        return {}
    changed = {key: str(count + first) for key in COUNTS if (count := _count(metadata.get(key))) is not None}
    changed |= {key: earlier[key] for key in OF_THE_BEGINNING if key in earlier}
    batches = _count(metadata.get("ss_num_batches_per_epoch"))
    if batches and all(key in changed for key in COUNTS):
        steps, most = int(changed["ss_steps"]), int(changed["ss_max_train_steps"])
        epochs, is_final = -(-most // batches), metadata.get("ss_epoch") == metadata.get("ss_num_epochs")
        # as the trainer writes it: the epoch before the one of a step file, all of them at the end
        changed |= {"ss_num_epochs": str(epochs), "ss_epoch": str(epochs if is_final else (steps - 1) // batches)}
    return {**changed, CORRECTED: str(first)}


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 12 else None
