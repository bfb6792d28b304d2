"""What kind of text a caption is: a list of tags, or a sentence; and a set's captions in the words that people compare versions by."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

Style = Literal["tags", "sentence", "short"]

TAG_WORDS = 3.0
"""A tag has about this many words at most, on average over a caption; the parts of a sentence between commas have more."""
SENTENCE_WORDS = 6
"""Fewer words between two commas are no sentence."""
FEWEST_TAGS = 3
MIXED_SHARE = 0.15
"""Captions of the rarer style are a mixture from this share on: fewer are slips."""
GENERIC_SHARE = 0.5
"""Captions are called generic if at most this share of them is different: the pictures are not told apart."""
FEWEST_GENERIC = 4
SENTENCES, NO_SENTENCES = 0.3, 0.05
"""Of the parts between commas: from this share of long ones on captions are sentences, up to that they are tags."""


def style_of(caption: str) -> Style:
    """The style of one caption, by its commas and the words between them. `short`: too little to tell."""
    parts = [part for part in re.split(r"[,;\n]+", caption) if part.strip()]
    words = [len(part.split()) for part in parts]
    if not parts:
        return "short"
    mean = sum(words) / len(words)
    if len(parts) >= FEWEST_TAGS and mean <= TAG_WORDS:
        return "tags"
    ends = re.search(r"[.!?][\"')]*\s*$", caption) is not None
    if max(words) >= SENTENCE_WORDS or (ends and sum(words) >= SENTENCE_WORDS):
        return "sentence"
    return "short"


def find_mixture(captions: Iterable[str]) -> tuple[list[int], list[int]]:
    """(places of tag lists, places of sentences) if a set mixes the two; two empty lists if not."""
    styles = [style_of(caption) for caption in captions]
    tags = [place for place, style in enumerate(styles) if style == "tags"]
    sentences = [place for place, style in enumerate(styles) if style == "sentence"]
    if min(len(tags), len(sentences)) >= max(1, MIXED_SHARE * (len(tags) + len(sentences))):
        return tags, sentences
    return [], []


def describe_captions(captions: Sequence[str | None]) -> str:
    """`generic captions (5 different in 36)`, `tag captions`, `sentence captions for 20 of 36 pictures`, `no captions`: one entry
    for each picture, None where it has no caption. Empty for no picture."""
    if not captions:
        return ""
    given = [" ".join(caption.split()) for caption in captions if caption and caption.strip()]
    if not given:
        return "no captions"
    some = "" if len(given) == len(captions) else f" for {len(given)} of {len(captions)} pictures"
    different = len(set(given))
    if len(given) >= FEWEST_GENERIC and different <= GENERIC_SHARE * len(given):
        return f"generic captions ({different} different in {len(given)})"
    if any(find_mixture(given)):
        return f"tag and sentence captions{some}"
    style = Counter(map(style_of, given)).most_common(1)[0][0]
    return f"{'tag' if style == 'tags' else style} captions{some}"


def describe_parts(counts: Mapping[str, int]) -> str:
    """The same from how often each part between commas stands in a set's captions, which is all that some trainers keep. Empty if that does
    not tell."""
    total = sum(counts.values())
    most = max(counts.values(), default=0)
    if most >= FEWEST_GENERIC and all(count >= most for count in counts.values()):
        return f"generic captions (1 different in {most})"
    if total < FEWEST_GENERIC:
        return ""
    long = sum(count for part, count in counts.items() if len(part.split()) >= SENTENCE_WORDS)
    if long >= SENTENCES * total:
        return "sentence captions"
    return "tag captions" if long <= NO_SENTENCES * total else ""
