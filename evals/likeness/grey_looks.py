"""Pictures that are nearly the same: changed a little, mirrored, or one cut out of the other. No face engine is needed.

Each picture is looked at as a small grey one. A hash of each (which cells are brighter than their neighbours) is compared with the hashes
of windows in every other picture, plain and mirrored; where they are close, the window is moved and scaled until both fit best, and
their correlation decides. Sums over windows come from an integral image, so hundreds of pictures take seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lifeos.images import decode_small

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOOK_SIDE = 96
"""The longer side of the grey picture, in pixels."""
CELLS = 9
"""Cells of a hash along each side: 8 x 8 comparisons across and as many down."""
SCALES = (1.0, 0.92, 0.85, 0.78, 0.72, 0.66, 0.6)
"""Sides of windows, in parts of the largest that fits. A smaller cut-out is a close-up of its own, which a set should have."""
SMALL_SCALES = (*SCALES, 0.55, 0.5, 0.45)
"""The same where the small grey picture is of one that may have been cut to half."""
STEP = 0.08
"""How far windows lie apart, in parts of their side: half a cell of the hash."""
ASPECT_STEP = 0.1
"""Shapes that differ by less (in the logarithm of width over height) are compared with the same windows."""
HASH_BITS = 30
"""Of 128. Pictures without relation differ in 64 on average; a window that lies half a step beside in some 20."""
CLOSEST = 3
"""Windows of one picture that are tried, the closest first."""
PATCH = 24
"""Side of what is correlated, in cells."""
LEAST_CORRELATION = 0.95
LEAST_CONTRAST = 4.0
"""Standard deviation in grey levels: an empty wall is like any other."""
FITTING = ((0.04, 0.7), (0.02, 0.8), (0.01, 0.9), (0.005, 0.92))
"""Moves in parts of a side, and the correlation that is wanted before they are tried. A window half a step beside has 0.7 and more."""
WHOLE = 0.97
"""From this part of a side on, a window is the whole picture and nothing is cut out."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`second` is like `first`: `share` of each side of `first` is seen in it, `mirrored` or not."""

    first: str
    second: str
    mirrored: bool
    share: float
    correlation: float

    @property
    def text(self) -> str:
        mirrored = ", mirrored" if self.mirrored else ""
        if self.share < WHOLE:
            return f"{self.second} is cut out of {self.first}{mirrored}"
        return f"{self.second} is {self.first} mirrored" if self.mirrored else f"{self.second} is nearly {self.first}"


@dataclass(frozen=True, eq=False)
class GreyLook:
    """A picture as a small grey one."""

    name: str
    sha256: str
    grey: NDArray[np.float64]

    @property
    def size(self) -> tuple[int, int]:
        return self.grey.shape[1], self.grey.shape[0]

    @property
    def shape_class(self) -> int:
        """Pictures of one class have about the same width over height."""
        return round(math.log(self.size[0] / self.size[1]) / ASPECT_STEP)

    @cached_property
    def integral(self) -> NDArray[np.float64]:
        return _integral(self.grey)

    @cached_property
    def mirrored(self) -> NDArray[np.float64]:
        return _integral(self.grey[:, ::-1])


def make_look(name: str, sha256: str, data: bytes) -> GreyLook | None:
    """The small grey picture of a file's bytes; None for one without contrast. Raises ImageError."""
    import numpy as np
    from PIL import Image

    picture = decode_small(data, Path(name), (2 * LOOK_SIDE, 2 * LOOK_SIDE))
    grey = np.asarray(picture.convert("L").resize(_look_size(*picture.size), Image.Resampling.BOX), dtype=np.float64)
    return _contrasting(GreyLook(name, sha256, grey))


def look_at(name: str, sha256: str, rgb: NDArray[np.uint8]) -> GreyLook | None:
    """The small grey picture of decoded pixels; None for one without contrast."""
    import cv2
    import numpy as np

    grey = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), _look_size(rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_AREA)
    return _contrasting(GreyLook(name, sha256, grey.astype(np.float64)))


def _look_size(width: int, height: int) -> tuple[int, int]:
    factor = LOOK_SIDE / max(width, height)
    return max(8, round(width * factor)), max(8, round(height * factor))


def _contrasting(look: GreyLook) -> GreyLook | None:
    return look if look.grey.std() >= LEAST_CONTRAST else None


def find_pairs(looks: Sequence[GreyLook]) -> list[Pair]:
    """Every two pictures that are nearly the same, by names; of several ways to see them the best fitting. Equal files are no pairs: they
    are told by their hashes already."""
    best: dict[tuple[str, str], Pair] = {}
    for shape_class in sorted({look.shape_class for look in looks}):
        places = Places.of(looks, shape_class)
        for small in looks:
            if small.shape_class != shape_class:
                continue
            for pair in _find_in(small, places):
                key = min(pair.first, pair.second), max(pair.first, pair.second)
                if key not in best or _rank(pair) > _rank(best[key]):
                    best[key] = pair
    return [best[key] for key in sorted(best)]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The windows of one shape in all pictures, one after the other, with their hashes. Those of `looks[n]` begin at `starts[n]`."""

    looks: Sequence[GreyLook]
    starts: NDArray[np.int64]
    windows: NDArray[np.float64]
    across: NDArray[np.uint64]
    down: NDArray[np.uint64]

    @classmethod
    def of(cls, looks: Sequence[GreyLook], shape_class: int, scales: Sequence[float] = SCALES) -> Places:
        import numpy as np

        found = [(look, windows) for look in looks if len(windows := _windows(look, shape_class, scales))]
        starts = np.cumsum([0, *(len(windows) for _, windows in found)])[:-1]
        across, down = np.concatenate([hashes_of(look.integral, windows) for look, windows in found]).T.copy()
        return cls([look for look, _ in found], starts, np.concatenate([windows for _, windows in found]), across, down)

    def closest(self, digits: NDArray[np.uint64]) -> list[tuple[GreyLook, list[NDArray[np.float64]]]]:
        """The pictures that have a window of nearly this hash, with their closest windows."""
        import numpy as np

        bits = np.bitwise_count(self.across ^ digits[0]) + np.bitwise_count(self.down ^ digits[1])
        found = []
        for number in np.flatnonzero(np.minimum.reduceat(bits, self.starts) <= HASH_BITS):
            start = int(self.starts[number])
            end = int(self.starts[number + 1]) if number + 1 < len(self.starts) else len(bits)
            closest = np.argsort(bits[start:end], kind="stable")[:CLOSEST] + start
            found.append((self.looks[int(number)], [self.windows[place] for place in closest if bits[place] <= HASH_BITS]))
        return found


def _rank(pair: Pair) -> tuple[bool, float, bool]:
    """Rather the whole picture than a part of it, rather the better fit; then always the same of the two."""
    return pair.share >= WHOLE, round(pair.correlation, 3), pair.first < pair.second


def _find_in(small: GreyLook, places: Places) -> list[Pair]:
    """The pictures that hold `small`."""
    import numpy as np

    whole = np.array([[0.0, 0.0, *small.size]])
    found = []
    for mirrored in (False, True):
        integral = small.mirrored if mirrored else small.integral
        patch = patch_of(integral, whole[0])
        for look, windows in places.closest(hashes_of(integral, whole)[0]):
            if look.name == small.name or look.sha256 == small.sha256:
                continue
            for window in windows:  # the closest hash need not be the best place
                correlation, fitted = fit(look, window, patch)
                if correlation >= LEAST_CORRELATION:
                    share = float(max((fitted[2] - fitted[0]) / look.size[0], (fitted[3] - fitted[1]) / look.size[1]))
                    found.append(Pair(look.name, small.name, mirrored, share, correlation))
                    break
    return found


def _windows(look: GreyLook, shape_class: int, scales: Sequence[float]) -> NDArray[np.float64]:
    """The windows of a shape in a picture: rows of left, top, right, bottom in its pixels."""
    import numpy as np

    width, height = look.size
    aspect = width / height if shape_class == look.shape_class else math.exp(shape_class * ASPECT_STEP)
    widest = min(float(width), height * aspect)
    rows = []
    for scale in scales:
        across, down = widest * scale, widest * scale / aspect
        if min(across, down) < CELLS:
            break
        lefts = np.linspace(0, width - across, math.ceil((width - across) / (STEP * across) - 1e-9) + 1)
        tops = np.linspace(0, height - down, math.ceil((height - down) / (STEP * down) - 1e-9) + 1)
        left, top = (grid.ravel() for grid in np.meshgrid(lefts, tops))
        rows.append(np.stack([left, top, left + across, top + down], axis=1))
    return np.concatenate(rows) if rows else np.empty((0, 4))


def _integral(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.pad(grey.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def _cells(integral: NDArray[np.float64], windows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The mean grey of `count` x `count` cells of each window: windows x rows x columns."""
    import numpy as np

    steps = np.linspace(0, 1, count + 1)
    xs = windows[:, 0, None] + (windows[:, 2] - windows[:, 0])[:, None] * steps
    ys = windows[:, 1, None] + (windows[:, 3] - windows[:, 1])[:, None] * steps
    sums = _sample(integral, xs, ys)
    boxes = sums[:, 1:, 1:] - sums[:, :-1, 1:] - sums[:, 1:, :-1] + sums[:, :-1, :-1]
    areas = np.diff(ys, axis=1)[:, :, None] * np.diff(xs, axis=1)[:, None, :]
    return np.asarray(boxes / areas)


def _sample(integral: NDArray[np.float64], xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float64]:
    """The integral at fractions of pixels: exact, since within a pixel it grows evenly."""
    import numpy as np

    xs, ys = np.clip(xs, 0, integral.shape[1] - 1), np.clip(ys, 0, integral.shape[0] - 1)
    left, top = np.minimum(xs.astype(int), integral.shape[1] - 2), np.minimum(ys.astype(int), integral.shape[0] - 2)
    right_part, lower_part = (xs - left)[:, None, :], (ys - top)[:, :, None]
    rows, columns = top[:, :, None], left[:, None, :]
    upper = integral[rows, columns] * (1 - right_part) + integral[rows, columns + 1] * right_part
    lower = integral[rows + 1, columns] * (1 - right_part) + integral[rows + 1, columns + 1] * right_part
    return np.asarray(upper * (1 - lower_part) + lower * lower_part)


def hashes_of(integral: NDArray[np.float64], windows: NDArray[np.float64]) -> NDArray[np.uint64]:
    """128 bits for each window, as two numbers: whether a cell is brighter than the one before it, across and down."""
    import numpy as np

    if not len(windows):
        return np.empty((0, 2), dtype=np.uint64)
    cells = _cells(integral, windows, CELLS)
    across = cells[:, :-1, 1:] > cells[:, :-1, :-1]
    down = cells[:, 1:, :-1] > cells[:, :-1, :-1]
    bits = np.concatenate([across.reshape(len(cells), -1), down.reshape(len(cells), -1)], axis=1)
    return np.packbits(bits, axis=1).view(np.uint64)


def patch_of(integral: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a window shows, brought to mean 0 and length 1."""
    patch: NDArray[np.float64] = _patches(integral, window[None])[0]
    return patch


def _patches(integral: NDArray[np.float64], windows: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    cells = _cells(integral, windows, PATCH)
    centered = cells - cells.mean(axis=(1, 2), keepdims=True)
    lengths = np.linalg.norm(centered, axis=(1, 2), keepdims=True)
    return np.asarray(centered / np.where(lengths > 0, lengths, 1.0))


def fit(look: GreyLook, window: NDArray[np.float64], patch: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """(correlation, window) after the window was moved and scaled to where it fits best."""
    import numpy as np

    limits, least_side = np.array(look.size, dtype=float), (window[2:] - window[:2]) * 0.85

    def fits(candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        sides = candidates[:, 2:] - candidates[:, :2]
        inside = (candidates[:, :2] >= -1e-6) & (candidates[:, 2:] <= limits + 1e-6) & (sides >= least_side)
        correlations = (_patches(look.integral, candidates) * patch).sum(axis=(1, 2))
        return np.asarray(np.where(inside.all(axis=1), correlations, -1.0))

    best, window = float(fits(window[None])[0]), window.copy()
    for step, least in FITTING:
        if best < least:
            break
        for _ in range(8):
            across, down = (window[2:] - window[:2]) * step
            moves = [(x, y, x, y) for x, y in ((across, 0), (-across, 0), (0, down), (0, -down))]
            moves += [(across, down, -across, -down), (-across, -down, across, down)]
            moves += [(0, 0, across, 0), (0, 0, -across, 0), (0, 0, 0, down), (0, 0, 0, -down)]
            candidates = window + np.array(moves)
            scores = fits(candidates)
            chosen = int(np.argmax(scores))
            if scores[chosen] <= best:
                break
            best, window = float(scores[chosen]), candidates[chosen]
    return best, window
