"""A LoRA's safetensors header, without loading its weights.

The file begins with the header's length (8 bytes, little-endian), then the header: JSON whose `__metadata__` holds what the trainer
wrote, all as text, and else the name, type, shape and place of each weight. What the metadata mean, the dialect of its trainer knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError
from tools.families import families
from tools.trainers import trainer

MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library: anything longer is no header."""

MAX_DEPTH = 8
LONGEST_FILE = 1 << 50


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
        return tuple(name for prefix, name in _parts().items() if any(key.startswith(prefix) for key in self.keys))

    @property
    def training_params(self) -> dict[str, Any]:
        """The parameters that were set, as numbers where they are numbers, for `training_params` of a scorecard."""
        params = next((each.read_parameters(self.metadata) for each in trainer.dialects() if each.recognises(self.metadata)), {})
        return {**params, "trained": "+".join(self.trained_modules)} if self.trained_modules else params

    @property
    def run_id(self) -> str | None:
        """The run that wrote it; None where it does not say."""
        found = (each.read_run_id(self.metadata) for each in trainer.dialects())
        return next((run_id for run_id in found if run_id is not None), None)


def _parts() -> dict[str, str]:
    """How the names of weights begin -> the part of the model: of all families, and of SD1.5 with its single text encoder."""
    found = {"lora_unet_": "unet", "lora_te_": "text_encoder"}
    for row in families.FAMILIES:
        found |= row.lora_parts
    return found


def read_lora_header(path: Path) -> LoraHeader:
    """Read the header of a safetensors file. Raises InputError saying what is wrong with it; never reads the weights."""
    fix = "give the LoRA's .safetensors file"
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
                raise InputError(path, f"not a safetensors file, or cut off: a header of {length} bytes in a file of {size}")
            raw = file.read(length)
    except FileNotFoundError:
        raise InputError(path, "no such file", fix) from None
    except IsADirectoryError:
        raise InputError(path, "is a directory, not a file", fix) from None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}", fix) from None
    try:
        header = foreign.decode(raw, dict, path, max_bytes=MAX_HEADER_BYTES, max_depth=MAX_DEPTH)
    except InputError as error:
        raise InputError(error.what, f"not a safetensors file: its header: {error.why}", fix) from None
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise InputError(path, "not a safetensors file: its metadata is no JSON object", fix)
    is_whole = size == 8 + length + _data_length(header)
    return LoraHeader(path, {str(key): str(value) for key, value in metadata.items()}, tuple(map(str, header)), is_whole)


def _data_length(header: Mapping[str, Any]) -> int:
    """Bytes of weights that the header speaks of; -1 if it is not one of safetensors."""
    ends = [0]
    for weight in header.values():
        offsets = weight.get("data_offsets") if isinstance(weight, dict) else None
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_offset(offset) for offset in offsets):
            return -1
        ends.append(offsets[1])
    return max(ends)


def _is_offset(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LONGEST_FILE
