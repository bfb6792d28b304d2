"""Safetensors files made for tests: sound ones, with weights of any name and shape."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F8_E4M3": 1}

METADATA = {
    "ss_network_dim": "32",
    "ss_network_alpha": "16.0",
    "ss_optimizer": "prodigyopt.prodigy.Prodigy(decouple=True)",
    "ss_unet_lr": "1.0",
    "ss_clip_skip": "None",
    "ss_noise_offset": "None",
    "ss_steps": "2500",
    "ss_seed": "42",
    "ss_new_sd_model_hash": "12345e67",
    "ss_sd_model_name": "base.safetensors",
    "sshs_model_hash": "45a5",
    "modelspec.trigger_phrase": "ohwx person",
    "modelspec.resolution": "1024x1024",
    "ss_datasets": json.dumps(
        [
            {
                "batch_size_per_device": 2,
                "subsets": [
                    {"is_reg": True, "num_repeats": 1, "class_tokens": "person"},
                    {"is_reg": False, "num_repeats": 10, "class_tokens": "ohwx person"},
                ],
            }
        ]
    ),
    "ss_training_comment": json.dumps({"dataset_id": "abc", "dataset_manifest_hash": "def"}),
}
"""In the form that sd-scripts v0.10.1 writes: all text, "None" for unset."""


def write_safetensors(
    path: Path,
    weights: Mapping[str, Sequence[int]],
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: str = "F16",
    numbers: Mapping[str, float] | None = None,
) -> Path:
    """A file of those names and shapes, all zeros but for the single `numbers` (names of shape ()). Zeros take no room on the disk."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    end, pieces = 0, {}
    for name, shape in {**weights, **dict.fromkeys(numbers or (), ())}.items():
        start, end = end, end + math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        if numbers and name in numbers:
            value = numbers[name]
            pieces[start] = struct.pack("<e", value) if dtype == "F16" else struct.pack("<f", value)[2 if dtype == "BF16" else 0 :]
    raw = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)
        for start, piece in pieces.items():
            file.seek(8 + len(raw) + start)
            file.write(piece)
    return path


def write_weights(path: Path, **weights: tuple[str, bytes]) -> Path:
    """Weights given by dtype and bytes. The shape counts the bytes: it is true for types of one byte alone."""
    header, data = {}, b""
    for name, (dtype, raw) in weights.items():
        header[name] = {"dtype": dtype, "shape": [len(raw)], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps({"__metadata__": {"a": "b"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def write_lora(path: Path, metadata: Mapping[str, str] | None, keys: Sequence[str] = ("lora_unet_a.weight",)) -> Path:
    """A LoRA of one number for each key: a test is about what its metadata says."""
    return write_safetensors(path, dict.fromkeys(keys, (1,)), metadata)


def lora_pair(module: str, rank: int = 4, inputs: int = 8, outputs: int = 8, *, peft: bool = False) -> dict[str, tuple[int, ...]]:
    """The two matrices of one adapted module, in kohya's names or peft's."""
    down, up = ("lora_A", "lora_B") if peft else ("lora_down", "lora_up")
    return {f"{module}.{down}.weight": (rank, inputs), f"{module}.{up}.weight": (outputs, rank)}
