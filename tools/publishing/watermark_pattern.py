"""The watermark's patterns: a tile of noise that says "here is a mark", and one for each bit of the id.

Everything is fixed for good: a picture that was marked years ago must still be read. The patterns come from SHAKE-256 and elementary
arithmetic, so no library's random generator or matrix routine can change them. They live in the tile's spectrum, in the rings from
`LOWEST` to `HIGHEST` cycles a tile: waves of 5 to 21 pixels, which neither the eye nor JPEG and resizing take first.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Indices = NDArray[np.intp]

TILE = 128
"""Pixels a side of the pattern that is repeated over the picture."""
LOWEST, HIGHEST = 6, 24
"""Cycles a tile of the longest and the shortest wave."""
ID_BITS, CHECK_BITS = 32, 16
BITS = ID_BITS + CHECK_BITS
DOUBTED = 4
"""The faintest bits of a reading, of which one may be wrong."""
SYNC_SHARE = 0.35
"""Of the mark's energy, what finds the tile's place; the rest carries the bits."""
SEED = b"LifeOS watermark, version 1"


def bits_of(mark_id: int) -> Floats:
    """The 48 signs (+1 for a set bit) of an id and its checksum (CRC-16/CCITT from FFFF: id 0 has a checksum too)."""
    import numpy as np

    data = mark_id.to_bytes(ID_BITS // 8, "big")
    data += binascii.crc_hqx(data, 0xFFFF).to_bytes(CHECK_BITS // 8, "big")
    return np.unpackbits(np.frombuffer(data, np.uint8)).astype(np.float32) * 2 - 1


def id_of(values: Floats) -> int | None:
    """The id whose bits have the signs of 48 values, all of them or all but one of the faintest; None where the checksum is wrong.

    Of ids that cannot be read, one in 13,000 has a right checksum by chance.
    """
    import numpy as np

    bits = values > 0
    for turned in (None, *np.argsort(np.abs(values))[:DOUBTED]):
        if turned is not None:
            bits = values > 0
            bits[turned] = not bits[turned]
        data = np.packbits(bits).tobytes()
        id_bytes, check = data[: ID_BITS // 8], data[ID_BITS // 8 :]
        if binascii.crc_hqx(id_bytes, 0xFFFF) == int.from_bytes(check, "big"):
            return int.from_bytes(id_bytes, "big")
    return None


@functools.cache
def waves() -> tuple[Indices, Indices]:
    """Vertical and horizontal cycles a tile of each wave in the rings, one of each pair of opposite ones."""
    import numpy as np

    down, across = np.meshgrid(np.arange(-HIGHEST, HIGHEST + 1), np.arange(HIGHEST + 1), indexing="ij")
    squares = down**2 + across**2
    within = (squares >= LOWEST**2) & (squares <= HIGHEST**2) & ((across > 0) | (down > 0))
    return down[within], across[within]


@functools.cache
def patterns() -> Floats:
    """Orthonormal rows: the synchronisation pattern, then one for each bit. A row holds the waves' real, then their imaginary parts."""
    import numpy as np

    count = len(waves()[0])
    stream = hashlib.shake_256(SEED).digest(4 * count * (BITS + 1))
    angles = np.frombuffer(stream, "<u4").astype(np.float64).reshape(BITS + 1, count) * (2 * np.pi / 2**32)
    rows = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    for index, row in enumerate(rows):  # Gram and Schmidt: a library's routine may choose other signs
        for earlier in rows[:index]:
            row -= earlier * (earlier @ row)
        row /= np.sqrt(row @ row)
    return rows.astype(np.float32)


def tile_of(mark_id: int) -> Floats:
    """The tile (TILE x TILE, mean 0, mean square 1) that carries an id."""
    import numpy as np

    rows = patterns()
    mixed = np.sqrt(SYNC_SHARE) * rows[0] + np.sqrt((1 - SYNC_SHARE) / BITS) * (bits_of(mark_id) @ rows[1:])
    return tile_from(mixed)


def tile_from(row: Any) -> Floats:
    """The tile whose waves have the real and imaginary parts of a row, with a mean square of 1 for a row of length 1."""
    import numpy as np

    down, across = waves()
    count = len(down)
    spectrum = np.zeros((TILE, TILE), np.complex128)
    spectrum[down, across] = row[:count] + 1j * row[count:]
    return np.asarray(np.fft.ifft2(spectrum).real * (TILE**2 * np.sqrt(2.0)), dtype=np.float32)
