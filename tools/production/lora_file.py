"""The LoRA of a batch: which bytes it had, where its file was at hand, and which training wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lifeos.errors import UnavailableError
from lifeos.files import sha256_file
from tools.backends.backend import Backend
from tools.trainers.header_dialects import all_dialects
from tools.trainers.lora_header import read_lora_header
from tools.workflows.server_fit import LORAS, listed_name

TOLD = ("dataset_id", "dataset_manifest_hash")


@dataclass(frozen=True, slots=True)
class LoraFile:
    """A LoRA as it was when its batch began. `name` is the server's for it; what its header does not say is None.

    `sha256` is empty where only the server had the file, which tells the header and not the weights. Of a file that was at hand, only who
    put it there knows whether the server had the same bytes under that name.
    """

    name: str
    sha256: str
    size_bytes: int | None = None
    run_id: str | None = None
    dataset_id: str | None = None
    dataset_manifest_hash: str | None = None


def read_lora_file(path: Path, name: str | None) -> LoraFile:
    """Hash a LoRA and read what it says. Raises InputError for a file that is none."""
    header = read_lora_header(path)
    told = {key: value for key in TOLD if isinstance(value := header.training_params.get(key), str)}
    return LoraFile(name or path.name, sha256_file(path), path.stat().st_size, header.run_id, **told)


def read_served_lora(name: str, metadata: Mapping[str, str]) -> LoraFile | None:
    """What a server tells of a LoRA that one of our trainings wrote; None where the header names no run."""
    run_id = next((found for row in all_dialects() if (found := row.dialect.read_run_id(metadata)) is not None), None)
    if run_id is None:
        return None
    params = next((row.dialect.read_parameters(metadata) for row in all_dialects() if row.dialect.recognises(metadata)), {})
    return LoraFile(name, "", None, run_id, **{key: value for key in TOLD if isinstance(value := params.get(key), str)})


def ask_for_lora(server: Backend, name: str) -> LoraFile | None:
    """The same, asked of a server; None where it cannot tell: it is no reason to stop a batch."""
    try:
        metadata = server.lora_metadata(listed_name(server, LORAS, name))
    except UnavailableError:
        return None
    return read_served_lora(name, metadata) if metadata is not None else None
