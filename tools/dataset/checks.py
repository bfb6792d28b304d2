"""Check a training set for what would stop the trainer or teach the wrong thing, from its listing, headers and captions.

Nothing here opens a file: `check_dataset` asks the catalogue of what was listed and read. Checks that look at faces are in `face_checks`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from lifeos.findings import Finding, Severity
from lifeos.images import MAX_PIXELS
from tools.dataset.bucketing import BucketSettings, Placement, bucket_sizes, place_picture
from tools.dataset.catalogue import PAIRS, Catalogue
from tools.dataset.notices import noticed
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


def check_dataset(catalogue: Catalogue, settings: CheckSettings) -> list[Finding]:
    """Every finding about a set, errors first, each with the files it holds for."""
    notices = [
        *_check_listing(catalogue),
        *_check_names(catalogue),
        *_check_pictures(catalogue),
        *_check_sizes(catalogue, settings),
        *_check_captions(catalogue),
        *_check_caption_texts(catalogue, settings),
    ]
    order = {"error": 0, "warning": 1, "notice": 2}
    return sorted(notices, key=lambda notice: order[notice.severity])


def _check_listing(catalogue: Catalogue) -> Iterator[Finding]:
    texts: dict[str, tuple[str, Severity, str]] = {
        "link_outside": ("link_outside", "warning", "a link that leaves the dataset is no part of it: copy the file here"),
        "link_broken": ("link_broken", "warning", "a link that leads nowhere"),
        "special": ("special_file", "warning", "not a regular file"),
        "other_format": ("other_format", "warning", "a format that the trainer does not read: save it as PNG, JPEG or WebP"),
        "latent_cache": ("latent_cache", "warning", "a cache of the trainer (.npz), used even where the picture has changed"),
        "junk": ("left_over", "notice", "a left-over of a system or an editor, no part of the dataset"),
    }
    for reason, (check, level, message) in texts.items():
        if names := catalogue.skipped.get(reason):
            yield noticed(check, level, message, tuple(sorted(names)))
    if orphans := catalogue.names("SELECT name FROM orphan ORDER BY name"):
        yield noticed("caption_without_picture", "warning", "a caption without a picture of its name", orphans)
    if not len(catalogue.records):
        yield noticed("no_pictures", "error", "there is no picture in the dataset")


def _check_names(catalogue: Catalogue) -> Iterator[Finding]:
    catalogue.add_function("folded", lambda name: os.fsencode(unicodedata.normalize("NFC", os.fsdecode(name)).casefold()))
    if names := _clashing(catalogue, "folded(name)"):
        yield noticed("name_collision", "warning", "names that are one on Windows and macOS (case, or accents stored in two ways)", names)
    if names := _clashing(catalogue, "caption"):
        yield noticed("shared_caption", "warning", "pictures that differ only in their extension share a caption and a latent cache", names)
    if names := tuple(name for name in catalogue.each_name() if not _is_unicode(name)):
        yield noticed("name_not_utf8", "warning", "the name is not UTF-8: other systems cannot store it", names)
    suffixes = ((name, name.rpartition(".")[2]) for name in catalogue.each_name())
    if names := tuple(name for name, suffix in suffixes if suffix not in (suffix.lower(), suffix.upper())):
        yield noticed("mixed_case_suffix", "error", "the trainer skips an extension in mixed case: write it in small letters", names)
    if names := _clashing(catalogue, "sha256"):
        yield noticed("duplicate_picture", "warning", "the same picture under several names: it is trained on more often", names)


def _clashing(catalogue: Catalogue, key: str) -> tuple[str, ...]:
    """The names of all pictures that share their key, an SQL expression, with another, group by group."""
    twice = f"SELECT {key} FROM picture GROUP BY {key} HAVING COUNT(*) > 1"
    if next(catalogue.rows(twice), None) is None:
        return ()
    grouped = f"SELECT name, MIN(name) OVER (PARTITION BY {key}) AS first FROM picture WHERE {key} IN ({twice})"
    return catalogue.names(f"SELECT name FROM ({grouped}) ORDER BY first, name")


def _check_pictures(catalogue: Catalogue) -> Iterator[Finding]:
    faulty = [
        (name, faults.split()) for name, faults in catalogue.rows("SELECT name, faults FROM picture WHERE faults <> '' ORDER BY name")
    ]
    texts: tuple[tuple[str, Severity, str], ...] = (
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
        if names := tuple(os.fsdecode(name) for name, faults in faulty if fault in faults):
            yield noticed(fault, level, message, names)
    if names := _pictures_where(catalogue, "damage <> '' AND faults NOT LIKE '%truncated%'"):
        yield noticed("damaged", "error", "the picture cannot be decoded whole", names)
    if names := _pictures_where(catalogue, "orientation <> 1"):
        yield noticed("exif_rotation", "error", "turned by EXIF data only: the trainer sees it unturned, save it upright", names)
    formats = catalogue.rows("SELECT name, format FROM picture WHERE format <> '' ORDER BY name")
    if names := tuple(os.fsdecode(name) for name, found in formats if found != _format_of(name)):
        yield noticed("wrong_suffix", "notice", "the content is of another format than the extension says", names)
    if names := _pictures_where(catalogue, f"width * height > {MAX_PIXELS}"):
        yield noticed("too_large", "error", f"over {MAX_PIXELS:,} pixels", names)


def _pictures_where(catalogue: Catalogue, condition: str) -> tuple[str, ...]:
    return catalogue.names(f"SELECT name FROM picture WHERE {condition} ORDER BY name")


def _format_of(name: bytes) -> str:
    """The format that a picture's extension names."""
    suffix = os.fsdecode(name).rpartition(".")[2].upper()
    return {"JPG": "JPEG"}.get(suffix, suffix)


def _check_sizes(catalogue: Catalogue, settings: CheckSettings) -> Iterator[Finding]:
    counted = catalogue.rows("SELECT width, height, COUNT(*) FROM picture WHERE width > 0 AND height > 0 GROUP BY width, height")
    sizes = Counter({(width, height): count for width, height, count in counted})
    if len(sizes) > 1:
        yield noticed("mixed_resolutions", "warning", f"{len(sizes)} different resolutions: {_resolutions(sizes)}")
    buckets = bucket_sizes(settings.bucket)
    faults = {size: _size_faults(size, place_picture(*size, settings.bucket, buckets), settings) for size in sizes}
    found: dict[str, list[str]] = {"unplaced": [], "narrow": [], "enlarged": [], "cropped": []}
    if any(faults.values()):
        for name, width, height in catalogue.rows("SELECT name, width, height FROM picture ORDER BY name"):
            for fault in faults.get((width, height), ()):
                found[fault].append(os.fsdecode(name))
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


def _check_captions(catalogue: Catalogue) -> Iterator[Finding]:
    if missing := catalogue.names(f"SELECT p.name FROM {PAIRS} WHERE c.name IS NULL ORDER BY p.name"):
        yield noticed("picture_without_caption", "warning", "a picture without a caption: the trainer uses the class tokens", missing)
    if borrowed := tuple(name for name in missing if _borrows(catalogue, name)):
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
    query = f"SELECT c.name, c.faults FROM {PAIRS} WHERE c.faults <> '' ORDER BY p.name"
    faulty = [(name, faults.split()) for name, faults in catalogue.rows(query)]
    for fault, level, message in texts:
        if names := tuple(os.fsdecode(name) for name, faults in faulty if fault in faults):
            yield noticed(f"caption_{fault}", level, message, names)


def _borrows(catalogue: Catalogue, name: str) -> bool:
    """Whether the trainer gives a picture without a caption that of another."""
    match = DETECTION_NAME.fullmatch(name.rpartition(".")[0])
    if match is None:
        return False
    return any(catalogue.rows(f"SELECT 1 FROM {PAIRS} WHERE c.name = ?", [os.fsencode(match[1] + catalogue.caption_extension)]))


def _check_caption_texts(catalogue: Catalogue, settings: CheckSettings) -> Iterator[Finding]:
    catalogue.add_function("first_line", first_line)
    pairs = f"{PAIRS} WHERE c.name IS NOT NULL"
    total = catalogue.value(f"SELECT COUNT(*) FROM {pairs}")
    counts = f"SELECT COUNT(*) AS used, first_line(c.text) AS line FROM {pairs} GROUP BY line ORDER BY used DESC LIMIT 1"
    most, line = next(catalogue.rows(counts), (0, ""))
    if total > 1 and most == total and line:
        yield noticed(
            "identical_captions",
            "warning",
            f"all {total} captions are the same: the LoRA cannot tell the character from the rest of the picture",
        )
    elif total >= 4 and most * 2 > total:
        yield noticed("repeated_caption", "warning", f"one caption is used {most} times in {total}")
    word, without_word, long = settings.trigger_word, [], []
    for encoded, text, faults in catalogue.rows(f"SELECT c.name, c.text, c.faults FROM {pairs} ORDER BY p.name"):
        line = first_line(text)
        if word and not has_trigger_word(line, word):
            without_word.append(os.fsdecode(encoded))
        if "very_long" in faults or is_too_long(line, settings.clip_tokens):
            long.append(os.fsdecode(encoded))
    if without_word:
        yield noticed("trigger_word_missing", "warning", f'the caption does not name the trigger word "{word}"', tuple(without_word))
    if long:
        text = f"over about {settings.clip_tokens} tokens: the trainer cuts the rest off, shorten it or give --max-token-length"
        yield noticed("caption_too_long", "warning", text, tuple(long))


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
