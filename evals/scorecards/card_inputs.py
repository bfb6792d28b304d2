"""What a scorecard records besides scores: training parameters, the dataset's manifest, the batch's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import cli, foreign
from lifeos.caption_style import describe_captions
from lifeos.errors import InputError
from lifeos.files import sha256_file
from lifeos.picture_names import format_config

MANIFEST_FIX = "make one: python tools/dataset_manifest.py"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The dataset behind a run: where its manifest lies, the SHA-256 of that file, the dataset's own id, what kind of captions it has, and
    how many regularisation pictures."""

    path: str
    sha256: str
    dataset_id: str | None = None
    captions: str = ""
    regularisation: int = 0

    @property
    def training_params(self) -> dict[str, Any]:
        """What it tells of the training, by the names of `training_params`."""
        told = {"captions": self.captions, "regularization": self.regularisation}
        return {name: value for name, value in told.items() if value}


def read_training_params(text: str) -> dict[str, Any]:
    """Training parameters as a JSON object, given as text or as the name of a file that holds it. Raises InputError."""
    fix = 'give {"network_dim": 32, …} or a file that holds it'
    if text.lstrip().startswith("{"):
        return foreign.decode(text, dict, "--training-params", fix=fix)
    path = cli.require_file(Path(text), "--training-params")
    return foreign.read_file(path, dict, fix=fix)


def read_manifest(path: Path) -> Manifest:
    """The hash of a dataset manifest's file, and the dataset's id from within. Raises InputError."""
    document = foreign.read_file(cli.require_file(path, "--dataset-manifest"), dict, fix=MANIFEST_FIX)
    if "images" not in document:
        raise InputError(path, "not a dataset manifest: it has no images", MANIFEST_FIX)
    dataset_id = document.get("dataset_id")
    regularisation = document.get("regularisation")
    return Manifest(
        path.as_posix(),
        sha256_file(path),
        dataset_id if isinstance(dataset_id, str) else None,
        describe_captions([_caption_of(image) for image in _images_of(document)]),
        len(_images_of(regularisation)) if isinstance(regularisation, dict) else 0,
    )


def _images_of(document: dict[str, Any]) -> list[Any]:
    images = document.get("images")
    return images if isinstance(images, list) else []


def _caption_of(image: object) -> str | None:
    text = image.get("caption_text") if isinstance(image, dict) else None
    return text if isinstance(text, str) else None


def read_batch_config(folder: Path) -> str | None:
    """The configuration of a batch directory with one LoRA and strength, from its batch.json; None where there is none."""
    path = folder / "batch.json"
    plan: Any = foreign.read_file(path, Any) if path.is_file() else None
    variants = plan.get("variants") if isinstance(plan, dict) else None
    if not isinstance(variants, list) or len(variants) != 1 or not isinstance(variants[0], dict):
        return None
    settings, config = variants[0].get("settings"), variants[0].get("config")
    if isinstance(config, str) and config:
        return config
    lora, strength = (settings.get("lora"), settings.get("lora_strength")) if isinstance(settings, dict) else (None, None)
    return format_config(lora if isinstance(lora, str) else None, strength if _is_number(strength) else None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
