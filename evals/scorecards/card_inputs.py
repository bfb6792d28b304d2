"""What a scorecard records besides scores: training parameters, the dataset's manifest, the batch's configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import cli
from lifeos.errors import InputError
from lifeos.files import read_json, sha256_file
from lifeos.picture_names import format_config


@dataclass(frozen=True, slots=True)
class Manifest:
    """The dataset behind a run: where its manifest lies, the SHA-256 of that file, and the dataset's own id."""

    path: str
    sha256: str
    dataset_id: str | None = None


def read_training_params(text: str) -> dict[str, Any]:
    """Training parameters as a JSON object, given as text or as the name of a file that holds it. Raises InputError."""
    if text.lstrip().startswith("{"):
        try:
            params = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError("--training-params", f"not JSON: {error}", 'give {"network_dim": 32, …} or a file that holds it') from None
    else:
        params = read_json(cli.require_file(Path(text), "--training-params"))
    if not isinstance(params, dict):
        raise InputError("--training-params", "not a JSON object", 'give {"network_dim": 32, …} or a file that holds it')
    return params


def read_manifest(path: Path) -> Manifest:
    """The hash of a dataset manifest's file, and the dataset's id from within. Raises InputError."""
    document = read_json(cli.require_file(path, "--dataset-manifest"))
    if not isinstance(document, dict) or "images" not in document:
        raise InputError(path, "not a dataset manifest: it has no images", "make one: python tools/dataset_manifest.py")
    dataset_id = document.get("dataset_id")
    return Manifest(path.as_posix(), sha256_file(path), dataset_id if isinstance(dataset_id, str) else None)


def read_batch_config(folder: Path) -> str | None:
    """The configuration of a batch directory with one LoRA and strength, from its batch.json; None where there is none."""
    path = folder / "batch.json"
    plan = read_json(path) if path.is_file() else None
    variants = plan.get("variants") if isinstance(plan, dict) else None
    if not isinstance(variants, list) or len(variants) != 1 or not isinstance(variants[0], dict):
        return None
    settings = variants[0].get("settings") or {}
    lora, strength = settings.get("lora"), settings.get("lora_strength")
    made = format_config(lora if isinstance(lora, str) else None, strength if isinstance(strength, int | float) else None)
    return variants[0].get("config") or made
