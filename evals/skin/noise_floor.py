"""The noise floor of a picture: how much its calmest places vary, at the scale at which its skin is measured.

Where the sky varies as much as the skin, the skin's "pores" are grain that somebody, or a camera, laid over the whole picture. Only part
of a large picture is read (`MOST_PIXELS`): the calmest hundredth of it is the calmest hundredth of all of it, nearly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.skin.filters import deviations, grid_means, response
from evals.skin.regions import FaceFrame, Region, skin_regions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.skin.filters import Plane

CHROMA_SIGMA = 0.5
BLOCK = 6
"""Side of a block in pixels of the scale."""
CALM_SHARE, LEAST_CALM = 0.015, 8
FEWEST_BLOCKS = 100
"""A picture that is nearly all face has no calm place to compare with: its floor is taken to be 0."""
LUMA_LIMITS, LIKE_SKIN = (16.0, 239.0), (0.6, 1.4)
"""Blocks count where their light is within these limits; if enough of them outside of the head are within these shares of the light on
the skin, only those: film grain is weak in the dark. Of 88 smoothed pictures with film grain 16 % then passed for pictures without, by
the limits alone 55 %."""
HEAD = Region(0.0, 0.45, 1.25, 1.7)
"""Without it a close-up before a dark background would be compared with its own forehead."""
CLIPPED, MOST_CLIPPED = (3, 252), 0.05
"""A block where more pixels have a channel outside of these levels is cut off at black or white: noise does not show there."""
MOST_PIXELS = 300_000
"""Of the picture, reduced by a whole factor: more are read in bands of rows, evenly spread over its height."""
BAND_BLOCKS = 4


@dataclass(frozen=True, slots=True)
class _View:
    """A part of the picture at the scale of the skin: `factor` picture pixels in one of its own, from `top` down."""

    rgb: NDArray[np.uint8]
    whole: int
    factor: float
    top: int


def luma_floor(rgb: NDArray[np.uint8], frame: FaceFrame, shrink: float, light: float, sigmas: tuple[float, ...]) -> tuple[float, ...]:
    """For each filter the median deviation of luma in the calmest blocks outside of the skin; 0 where there are too few blocks.

    The calmest are those of the first filter. `shrink` takes the picture to the scale of the skin. `light`: the mean luma of the skin.
    """
    import numpy as np

    blocks = _blocks(rgb, frame, shrink, light, lambda part: [response(part, sigma) for sigma in sigmas], luma=True)
    if blocks.shape[1] == 0:
        return (0.0,) * len(sigmas)
    calmest = np.argpartition(blocks[0], _calm_count(blocks) - 1)[: _calm_count(blocks)]
    return tuple(float(value) for value in np.median(blocks[:, calmest], axis=1))


def chroma_floor(rgb: NDArray[np.uint8], frame: FaceFrame, shrink: float, light: float) -> float:
    """The same for a and b of CIE Lab, each in its own calmest blocks, and their geometric mean. Costs several times as much."""
    import cv2
    import numpy as np

    def responses(part: Plane) -> list[Plane]:
        lab = cv2.cvtColor(part * np.float32(1 / 255), cv2.COLOR_RGB2Lab)
        return [response(np.ascontiguousarray(lab[:, :, plane]), CHROMA_SIGMA) for plane in (1, 2)]

    blocks = _blocks(rgb, frame, shrink, light, responses, luma=False)
    if blocks.shape[1] == 0:
        return 0.0
    calm = _calm_count(blocks)
    medians = np.median(np.partition(blocks, calm - 1, axis=1)[:, :calm], axis=1)
    return float(np.exp(np.log(np.maximum(medians, 1e-6)).mean()))


def _calm_count(blocks: NDArray[Any]) -> int:
    return max(LEAST_CALM, round(CALM_SHARE * int(blocks.shape[1])))


def _blocks(
    rgb: NDArray[np.uint8],
    frame: FaceFrame,
    shrink: float,
    light: float,
    responses: Callable[[Plane], list[Plane]],
    *,
    luma: bool,
) -> NDArray[Any]:
    """Deviations of every usable block, one row for each response; no column where there are too few."""
    import numpy as np

    found: list[NDArray[Any]] = []
    for view in _views(rgb, shrink):
        part = _reduced(view, luma=luma)
        if min(part.shape[:2]) >= BLOCK:
            lights, usable, away = _usable(view, part, frame)
            like_skin = away & (lights > LIKE_SKIN[0] * light) & (lights < LIKE_SKIN[1] * light)
            spreads = [deviations(values, BLOCK)[usable] for values in responses(part)]
            found.append(np.stack([like_skin[usable], *spreads]))
    blocks = np.concatenate(found, axis=1) if found else np.zeros((2, 0))
    preferred = blocks[:, blocks[0] > 0]
    chosen = preferred if preferred.shape[1] >= FEWEST_BLOCKS else blocks
    return chosen[1:] if chosen.shape[1] >= FEWEST_BLOCKS else chosen[1:, :0]


def _views(rgb: NDArray[np.uint8], shrink: float) -> Iterator[_View]:
    """The picture, or bands of its rows where it is large for the scale."""
    height, width = rgb.shape[:2]
    factor = 1.0 / shrink
    whole = max(1, int(factor))
    if height * width <= MOST_PIXELS * whole * whole:
        yield _View(rgb, whole, factor, 0)
        return
    rows = min(height, math.ceil(BAND_BLOCKS * BLOCK * factor))
    count = max(1, MOST_PIXELS * whole * whole // (width * rows))
    for number in range(count):
        top = round((number + 0.5) / count * (height - rows))
        yield _View(rgb[top : top + rows], whole, factor, top)


def _reduced(view: _View, *, luma: bool) -> Plane:
    """A view at the scale: first by a whole factor, which is fast, then by what remains."""
    import cv2
    import numpy as np

    part = view.rgb
    if luma and view.whole > 1:
        part = np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    pixels = part.astype(np.float32)
    if luma and view.whole == 1:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    height, width = (max(1, side // view.whole) for side in part.shape[:2])
    if view.whole > 1:
        pixels = _by_area(pixels[: height * view.whole, : width * view.whole], width, height)
    rest = view.factor / view.whole
    return _by_area(pixels, max(1, round(width / rest)), max(1, round(height / rest))) if rest > 1.0 else pixels


def _by_area(pixels: Plane, width: int, height: int) -> Plane:
    import cv2
    import numpy as np

    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _usable(view: _View, part: Plane, frame: FaceFrame) -> tuple[Plane, NDArray[np.bool_], NDArray[np.bool_]]:
    """The light in each block; which blocks are neither skin nor dark, bright or cut off at black or white; which lie off the head."""
    import cv2
    import numpy as np

    luma = part if part.ndim == 2 else np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    light = grid_means(luma, BLOCK)
    usable = (light > LUMA_LIMITS[0]) & (light < LUMA_LIMITS[1])
    thinned = np.ascontiguousarray(view.rgb[:: view.whole, :: view.whole])
    inside = cv2.inRange(thinned, (CLIPPED[0],) * 3, (CLIPPED[1],) * 3)
    rows, columns = light.shape
    spans = (columns * BLOCK / part.shape[1], rows * BLOCK / part.shape[0])  # of the view that the blocks cover
    seen = inside[: max(1, round(inside.shape[0] * spans[1])), : max(1, round(inside.shape[1] * spans[0]))]
    kept = cv2.resize(seen.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    usable &= kept.reshape(rows, columns) > 255.0 * (1.0 - MOST_CLIPPED)
    # block centres in face units
    step = BLOCK * view.factor
    x, y = (np.arange(columns) + 0.5) * step - frame.eyes[0], (np.arange(rows)[:, None] + 0.5) * step + view.top - frame.eyes[1]
    across = (x * frame.right[0] + y * frame.right[1]) / frame.unit
    down = (x * frame.down[0] + y * frame.down[1]) / frame.unit
    margin = 1.5 * step / frame.unit

    def outside(region: Region) -> NDArray[np.bool_]:
        aside = ((across - region.across) / (region.half_width + margin)) ** 2
        result: NDArray[np.bool_] = aside + ((down - region.down) / (region.half_height + margin)) ** 2 > 1.0
        return result

    for region in skin_regions(frame):
        usable &= outside(region)
    return light, usable, outside(HEAD)
