"""Check the captions of a training set: files that stop the trainer, words that are missing, and words that teach the wrong thing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from lifeos.caption_style import find_mixture
from lifeos.counting import counted, verb
from lifeos.findings import Finding, Severity
from tools.dataset.identity_words import check_identity_words
from tools.dataset.notices import noticed
from tools.dataset.training_set import TrainingSet

DETECTION_NAME = re.compile(r"(.+)_[^_/]*_[^_/]*_[^_/]*_[^_/]*")
"""The trainer takes the last four parts of `a_1_2_3_4.png` for a face box and looks for the caption `a.txt` too."""

WORD_CHARS_PER_TOKEN = 6

MOST_CLIP_TOKENS = 225
"""What --max-token-length can be. Families that read more of a caption have other text encoders, and no such option."""


def check_captions(trained: TrainingSet, trigger_word: str | None, clip_tokens: int) -> Iterator[Finding]:
    """Every finding about the captions of a set. `clip_tokens`: how many of a caption the text encoder reads."""
    yield from _check_files(trained)
    lines = [(caption, first_line(caption.text)) for caption in trained.captions]
    yield from _check_repetition([line for _, line in lines])
    if trigger_word and (names := [caption.name for caption, line in lines if not has_trigger_word(line, trigger_word)]):
        yield noticed("trigger_word_missing", "warning", f'the caption does not name the trigger word "{trigger_word}"', names)
    if names := [caption.name for caption, line in lines if "very_long" in caption.faults or is_too_long(line, clip_tokens)]:
        more = " or give --max-token-length" if clip_tokens <= MOST_CLIP_TOKENS else ""
        text = f"over about {clip_tokens} tokens: the trainer cuts the rest off, shorten it{more}"
        yield noticed("caption_too_long", "warning", text, names)
    yield from _check_styles([(caption.name, line) for caption, line in lines])
    yield from check_identity_words([line for _, line in lines], trigger_word)


def _check_files(trained: TrainingSet) -> Iterator[Finding]:
    if missing := tuple(record.name for record in trained.records if record.caption is None):
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


def _check_repetition(lines: Sequence[str]) -> Iterator[Finding]:
    total = len(lines)
    most_used, most = next(iter(Counter(lines).most_common(1)), ("", 0))
    if total > 1 and most == total and most_used:
        text = f"all {total} captions are the same: the LoRA cannot tell the character from the rest of the picture"
        yield noticed("identical_captions", "warning", text)
    elif total >= 4 and most * 2 > total:
        yield noticed("repeated_caption", "warning", f"one caption is used {most} times in {total}")


def _check_styles(lines: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    tags, sentences = find_mixture(line for _, line in lines)
    if tags and sentences:
        fewer, word = (tags, "lists of tags") if len(tags) <= len(sentences) else (sentences, "sentences")
        lists = f"{counted(len(tags), 'caption')} {verb(len(tags), 'is a list', 'are lists')} of tags"
        whole = f"{len(sentences)} {verb(len(sentences), 'is a sentence', 'are sentences')}"
        text = f"{lists} and {whole}: a prompt of one style calls only half of the set"
        yield noticed("mixed_caption_styles", "warning", text, [lines[place][0] for place in fewer], f"rewrite those that are {word}")


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
