"""States as accelerate saves them, for the trainers that use it: a folder, of which one file is written last."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lifeos.errors import InputError
from tools.trainers.lora_header import read_lora_header

LAST_WRITTEN = "random_states_0.pkl"
"""A folder without it was cut off."""
ZIP_MARK = b"PK\x03\x04"
"""How the files of torch.save begin."""


def is_whole(folder: Path) -> bool:
    """Whether every file of a state is there to its end, as far as that can be told without loading it."""
    if not (folder / LAST_WRITTEN).is_file():
        return False
    try:
        return all(_is_whole_file(path) for path in folder.rglob("*") if path.is_file())
    except OSError:
        return False


def _is_whole_file(path: Path) -> bool:
    if path.suffix == ".safetensors":
        try:
            return read_lora_header(path).is_whole
        except InputError:
            return False
    with open(path, "rb") as file:
        start = file.read(len(ZIP_MARK))
    return bool(start) and (start != ZIP_MARK or zipfile.is_zipfile(path))
