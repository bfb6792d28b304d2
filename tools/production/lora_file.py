"""The LoRA file of a batch, where it is at hand: which bytes they were, and which training wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lifeos.files import sha256_file
from tools.trainers.lora_header import read_lora_header


@dataclass(frozen=True, slots=True)
class LoraFile:
    """A file as it was when its batch began. `name` is the server's for it; what its header does not say is None.

    Whether the server had the same bytes under that name, only whoever put them there knows.
    """

    name: str
    sha256: str
    size_bytes: int
    run_id: str | None = None
    dataset_id: str | None = None
    dataset_manifest_hash: str | None = None


def read_lora_file(path: Path, name: str | None) -> LoraFile:
    """Hash a LoRA and read what it says. Raises InputError for a file that is none."""
    header = read_lora_header(path)
    told = {key: value for key in ("dataset_id", "dataset_manifest_hash") if isinstance(value := header.training_params.get(key), str)}
    return LoraFile(name or path.name, sha256_file(path), path.stat().st_size, header.run_id, **told)
