"""From a LoRA to the manifest of what it was trained on: the file beside it, the one that the training record names, or the one that a
later run has moved aside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lifeos import foreign
from lifeos.errors import LifeosError
from lifeos.file_names import system_path
from tools.dataset.manifest import HELD_OUT, manifest_hash, read_manifest
from tools.trainers.lora_header import LoraHeader
from tools.training.training_choices import MANIFEST, PREVIOUS_RUNS
from tools.training.training_record import RECORD_FILE

EXACT = "this manifest was written before its first step"


@dataclass(frozen=True, slots=True)
class DatasetLink:
    """What a manifest says to a LoRA's own words. `matches` is None where there is nothing to compare. `held_out`: pictures of the set that
    were not trained on."""

    manifest: Path | None
    matches: bool | None
    why: str
    held_out: int = 0


def link_dataset(header: LoraHeader, manifest: Path | None = None) -> DatasetLink:
    """Whether a manifest is the one that a LoRA names. `manifest`: which, None for the one beside it; where a later run has put its own
    there, the one moved aside that fits. Raises InputError for a file that is none."""
    named, digest = (header.training_params.get(name) for name in ("dataset_id", "dataset_manifest_hash"))
    files = [manifest] if manifest else _manifests_near(header.path.parent)
    if named is None:
        return DatasetLink(next(iter(files), None), None, "it does not name its dataset")
    links = [_link(file, named, digest) for file in files]
    nothing = DatasetLink(None, None, "no dataset_manifest.json beside it")
    return min(links, key=lambda link: (not link.matches, link.why != EXACT), default=nothing)


def _link(manifest: Path, named: str, digest: str | None) -> DatasetLink:
    document = read_manifest(manifest)
    found, held_out = document["dataset_id"], len(document.get(HELD_OUT, ()))
    if found != named:
        return DatasetLink(manifest, False, f"the manifest is of dataset {found[:12]}, the LoRA names {named[:12]}")
    if manifest_hash(manifest) != digest:
        return DatasetLink(manifest, True, "the same pictures and captions; the manifest's file was written again since", held_out)
    return DatasetLink(manifest, True, EXACT, held_out)


def find_own_manifest(header: LoraHeader) -> Path | None:
    """The manifest beside a LoRA, if it is surely the one of its dataset; None also where one there cannot be read."""
    try:
        link = link_dataset(header)
    except LifeosError:
        return None
    return link.manifest if link.matches else None


@dataclass(frozen=True, slots=True)
class _Record:
    dataset_manifest: str | None = None


def _recorded(folder: Path) -> list[Path]:
    """Where the training record beside a LoRA says that the manifest was written to."""
    try:
        record = foreign.read_file(folder / RECORD_FILE, _Record)
        path = system_path(record.dataset_manifest) if record.dataset_manifest else None
        return [path] if path is not None and path.is_file() else []
    except (LifeosError, OSError, ValueError):  # no record, or none that can be used: it is only one more place to look
        return []


def _manifests_near(folder: Path) -> list[Path]:
    """Those that may be the manifest of a LoRA in that folder, the likeliest first."""
    candidates = [folder / MANIFEST, *_recorded(folder), *sorted(folder.glob(f"{PREVIOUS_RUNS}/*/{MANIFEST}"))]
    return [file for file in candidates if file.is_file()]
