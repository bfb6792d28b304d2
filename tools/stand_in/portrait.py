"""The one person whom the embedded server renders: a public-domain portrait, cut out, enlarged, and given skin texture.

The portrait is NASA's of an astronaut (public domain), as scikit-image ships it: 512 x 512 pixels. Coordinates
named "source" are its pixels. It is enlarged once, because a picture shows the face several times larger: without texture of
its own the skin would be as smooth as any enlargement, and a gate for skin would have nothing to measure.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZE = 512
ENLARGED = 3
"""Pixels of the enlarged portrait per source pixel: a close-up shows about 6, a medium shot 2.5."""

FACE_CENTER = (224.0, 122.0)
HEAD_CENTER = (226.0, 104.0)
HEAD_RADII = (76.0, 92.0)

OUTLINE = (
    "193,29 191,33 185,38 174,43 166,50 163,51 156,58 153,68 154,92 157,104 167,115 170,116 170,121 174,128 182,132 183,147 182,148 "
    "161,149 153,151 140,158 131,167 129,171 127,172 126,176 123,178 121,183 120,193 122,194 122,199 114,200 113,205 110,206 103,215 "
    "101,215 90,227 88,227 76,235 65,246 55,262 54,267 46,278 43,288 40,293 39,305 34,315 33,322 29,332 29,336 26,342 25,376 22,379 "
    "20,386 20,415 24,432 23,441 24,471 26,484 30,495 37,502 37,505 40,511 475,511 476,507 479,505 483,499 492,481 498,455 498,437 "
    "494,417 489,404 482,392 472,379 459,367 444,357 429,350 416,346 398,343 378,343 359,346 358,345 358,325 357,324 356,302 353,295 "
    "352,287 350,287 347,283 346,275 340,262 319,243 312,240 303,233 299,219 292,207 289,204 283,204 281,202 281,200 278,198 277,191 "
    "272,191 271,189 269,189 255,178 255,167 257,160 263,152 270,137 275,134 290,117 296,107 296,103 299,97 300,92 299,72 296,66 "
    "296,58 288,43 276,31 260,24 259,22 255,22 248,18 238,18 237,16 227,16 223,18 219,18 214,21 205,21"
)
"""The person's outline in source pixels, traced once with a graph cut and simplified."""

SUIT_FROM = 190
"""The suit's collar: nothing of the face is below this row."""

FACE_OVAL = ((225, 120), (40, 62))
"""Centre and radii of the oval that beauty filters smooth."""


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """The enlarged portrait. `person` and `filtered` are RGB, `alpha` the cut-out, all uint8."""

    person: NDArray[np.uint8]
    filtered: NDArray[np.uint8]
    alpha: NDArray[np.uint8]


@functools.lru_cache(maxsize=1)
def load_portrait() -> Portrait:
    """Cut out and enlarge the portrait; done once a process."""
    import cv2
    import numpy as np
    from skimage import data

    source = np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    points = np.array([[int(number) for number in pair.split(",")] for pair in OUTLINE.split()], np.int32)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [points], 255)
    spread = _fill_outside(source, mask)
    side = SIZE * ENLARGED
    sharp = cv2.resize(spread, (side, side), interpolation=cv2.INTER_LANCZOS4)
    sharp = cv2.addWeighted(sharp, 1.7, cv2.GaussianBlur(sharp, (0, 0), 2.5), -0.7, 0)
    smooth = cv2.resize(cv2.bilateralFilter(spread, 9, 40, 6), (side, side), interpolation=cv2.INTER_CUBIC)
    smooth = cv2.bilateralFilter(smooth, 11, 30, 7)
    alpha = cv2.resize(cv2.GaussianBlur(mask, (0, 0), 1.0), (side, side), interpolation=cv2.INTER_LINEAR)
    person = _add_texture(np.asarray(sharp))
    center, radii = FACE_OVAL
    oval = np.zeros((side, side), np.float32)
    scaled = [tuple(ENLARGED * value for value in pair) for pair in (center, radii)]
    cv2.ellipse(oval, scaled[0], scaled[1], 0, 0, 360, 1.0, -1)
    weight = np.asarray(cv2.GaussianBlur(oval, (0, 0), 5.0 * ENLARGED))[:, :, None]
    filtered = (person * (1 - weight) + smooth * weight).astype(np.uint8)
    return Portrait(person, filtered, np.asarray(alpha, np.uint8))


OUTFITS = (None, (112, 0.55, 0.55), (60, 0.3, 0.6), (174, 0.6, 0.6), (100, 0.08, 0.5))
"""What the orange suit is dyed to: hue (OpenCV's, 0 to 179), and factors of saturation and lightness. None leaves it."""


@functools.lru_cache(maxsize=6)
def _dyed(outfit: int, is_filtered: bool) -> NDArray[np.uint8]:
    import cv2
    import numpy as np

    portrait = load_portrait()
    base = portrait.filtered if is_filtered else portrait.person
    dye = OUTFITS[outfit % len(OUTFITS)]
    if dye is None:
        return base
    start = SUIT_FROM * ENLARGED
    below = base[start:]
    hsv = cv2.cvtColor(below, cv2.COLOR_RGB2HSV)
    suit = ((hsv[:, :, 0] < 22) & (hsv[:, :, 1] > 120)).astype(np.float32)
    weight = cv2.GaussianBlur(suit, (0, 0), 1.5)[:, :, None]
    hsv[:, :, 0] = dye[0]
    hsv[:, :, 1:] = hsv[:, :, 1:] * np.array(dye[1:])
    dyed = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    result: NDArray[np.uint8] = base.copy()
    result[start:] = (below * (1 - weight) + dyed * weight).astype(np.uint8)
    return result


def dress(outfit: int, filter_strength: float) -> NDArray[np.uint8]:
    """The enlarged person in an outfit, her skin filtered by `filter_strength` (0 to 1)."""
    import cv2
    import numpy as np

    if filter_strength <= 0:
        return _dyed(outfit, False)
    mixed = _dyed(outfit, False).copy()
    center, radii = FACE_OVAL
    rows = slice(max(0, (center[1] - radii[1] - 20) * ENLARGED), (center[1] + radii[1] + 20) * ENLARGED)
    mixed[rows] = cv2.addWeighted(mixed[rows], 1 - filter_strength, load_portrait().filtered[rows], filter_strength, 0)
    return np.asarray(mixed, np.uint8)


def _fill_outside(source: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The person's edge colours carried outwards, so that the old backdrop does not shine through a soft edge."""
    import cv2
    import numpy as np

    inner = cv2.erode(mask, np.ones((3, 3), np.uint8))
    _, labels = cv2.distanceTransformWithLabels(255 - inner, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(inner)
    lookup = np.zeros((labels.max() + 1, 3), np.uint8)
    lookup[labels[rows, columns]] = source[rows, columns]
    return np.asarray(np.where(np.asarray(inner)[:, :, None] > 0, source, lookup[labels]), np.uint8)


def _add_texture(enlarged: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pores and fine hair that an enlargement cannot bring: noise of two grain sizes, in proportion to the light."""
    import cv2
    import numpy as np

    random = np.random.default_rng(1992)
    height, width = enlarged.shape[:2]
    noise = np.zeros((height, width), np.float32)
    for sigma, strength in ((0.8, 0.022), (1.8, 0.026), (4.0, 0.014)):
        white = random.standard_normal((height, width), dtype=np.float32)
        grain = cv2.GaussianBlur(white, (0, 0), sigma)
        noise += strength * grain / float(grain.std())
    light = enlarged.mean(axis=2)
    weight = light * (255 - light) / 128**2 * 128  # none in black and white, most in mid-tones
    return np.asarray(np.clip(enlarged + (noise * weight * 1.2)[:, :, None], 0, 255), np.uint8)
