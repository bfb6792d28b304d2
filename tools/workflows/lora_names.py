"""What a LoRA's file name tells: whether two names mean one file, one character, or an accelerator."""

from __future__ import annotations

import re

ACCELERATOR = re.compile(
    r"lightning|turbo|(?<![a-z])(?:lcm|tcd|pcm|dmd2?|rcm)(?![a-z])|hyper[-_ ]?(?:sd|flux|\d)|lightx2v|causvid|accvid|fusionx|distill"
    r"|schnell|self[-_ ]?forcing|(?<![\dv.])\d{1,2}[-_ ]?steps?(?![a-z\d])|speed",
    re.IGNORECASE,
)
"""LoRAs that make few steps enough: they belong to the workflow."""
_COMMON = """
    lora loha lokr lycoris dora sdxl flux dev krea qwen image wan zimage chroma pony illustrious noobai hunyuan hidream ltx base model
    character char person woman man girl boy female male face style detail details add more the new old final last best test high low
    noise step steps epoch rank dim alpha fixed comfy comfyui edit realism realistic photo skin ema merged network adapter version
"""
COMMON_WORDS = frozenset(_COMMON.split())
"""Words that tell no character from another."""
STYLE = re.compile(r"style|detail|realis|texture|film|photo|anime|(?<![a-z])skin", re.IGNORECASE)
"""LoRAs that change how a picture looks, not who is in it."""
EMPTY = re.compile(r"(?:\[?none\]?|-+|disabled?|off|choose\b.*|select\b.*|insert\b.*)?", re.IGNORECASE | re.DOTALL)
"""Names that stand for no LoRA: an empty row, a list that only inserts words into a text."""


def same_file(one: str, other: str) -> bool:
    """Whether two names mean one file: `/` and `\\` are the same, and so are names with and without the suffix."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    return one_spelling(name).removesuffix(".safetensors").strip("/")


def one_spelling(name: str) -> str:
    """A name with `/` between its folders, as a ComfyUI on Linux lists it; one on Windows writes `\\`."""
    return name.replace("\\", "/")


def is_empty(name: str) -> bool:
    return EMPTY.fullmatch(name.strip()) is not None


def is_accelerator(name: str) -> bool:
    return bool(ACCELERATOR.search(_base(name)))


def is_style(name: str) -> bool:
    return bool(STYLE.search(_base(name)))


def is_indistinct(name: str) -> bool:
    """Whether a name tells no character: `v3-step1500`, `my_lora`."""
    return not (_words(name) or is_accelerator(name) or is_style(name))


def same_character(one: str, other: str) -> bool:
    """Whether two files are likely versions of one character: they share a word that is no version, model family or common word."""
    if is_accelerator(one) or is_accelerator(other):
        return False
    return bool(_words(one) & _words(other))


def _base(name: str) -> str:
    return _plain(name).rpartition("/")[2]


def _words(name: str) -> set[str]:
    parts = re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", _base(name)))
    whole = [part.lower() for part in parts]
    return {word for word in whole if len(word) > 2 and word not in COMMON_WORDS}
