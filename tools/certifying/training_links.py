"""The links behind a batch: the LoRA, the training that wrote it, the manifest of its dataset, and the dataset itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.counting import counted
from lifeos.errors import InputError, LifeosError
from lifeos.file_names import system_path
from tools.certifying.batch_evidence import digest_of
from tools.certifying.chain import BROKEN, MISSING, VERIFIED, ChainLink
from tools.certifying.training_evidence import FoundTraining, find_trainings
from tools.dataset.manifest import manifest_hash, read_manifest
from tools.dataset.verify import verify_manifest
from tools.production.lora_file import LoraFile, read_lora_file
from tools.production.plan import Item, Plan
from tools.training.training_choices import MANIFEST, PREVIOUS_RUNS
from tools.workflows.workflow import find_models


@dataclass(frozen=True, slots=True)
class TrainingPlaces:
    """Where to look, as far as the caller says: a LoRA file, the output folder of its training, a manifest, the dataset's folder.

    `ask_server` reads what a server tells of a LoRA by name (None where it says nothing of ours), and is None without a server.
    """

    lora_file: Path | None = None
    training_dir: Path | None = None
    manifest: Path | None = None
    dataset_dir: Path | None = None
    ask_server: Callable[[str], LoraFile | None] | None = None


@dataclass(frozen=True, slots=True)
class KnownLora:
    """What is known of a LoRA after its link: its bytes, its training's run id, its dataset's id and manifest, where it lies."""

    link: ChainLink
    sha256: str = ""
    run_id: str | None = None
    dataset_id: str | None = None
    manifest_hash: str | None = None
    folder: Path | None = None


def training_links(plan: Plan, item: Item, places: TrainingPlaces) -> Iterator[ChainLink]:
    """The links from a picture's LoRA to its data; where several LoRAs were used, those of the first, and what is known of the others."""
    if item.source is not None:
        said = "The picture was taken in from a folder: which LoRA made it is not recorded."
        yield ChainLink("lora", "LoRA", MISSING, said)
        return
    names = list(dict.fromkeys(model.name for model in find_models(plan.workflows[item.variant]) if model.folder == "loras"))
    if not names:
        yield ChainLink("lora", "LoRA", VERIFIED, "No LoRA was used, so no training of one stands behind the picture.")
        return
    first = plan.lora_file.name if plan.lora_file is not None and plan.lora_file.name in names else names[0]
    known = _lora(plan, first, places, alone=len(names) == 1)
    yield known.link
    yield from (_other(name) for name in names if name != first)
    folders = [folder for folder in (places.training_dir, known.folder) if folder is not None]
    trainings, faults = find_trainings(folders)
    training, link = _training(known, trainings, faults)
    yield link
    yield from _data(known, training, folders, places)


def _other(name: str) -> ChainLink:
    said = "A further LoRA was used; only the bytes of the first are recorded."
    return ChainLink("lora", "further LoRA", MISSING, said, {}, {"name": name})


def _lora(plan: Plan, name: str, places: TrainingPlaces, *, alone: bool) -> KnownLora:
    recorded = plan.lora_file if plan.lora_file is not None and (plan.lora_file.name == name or alone) else None
    told = plan.command.get("lora_file")
    path = places.lora_file or (system_path(told) if isinstance(told, str) else None)
    private: dict[str, Any] = {"name": name, **({"file": str(path)} if path is not None else {})}
    folder = path.parent if path is not None else None
    if recorded is not None and recorded.sha256:
        return _recorded_lora(recorded, path, folder, private)
    dataset_id, digest = (_text(plan.training_params.get(key)) for key in ("dataset_id", "dataset_manifest_hash"))
    seen = _read_header(path, name)
    if isinstance(seen, LoraFile):
        said = "The batch does not record the bytes of its LoRA; the file at hand says which run wrote it."
        facts = _facts(seen.sha256, seen.run_id)
        if dataset_id is not None and seen.dataset_id != dataset_id:
            said = "The LoRA file at hand names another dataset than the batch does: it is not the one that was used."
            return KnownLora(ChainLink("lora", "LoRA", BROKEN, said, facts, private), dataset_id=dataset_id, manifest_hash=digest)
        if recorded is not None and seen.run_id != recorded.run_id:
            said = "The LoRA file at hand is of another training than the one that the server named when the batch began."
            link = ChainLink("lora", "LoRA", BROKEN, said, {**facts, "recorded run": recorded.run_id}, private)
            return KnownLora(link, "", recorded.run_id, recorded.dataset_id, recorded.dataset_manifest_hash, folder)
        link = ChainLink("lora", "LoRA", MISSING, said, facts, private)
        return KnownLora(link, seen.sha256, seen.run_id, seen.dataset_id, seen.dataset_manifest_hash, folder)
    served = places.ask_server(name) if recorded is None and places.ask_server is not None else recorded
    if served is not None:
        when = "told it when the batch began" if recorded is not None else "tells it now"
        said = f"Known by the run id in its header, as the server {when}: its weights were not seen."
        link = ChainLink("lora", "LoRA", MISSING, said, _facts("", served.run_id), private)
        return KnownLora(link, "", served.run_id, served.dataset_id or dataset_id, served.dataset_manifest_hash or digest, folder)
    said = "The batch records the LoRA's name alone: which bytes it had is not known."
    return KnownLora(ChainLink("lora", "LoRA", MISSING, said, {}, private), "", None, dataset_id, digest, folder)


def _recorded_lora(recorded: LoraFile, path: Path | None, folder: Path | None, private: dict[str, Any]) -> KnownLora:
    facts = _facts(recorded.sha256, recorded.run_id)
    found = digest_of(path) if path is not None and path.is_file() else ""
    if not found:
        link = ChainLink("lora", "LoRA", MISSING, "The batch records the LoRA's bytes; the file itself is not at hand.", facts, private)
    elif found == recorded.sha256:
        link = ChainLink("lora", "LoRA", VERIFIED, "The file at hand holds the bytes that the batch recorded.", facts, private)
    else:
        said = "The file at hand holds other bytes than those that the batch recorded."
        link = ChainLink("lora", "LoRA", BROKEN, said, {**facts, "found": found}, private)
    return KnownLora(link, recorded.sha256, recorded.run_id, recorded.dataset_id, recorded.dataset_manifest_hash, folder)


def _facts(sha256: str, run_id: str | None) -> dict[str, Any]:
    return {name: value for name, value in (("SHA-256", sha256), ("training run", run_id)) if value}


def _read_header(path: Path | None, name: str) -> LoraFile | None:
    if path is None or not path.is_file():
        return None
    try:
        return read_lora_file(path, name)
    except (LifeosError, OSError):
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _training(known: KnownLora, trainings: list[FoundTraining], faults: list[str]) -> tuple[FoundTraining | None, ChainLink]:
    """The training that wrote a LoRA: by the bytes that its record lists, else by the run id that the LoRA names."""
    title = "training"
    by_bytes = next((each for each in trainings if known.sha256 and each.words.lists(known.sha256)), None)
    by_run = next((each for each in trainings if known.run_id is not None and each.words.run_id == known.run_id), None)
    found = by_bytes or by_run
    if found is None:
        if faults and not trainings:
            said = "The training record beside the LoRA cannot be read."
            return None, ChainLink("training", title, BROKEN, said, {}, {"why": "; ".join(faults)})
        if known.run_id is None:
            return None, ChainLink("training", title, MISSING, "No record says which training wrote the LoRA.")
        said = "The record of the training is not at hand: name its output folder with --training-dir."
        return None, ChainLink("training", title, MISSING, said, {"training run": known.run_id})
    words = found.words
    told = {"training run": words.run_id, "state": words.state, "started": words.started, "ended": words.ended, "steps": words.steps}
    told |= {"trainer": words.trainer, "trainer commit": words.trainer_commit, "base model": words.base_fingerprint}
    facts = {name: value for name, value in told.items() if value}
    private = {"folder": str(found.folder), "output name": words.output_name or ""}
    if by_bytes is not None and known.run_id is not None and words.run_id != known.run_id:
        said = "The record lists the LoRA's bytes, but is of another run than the one that the LoRA names."
        return found, ChainLink("training", title, BROKEN, said, {**facts, "LoRA's run": known.run_id}, private)
    if by_bytes is not None:
        return found, ChainLink("training", title, VERIFIED, "The training's record lists the LoRA's bytes.", facts, private)
    if known.sha256 and words.lora_files:
        said = "The record of the run that the LoRA names lists no file with these bytes."
        return found, ChainLink("training", title, BROKEN, said, facts, private)
    if known.sha256:
        said = "The record is of the run that the LoRA names; it lists no bytes to compare."
        return found, ChainLink("training", title, MISSING, said, facts, private)
    said = "The record is of the run that the LoRA's header names; its weights were not seen."
    return found, ChainLink("training", title, VERIFIED, said, facts, private)


def _data(known: KnownLora, training: FoundTraining | None, folders: list[Path], places: TrainingPlaces) -> Iterator[ChainLink]:
    recorded = training.words.dataset_id if training is not None else None
    dataset_id = recorded or known.dataset_id
    if recorded is not None and known.dataset_id is not None and recorded != known.dataset_id:
        said = "The LoRA and the record of its training name two datasets."
        yield ChainLink("manifest", "dataset manifest", BROKEN, said, {"dataset id": recorded, "LoRA's dataset id": known.dataset_id})
        return
    if dataset_id is None:
        yield ChainLink("manifest", "dataset manifest", MISSING, "Nothing at hand says which dataset the LoRA was trained on.")
        return
    digest = (training.words.dataset_manifest_hash if training is not None else None) or known.manifest_hash
    if places.manifest is not None:
        candidates = [places.manifest]
    else:
        candidates = [*(training.manifests() if training is not None else ())]
        for folder in folders:
            candidates += [folder / MANIFEST, *sorted(folder.glob(f"{PREVIOUS_RUNS}/*/{MANIFEST}"))]
    document, link = _manifest(dataset_id, digest, candidates, named=places.manifest is not None)
    yield link
    if document is not None:
        yield _dataset(document, places.dataset_dir)


def _manifest(dataset_id: str, digest: str | None, candidates: list[Path], *, named: bool) -> tuple[dict[str, Any] | None, ChainLink]:
    """The manifest of a dataset id: one with the very bytes that the training recorded, else one of the same pictures and captions."""
    title, facts = "dataset manifest", {"dataset id": dataset_id, **({"manifest (SHA-256)": digest} if digest else {})}
    same: tuple[dict[str, Any], Path] | None = None
    faults = []
    there = [path for path in dict.fromkeys(candidates) if path.is_file()]
    for path in there:
        try:
            document = read_manifest(path)
        except InputError as error:
            faults.append(str(error))
            continue
        if document["dataset_id"] != dataset_id:
            continue
        private = {"file": str(path), "pictures": document["total_images"]}
        if digest is None or manifest_hash(path) == digest:
            said = "The manifest is the file that was written before the first step." if digest else "The manifest lists this dataset."
            return document, ChainLink("manifest", title, VERIFIED, said, facts, private)
        same = same or (document, path)
    if same is not None:
        said = "The manifest lists the same pictures and captions; its file was written again since the training."
        return same[0], ChainLink("manifest", title, VERIFIED, said, facts, {"file": str(same[1]), "pictures": same[0]["total_images"]})
    if faults:
        said = "The manifest cannot be relied on: it was edited or is damaged."
        return None, ChainLink("manifest", title, BROKEN, said, facts, {"why": "; ".join(faults)})
    if there and named:
        said = "The manifest that was given is of another dataset."
        return None, ChainLink("manifest", title, BROKEN, said, facts, {"file": str(there[0])})
    return None, ChainLink(
        "manifest", title, MISSING, "The dataset is known by its id; its manifest is not at hand: give --manifest.", facts
    )


def _dataset(document: dict[str, Any], given: Path | None) -> ChainLink:
    """Whether the pictures and captions that a manifest lists are still there, byte for byte."""
    folder = given or system_path(document["dataset_dir"])
    private: dict[str, Any] = {"folder": str(folder)}
    if not folder.is_dir():
        return ChainLink("dataset", "dataset", MISSING, "The pictures themselves are not at hand: give --dataset-dir.", {}, private)
    try:
        found = verify_manifest(document, folder)
    except (LifeosError, OSError) as error:
        return ChainLink(
            "dataset", "dataset", MISSING, "The pictures cannot be compared with the manifest.", {}, {**private, "why": str(error)}
        )
    facts = {"files": found.checked, "missing": len(found.missing), "changed": len(found.changed), "not listed": len(found.extra)}
    if found.missing or found.changed:
        names = ", ".join((*found.missing, *found.changed)[:10])
        said = f"Of {counted(found.checked, 'file')} {len(found.missing)} are missing and {len(found.changed)} changed since the training."
        return ChainLink("dataset", "dataset", BROKEN, said, facts, {**private, "files": names})
    more = f"; {counted(len(found.extra), 'file')} came since" if found.extra else ""
    said = f"All {counted(found.checked, 'file')} of the dataset are there, byte for byte{more}."
    return ChainLink("dataset", "dataset", VERIFIED, said, facts, private)
