"""Words in captions that name what makes the character herself: hair, eyes, face.

What every caption says of her, the LoRA ties to those words and not to the trigger word: the trigger word alone then calls somebody else.
What changes from picture to picture belongs in the captions, what never changes does not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from lifeos.findings import Finding
from tools.dataset.notices import noticed

FEATURES = frozenset(
    {
        *("hair", "haired", "hairstyle", "bangs", "braid", "braids", "ponytail", "curls", "eye", "eyes", "eyed", "eyebrow", "eyebrows"),
        *("eyelashes", "lips", "nose", "cheeks", "cheekbones", "chin", "jaw", "jawline", "forehead", "ears", "face", "faced", "skin"),
        *(
            "skinned",
            "complexion",
            "freckles",
            "freckled",
            "dimples",
            "mole",
            "birthmark",
            "scar",
            "beard",
            "mustache",
            "moustache",
            "stubble",
        ),
    }
)
"""Parts of a person that stay the same from picture to picture. A haircut may change; then it does not stand in every caption."""

ALONE = frozenset(
    {"freckles", "freckled", "dimples", "mole", "birthmark", "scar", "beard", "mustache", "moustache", "stubble", "cheekbones"}
)
"""Features that say something without an adjective before them."""

NO_ADJECTIVES = frozenset(
    {
        *(
            "a",
            "an",
            "the",
            "her",
            "his",
            "their",
            "its",
            "with",
            "and",
            "or",
            "of",
            "on",
            "in",
            "to",
            "at",
            "by",
            "has",
            "have",
            "is",
            "are",
        ),
        *("from", "over", "for", "into", "behind", "across", "whose", "she", "he", "this", "that", "up", "down", "s", "one", "two", "both"),
        *("closed", "close", "looking", "open", "half", "detailed"),
    }
)
"""Words before a feature that tell nothing of it, or a pose of the moment."""

EVERYWHERE = 0.9
"""Of the captions: a word that is left out of one in ten still teaches the trigger word nothing."""

FEWEST_CAPTIONS = 4


def find_identity_words(captions: Sequence[str], trigger_word: str | None = None) -> list[tuple[str, int]]:
    """(words, number of captions) of every feature that nearly all captions name in the same words, the most frequent first."""
    if len(captions) < FEWEST_CAPTIONS:
        return []
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(_features_of(caption, trigger_word))
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(words, count) for words, count in most_first if count >= EVERYWHERE * len(captions)]


def _features_of(caption: str, trigger_word: str | None) -> set[str]:
    """`brown hair`, `freckles` …: each feature of a caption with the word before it."""
    found = set()
    for part in re.split(r"[,.;:!?()\n]+", caption.lower().replace("_", " ").replace("-", " ")):
        words = re.findall(r"[^\W\d_]+", part)
        for before, word in zip(["", *words], words, strict=False):
            if word not in FEATURES:
                continue
            if before and before not in NO_ADJECTIVES | FEATURES and before != (trigger_word or "").lower():
                found.add(f"{before} {word}")
            elif word in ALONE:
                found.add(word)
    return found


def check_identity_words(captions: Sequence[str], trigger_word: str | None) -> Iterator[Finding]:
    """The finding, if there is any."""
    found = find_identity_words(captions, trigger_word)
    if found:
        named = ", ".join(f'"{words}" in {count} of {len(captions)}' for words, count in found)
        called = f'the trigger word "{trigger_word}"' if trigger_word else "the trigger word"
        text = f"nearly every caption says what never changes ({named}): the LoRA ties it to these words, and {called} learns nothing of it"
        fix = "take these words out of the captions, and name only what changes: clothes, place, pose, light"
        yield noticed("identity_words", "warning", text, (), fix)
