"""A clean copy of a training set for the trainer: the manifest's pictures and captions and nothing else.

The trainer takes whatever lies beside a picture (stale `.npz` caches, captions by guess), so it never sees the source folder.
Copies, not links: a picture edited in place while the trainer starts must not change what is trained on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lifeos.errors import InputError
from lifeos.file_names import system_name
from tools.dataset.caption_checks import has_trigger_word
from tools.dataset.manifest import SOURCE
from tools.dataset.scan import split_repeats
from tools.trainers.trainer import Subset
from tools.trainers.training_settings import TrainingSettings
from tools.training.removal import remove

STAGE_FOLDER = "staged_dataset"
MARKER = ".staged_by_lifeos"
"""Only a folder that holds this is ever removed."""

COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file to copy, or to write where the document of the set holds its `text`; `sha256` is what the file must have."""

    source: Path
    target: Path
    sha256: str
    size: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class StagePlan:
    stage: Path
    files: tuple[StagedFile, ...]
    subsets: tuple[Subset, ...]

    @property
    def pictures_per_epoch(self) -> int:
        """Training pictures times their repeats; regularisation pictures are dealt out to as many."""
        return sum(subset.pictures * subset.num_repeats for subset in self.subsets if not subset.is_reg)

    @property
    def sha256(self) -> str:
        """Of all that the trainer is shown: names and content of the files, and how each folder is taught. Places do not count."""
        digest = hashlib.sha256()
        for file in sorted(self.files, key=lambda file: file.target.as_posix()):
            name = file.target.relative_to(self.stage).as_posix()
            digest.update(f"{name}\0{file.sha256}\0".encode("utf-8", "surrogateescape"))
        for subset in sorted(self.subsets, key=lambda subset: subset.image_dir.as_posix()):
            taught = f"{subset.image_dir.name}\0{subset.num_repeats}\0{subset.class_tokens}\0{subset.is_reg}\0"
            digest.update(taught.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def plan_stage(settings: TrainingSettings, document: Mapping[str, Any]) -> StagePlan:
    """Lay out a manifest's pictures: one flat folder for each source folder, since the trainer does not look deeper."""
    stage = settings.output_dir / STAGE_FOLDER
    files: dict[Path, StagedFile] = {}  # by target: pictures that differ only in their extension share a caption
    subsets: list[Subset] = []
    names: set[str] = set()
    sets = [(settings.train_data_dir, document["images"], False)]
    if settings.reg_data_dir:
        sets.append((settings.reg_data_dir, document["regularisation"]["images"], True))
    for root, images, is_reg in sets:
        by_folder: dict[str, list[Mapping[str, Any]]] = {}
        for image in images:
            by_folder.setdefault(image["filename"].rpartition("/")[0], []).append(image)
        for folder, members in sorted(by_folder.items()):
            repeats, tokens = _read_folder(settings, folder, is_reg)
            if not is_reg:
                repeats = document.get(SOURCE, {}).get("repeats", {}).get(folder, repeats)
            target = stage / _unused(f"{repeats}_{_plain(tokens)}" + ("_reg" if is_reg else ""), names)
            bare = sum(not image["caption_sha256"] for image in members)
            stems = {PurePosixPath(image["filename"]).stem.casefold() for image in members}
            endings = tuple(sorted({PurePosixPath(image["filename"]).suffix.lower() for image in members}))
            subsets.append(Subset(target, repeats, tokens, is_reg, len(members), bare, len(members) - len(stems), endings))
            for image in members:
                staged = [_staged(root, target, image["filename"], image["sha256"], image["size_bytes"])]
                if image["caption_file"]:
                    staged.append(_staged(root, target, image["caption_file"], image["caption_sha256"], 0))
                elif image["caption_sha256"]:
                    staged.append(_written(target, image, settings.caption_extension))
                files |= {file.target: file for file in staged}
    return StagePlan(stage, tuple(files.values()), tuple(subsets))


def _read_folder(settings: TrainingSettings, folder: str, is_reg: bool) -> tuple[int, str]:
    """Repeats and class tokens of a source folder: kohya's `10_name`, else the settings'."""
    repeats, tokens = split_repeats(folder.rpartition("/")[2])
    if is_reg:
        return repeats or settings.reg_repeats, tokens or settings.class_tokens
    if tokens is None or not has_trigger_word(tokens, settings.trigger_word):  # what a picture without a caption is called
        tokens = f"{settings.trigger_word} {settings.class_tokens}".strip()
    return repeats or settings.train_repeats, tokens


def _plain(tokens: str) -> str:
    return re.sub(r"[^\w -]", "_", tokens, flags=re.ASCII)[:60].strip() or "set"


def _unused(name: str, used: set[str]) -> str:
    number, candidate = 1, name
    while candidate.lower() in used:
        number += 1
        candidate = f"{name}_{number}"
    used.add(candidate.lower())
    return candidate


def _staged(root: Path, target: Path, name: str, sha256: str, size: int) -> StagedFile:
    return StagedFile(root / system_name(name), target / system_name(name.rpartition("/")[2]), sha256, size)


def _written(target: Path, image: Mapping[str, Any], caption_extension: str) -> StagedFile:
    """The caption file of a picture whose caption stands in the document of the set."""
    name = f"{image['filename'].rpartition('/')[2].rpartition('.')[0]}{caption_extension}"
    return StagedFile(target, target / system_name(name), image["caption_sha256"], 0, image["caption_text"])


def make_stage(plan: StagePlan) -> None:
    """Copy every file, proving each copy by its hash. Raises InputError if a source is no longer what the manifest says."""
    remove_stage(plan.stage)
    plan.stage.mkdir(parents=True)
    (plan.stage / MARKER).touch()
    for subset in plan.subsets:
        subset.image_dir.mkdir()
    for file in plan.files:
        try:
            copied = _copy(file.source, file.target) if file.text is None else _write(file.text, file.target)
        except FileNotFoundError:
            copied = ""
        if copied != file.sha256:
            raise InputError(str(file.source), "changed since the manifest was made", "run the same command again")


def remove_stage(stage: Path) -> None:
    """Remove a stage of ours. Raises InputError if a folder of that name is not ours."""
    if not stage.exists() and not stage.is_symlink():
        return
    if not is_our_stage(stage):
        raise InputError(stage, "is in the way, and was not made by this program", "move it away, or choose another --output-dir")
    remove(stage)


def is_our_stage(stage: Path) -> bool:
    """Whether a stage of ours is there: marked, or empty, as one that was killed before it could be marked."""
    return stage.is_dir() and not stage.is_symlink() and ((stage / MARKER).is_file() or not any(stage.iterdir()))


def _write(text: str, target: Path) -> str:
    """Write a caption and give the SHA-256 of what was written."""
    raw = text.encode("utf-8", "surrogateescape")
    with open(target, "xb") as writer:
        writer.write(raw)
    return hashlib.sha256(raw).hexdigest()


def _copy(source: Path, target: Path) -> str:
    """Copy a file's bytes (no times, no permissions) and give the SHA-256 of what was written."""
    digest = hashlib.sha256()
    try:
        with open(source, "rb") as reader, open(target, "xb") as writer:
            while chunk := reader.read(COPY_BYTES):
                digest.update(chunk)
                writer.write(chunk)
    except OSError as error:
        if error.filename is None:  # a full disk: writing itself does not say what was written
            error.filename = str(target)
        raise
    return digest.hexdigest()
