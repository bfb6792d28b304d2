"""Training parameters from a LoRA's safetensors header, without loading its weights.

The file begins with the header's length (8 bytes, little-endian), then the header: JSON whose `__metadata__` holds what the
trainer (kohya's sd-scripts) wrote, all as text, "None" for unset. It is enough to recognise a run, not to repeat it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.errors import InputError

MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library: anything longer is no header."""

PARAMETERS = {
    "network_dim": "ss_network_dim",
    "network_alpha": "ss_network_alpha",
    "optimizer": "ss_optimizer",
    "learning_rate": "ss_learning_rate",
    "unet_lr": "ss_unet_lr",
    "text_encoder_lr": "ss_text_encoder_lr",
    "lr_scheduler": "ss_lr_scheduler",
    "lr_warmup_steps": "ss_lr_warmup_steps",
    "steps": "ss_steps",
    "max_train_steps": "ss_max_train_steps",
    "epoch": "ss_epoch",
    "num_epochs": "ss_num_epochs",
    "train_images": "ss_num_train_images",
    "reg_images": "ss_num_reg_images",
    "resolution": "modelspec.resolution",
    "seed": "ss_seed",
    "mixed_precision": "ss_mixed_precision",
    "min_snr_gamma": "ss_min_snr_gamma",
    "noise_offset": "ss_noise_offset",
    "prior_loss_weight": "ss_prior_loss_weight",
    "network_dropout": "ss_network_dropout",
    "trigger_phrase": "modelspec.trigger_phrase",
    "base_model": "ss_sd_model_name",
    "base_model_sha256": "ss_new_sd_model_hash",
    "weights_sha256": "sshs_model_hash",
    "output_name": "ss_output_name",
    "started": "ss_training_started_at",
    "finished": "ss_training_finished_at",
}
"""The parameters that tell one run from another, and the header's keys for them."""

TEXT = frozenset({"output_name", "base_model", "base_model_sha256", "weights_sha256", "trigger_phrase", "resolution"})
"""Never read as numbers: a hash of digits and an e would become one."""


@dataclass(frozen=True, slots=True)
class LoraHeader:
    """A LoRA's header. `metadata`: the trainer's text as it stands. `keys`: the names of the weights."""

    path: Path
    metadata: dict[str, str]
    keys: tuple[str, ...]
    is_whole: bool = True
    """Whether the file is as long as its header says: False for one cut off while it was written."""

    @property
    def trained_modules(self) -> tuple[str, ...]:
        """`unet`, `text_encoder`, `text_encoder_1`, `text_encoder_2`: what was trained, as the weights' names tell."""
        prefixes = {"lora_unet_": "unet", "lora_te_": "text_encoder", "lora_te1_": "text_encoder_1", "lora_te2_": "text_encoder_2"}
        return tuple(name for prefix, name in prefixes.items() if any(key.startswith(prefix) for key in self.keys))

    @property
    def training_params(self) -> dict[str, Any]:
        """The parameters that were set, as numbers where they are numbers, for `training_params` of a scorecard."""
        found = {name: read_value(self.metadata.get(key), as_text=name in TEXT) for name, key in PARAMETERS.items()}
        params = {name: value for name, value in found.items() if value is not None}
        if self.trained_modules:
            params["trained"] = "+".join(self.trained_modules)
        return {**params, **_read_datasets(self.metadata), **_read_comment(self.metadata)}


def read_lora_header(path: Path) -> LoraHeader:
    """Read the header of a safetensors file. Raises InputError saying what is wrong with it; never reads the weights."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
                raise InputError(path, f"not a safetensors file, or cut off: a header of {length} bytes in a file of {size}")
            raw = file.read(length)
    except FileNotFoundError:
        raise InputError(path, "no such file", "give --lora the LoRA's .safetensors file") from None
    except IsADirectoryError:
        raise InputError(path, "is a directory, not a file", "give --lora the LoRA's .safetensors file") from None
    try:
        header = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise InputError(path, "not a safetensors file: its header is not JSON") from None
    if not isinstance(header, dict):
        raise InputError(path, "not a safetensors file: its header is no JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise InputError(path, "not a safetensors file: its metadata is no JSON object")
    is_whole = size == 8 + length + _data_length(header)
    return LoraHeader(path, {str(key): str(value) for key, value in metadata.items()}, tuple(header), is_whole)


def _data_length(header: Mapping[str, Any]) -> int:
    """Bytes of weights that the header speaks of; -1 if it is not one of safetensors."""
    try:
        return max((int(weight["data_offsets"][1]) for weight in header.values()), default=0)
    except (TypeError, KeyError, IndexError, ValueError):
        return -1


def read_value(text: str | None, *, as_text: bool = False) -> str | int | float | None:
    """A metadata value as a number where it is a plain one; None for absent and for "None"."""
    if text is None or text in ("None", ""):
        return None
    if as_text:
        return text
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if abs(value) < 1e308 else text  # NaN and infinity stay text: JSON has neither
    return text


def _read_datasets(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Batch size and repeats, from the JSON that the trainer keeps of its datasets."""
    datasets = _read_json(metadata.get("ss_datasets"))
    first = datasets[0] if isinstance(datasets, list) and datasets and isinstance(datasets[0], dict) else {}
    subsets = [item for item in first.get("subsets") or [] if isinstance(item, dict) and not item.get("is_reg")]
    found = {
        "batch_size": first.get("batch_size_per_device"),
        "repeats": next((item.get("num_repeats") for item in subsets), None),
        "class_tokens": next((item.get("class_tokens") for item in subsets if item.get("class_tokens")), None),
    }
    return {name: value for name, value in found.items() if value is not None}


def _read_comment(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The training comment: the dataset's id and the manifest's hash where it is our JSON, else its text."""
    comment = metadata.get("ss_training_comment")
    if comment in (None, "", "None"):
        return {}
    data = _read_json(comment)
    if not isinstance(data, dict):
        return {"comment": comment}
    return {name: data[name] for name in ("dataset_id", "dataset_manifest_hash") if isinstance(data.get(name), str)}


def _read_json(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
