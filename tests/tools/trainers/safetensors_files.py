"""Safetensors files made for tests: sound ones, with weights of any name and shape."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F8_E4M3": 1}


def write_safetensors(
    path: Path,
    weights: Mapping[str, Sequence[int]],
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: str = "F16",
    numbers: Mapping[str, float] | None = None,
) -> Path:
    """A file of those names and shapes, all zeros but for the single `numbers` (names of shape ())."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    data = b""
    for name, shape in {**weights, **dict.fromkeys(numbers or (), ())}.items():
        piece = b"\0" * (math.prod(shape) * BYTES[dtype])
        if numbers and name in numbers:
            piece = struct.pack("<e", numbers[name]) if dtype == "F16" else struct.pack("<f", numbers[name])[2 if dtype == "BF16" else 0 :]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    raw = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def lora_pair(module: str, rank: int = 4, inputs: int = 8, outputs: int = 8, *, peft: bool = False) -> dict[str, tuple[int, ...]]:
    """The two matrices of one adapted module, in kohya's names or peft's."""
    down, up = ("lora_A", "lora_B") if peft else ("lora_down", "lora_up")
    return {f"{module}.{down}.weight": (rank, inputs), f"{module}.{up}.weight": (outputs, rank)}
