"""The difference hash of a picture: 64 bits that near-duplicates share. Whole pictures only: what is cut otherwise has another hash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DUPLICATE_BITS = 4
"""Of 64. Measured: JPEG 0 to 2, half size 0 to 1, other light 0 to 4; different portraits 12 and more, a border cropped off about 4."""


def picture_hash(rgb: NDArray[np.uint8]) -> str:
    """The 64-bit difference hash of a picture, as 16 hexadecimal digits: a bit is set where a pixel of the grey picture, shrunk to 9 x 8,
    is brighter than its left neighbour (rows from the top, first bit highest). The digits are those of imagehash's `dhash`.
    """
    import numpy as np
    from PIL import Image

    grey = np.asarray(Image.fromarray(rgb).convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes().hex()


def hash_distance(first: str, second: str) -> int:
    """How many of the 64 bits of two hashes differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def mirrored_hash(digits: str) -> str:
    """The hash that the mirror image of a picture has, but for bits of cells that are equally bright."""
    return bytes(~int(f"{row:08b}"[::-1], 2) & 0xFF for row in bytes.fromhex(digits)).hex()


def find_like_hashes(hashes: Sequence[str | None]) -> Iterator[tuple[int, int, str]]:
    """Each hash that is near one before it, that first one's place, its own place, and `near` or `mirrored`.

    What is near an earlier one is not compared with what follows: a thousand copies are a thousand pairs, not half a million.
    """
    import numpy as np

    leaders: list[int] = []
    values = np.zeros((2, len(hashes)), dtype=np.uint64)  # of the leaders: as they are, and mirrored
    for place, digits in enumerate(hashes):
        if digits is None:
            continue
        count = len(leaders)
        bits = np.bitwise_count(values[:, :count] ^ np.uint64(int(digits, 16)))
        found = np.argwhere(bits.T <= DUPLICATE_BITS)  # by leader, then as it is before mirrored
        if len(found):
            leader, turned = found[0].tolist()
            yield leaders[leader], place, "mirrored" if turned else "near"
            continue
        values[:, count] = int(digits, 16), int(mirrored_hash(digits), 16)
        leaders.append(place)
