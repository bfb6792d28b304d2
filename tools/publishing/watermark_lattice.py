"""Find how a marked picture was resized and turned: its tile repeats, so its detail is like itself at every distance of a whole tile.

The autocorrelation of the detail shows those distances as a lattice of points. Every size and angle asked for is looked up in it, the best
are refined with points ever farther away, which move the more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.publishing.watermark_pattern import HIGHEST, LOWEST, TILE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SIZE_STEP, ANGLE_STEP = 0.005, 0.3
"""In shares and degrees: half of what moves the farthest point of the first look by the width of its peak."""
ANGLE = 6.0
WIDE_ANGLE = 45.0
WIDE_SQUEEZES = tuple(1.01**step for step in range(-18, 19) if step)
NEAR = 3
"""Tiles from the origin to the farthest points of the first look."""
FAR = (5, 9, 16)
"""… and of the looks that refine."""
KEPT = 4
"""Candidates of each look that are refined."""
LONGEST_FIRST = 400
"""Pixels; in small pictures distances of more than half a side count as well, as far as the nearest tiles of the common sizes."""
LEVELLED = 31
"""Waves a side over which the spectrum is brought to one level: several of the lattice's own, which must remain."""
SHARPEST = 8.0
"""Times its level; a wave that stands out more is the picture's own, such as a fence."""


@dataclass(frozen=True, slots=True, order=True)
class Lattice:
    """How the tile lies in a picture: enlarged by `scale`, turned by `rotation` degrees to the left, then `squeeze` times as wide.

    `strength`: how many deviations the picture's likeness to itself stands out at all distances of the lattice together.
    """

    strength: float
    scale: float
    rotation: float
    squeeze: float

    def matrix(self) -> NDArray[np.float64]:
        """2 x 2: from a step in the tile (across, down) to the step in the picture."""
        import numpy as np

        return np.asarray(matrices_of(np.array([[np.log(self.scale), np.deg2rad(self.rotation), np.log(self.squeeze)]]))[0])


class Autocorrelation:
    """How like itself some detail is at every distance up to `reach` (down, across), by band of waves."""

    def __init__(self, detail: Floats) -> None:
        import cv2
        import numpy as np

        self.size = detail.shape
        self.reach = tuple(max(side // 2, min(side * 7 // 8, LONGEST_FIRST)) for side in detail.shape)
        self._padded = tuple(_fast_length(side + reach) for side, reach in zip(self.size, self.reach, strict=True))
        spectrum = np.fft.rfft2(detail, self._padded)
        power = spectrum.real**2 + spectrum.imag**2
        self._power = np.minimum(power / np.maximum(cv2.blur(power, (LEVELLED, LEVELLED)), 1e-9), SHARPEST)
        down, across = np.fft.fftfreq(self._padded[0]), np.fft.rfftfreq(self._padded[1])
        self._squares = (down[:, None] ** 2 + across**2).astype(np.float32)

    def band(self, low: float, high: float) -> Floats:
        """For waves of `low` to `high` cycles a pixel, with a deviation of 1: distances upwards; 0 is in the middle of the last row."""
        import numpy as np

        within = (self._squares >= low**2) & (self._squares <= high**2)
        mean = float(self._power[within].mean())
        field = np.fft.irfft2(np.where(within, self._power - mean, np.float32(0)), self._padded)
        down, across = self.reach
        field = np.concatenate([field[-down:], field[:1]])
        field = np.concatenate([field[:, -across:], field[:, : across + 1]], axis=1)
        return np.asarray(field / max(float(np.std(field)), 1e-9), dtype=np.float32)

    def strengths(self, field: Floats, matrices: NDArray[np.float64], steps: NDArray[np.float64]) -> Floats:
        """For each 2 x 2 matrix, how far the picture's likeness to itself stands out at all `steps` (across, down, in tiles) together."""
        import cv2
        import numpy as np

        points = TILE * np.einsum("cij,sj->isc", matrices, steps).astype(np.float32)
        points *= np.where(points[1] > 0, np.float32(-1), np.float32(1))  # the lower half mirrors the upper one
        x, y = points
        down, across = self.reach
        share = (1 - np.abs(x) / self.size[1]) * (1 - np.abs(y) / self.size[0])  # of the picture that lies over itself
        share *= (np.abs(x) <= across) & (np.abs(y) <= down)
        found = np.zeros(len(matrices), np.float32)
        most = 32000  # cv2.remap takes no wider maps
        for start in range(0, len(matrices), most):
            part = slice(start, start + most)
            seen = cv2.remap(field, x[:, part] + across, y[:, part] + down, cv2.INTER_LINEAR)
            found[part] = (seen * share[:, part]).sum(axis=0)
        return np.asarray(found / np.maximum(np.sqrt((share * share).sum(axis=0)), 1e-3), dtype=np.float32)


def find_lattices(likeness: Autocorrelation, scales: tuple[float, float], *, wide: bool) -> list[Lattice]:
    """The likeliest lattices of a range of sizes, the strongest first; `wide` also looks at every angle and at squeezed pictures."""
    import numpy as np

    low, high = scales
    field = likeness.band(LOWEST / (TILE * high), min(0.5, HIGHEST / (TILE * low)))
    sizes = np.arange(np.log(low), np.log(high), SIZE_STEP)
    looks = [(ANGLE, (1.0,))] if not wide else [(WIDE_ANGLE, (1.0,)), (ANGLE, WIDE_SQUEEZES)]
    kept: list[Lattice] = []
    for angle, squeezes in looks:
        angles = np.deg2rad(np.arange(-angle, angle + ANGLE_STEP, ANGLE_STEP))
        places = np.stack(np.meshgrid(sizes, angles, np.log(squeezes), indexing="ij"), axis=-1).reshape(-1, 3)
        strengths = likeness.strengths(field, matrices_of(places), _steps(NEAR))
        kept += [_refine(likeness, field, place, squeezed=len(squeezes) > 1) for place in _best(places, strengths)]
    return sorted(kept, reverse=True)


def _best(places: NDArray[np.float64], strengths: Floats) -> list[NDArray[np.float64]]:
    """The strongest places, none near a stronger one."""
    import numpy as np

    chosen: list[NDArray[np.float64]] = []
    near = np.array([4 * SIZE_STEP, 4 * np.deg2rad(ANGLE_STEP), 0.03])
    strengths = strengths.copy()
    for _ in range(KEPT):
        place = places[int(np.argmax(strengths))]
        chosen.append(place)
        strengths[np.all(np.abs(places - place) < near, axis=1)] = -np.inf
    return chosen


def _refine(likeness: Autocorrelation, field: Floats, place: NDArray[np.float64], *, squeezed: bool) -> Lattice:
    import numpy as np

    offsets = np.arange(-2, 3)
    grid = np.stack(np.meshgrid(offsets, offsets, offsets if squeezed else [0], indexing="ij"), axis=-1).reshape(-1, 3)
    strength = 0.0
    for reach in FAR:
        finer = np.array([SIZE_STEP, np.deg2rad(ANGLE_STEP), SIZE_STEP]) * (NEAR / reach)
        places = place + grid * finer
        strengths = likeness.strengths(field, matrices_of(places), _steps(reach))
        best = int(np.argmax(strengths))
        place, strength = places[best], float(strengths[best])
    return Lattice(strength, float(np.exp(place[0])), float(np.rad2deg(place[1])), float(np.exp(place[2])))


def matrices_of(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """N x 2 x 2 of N places: the logarithm of the scale, the angle in radians, the logarithm of the squeeze."""
    import numpy as np

    scale, squeeze = np.exp(places[:, 0]), np.exp(places[:, 2])
    cosine, sine = scale * np.cos(places[:, 1]), scale * np.sin(places[:, 1])
    rows = [[squeeze * cosine, squeeze * sine], [-sine, cosine]]  # rows of a picture count downwards
    return np.asarray(np.moveaxis(np.array(rows), -1, 0))


def _steps(reach: int) -> NDArray[np.float64]:
    """The whole steps (across, down) up to `reach` tiles away, one of each pair of opposite ones."""
    import numpy as np

    across, down = np.meshgrid(np.arange(-reach, reach + 1), np.arange(reach + 1))
    within = (across**2 + down**2 <= reach**2) & ((down > 0) | (across > 0))
    return np.stack([across[within], down[within]], axis=-1).astype(np.float64)


def _fast_length(least: int) -> int:
    """The next length that has no factor above 5: a Fourier transform of it is fast."""
    while True:
        rest = least
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return least
        least += 1
