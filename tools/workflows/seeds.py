"""Seeds: which are possible, how the first of a batch is chosen, and that of each picture after it."""

from __future__ import annotations

import argparse

MAX_SEED = 2**64 - 1
"""The largest that ComfyUI's samplers take."""
SEED_BITS = 32
"""Of a seed that is drawn: enough that no two batches share one, and short enough to type."""
ROUND_STRIDE = 1_000_003
"""Between the base seeds of two rounds of a sweep."""


def choose_base_seed(given: int | None, begun: int | None) -> int:
    """The seed that was given, else that of the batch that was begun, else one drawn by chance."""
    if given is not None:
        return given
    import secrets

    return begun if begun is not None else secrets.randbits(SEED_BITS)


def seed_at(base_seed: int, place: int) -> int:
    """The seed of the picture at `place` (from 0): each next picture has the next seed, and after the largest comes 0."""
    return (base_seed + place) % (MAX_SEED + 1)


def round_seed(base_seed: int, number: int) -> int:
    """The base seed of a sweep's round (from 1): no round makes a picture of another again."""
    return base_seed + (number - 1) * ROUND_STRIDE


def parse_seed(text: str) -> int:
    """The value of a flag. Raises ArgumentTypeError."""
    from lifeos.arguments import whole_number

    value = whole_number(text)
    if not 0 <= value <= MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {MAX_SEED}")
    return value
