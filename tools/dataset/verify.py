"""Compare a folder with the manifest of it: what is missing, extra or changed, by name. Reads bytes only: the standard library does."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lifeos.counting import counted
from lifeos.escaping import escape_line
from lifeos.file_names import system_path
from tools.dataset.hashing import hash_files
from tools.dataset.layout import settle_layout
from tools.dataset.manifest import HELD_OUT_IMAGES
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
    found = _verify_one(listed, dataset_dir, extension, leave_out, "", jobs)
    regularisation = document.get("regularisation")
    if regularisation is not None:
        folder = regularisation_dir or system_path(regularisation["dataset_dir"])
        second = _verify_one(regularisation["images"], folder, extension, frozenset(), "regularisation: ", jobs)
        return Verification(
            found.missing + second.missing, found.extra + second.extra, found.changed + second.changed, found.checked + second.checked
        )
    return found


def _verify_one(
    images: list[dict[str, Any]], folder: Path, extension: str, leave_out: frozenset[Path], prefix: str, jobs: int | None
) -> Verification:
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
    extra = listed - set(present.values())

    def sort(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(prefix + name for name in sorted(names))

    return Verification(sort(missing), sort(extra), sort(changed), len(expected))


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
