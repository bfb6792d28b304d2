"""From a folder to its manifest: list, read, check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.likeness.grey_looks import Pair
from lifeos.file_names import stored_path
from lifeos.findings import SEVERITIES, Finding
from tools.dataset.bucketing import BucketSettings
from tools.dataset.cache import DatasetCache, default_cache_file
from tools.dataset.checks import CheckSettings, check_dataset
from tools.dataset.dataset_document import DatasetDocument, give_captions, keep_named
from tools.dataset.hashing import read_training_set
from tools.dataset.hold_out import NOTHING, HoldOut, set_apart
from tools.dataset.layout import settle_layout
from tools.dataset.manifest import build_manifest
from tools.dataset.marked_check import check_marked
from tools.dataset.near_duplicates import MOST_PICTURES, can_look, check_near_duplicates, find_near_duplicates
from tools.dataset.notices import as_manifest_warning, noticed
from tools.dataset.scan import scan_dataset
from tools.dataset.training_set import PictureRecord, TrainingSet
from tools.families.families import SDXL, Family, ResolutionRule, settle


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to read and how. `output` is left out of the set where it lies inside; `cache_file` None: the user's cache folder.
    `near_duplicates`: whether to look for them, and for published copies, which decodes every picture; None: if the set is small and what
    it needs is installed. `allow_marked`: published copies are wanted. `hold_out`: pictures that are not trained on. `document`: what
    names the pictures of the folder and their captions; None: all there are, with the files beside them."""

    dataset_dir: Path
    regularisation_dir: Path | None = None
    caption_extension: str = ".txt"
    output: Path | None = None
    use_cache: bool = True
    cache_file: Path | None = None
    jobs: int | None = None
    decode: bool = False
    near_duplicates: bool | None = False
    allow_marked: bool = False
    hold_out: HoldOut = NOTHING
    document: DatasetDocument | None = None
    check: CheckSettings = field(default_factory=CheckSettings)

    @classmethod
    def from_policy(
        cls,
        policy: Mapping[str, Any],
        *,
        trigger_word: str | None = None,
        resolution: int | None = None,
        caption_extension: str | None = None,
        family: Family = SDXL,
        near_duplicates: bool | None = None,
        **fields: Any,
    ) -> BuildRequest:
        """A request with the policy's values, or those of the model family that is trained, for whatever is None."""
        dataset, training = policy["dataset"], policy["training"]
        side = resolution or settle(family, training["resolution"], family.resolution.training_side)
        check = CheckSettings(
            trigger_word=trigger_word,
            clip_tokens=settle(family, dataset["clip_tokens"], family.token_limit),
            upscale_warning=dataset["upscale_warning"],
            crop_warning=dataset["crop_warning"],
            bucket=bucket_settings(side, family.resolution),
        )
        return cls(
            caption_extension=caption_extension or dataset["caption_extension"], check=check, near_duplicates=near_duplicates, **fields
        )


def bucket_settings(resolution: int, rule: ResolutionRule = SDXL.resolution) -> BucketSettings:
    """The buckets that we ask the trainer for at a resolution: sides from a quarter to twice of it, in the family's steps."""
    step = rule.bucket_step
    return BucketSettings(resolution, max(step, resolution // 4 // step * step), -(-resolution * 2 // step) * step, step)


@dataclass(slots=True)
class BuiltManifest:
    """A manifest, with what it was made from. `not_looked`: why near-duplicates were not looked for; empty if they were, or need not be.
    `pairs`: those that were found, held-out pictures among them."""

    document: dict[str, Any]
    records: list[PictureRecord]
    notices: list[Finding]
    not_looked: str = ""
    held_out: list[PictureRecord] = field(default_factory=list)
    pairs: Sequence[Pair] = ()

    def add_notices(self, notices: Sequence[Finding]) -> None:
        self.notices += notices
        self.document["warnings"] += [as_manifest_warning(notice) for notice in notices]


def build_dataset_manifest(request: BuildRequest, *, created: str, started_ns: int) -> BuiltManifest:
    """Read a training set and make its manifest.

    `started_ns`: the clock now; younger files are not taken from a cache later on. Raises InputError for a folder or file that cannot
    be read.
    """
    trained = _read_set(request, request.dataset_dir, started_ns, request.document)
    _forget_regularisation(trained, request)
    not_looked = _why_not_looked(request, len(trained.records))
    looks = not not_looked and request.near_duplicates is not False
    pairs = find_near_duplicates(request.dataset_dir, trained.records, jobs=request.jobs) if looks else []
    held_out = set_apart(trained, request.hold_out, [(pair.first, pair.second) for pair in pairs])
    notices = check_dataset(trained, request.check) + held_out
    if looks:
        notices += check_near_duplicates(pairs, trained.records)
        notices += check_marked(request.dataset_dir, trained.records, allow=request.allow_marked, jobs=request.jobs)
    regularisation: TrainingSet | None = None
    if request.regularisation_dir is not None:
        regularisation = _read_set(request, request.regularisation_dir, started_ns)
        # a regularisation picture has no trigger word, and may be one of a thousand with the same caption
        check = CheckSettings(bucket=request.check.bucket, upscale_warning=request.check.upscale_warning)
        found = check_dataset(regularisation, check)
        if request.near_duplicates is not False and not _why_not_looked(request, len(regularisation.records)):
            found += check_marked(request.regularisation_dir, regularisation.records, allow=request.allow_marked, jobs=request.jobs)
        kept = (notice for notice in found if notice.rule not in _ONLY_TRAINING)
        notices += [noticed(notice.rule, notice.severity, f"regularisation: {notice.message}", notice.files, notice.fix) for notice in kept]
        notices += _overlap(trained, regularisation)
    notices.sort(key=lambda notice: SEVERITIES.index(notice.severity))
    document = build_manifest(
        _absolute(request.dataset_dir),
        trained,
        created=created,
        notices=notices,
        regularisation_dir=_absolute(request.regularisation_dir) if request.regularisation_dir else None,
        regularisation=regularisation,
        source=_describe(request.document),
    )
    return BuiltManifest(document, trained.records, notices, not_looked, trained.held_out, pairs)


def _why_not_looked(request: BuildRequest, pictures: int) -> str:
    """Why near-duplicates and published copies cannot be looked for, or would take too long without being asked for."""
    if request.near_duplicates is None and pictures > MOST_PICTURES:
        why = f"there are more than {MOST_PICTURES} pictures: give --near-duplicates"
        return f"near-duplicates and published copies were not looked for, since {why}"
    if request.near_duplicates is not False and not can_look():
        return (
            "near-duplicates and published copies were not looked for: numpy, OpenCV and Pillow are not installed (python -m lifeos setup)"
        )
    return ""


def _forget_regularisation(trained: TrainingSet, request: BuildRequest) -> None:
    """Regularisation pictures inside the training folder are no news if their folder is the one that was named."""
    if request.regularisation_dir is None:
        return
    root, named = request.dataset_dir.resolve(), request.regularisation_dir.resolve()
    if named.is_relative_to(root):
        prefix = f"{stored_path(named.relative_to(root))}/"
        rest = [name for name in trained.skipped.get("regularisation", []) if not name.startswith(prefix)]
        trained.skipped["regularisation"] = rest


_ONLY_TRAINING = frozenset(
    {
        *("identical_captions", "repeated_caption", "mixed_resolutions", "picture_without_caption", "other_caption_extension"),
        *("metadata_file", "identity_words", "mixed_caption_styles"),
    }
)


def _describe(document: DatasetDocument | None) -> dict[str, Any] | None:
    if document is None:
        return None
    return {"file": stored_path(document.file.absolute()), "sha256": document.sha256, "repeats": dict(document.repeats)}


def _read_set(request: BuildRequest, folder: Path, started_ns: int, document: DatasetDocument | None = None) -> TrainingSet:
    leave_out = frozenset([request.output]) if request.output else frozenset[Path]()
    listing = settle_layout(scan_dataset(folder, request.caption_extension, leave_out=leave_out), request.caption_extension, folder)
    if document is not None:
        listing = keep_named(listing, document)
    cache = DatasetCache(_cache_file(request, folder), folder, started_ns=started_ns)
    found = read_training_set(folder, listing, request.caption_extension, cache, jobs=request.jobs, decode=request.decode)
    if document is not None:
        give_captions(found.records, document)
    return found


def _cache_file(request: BuildRequest, folder: Path) -> Path | None:
    if not request.use_cache:
        return None
    if request.cache_file is None:
        return default_cache_file(folder)
    is_main = folder == request.dataset_dir
    return request.cache_file if is_main else request.cache_file.with_name(f"{request.cache_file.name}.regularisation")


def _overlap(trained: TrainingSet, regularisation: TrainingSet) -> list[Finding]:
    hashes = {record.sha256 for record in trained.records}
    names = tuple(record.name for record in regularisation.records if record.sha256 in hashes)
    text = "a training picture is also a regularisation picture: the two work against each other"
    return [noticed("regularisation_overlap", "error", text, names)] if names else []


def _absolute(folder: Path) -> Path:
    """The folder as typed, made absolute: a manifest is read from other places later."""
    return folder if folder.is_absolute() else Path.cwd() / folder
