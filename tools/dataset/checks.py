"""Check a training set for what would stop the trainer or teach the wrong thing, from its listing, headers and captions.

Nothing here opens a file: `check_dataset` looks at what was listed and read. Checks that look at faces are in `face_checks`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lifeos.findings import Finding, Severity
from lifeos.images import MAX_PIXELS
from tools.dataset.bucketing import BucketPlacement, BucketSettings, bucket_sizes, place_picture
from tools.dataset.caption_checks import check_captions
from tools.dataset.layout import check_layout
from tools.dataset.notices import noticed
from tools.dataset.training_set import PictureRecord, TrainingSet
from tools.families.families import SDXL

TOO_WIDE = 3.0
"""Longer sides beyond this multiple of the shorter one leave little after cropping to a bucket."""


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What a set is judged by. `clip_tokens`: how many of a caption the text encoder reads (`token_limit` of the model family)."""

    trigger_word: str | None = None
    clip_tokens: int = SDXL.token_limit
    upscale_warning: float = 1.25
    crop_warning: float = 0.2
    bucket: BucketSettings = field(default_factory=BucketSettings)


def check_dataset(trained: TrainingSet, settings: CheckSettings) -> list[Finding]:
    """Every finding about a set, errors first, each with the files it holds for."""
    notices = [
        *_check_listing(trained),
        *_check_names(trained),
        *_check_pictures(trained),
        *_check_sizes(trained, settings),
        *check_captions(trained, settings.trigger_word, settings.clip_tokens),
    ]
    order = {"error": 0, "warning": 1, "notice": 2}
    return sorted(notices, key=lambda notice: order[notice.severity])


def _check_listing(trained: TrainingSet) -> Iterator[Finding]:
    texts: dict[str, tuple[str, Severity, str]] = {
        "link_outside": ("link_outside", "warning", "a link that leaves the dataset is no part of it: copy the file here"),
        "link_broken": ("link_broken", "warning", "a link that leads nowhere"),
        "special": ("special_file", "warning", "not a regular file"),
        "other_format": ("other_format", "warning", "a format that the trainer does not read: save it as PNG, JPEG or WebP"),
        "hidden_format": ("hidden_format", "warning", "a picture under an ending that the trainer does not know"),
        "latent_cache": ("latent_cache", "warning", "a cache of the trainer (.npz), used even where the picture has changed"),
        "not_named": ("not_named", "notice", "a picture that the dataset document does not name is not trained on"),
        "junk": ("left_over", "notice", "a left-over of a system or an editor, no part of the dataset"),
    }
    for reason, (check, level, message) in texts.items():
        if names := trained.skipped.get(reason):
            yield noticed(check, level, message, tuple(sorted(names)))
    if trained.orphans:
        yield noticed("caption_without_picture", "warning", "a caption without a picture of its name", trained.orphans)
    captions = sum(record.caption is not None for record in trained.records)
    yield from check_layout(trained.skipped, pictures=len(trained.records), captions=captions, caption_extension=trained.caption_extension)
    if not trained.records:
        yield noticed("no_pictures", "error", "there is no picture in the dataset")


def _check_names(trained: TrainingSet) -> Iterator[Finding]:
    if names := _clashing(trained, lambda record: unicodedata.normalize("NFC", record.name).casefold()):
        yield noticed("name_collision", "warning", "names that are one on Windows and macOS (case, or accents stored in two ways)", names)
    if names := _clashing(trained, lambda record: record.name.rpartition(".")[0]):
        yield noticed("shared_caption", "warning", "pictures that differ only in their extension share a caption and a latent cache", names)
    if names := _names_where(trained, lambda record: not _is_unicode(record.name)):
        yield noticed("name_not_utf8", "warning", "the name is not UTF-8: other systems cannot store it", names)
    if names := _names_where(trained, lambda record: _suffix(record) not in (_suffix(record).lower(), _suffix(record).upper())):
        yield noticed("mixed_case_suffix", "error", "the trainer skips an extension in mixed case: write it in small letters", names)
    if names := _clashing(trained, lambda record: record.sha256):
        yield noticed("duplicate_picture", "warning", "the same picture under several names: it is trained on more often", names)


def _suffix(record: PictureRecord) -> str:
    return record.name.rpartition(".")[2]


def _names_where(trained: TrainingSet, holds: Callable[[PictureRecord], bool]) -> tuple[str, ...]:
    return tuple(record.name for record in trained.records if holds(record))


def _clashing(trained: TrainingSet, key: Callable[[PictureRecord], str]) -> tuple[str, ...]:
    """The names of all pictures that share their key with another, group by group in the order of each group's first name."""
    groups: dict[str, list[str]] = {}
    for record in trained.records:
        groups.setdefault(key(record), []).append(record.name)
    return tuple(name for names in groups.values() if len(names) > 1 for name in names)


def _check_pictures(trained: TrainingSet) -> Iterator[Finding]:
    texts: tuple[tuple[str, Severity, str], ...] = (
        ("unreadable", "error", "not a PNG, JPEG, WebP or BMP picture"),
        ("truncated", "error", "the file ends before the picture does"),
        ("sixteen_bit", "error", "grey of 16 bits: the trainer clips it to white, save it with 8"),
        ("long_text", "error", "over 1 MB of compressed text (such as a workflow) or profile: the trainer stops there"),
        ("animated", "warning", "animated: only its first frame would be trained on"),
        ("alpha", "warning", "an alpha channel: the trainer drops it and shows what lies beneath, save it on a background"),
        ("cmyk", "warning", "CMYK: colours change when it is read, save it as RGB"),
        ("wide_gamut", "warning", "a colour profile other than sRGB: the trainer ignores it and learns false colours"),
        ("sixteen_bit_color", "notice", "16 bits a channel: the trainer reads the upper 8"),
        ("palette", "notice", "a palette of at most 256 colours"),
        ("grey", "notice", "no colour: the LoRA learns grey pictures"),
    )
    for fault, level, message in texts:
        if names := _names_where(trained, lambda record, fault=fault: fault in record.header.faults):  # type: ignore[misc]
            yield noticed(fault, level, message, names)
    if names := _names_where(trained, lambda record: bool(record.damage) and "truncated" not in record.header.faults):
        yield noticed("damaged", "error", "the picture cannot be decoded whole", names)
    if names := _names_where(trained, lambda record: record.header.orientation != 1):
        yield noticed("exif_rotation", "error", "turned by EXIF data only: the trainer sees it unturned, save it upright", names)
    if names := _names_where(trained, lambda record: bool(record.header.format) and record.header.format != _format_of(record)):
        yield noticed("wrong_suffix", "notice", "the content is of another format than the extension says", names)
    if names := _names_where(trained, lambda record: record.header.width * record.header.height > MAX_PIXELS):
        yield noticed("too_large", "error", f"over {MAX_PIXELS:,} pixels", names)


def _format_of(record: PictureRecord) -> str:
    """The format that a picture's extension names."""
    suffix = _suffix(record).upper()
    return {"JPG": "JPEG"}.get(suffix, suffix)


def _check_sizes(trained: TrainingSet, settings: CheckSettings) -> Iterator[Finding]:
    headers = [record.header for record in trained.records]
    sizes = Counter((header.width, header.height) for header in headers if header.width and header.height)
    if len(sizes) > 1:
        yield noticed("mixed_resolutions", "notice", f"{len(sizes)} different resolutions: {_resolutions(sizes)}")
    buckets = bucket_sizes(settings.bucket)
    faults = {size: _size_faults(size, place_picture(*size, settings.bucket, buckets), settings) for size in sizes}
    found: dict[str, list[str]] = {"unplaced": [], "narrow": [], "enlarged": [], "cropped": []}
    for record in trained.records:
        for fault in faults.get((record.header.width, record.header.height), ()):
            found[fault].append(record.name)
    unplaced, narrow, enlarged, cropped = found.values()
    resolution = settings.bucket.resolution
    if unplaced:
        yield noticed("no_bucket", "error", "too narrow for any bucket: the trainer would stop", tuple(unplaced))
    if narrow:
        yield noticed("narrow", "warning", f"one side is more than {TOO_WIDE:g} times the other", tuple(narrow))
    if enlarged:
        text = f"the trainer enlarges it more than {settings.upscale_warning:g} times to reach {resolution}: the LoRA learns the blur"
        yield noticed("upscaled", "warning", text, tuple(enlarged))
    if cropped:
        yield noticed("cropped", "warning", f"the trainer cuts off more than {settings.crop_warning:.0%} of it", tuple(cropped))


def _size_faults(size: tuple[int, int], placement: BucketPlacement | None, settings: CheckSettings) -> list[str]:
    if placement is None:
        return ["unplaced"]
    tests = (
        ("narrow", max(size) > TOO_WIDE * min(size)),
        ("enlarged", placement.scale > settings.upscale_warning),
        ("cropped", placement.cropped_away > settings.crop_warning),
    )
    return [fault for fault, holds in tests if holds]


def _resolutions(counts: Counter[tuple[int, int]]) -> str:
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{width}x{height} ({count})" for (width, height), count in common[:4])
    return shown + (", …" if len(common) > 4 else "")


def _is_unicode(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
