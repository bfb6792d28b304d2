"""Compare two manifests: what was added, removed, changed or renamed, in pictures, captions and resolutions."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from lifeos.counting import counted
from lifeos.escaping import escape_line
from tools.dataset.manifest import HELD_OUT, canonical_name
from tools.dataset.scan import split_repeats

REGULARISATION = "regularisation/"
"""Before the names of regularisation pictures."""

MAX_DIFF_WORDS = 400
"""A word diff of longer captions shows nothing to a person and takes quadratic time."""


@dataclass(frozen=True, slots=True)
class Renamed:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class CaptionChange:
    """`diff`: the words as `kept [-gone-] {+new+}`."""

    filename: str
    old: str | None
    new: str | None
    diff: str


@dataclass(frozen=True, slots=True)
class ResolutionChange:
    filename: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class RepeatsChange:
    """A folder whose kohya prefix changed: the same pictures, shown to the trainer more or less often."""

    folder: str
    old: int | None
    new: int | None


@dataclass(frozen=True, slots=True)
class Shift:
    """How often a word stands in captions, or a resolution among pictures: the fraction of the old and the new set."""

    what: str
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class DatasetComparison:
    """Names are those of the new set; `removed` and the old half of a rename those of the old one. What is held out is not among the
    images: a picture that is held out from now on was removed."""

    same: bool
    dataset_id_old: str
    dataset_id_new: str
    images_old: int
    images_new: int
    images_added: tuple[str, ...]
    images_removed: tuple[str, ...]
    images_changed: tuple[str, ...]
    images_renamed: tuple[Renamed, ...]
    captions_changed: tuple[CaptionChange, ...]
    resolution_changes: tuple[ResolutionChange, ...]
    repeats_changed: tuple[RepeatsChange, ...]
    word_shift: tuple[Shift, ...]
    resolution_shift: tuple[Shift, ...]
    held_out_old: tuple[str, ...] = ()
    held_out_new: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def files_of(names: tuple[str, ...], document: dict[str, Any]) -> list[str]:
        """Where the training pictures of that name lie inside the document's dataset folder."""
        images = _images(document)
        return [images[name]["filename"] for name in names if not name.startswith(REGULARISATION)]


def compare_manifests(old: dict[str, Any], new: dict[str, Any]) -> DatasetComparison:
    """Compare two documents of `read_manifest`. Regularisation pictures are compared too, as `regularisation/name`."""
    before, after = _images(old), _images(new)
    gone = {name: before[name] for name in before.keys() - after.keys()}
    come = {name: after[name] for name in after.keys() - before.keys()}
    renamed = _find_renamed(gone, come)
    pairs = {name: name for name in before.keys() & after.keys()} | {item.new: item.old for item in renamed}
    added = sorted(come.keys() - {item.new for item in renamed})
    removed = sorted(gone.keys() - {item.old for item in renamed})
    changed = sorted(name for name in before.keys() & after.keys() if before[name]["sha256"] != after[name]["sha256"])
    captions, resolutions = [], []
    for name in sorted(pairs):
        first, second = before[pairs[name]], after[name]
        if first["caption_sha256"] != second["caption_sha256"]:
            captions.append(_caption_change(name, first.get("caption_text"), second.get("caption_text")))
        if (size := _resolution(first)) != (now := _resolution(second)):
            resolutions.append(ResolutionChange(name, size, now))
    return DatasetComparison(
        same=old["dataset_id"] == new["dataset_id"],
        dataset_id_old=old["dataset_id"],
        dataset_id_new=new["dataset_id"],
        images_old=len(before),
        images_new=len(after),
        images_added=tuple(added),
        images_removed=tuple(removed),
        images_changed=tuple(changed),
        images_renamed=tuple(renamed),
        captions_changed=tuple(captions),
        resolution_changes=tuple(resolutions),
        repeats_changed=tuple(_repeats_changes(old, new)),
        word_shift=_shift(_words(before), _words(after), len(before), len(after)),
        resolution_shift=_shift(_resolutions(before), _resolutions(after), len(before), len(after)),
        held_out_old=tuple(old.get(HELD_OUT, ())),
        held_out_new=tuple(new.get(HELD_OUT, ())),
    )


def _images(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name without kohya's repeats; by the full name where two folders differ in their repeats only."""
    images: dict[str, dict[str, Any]] = {}
    for prefix, listed in (("", document["images"]), (REGULARISATION, (document.get("regularisation") or {}).get("images", ()))):
        for image in listed:
            name = prefix + canonical_name(image["filename"])
            images[prefix + image["filename"] if name in images else name] = image
    return images


def _repeats_changes(old: dict[str, Any], new: dict[str, Any]) -> list[RepeatsChange]:
    before, after = _repeats(old), _repeats(new)
    shared = sorted(before.keys() & after.keys())
    return [RepeatsChange(name, before[name], after[name]) for name in shared if before[name] != after[name]]


def _repeats(document: dict[str, Any]) -> dict[str, int | None]:
    """Repeats of each folder, named without them."""
    folders = (image["filename"].rpartition("/")[0] for image in document["images"])
    return {canonical_name(f"{folder}/x").rpartition("/")[0]: split_repeats(folder.rpartition("/")[2])[0] for folder in folders if folder}


def _find_renamed(gone: dict[str, dict[str, Any]], come: dict[str, dict[str, Any]]) -> list[Renamed]:
    """Pairs of equal hash, in order of name, each name once."""
    by_hash: dict[str, list[str]] = {}
    for name in sorted(gone, reverse=True):
        by_hash.setdefault(gone[name]["sha256"], []).append(name)
    equal = ((name, by_hash.get(come[name]["sha256"])) for name in sorted(come))
    return [Renamed(candidates.pop(), name) for name, candidates in equal if candidates]


def _caption_change(name: str, old: str | None, new: str | None) -> CaptionChange:
    return CaptionChange(name, old, new, word_diff(old or "", new or ""))


def word_diff(old: str, new: str) -> str:
    """The words of two texts as `kept [-gone-] {+new+}`."""
    before, after = old.split(), new.split()
    if len(before) + len(after) > MAX_DIFF_WORDS:
        return f"[-{len(before)} words-] {{+{len(after)} words+}}"
    parts = []
    for kind, start, end, new_start, new_end in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            parts += before[start:end]
            continue
        if end > start:
            parts.append(f"[-{' '.join(before[start:end])}-]")
        if new_end > new_start:
            parts.append(f"{{+{' '.join(after[new_start:new_end])}+}}")
    return " ".join(parts)


def _resolution(image: dict[str, Any]) -> str:
    size = image.get("dimensions")
    return f"{size[0]}x{size[1]}" if size else "unknown"


def _resolutions(images: dict[str, dict[str, Any]]) -> Counter[str]:
    return Counter(_resolution(image) for image in images.values())


def _words(images: dict[str, dict[str, Any]]) -> Counter[str]:
    """In how many captions each comma-separated part stands."""
    counts: Counter[str] = Counter()
    for image in images.values():
        counts.update({part.strip().lower() for part in (image.get("caption_text") or "").split(",") if part.strip()})
    return counts


def _shift(old: Counter[str], new: Counter[str], old_total: int, new_total: int, count: int = 10) -> tuple[Shift, ...]:
    """What became more or less frequent, the largest change first."""
    shifts = [Shift(what, old[what] / max(old_total, 1), new[what] / max(new_total, 1)) for what in old.keys() | new.keys()]
    moved = [Shift(shift.what, round(shift.old, 4), round(shift.new, 4)) for shift in shifts if abs(shift.old - shift.new) > 0.005]
    return tuple(sorted(moved, key=lambda shift: (-round(abs(shift.new - shift.old), 4), shift.what))[:count])


def render_comparison(result: DatasetComparison, old_name: str, new_name: str) -> str:
    """The comparison for people."""
    lines = [f"{old_name} -> {new_name}: {result.images_old} -> {counted(result.images_new, 'picture')}"]
    lines += [f"repeats of {escape_line(item.folder)}: {item.old or 1} -> {item.new or 1}" for item in result.repeats_changed]
    if result.held_out_old or result.held_out_new:
        lines.append(f"held out: {len(result.held_out_old)} -> {counted(len(result.held_out_new), 'picture')}")
        lines += [f"  from now on: {escape_line(name)}" for name in result.held_out_new if name not in result.held_out_old]
        lines += [f"  no longer: {escape_line(name)}" for name in result.held_out_old if name not in result.held_out_new]
    if result.same:
        return "\n".join([*lines, f"the same dataset ({result.dataset_id_new[:12]})"])
    for title, names in (("added", result.images_added), ("removed", result.images_removed), ("changed", result.images_changed)):
        lines.append(f"pictures {title}: {len(names)}")
        lines += [f"  {escape_line(name)}" for name in names]
    lines.append(f"pictures renamed: {len(result.images_renamed)}")
    lines += [f"  {escape_line(item.old)} -> {escape_line(item.new)}" for item in result.images_renamed]
    lines.append(f"captions changed: {len(result.captions_changed)}")
    lines += [f"  {escape_line(item.filename)}: {escape_line(item.diff)}" for item in result.captions_changed]
    lines.append(f"resolution changes: {len(result.resolution_changes)}")
    lines += [f"  {escape_line(item.filename)}: {item.old} -> {item.new}" for item in result.resolution_changes]
    for title, shifts in (("caption parts", result.word_shift), ("resolutions", result.resolution_shift)):
        if shifts:
            lines.append(f"shift of {title} (share of all pictures):")
            lines += [f"  {escape_line(shift.what)}: {shift.old:.0%} -> {shift.new:.0%}" for shift in shifts]
    return "\n".join(lines)
