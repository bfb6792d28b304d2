"""Give a safetensors file other metadata: a new file takes its place whole, the weights are copied as they are."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

from lifeos import files
from tools.trainers.safetensors_header import read_safetensors_header

ALIGNMENT = 8
"""The safetensors library pads its header so that the weights begin at a multiple of it."""


def rewrite_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Killed at any moment, the old file or the new one is there. Raises InputError for what is no such file, OSError without room."""
    header = read_safetensors_header(path)
    weights = {
        name: {"dtype": weight.dtype, "shape": list(weight.shape), "data_offsets": [weight.start, weight.end]}
        for name, weight in header.weights.items()
    }
    raw = json.dumps({"__metadata__": dict(metadata), **weights}, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    raw += b" " * (-len(raw) % ALIGNMENT)
    with files.replacing(path) as temporary, open(path, "rb") as old, open(temporary, "wb") as new:
        new.write(struct.pack("<Q", len(raw)) + raw)
        old.seek(header.data_start)
        shutil.copyfileobj(old, new, files.CHUNK_BYTES)
