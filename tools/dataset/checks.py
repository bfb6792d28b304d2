"""Check a training set for what would stop the trainer or teach the wrong thing, from its listing, headers and captions.

Nothing here opens a file: `check_dataset` judges what `scan` and `hashing` found. Checks that look at faces are in `face_checks`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lifeos.images import MAX_PIXELS
from tools.dataset.bucketing import BucketSettings, Placement, bucket_sizes, place_picture
from tools.dataset.hashing import Caption, PictureRecord
from tools.dataset.notices import Level, Notice
from tools.dataset.scan import Scan

DETECTION_NAME = re.compile(r"(.+)_[^_/]*_[^_/]*_[^_/]*_[^_/]*")
"""The trainer takes the last four parts of `a_1_2_3_4.png` for a face box and looks for the caption `a.txt` too."""

WORD_CHARS_PER_TOKEN = 6
TOO_WIDE = 3.0
"""Longer sides beyond this multiple of the shorter one leave little after cropping to a bucket."""


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What a set is judged by. `clip_tokens`: how many fit into one chunk of the text encoder (77 less begin and end)."""

    trigger_word: str | None = None
    clip_tokens: int = 75
    upscale_warning: float = 1.25
    crop_warning: float = 0.2
    bucket: BucketSettings = field(default_factory=BucketSettings)


def check_dataset(scan: Scan, records: Sequence[PictureRecord], settings: CheckSettings) -> list[Notice]:
    """Every finding about a set, errors first, each with the files it holds for."""
    notices = [
        *_check_listing(scan, is_empty=not records),
        *_check_names(records),
        *_check_pictures(records),
        *_check_sizes(records, settings),
    ]
    notices += [*_check_captions(records), *_check_caption_texts(records, settings)]
    order = {"error": 0, "warning": 1, "notice": 2}
    return sorted(notices, key=lambda notice: order[notice.level])


def _check_listing(scan: Scan, *, is_empty: bool) -> Iterator[Notice]:
    texts: dict[str, tuple[str, Level, str]] = {
        "link_outside": ("link_outside", "warning", "a link that leaves the dataset is no part of it: copy the file here"),
        "link_broken": ("link_broken", "warning", "a link that leads nowhere"),
        "special": ("special_file", "warning", "not a regular file"),
        "other_format": ("other_format", "warning", "a format that the trainer does not read: save it as PNG, JPEG or WebP"),
        "latent_cache": ("latent_cache", "warning", "a cache of the trainer (.npz), used even where the picture has changed"),
        "junk": ("left_over", "notice", "a left-over of a system or an editor, no part of the dataset"),
    }
    for reason, (check, level, message) in texts.items():
        if names := scan.skipped.get(reason):
            yield Notice(check, level, message, tuple(sorted(names)))
    if scan.orphans:
        yield Notice("caption_without_picture", "warning", "a caption without a picture of its name", tuple(scan.orphans))
    if is_empty:
        yield Notice("no_pictures", "error", "there is no picture in the dataset")


def _check_names(records: Sequence[PictureRecord]) -> Iterator[Notice]:
    if names := _clashing(records, lambda record: unicodedata.normalize("NFC", record.name).casefold()):
        yield Notice("name_collision", "warning", "names that are one on Windows and macOS (case, or accents stored in two ways)", names)
    if names := _clashing(records, lambda record: record.name.rpartition(".")[0]):
        yield Notice("shared_caption", "warning", "pictures that differ only in their extension share a caption and a latent cache", names)
    if names := tuple(record.name for record in records if not _is_unicode(record.name)):
        yield Notice("name_not_utf8", "warning", "the name is not UTF-8: other systems cannot store it", names)
    suffixes = ((record.name, record.name.rpartition(".")[2]) for record in records)
    if names := tuple(name for name, suffix in suffixes if suffix not in (suffix.lower(), suffix.upper())):
        yield Notice("mixed_case_suffix", "error", "the trainer skips an extension in mixed case: write it in small letters", names)
    if names := _clashing(records, lambda record: record.digest):
        yield Notice("duplicate_picture", "warning", "the same picture under several names: it is trained on more often", names)


def _clashing(records: Sequence[PictureRecord], key: Callable[[PictureRecord], str | bytes]) -> tuple[str, ...]:
    """The names of all pictures that share their key with another, group by group."""
    seen: set[int] = set()  # hashes of keys: a large set has few clashes, and its keys would take more memory than its records
    twice: set[int] = set()
    for record in records:
        mark = hash(key(record))
        (twice if mark in seen else seen).add(mark)
    if not twice:
        return ()
    groups: dict[str | bytes, list[str]] = defaultdict(list)
    for record in records:
        if hash(found := key(record)) in twice:
            groups[found].append(record.name)
    return tuple(name for names in groups.values() if len(names) > 1 for name in names)


def _check_pictures(records: Sequence[PictureRecord]) -> Iterator[Notice]:
    faulty = [record for record in records if record.header.faults]

    def with_fault(fault: str) -> tuple[str, ...]:
        return tuple(record.name for record in faulty if fault in record.header.faults)

    texts: tuple[tuple[str, Level, str], ...] = (
        ("unreadable", "error", "not a PNG, JPEG, WebP or BMP picture"),
        ("truncated", "error", "the file ends before the picture does"),
        ("sixteen_bit", "error", "16 bits a channel: the trainer clips it to white, save it with 8"),
        ("animated", "warning", "animated: only its first frame would be trained on"),
        ("alpha", "warning", "an alpha channel: the trainer drops it and shows what lies beneath, save it on a background"),
        ("cmyk", "warning", "CMYK: colours change when it is read, save it as RGB"),
        ("palette", "notice", "a palette of at most 256 colours"),
        ("grey", "notice", "no colour: the LoRA learns grey pictures"),
    )
    for fault, level, message in texts:
        if names := with_fault(fault):
            yield Notice(fault, level, message, names)
    if names := tuple(record.name for record in records if record.damage and "truncated" not in record.header.faults):
        yield Notice("damaged", "error", "the picture cannot be decoded whole", names)
    if names := tuple(record.name for record in records if record.header.orientation != 1):
        yield Notice("exif_rotation", "error", "turned by EXIF data only: the trainer sees it unturned, save it upright", names)
    if names := tuple(record.name for record in records if _has_other_format(record)):
        yield Notice("wrong_suffix", "notice", "the content is of another format than the extension says", names)
    if names := tuple(record.name for record in records if record.header.width * record.header.height > MAX_PIXELS):
        yield Notice("too_large", "error", f"over {MAX_PIXELS:,} pixels", names)


def _has_other_format(record: PictureRecord) -> bool:
    suffix = record.name.rpartition(".")[2].lower()
    return record.header.format not in ("", {"jpg": "JPEG"}.get(suffix, suffix.upper()))


def _check_sizes(records: Sequence[PictureRecord], settings: CheckSettings) -> Iterator[Notice]:
    sizes = Counter((record.header.width, record.header.height) for record in records if record.header.width and record.header.height)
    if len(sizes) > 1:
        yield Notice("mixed_resolutions", "warning", f"{len(sizes)} different resolutions: {_resolutions(sizes)}")
    buckets = bucket_sizes(settings.bucket)
    faults = {size: _size_faults(size, place_picture(*size, settings.bucket, buckets), settings) for size in sizes}
    found: dict[str, list[str]] = {"unplaced": [], "narrow": [], "enlarged": [], "cropped": []}
    for record in records:
        for fault in faults.get((record.header.width, record.header.height), ()):
            found[fault].append(record.name)
    unplaced, narrow, enlarged, cropped = found.values()
    resolution = settings.bucket.resolution
    if unplaced:
        yield Notice("no_bucket", "error", "too narrow for any bucket: the trainer would stop", tuple(unplaced))
    if narrow:
        yield Notice("narrow", "warning", f"one side is more than {TOO_WIDE:g} times the other", tuple(narrow))
    if enlarged:
        text = f"the trainer enlarges it more than {settings.upscale_warning:g} times to reach {resolution}: the LoRA learns the blur"
        yield Notice("upscaled", "warning", text, tuple(enlarged))
    if cropped:
        yield Notice("cropped", "warning", f"the trainer cuts off more than {settings.crop_warning:.0%} of it", tuple(cropped))


def _size_faults(size: tuple[int, int], placement: Placement | None, settings: CheckSettings) -> list[str]:
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


def _check_captions(records: Sequence[PictureRecord]) -> Iterator[Notice]:
    missing = [record.name for record in records if record.caption is None]
    # most sets have a caption for each picture: no use for the stems then
    stems = {record.caption.name.rpartition(".")[0] for record in records if record.caption} if missing else set()
    borrowed = [name for name in missing if (match := DETECTION_NAME.fullmatch(name.rpartition(".")[0])) and match[1] in stems]
    if missing:
        yield Notice("picture_without_caption", "warning", "a picture without a caption: the trainer uses the class tokens", tuple(missing))
    if borrowed:
        text = "without a caption of its own the trainer takes that of the picture named before the last four underscores"
        yield Notice("borrowed_caption", "warning", text, tuple(borrowed))
    texts: tuple[tuple[str, Level, str], ...] = (
        ("empty", "error", "an empty caption file: the trainer stops there"),
        ("not_utf8", "error", "the caption is not UTF-8: the trainer stops there"),
        ("blank", "warning", "the caption's first line, the only one that is read, is blank"),
        ("bom", "warning", "the caption begins with a byte order mark, which becomes part of its first word"),
        ("multi_line", "notice", "only the first line of the caption is read"),
        ("very_long", "warning", "the caption is far too long"),
    )
    faulty = [record.caption for record in records if record.caption and record.caption.faults]
    for fault, level, message in texts:
        if names := tuple(caption.name for caption in faulty if fault in caption.faults):
            yield Notice(f"caption_{fault}", level, message, names)


def _check_caption_texts(records: Sequence[PictureRecord], settings: CheckSettings) -> Iterator[Notice]:
    captions = [record.caption for record in records if record.caption]
    lines = [first_line(caption) for caption in captions]
    if len(lines) > 1 and len(set(lines)) == 1 and lines[0]:
        yield Notice("identical_captions", "warning", f"all {len(lines)} captions are the same: nothing but the character is told apart")
    elif len(lines) >= 4 and (most := max(Counter(lines).values())) * 2 > len(lines):
        yield Notice("repeated_caption", "warning", f"one caption is used {most} times in {len(lines)}")
    word = settings.trigger_word
    if word and (names := tuple(caption.name for caption in captions if not has_trigger_word(first_line(caption), word))):
        yield Notice("trigger_word_missing", "warning", f'the caption does not name the trigger word "{word}"', names)
    if long := [caption.name for caption in captions if is_too_long(caption, settings.clip_tokens)]:
        text = f"over about {settings.clip_tokens} tokens: the trainer cuts the rest off, shorten it or give --max-token-length"
        yield Notice("caption_too_long", "warning", text, tuple(long))


def first_line(caption: Caption) -> str:
    """What the trainer reads of a caption."""
    return (caption.text.split("\n", 1)[0] if "\n" in caption.text else caption.text).strip()  # mostly the text itself: no copy


def has_trigger_word(text: str, word: str) -> bool:
    """Whether the word stands by itself in the text, whatever its case: `amira` is not in `amiranoor`."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def is_too_long(caption: Caption, limit: int) -> bool:
    line = first_line(caption)
    if len(line) <= limit and "very_long" not in caption.faults:
        return False  # a token has a character at least
    return "very_long" in caption.faults or count_tokens(line) > limit


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
