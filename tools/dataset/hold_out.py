"""Pictures of a training set that are kept out of the training, so that identity can be measured against pictures it never saw.

Nothing is moved: a manifest names them in `held_out`, and whoever trains by it leaves them out. A copy of a held-out picture under another
name is held out with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.counting import counted
from lifeos.errors import InputError
from lifeos.file_names import stored_path
from lifeos.findings import Finding
from tools.dataset.manifest import HELD_OUT, HELD_OUT_IMAGES, read_manifest
from tools.dataset.notices import noticed
from tools.dataset.training_set import PictureRecord, TrainingSet

IN_THE_SET = ("dataset_manifest.json", "manifest.json")
"""Names under which a manifest inside its own set is found without being named."""
USELESS = frozenset({"unreadable", "truncated", "animated"})
"""Faults of a picture against which nothing can be measured."""


@dataclass(frozen=True, slots=True)
class HoldOut:
    """What to keep out: the pictures called `names`, and `count` in all, the rest of them chosen. `earlier`: what the manifest `source`
    holds out already, as its records; then nothing is chosen."""

    count: int = 0
    names: tuple[str, ...] = ()
    earlier: tuple[Mapping[str, Any], ...] = ()
    source: str = ""

    @property
    def is_wanted(self) -> bool:
        return bool(self.count or self.names or self.earlier)


NOTHING = HoldOut()


def set_apart(trained: TrainingSet, wanted: HoldOut, alike: Sequence[tuple[str, str]]) -> list[Finding]:
    """Take the held-out pictures out of a set's records into its `held_out`. `alike`: pairs of names that show nearly the same.

    Raises InputError for a name that the set does not hold, and where nothing would be left to train.
    """
    if not wanted.is_wanted:
        return []
    chosen = _find_earlier(trained.records, wanted) if wanted.earlier else _choose(trained.records, wanted, alike)
    contents = {record.sha256 for record in trained.records if record.name in chosen}
    held = [record for record in trained.records if record.sha256 in contents]
    left = [record for record in trained.records if record.sha256 not in contents]
    if not left:
        raise InputError("--hold-out", f"nothing is left to train of {counted(len(held), 'picture')}", "hold fewer pictures out")
    trained.records, trained.held_out = left, held
    names = {record.name for record in held}
    told = f"as {wanted.source} says" if wanted.source else "not trained on, so that identity can be measured against them"
    found = [noticed("held_out", "notice", f"{counted(len(held), 'picture')} held out, {told}", sorted(names))]
    twins = sorted({name for pair in alike for name in pair if len(names & set(pair)) == 1} - names)
    if twins:
        text = "nearly the same as a picture that is held out: what is learnt from it is no longer new"
        found.append(noticed("held_out_twin", "warning", text, twins, "take it out, or hold it out too: --hold-out-file NAME"))
    return found


def _choose(records: Sequence[PictureRecord], wanted: HoldOut, alike: Sequence[tuple[str, str]]) -> set[str]:
    """The named pictures, then as many as are missing, evenly over the others in the order of their names: the same ones every time."""
    known = {record.name: record for record in records}
    for name in wanted.names:
        if name not in known:
            raise InputError("--hold-out-file", f"{name} is no picture of the set", "name it as the manifest does, with / between folders")
    chosen = dict.fromkeys(wanted.names)
    missing = wanted.count - len(chosen)
    if missing <= 0:
        return set(chosen)
    contents = {known[name].sha256 for name in chosen}
    shown_twice = {name for pair in alike for name in pair} | _copies(records)
    free = [record for record in records if record.sha256 not in contents and not USELESS & set(record.header.faults)]
    unique = [record.name for record in free if record.name not in shown_twice]
    if len(unique) < missing:  # those that have a twin only where there is no other way
        unique = list({record.sha256: record.name for record in free}.values())
    if len(unique) < missing:
        raise InputError(
            "--hold-out", f"{wanted.count} of {counted(len(records), 'picture')} cannot be held out", "hold fewer pictures out"
        )
    return {*chosen, *(unique[(2 * place + 1) * len(unique) // (2 * missing)] for place in range(missing))}


def _copies(records: Sequence[PictureRecord]) -> set[str]:
    seen: dict[str, str] = {}
    twice: set[str] = set()
    for record in records:
        if record.sha256 in seen:
            twice |= {record.name, seen[record.sha256]}
        seen.setdefault(record.sha256, record.name)
    return twice


def _find_earlier(records: Sequence[PictureRecord], wanted: HoldOut) -> set[str]:
    """The pictures that a manifest holds out, by content, so that a renamed one stays held out; by name where the content was changed."""
    by_content = {record.sha256: record.name for record in records}
    names = {record.name for record in records}
    chosen: set[str] = set()
    for image in wanted.earlier:
        name = by_content.get(image["sha256"]) or (image["filename"] if image["filename"] in names else None)
        if name is None:
            why = f"{image['filename']} is held out by it, and is no picture of this set"
            raise InputError(wanted.source, why, "bring the picture back, or make the manifest anew with --hold-out N")
        chosen.add(name)
    return chosen


def read_hold_out(manifest: Path) -> HoldOut:
    """What a manifest holds out. Raises InputError for a file that is none."""
    return _of(read_manifest(manifest), manifest)


def _of(document: Mapping[str, Any], manifest: Path) -> HoldOut:
    return HoldOut(earlier=tuple(document.get(HELD_OUT_IMAGES, ())), source=str(manifest))


def find_hold_out(dataset_dir: Path, named: Path | None, others: Collection[Path] = ()) -> HoldOut:
    """What a training of that folder leaves out: as the `named` manifest says, else one that lies in the folder, else the first of
    `others` that is of this folder. Raises InputError for a named file that is no manifest, and for a manifest with `held_out`
    that cannot be read."""
    if named is not None:
        return read_hold_out(named)
    for path in (*(dataset_dir / name for name in IN_THE_SET), *others):
        if not _mentions_held_out(path):
            continue
        document = read_manifest(path)
        if path.parent == dataset_dir or document["dataset_dir"] == stored_path(dataset_dir):
            return _of(document, path)
    return NOTHING


def _mentions_held_out(path: Path) -> bool:
    """Whether a file may be a manifest with held-out pictures, and no manifest of another program."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return b'"manifest_version"' in data and f'"{HELD_OUT}"'.encode() in data
