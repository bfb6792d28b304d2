"""Whether a base model can be trained on, from its header alone: a web page, a LoRA or another family is known in a millisecond."""

from __future__ import annotations

from pathlib import Path

from lifeos import foreign
from lifeos.errors import InputError, LifeosError, UnavailableError
from tools.families.families import Family
from tools.trainers.adapter_weights import CHECKPOINT, UNKNOWN, summarise_weights
from tools.trainers.architectures import SAID
from tools.trainers.recognition import recognise
from tools.trainers.safetensors_header import SafetensorsHeader, read_safetensors_header

DIFFUSERS_INDEX = "model_index.json"
FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"
TITLES = frozenset(title for title, _ in SAID)
"""Architectures that a header tells."""
LATENT_CHANNELS = 4
"""A model for inpainting has nine, a model that edits pictures eight."""


def find_base_fault(base_model: str, family: Family) -> LifeosError | None:
    """Why a base model (a file, or a folder of diffusers) cannot be trained on; None if nothing speaks against it.

    A name on a hub is never given here: what it holds is known only after the download.
    """
    path, fix = Path(base_model), f"give --base-model a checkpoint of {family.title}"
    if not path.exists():
        return UnavailableError(base_model, "no such file", fix)
    try:
        if path.is_dir():
            _check_folder(path, fix)
        else:
            _check_file(path, family, fix)
    except InputError as error:
        return error
    return None


def _check_folder(path: Path, fix: str) -> None:
    """A folder of diffusers says in its index what it is made of."""
    if not (path / DIFFUSERS_INDEX).is_file():
        raise InputError(path, f"is a folder without {DIFFUSERS_INDEX}: no model of diffusers", fix)
    index = foreign.read_file(path / DIFFUSERS_INDEX, dict, fix=fix)
    parts = [name for name, value in index.items() if isinstance(value, list) and len(value) == 2 and value[0] is not None]
    if missing := [name for name in parts if not (path / name).is_dir()]:
        raise InputError(path, f"lacks the folder {missing[0]}, which its {DIFFUSERS_INDEX} names", "download it again")


def _check_file(path: Path, family: Family, fix: str) -> None:
    header = read_safetensors_header(path, fix)
    if header.missing_bytes:
        raise InputError(path, f"is cut off: {header.missing_bytes:,} of {header.declared_size:,} bytes are missing", "download it again")
    kind, found = summarise_weights(header).kind, recognise(header)
    if kind == UNKNOWN and not found.is_known and (family.checkpoint_parts or family.made_for in TITLES):
        raise InputError(path, "holds no weights of a model that is known", fix)
    if kind not in (CHECKPOINT, UNKNOWN):
        raise InputError(path, f"is {_article(kind)}, not a base model", fix)
    if found.is_known and not found.fits(family):
        raise InputError(path, f"is a model of {found.title}, not of {family.title}", fix)
    _check_parts(header, family, fix)


def _check_parts(header: SafetensorsHeader, family: Family, fix: str) -> None:
    missing = [part for prefix, part in family.checkpoint_parts.items() if not any(name.startswith(prefix) for name in header.weights)]
    if missing:
        raise InputError(header.path, f"holds no {' and no '.join(missing)}: it is not a whole checkpoint of {family.title}", fix)
    first = header.weights.get(FIRST_LAYER)
    if first is not None and len(first.shape) == 4 and first.shape[1] != LATENT_CHANNELS:
        raise InputError(header.path, f"takes {first.shape[1]} channels, not {LATENT_CHANNELS}: a model for inpainting or editing", fix)


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOaeio' else 'a'} {kind}"
