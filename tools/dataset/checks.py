"""Check a training set for what would stop the trainer or teach the wrong thing, from its listing, headers and captions.

Nothing here opens a file: `check_dataset` looks at what was listed and read. Checks that look at faces are in `face_checks`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lifeos.findings import Finding, Severity
from lifeos.images import MAX_PIXELS
from tools.dataset.bucketing import BucketPlacement, BucketSettings, bucket_sizes, place_picture
from tools.dataset.notices import noticed
from tools.dataset.training_set import PictureRecord, TrainingSet
from tools.families.families import SDXL

DETECTION_NAME = re.compile(r"(.+)_[^_/]*_[^_/]*_[^_/]*_[^_/]*")
"""The trainer takes the last four parts of `a_1_2_3_4.png` for a face box and looks for the caption `a.txt` too."""

WORD_CHARS_PER_TOKEN = 6
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
        *_check_captions(trained),
        *_check_caption_texts(trained, settings),
    ]
    order = {"error": 0, "warning": 1, "notice": 2}
    return sorted(notices, key=lambda notice: order[notice.severity])


def _check_listing(trained: TrainingSet) -> Iterator[Finding]:
    texts: dict[str, tuple[str, Severity, str]] = {
        "link_outside": ("link_outside", "warning", "a link that leaves the dataset is no part of it: copy the file here"),
        "link_broken": ("link_broken", "warning", "a link that leads nowhere"),
        "special": ("special_file", "warning", "not a regular file"),
        "other_format": ("other_format", "warning", "a format that the trainer does not read: save it as PNG, JPEG or WebP"),
        "latent_cache": ("latent_cache", "warning", "a cache of the trainer (.npz), used even where the picture has changed"),
        "junk": ("left_over", "notice", "a left-over of a system or an editor, no part of the dataset"),
    }
    for reason, (check, level, message) in texts.items():
        if names := trained.skipped.get(reason):
            yield noticed(check, level, message, tuple(sorted(names)))
    if trained.orphans:
        yield noticed("caption_without_picture", "warning", "a caption without a picture of its name", trained.orphans)
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
        (
            "long_text",
            "error",
            "over 1 MB of compressed text (a workflow) or profile: the trainer stops there, save it without",
        ),
        ("animated", "warning", "animated: only its first frame would be trained on"),
        ("alpha", "warning", "an alpha channel: the trainer drops it and shows what lies beneath, save it on a background"),
        ("cmyk", "warning", "CMYK: colours change when it is read, save it as RGB"),
        ("wide_gamut", "warning", "a colour profile other than sRGB: the trainer ignores it and learns false colours, save it as sRGB"),
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
        yield noticed("mixed_resolutions", "warning", f"{len(sizes)} different resolutions: {_resolutions(sizes)}")
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


def _check_captions(trained: TrainingSet) -> Iterator[Finding]:
    if missing := _names_where(trained, lambda record: record.caption is None):
        yield noticed("picture_without_caption", "warning", "a picture without a caption: the trainer uses the class tokens", missing)
    there = {caption.name for caption in trained.captions}
    if borrowed := tuple(name for name in missing if _borrowed_caption(name, trained.caption_extension) in there):
        text = "without a caption of its own the trainer takes that of the picture named before the last four underscores"
        yield noticed("borrowed_caption", "warning", text, borrowed)
    texts: tuple[tuple[str, Severity, str], ...] = (
        ("empty", "error", "an empty caption file: the trainer stops there"),
        ("not_utf8", "error", "the caption is not UTF-8: the trainer stops there"),
        ("blank", "warning", "the caption's first line, the only one that is read, is blank"),
        ("bom", "warning", "the caption begins with a byte order mark, which becomes part of its first word"),
        ("multi_line", "notice", "only the first line of the caption is read"),
        ("very_long", "warning", "the caption is far too long"),
    )
    for fault, level, message in texts:
        if names := tuple(caption.name for caption in trained.captions if fault in caption.faults):
            yield noticed(f"caption_{fault}", level, message, names)


def _borrowed_caption(name: str, caption_extension: str) -> str | None:
    """Whose caption the trainer gives to a picture without one."""
    match = DETECTION_NAME.fullmatch(name.rpartition(".")[0])
    return match[1] + caption_extension if match else None


def _check_caption_texts(trained: TrainingSet, settings: CheckSettings) -> Iterator[Finding]:
    lines = [(caption, first_line(caption.text)) for caption in trained.captions]
    total = len(lines)
    most_used, most = next(iter(Counter(line for _, line in lines).most_common(1)), ("", 0))
    if total > 1 and most == total and most_used:
        yield noticed(
            "identical_captions",
            "warning",
            f"all {total} captions are the same: the LoRA cannot tell the character from the rest of the picture",
        )
    elif total >= 4 and most * 2 > total:
        yield noticed("repeated_caption", "warning", f"one caption is used {most} times in {total}")
    word = settings.trigger_word
    if word and (names := tuple(caption.name for caption, line in lines if not has_trigger_word(line, word))):
        yield noticed("trigger_word_missing", "warning", f'the caption does not name the trigger word "{word}"', names)
    if names := tuple(caption.name for caption, line in lines if "very_long" in caption.faults or is_too_long(line, settings.clip_tokens)):
        text = f"over about {settings.clip_tokens} tokens: the trainer cuts the rest off, shorten it or give --max-token-length"
        yield noticed("caption_too_long", "warning", text, names)


def first_line(text: str) -> str:
    """What the trainer reads of a caption."""
    return text.split("\n", 1)[0].strip()


def has_trigger_word(text: str, word: str) -> bool:
    """Whether the word stands by itself in the text, whatever its case: `amira` is not in `amiranoor`."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def is_too_long(line: str, limit: int) -> bool:
    return len(line) > limit and count_tokens(line) > limit  # a token has a character at least


def count_tokens(text: str) -> int:
    """About how many CLIP tokens a text has, without CLIP's vocabulary: a piece of punctuation or a digit is one, a word one for every
    WORD_CHARS_PER_TOKEN letters begun. Ordinary prose comes out a little high, so a caption is not called short that is cut off."""
    pieces = re.findall(r"[^\W\d_]+|\d|[^\s\w]+|_+", text)
    return sum(-(-len(piece) // WORD_CHARS_PER_TOKEN) if piece[0].isalpha() else 1 for piece in pieces)


def _is_unicode(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
