"""What the LoRAs of a continued run must say of their data.

To count steps right after a resume, the trainer is given the pictures so often that one epoch holds all steps (`repeat_for_one_epoch`). It
writes that into the LoRA, as if the run had been taught otherwise than it was.
"""

from __future__ import annotations

from collections.abc import Mapping

OF_THE_DATA = (
    "ss_datasets",
    "ss_dataset_dirs",
    "ss_reg_dataset_dirs",
    "ss_num_train_images",
    "ss_num_reg_images",
    "ss_num_batches_per_epoch",
)
"""Alike in all files of a run, as its first part wrote them."""
OF_THE_BEGINNING = ("ss_training_started_at",)


def correct_metadata(metadata: Mapping[str, str], earlier: Mapping[str, str]) -> dict[str, str]:
    """The values to change in a file's metadata; none if it tells the run as it was. `earlier`: of a LoRA of the run's first part."""
    if all(metadata.get(key) == earlier.get(key) for key in OF_THE_DATA):
        return {}
    changed = {key: earlier[key] for key in (*OF_THE_DATA, *OF_THE_BEGINNING) if key in earlier}
    batches = _number(earlier.get("ss_num_batches_per_epoch"))
    steps, most = _number(metadata.get("ss_steps")), _number(metadata.get("ss_max_train_steps"))
    if batches and steps and most:
        epochs = -(-most // batches)
        is_final = metadata.get("ss_epoch") == metadata.get("ss_num_epochs")
        # as the trainer writes it: the epoch before the one of a step file, all of them at the end
        changed |= {"ss_num_epochs": str(epochs), "ss_epoch": str(epochs if is_final else (steps - 1) // batches)}
    return {key: value for key, value in changed.items() if metadata.get(key) != value}


def _number(text: str | None) -> int:
    """A count; 0 for what is none."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 12 else 0
