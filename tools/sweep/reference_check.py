"""Whether the references of a sweep were trained on: then a higher likeness to them may be memorisation.

By content, and where the training pictures are at hand, by look: a reference that was saved again, mirrored or cut is the same picture.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import files
from lifeos.counting import counted, verb
from lifeos.errors import InputError, LifeosError
from lifeos.file_names import system_name, system_path
from lifeos.images import ImageError, list_pictures
from tools.dataset.manifest import HELD_OUT_IMAGES, read_manifest
from tools.training.training_choices import MANIFEST

MOST_LOOKED_AT = 400
"""Pictures of both sides that are compared by look: decoding takes some 10 to 50 ms for each."""
HELD_OUT_FOLDER = "references"
NO_CLAIM = "A higher likeness to them may be memorisation: no claim is made on identity across steps."


@dataclass(frozen=True, slots=True)
class ReferenceVerdict:
    """`trained`: names of references that are training pictures, as far as could be told; `known`: whether there was a manifest to ask."""

    trained: tuple[str, ...]
    known: bool
    sentence: str

    @property
    def are_trained(self) -> bool:
        return bool(self.trained)

    @property
    def told(self) -> str:
        """The sentence, and where references were trained on what it means."""
        return f"{self.sentence} {NO_CLAIM}" if self.are_trained else self.sentence

    def refuse_trained(self, *, strict: bool) -> None:
        """With --strict-references, raises InputError for references that were trained on, or of which that is not known."""
        if strict and (self.are_trained or not self.known):
            fix = "train with held-out pictures (dataset_manifest --hold-out N), or leave --strict-references out"
            raise InputError("--strict-references", self.sentence.rstrip("."), fix)


def find_training_manifest(folder: Path, named: Path | None) -> Path | None:
    """The manifest of a training: the named one, else the one in its output folder."""
    if named is not None:
        return named
    beside = folder / MANIFEST
    return beside if beside.is_file() else None


def check_references(references: Path, hashes: Collection[str], manifest: Path | None) -> ReferenceVerdict:
    """Ask a training's manifest for the references. `hashes`: SHA-256 of those in use. Raises InputError for a file that is no manifest."""
    if manifest is None:
        why = "there is no dataset manifest of the training (--dataset-manifest FILE names one)"
        return ReferenceVerdict((), False, f"Whether the references were trained on is not known: {why}.")
    document = read_manifest(manifest)
    trained = {image["sha256"]: image["filename"] for image in document["images"]}
    paths = [path for path in list_pictures(references).pictures if files.sha256_file(path) in hashes]
    same = {path.name for path in paths if files.sha256_file(path) in trained}
    alike = _find_alike([path for path in paths if path.name not in same], document)
    names = tuple(sorted(same | alike))
    if not names:
        return ReferenceVerdict((), True, "No reference is among the training pictures.")
    these = f"{len(names)} of {counted(len(paths), 'reference')} {verb(len(names), 'is', 'are')} among the training pictures"
    return ReferenceVerdict(names, True, f"{these} ({', '.join(names[:3])}{' …' if len(names) > 3 else ''}).")


def _find_alike(paths: Collection[Path], document: Mapping[str, Any]) -> set[str]:
    """References that look like a training picture; none where the training pictures are not at hand, or there are too many."""
    folder = system_path(document["dataset_dir"])
    trained = [folder / system_name(image["filename"]) for image in document["images"]]
    if not paths or len(paths) + len(trained) > MOST_LOOKED_AT or not folder.is_dir():
        return set()
    from evals.likeness.grey_looks import find_pairs, make_look

    looks = []
    for side, some in (("r", paths), ("t", trained)):
        for path in some:
            try:
                name = f"{side}/{path.name}"
                look = make_look(name, name, path.read_bytes())  # the hash tells equal files, which are known already
            except (ImageError, OSError):
                continue
            if look is not None:
                looks.append(look)
    crossing = (pair for pair in find_pairs(looks) if pair.first[0] != pair.second[0])
    return {(pair.first if pair.first[0] == "r" else pair.second)[2:] for pair in crossing}


def gather_held_out(manifest: Path, target: Path, note: Callable[[str], None]) -> Path | None:
    """Copies of the pictures that a manifest holds out, in a folder of their own, to measure identity against; None where it holds none
    out, or not all of them can be had unchanged. Nothing of the set is moved."""
    try:
        document = read_manifest(manifest)
    except LifeosError as error:
        note(f"no held-out references: {error}")
        return None
    images = document.get(HELD_OUT_IMAGES, ())
    folder = system_path(document["dataset_dir"])
    target.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, 1):
        source = folder / system_name(image["filename"])
        copy = target / f"{number:03d}_{system_name(image['filename'].rpartition('/')[2])}"
        if copy.is_file() and files.sha256_file(copy) == image["sha256"]:
            continue
        try:
            with files.replacing(copy) as temporary:
                shutil.copyfile(source, temporary)
                if files.sha256_file(temporary) != image["sha256"]:
                    raise InputError(source, "has changed since the manifest was made", "bring it back, or give --reference-dir")
        except (OSError, InputError) as error:
            note(f"the held-out pictures cannot serve as references: {error}")
            return None
    return target if images else None
