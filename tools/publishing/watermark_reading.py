"""Read the watermark from one tile: clean the picture of itself, fold all tiles into one, find its place, read the bits."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.publishing.watermark_pattern import TILE, id_of, patterns, waves

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Waves = NDArray[np.complexfloating[Any, Any]]

FINE, COARSE = 0.8, 2.5
"""Blurs, in pixels, whose difference holds the mark's waves."""
NEIGHBOURHOOD = 11
"""Pixels a side of the window in which detail is brought to one deviation: busy parts would outweigh the rest."""
QUIETEST = 0.3
"""Levels; detail below is not enlarged: a plain surface after a strong compression holds nothing."""
BESIDE = 5
"""Rings that are looked at together."""
RIDGE = 0.1
"""Added to the fit of the patterns, whose mean weight is 1: no wave that hardly shows is enlarged."""
CLIP = 2.5
"""Deviations; what is stronger is an edge of the picture."""
LEAST_Z = 6.5
"""An id is read where the mark stands out by more. Of 10,200 unmarked pictures and small parts of them none reached 6.5, in all the looks
of a search; the checksum takes one in 65,536 of what does."""
SURE_Z = 8.0
"""So far the pattern must stand out to count as a mark without an id: no checksum stands behind it then, and a clean picture is refused."""


@dataclass(frozen=True, slots=True)
class TileReading:
    """What one folded tile says. `z`: how many deviations the synchronisation pattern stands out.

    `mark_id`: None where the pattern does not stand out, or the checksum is wrong. To lie as it was made, the tile must be mirrored first,
    then turned by quarters to the left.
    """

    z: float
    mark_id: int | None
    mirrored: bool = False
    quarter_turns: int = 0

    @property
    def stands_out(self) -> bool:
        """Whether there is a mark, be it one whose id is damaged."""
        return self.mark_id is not None or self.z > SURE_Z


def residual(luminance: Floats) -> Floats:
    """The picture's detail in the mark's waves, of one deviation everywhere."""
    import cv2
    import numpy as np

    detail = np.asarray(cv2.GaussianBlur(luminance, (0, 0), FINE) - cv2.GaussianBlur(luminance, (0, 0), COARSE), dtype=np.float32)
    square = np.maximum(cv2.blur(detail * detail, (NEIGHBOURHOOD, NEIGHBOURHOOD)), QUIETEST**2)
    return np.clip(detail / np.sqrt(square), -CLIP, CLIP)


def fold(detail: Floats) -> Floats:
    """The sum of all tiles; those cut off at the right and lower edge count as far as they go."""
    import numpy as np

    tile = np.zeros((TILE, TILE), np.float32)
    for top in range(0, detail.shape[0], TILE):
        for left in range(0, detail.shape[1], TILE):
            part = detail[top : top + TILE, left : left + TILE]
            tile[: part.shape[0], : part.shape[1]] += part
    return tile


def read_tile(tile: Floats) -> TileReading:
    """The best reading of a folded tile: as it lies, then mirrored and turned by quarters, until one has an id."""
    import numpy as np

    best = TileReading(0.0, None)
    for mirrored in (False, True):
        for quarter_turns in range(4):
            z, placed = _place(np.rot90(tile[:, ::-1] if mirrored else tile, quarter_turns))
            if z > best.z:
                best = TileReading(z, id_of(read_bits(placed)) if z > LEAST_Z else None, mirrored, quarter_turns)
            if best.mark_id is not None:
                return best
    return best


def _place(tile: Floats) -> tuple[float, Floats]:
    """How far the synchronisation pattern stands out where it fits best, and the tile's row when it is shifted there."""
    import numpy as np

    down, across = waves()
    found = whiten(np.fft.fft2(tile)[down, across])
    sync = patterns()[0]
    count = len(down)
    spectrum = np.zeros((TILE, TILE // 2 + 1), np.complex64)
    product = found * (sync[:count] - 1j * sync[count:])
    spectrum[down, across] = product
    column = across == 0
    spectrum[-down[column], 0] = np.conj(product[column])
    surface = np.fft.irfft2(spectrum, (TILE, TILE))
    top, left = np.unravel_index(int(np.argmax(surface)), surface.shape)
    y, x = top + _vertex(surface[:, left], int(top)), left + _vertex(surface[top], int(left))
    placed = found * np.exp((2j * np.pi / TILE) * (down * y + across * x))
    row = np.concatenate([placed.real, placed.imag]).astype(np.float32)
    length = float(np.sqrt(row @ row)) or 1.0
    return float(sync @ row) / length * float(np.sqrt(len(row))), row


def read_bits(row: Floats) -> Floats:
    """How strongly each bit's pattern is in a row: the fit of all patterns together, as each wave can be trusted.

    Weighted patterns are no longer at right angles: read one by one, each would hear the others.
    """
    import numpy as np

    rows = patterns()
    weighted = rows * _trust(row * rows[0])
    mixing = weighted @ rows.T + RIDGE * np.eye(len(rows), dtype=np.float32)
    return np.asarray(np.linalg.solve(mixing, weighted @ row)[1:], dtype=np.float32)


def _trust(agreement: Floats) -> Floats:
    """How far each wave can be trusted, 1 on average: as far as the synchronisation pattern shows in its ring and those beside it.

    After a strong compression or a reduction the shortest waves hold noise alone.
    """
    import numpy as np

    rings = _rings()
    window = np.ones(BESIDE)
    sums = np.convolve(np.bincount(np.tile(rings, 2), agreement), window, "same")
    shown = (np.maximum(sums, 0) / np.maximum(np.convolve(np.bincount(rings), window, "same"), 1))[rings]
    return np.tile(shown / max(float(shown.mean()), 1e-9), 2).astype(np.float32)


def whiten(found: Waves) -> Waves:
    """Waves drawn half-way to their ring's mean: none of the picture's own, such as JPEG's blocks, outweighs the rest."""
    import numpy as np

    rings, strength = _rings(), np.abs(found)
    mean = np.bincount(rings, strength)[rings] / np.bincount(rings)[rings]
    return np.asarray(found / np.sqrt(np.maximum(strength * mean, 1e-9)))


@functools.cache
def _rings() -> NDArray[np.intp]:
    """The whole cycles a tile of each wave."""
    import numpy as np

    return np.rint(np.hypot(*waves())).astype(np.intp)


def _vertex(line: NDArray[np.floating[Any]], index: int) -> float:
    """How far from a maximum's index the parabola through it and its neighbours has its vertex."""
    before, here, after = (float(line[(index + offset) % len(line)]) for offset in (-1, 0, 1))
    bend = before - 2 * here + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
