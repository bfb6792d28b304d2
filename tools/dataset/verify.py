"""Compare a folder with the manifest of it: what is missing, extra or changed, by name. Reads bytes only: the standard library does."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lifeos.counting import counted
from lifeos.errors import InputError
from lifeos.escaping import escape_line
from lifeos.file_names import system_path
from lifeos.files import sha256_file
from tools.dataset.dataset_document import caption_digest, read_dataset_document
from tools.dataset.hashing import hash_files
from tools.dataset.layout import settle_layout
from tools.dataset.manifest import HELD_OUT_IMAGES, SOURCE
from tools.dataset.scan import caption_name, scan_dataset

THERE = frozenset({"picture", "caption", "mask", "regularisation", "trainer_output", "aside_caption"})
"""Version 3.0.0 listed masks and regularisation pictures among the training pictures, so they are no missing files."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What differs, as names inside the dataset; regularisation pictures as `regularisation: name`."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    changed: tuple[str, ...]
    checked: int

    @property
    def is_same(self) -> bool:
        return not (self.missing or self.extra or self.changed)

    def to_json(self) -> dict[str, Any]:
        return {"same": self.is_same, **asdict(self)}


def verify_manifest(
    document: dict[str, Any],
    dataset_dir: Path,
    *,
    regularisation_dir: Path | None = None,
    manifest_file: Path | None = None,
    jobs: int | None = None,
) -> Verification:
    """Hash every file that a manifest lists and list the rest. Raises InputError for a folder that is not there."""
    extension = document.get("caption_extension") or _extension_of(document)
    leave_out = frozenset([manifest_file]) if manifest_file else frozenset()
    listed = [*document["images"], *document.get(HELD_OUT_IMAGES, ())]
    found = _verify_one(listed, dataset_dir, extension, leave_out, "", jobs, alone=SOURCE in document)
    if SOURCE in document:
        found = _verify_source(found, document[SOURCE], listed, dataset_dir)
    regularisation = document.get("regularisation")
    if regularisation is not None:
        folder = regularisation_dir or system_path(regularisation["dataset_dir"])
        second = _verify_one(regularisation["images"], folder, extension, frozenset(), "regularisation: ", jobs)
        return Verification(
            found.missing + second.missing, found.extra + second.extra, found.changed + second.changed, found.checked + second.checked
        )
    return found


def _verify_one(
    images: list[dict[str, Any]],
    folder: Path,
    extension: str,
    leave_out: frozenset[Path],
    prefix: str,
    jobs: int | None,
    *,
    alone: bool = False,
) -> Verification:
    """`alone`: nothing else in the folder belongs to the set, since a document names what does."""
    there, pictures = set(), set()  # a caption whose picture is gone is still the caption it was
    for file in settle_layout(scan_dataset(folder, extension, leave_out=leave_out), extension):
        if file.kind in THERE:
            there.add(file.name)
        if file.kind == "picture":
            pictures.add(file.name)
    listed = pictures | {name for picture in pictures if (name := caption_name(picture, extension)) in there}
    by_canonical = {unicodedata.normalize("NFC", name): name for name in there}
    expected: dict[str, str] = {}
    for image in images:
        expected[image["filename"]] = image["sha256"]
        if image["caption_file"] is not None:
            expected[image["caption_file"]] = image["caption_sha256"]
    # macOS lists accents in normal form D: the same file under the other form is no other file
    places = {name: name if name in there else by_canonical.get(unicodedata.normalize("NFC", name)) for name in expected}
    present = {name: place for name, place in places.items() if place is not None}
    hashes = dict(zip(present, hash_files(folder, list(present.values()), jobs=jobs), strict=True))
    missing = [name for name in expected if hashes.get(name) is None]
    changed = [name for name, sha256 in hashes.items() if sha256 is not None and sha256 != expected[name]]
    extra = set[str]() if alone else listed - set(present.values())

    def sort(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(prefix + name for name in sorted(names))

    return Verification(sort(missing), sort(extra), sort(changed), len(expected))


def _verify_source(found: Verification, source: Mapping[str, Any], images: list[dict[str, Any]], folder: Path) -> Verification:
    """The document that named the set: unchanged, or what it names otherwise by now. It is missing where it cannot be read."""
    file = system_path(str(source.get("file")))
    if file.is_file() and sha256_file(file) == source.get("sha256"):
        return found
    try:
        now = read_dataset_document(file, folder)
    except InputError as error:
        return replace(found, missing=(*found.missing, f"{file.name}: {error.why}"))
    names = {image["filename"] for image in images}
    if now.captions is None:
        return found if names and all(map(now.names, names)) else replace(found, changed=(*found.changed, file.name))
    digests = {name: None if text is None else caption_digest(text) for name, text in now.captions.items()}
    changed = [image["filename"] for image in images if digests.get(image["filename"], "") != image["caption_sha256"]]
    told = tuple(f"{file.name}: {name}" for name in sorted(changed))
    return replace(found, changed=(*found.changed, *told), extra=(*found.extra, *sorted(digests.keys() - names)))


def _extension_of(document: dict[str, Any]) -> str:
    """For manifests that do not say: the extension of the first caption listed."""
    captions = (image["caption_file"] for image in document["images"] if image["caption_file"])
    return f".{next(captions, '.txt').rpartition('.')[2]}"


def render_verification(result: Verification) -> str:
    lines = []
    for kind, names in (("missing", result.missing), ("extra", result.extra), ("changed", result.changed)):
        lines += [f"{kind}: {escape_line(name)}" for name in names]
    if result.is_same:
        lines.append(f"the dataset is the same: {counted(result.checked, 'file')} checked")
    else:
        counts = f"{len(result.missing)} missing, {len(result.extra)} extra, {len(result.changed)} changed"
        lines.append(f"the dataset has changed: {counts}, of {counted(result.checked, 'file')}")
    return "\n".join(lines)
