"""What a card costs by the hour: the policy's rate, found also by the name that `nvidia-smi` or a bill gives the card."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lifeos.errors import InputError, did_you_mean

MAKERS = frozenset({"nvidia", "geforce", "tesla", "quadro", "amd", "radeon", "instinct", "gpu", "graphics", "generation"})
FORM = re.compile(r"sxm\d?|pcie|hbm\d?e?|oam|\d+gb")
"""How a card is built and how much memory it has: the same card for the purpose of a price, unless the policy's name says it too."""


def find_rate(rates: Mapping[str, object], gpu: str) -> str:
    """The name in the policy of this card: the same words in any case, without the maker and the form that the policy leaves out.

    `NVIDIA GeForce RTX 4090` is `RTX 4090`; `NVIDIA A100-SXM4-80GB` is `A100 80GB`. Any further word makes it another card: `RTX 4090 D`
    and `RTX 4090 Laptop GPU` have prices of their own. Raises InputError for a card without a rate.
    """
    if gpu in rates:
        return gpu
    words = _words(gpu)
    fitting = [name for name in rates if _words(name) and _words(name) <= words and all(map(_is_form, words - _words(name)))]
    closest = max((len(_words(name)) for name in fitting), default=0)
    best = [name for name in fitting if len(_words(name)) == closest]
    if len(best) == 1:
        return best[0]
    if best:
        raise InputError(gpu, f"the policy has several rates that fit: {', '.join(best)}", "name one of them, or give --rate-per-hr")
    raise InputError(gpu, "no rate for this GPU in the policy", f"{did_you_mean(gpu, rates)}; or give --rate-per-hr")


def _words(name: str) -> frozenset[str]:
    joined = re.sub(r"(\d+)\s+(gb)\b", r"\1\2", name.lower())
    return frozenset(re.findall(r"[a-z0-9]+", joined)) - MAKERS


def _is_form(word: str) -> bool:
    return FORM.fullmatch(word) is not None
