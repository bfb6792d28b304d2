"""Guard *technical*: is the picture whole? Blank, cut off, blown out, blurred as a whole, or with a border that belongs to no photograph.

Each fault is measured on a small copy and placed on one scale: 0.5 where it is taken for a fault, 0 where nothing is left of the picture, 1
where there is no trace of it. The score is that of the worst. numpy and OpenCV only, some milliseconds a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evals.judging.records import Reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.judging.view import View

    Rgb = NDArray[np.uint8]

METRIC = "technical/1"
SIDE = 320
"""Longest side of the copy that is looked at: what cannot be seen at this size spoils nothing."""

BLANK = "blank"
CUT_OFF = "cut off"
BLOWN_OUT = "blown out"
BLURRED = "blurred as a whole"
BORDER = "a border or a strip of text"

FLAT_LEVELS = 6.0
"""Levels of 255 by which pixels of one flat colour differ, compression included."""
DRIFT_LEVELS = 3.0
"""By which the lines of one strip differ: a sky or a wall that gets lighter drifts further."""
LEAST_FLAT, LEAST_WRITTEN = 0.8, 0.3
"""Shares of a line that are of the strip's colour: of its empty lines, and of those with letters on them."""
STEP_LEVELS = 14.0
LEAST_STEP = 0.6
"""Share of its length along which a strip ends in one straight step of so many levels."""
LEAST_STRIP, LEAST_LONE_STRIP = 0.012, 0.03
"""Depths in shares of the side: of strips on opposite sides, and of one that stands alone."""
BLUR_SIDE = 768
"""Longest side of the copy whose sharpness is measured: how soft a picture looks, not how many pixels it has."""
TILES = 8
STRONGEST = 50
"""One of so many pixels of a part counts: its steepest edges."""
LEAST_STEEPNESS = 24.0
"""Of Sobel's filter, in levels: less is grain."""
REBLUR = 1.5
LEAST_SHARP = 0.30
"""Edges that are blurred by 3 pixels of 1216 lose less than this, those of a picture that is in focus anywhere .38 and more."""
EMPTY = 0.97
"""Share of a strip that is of one colour where nothing is written on it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and how sound the picture is in that respect: below 0.5 it is taken for a fault."""

    cause: str
    soundness: float
    told: str = ""


def measure(view: View) -> Reading:
    """How sound the picture is, 0 to 1, and the fault that spoils it the most."""
    box = None if view.sighting is None else view.sighting.subject.box
    faults = sorted(find_faults(view.picture.rgb, box), key=lambda fault: fault.soundness)
    worst = faults[0]
    if worst.soundness >= 0.5:
        return Reading(round(worst.soundness, 4))
    return Reading(round(worst.soundness, 4), cause=worst.cause, note=worst.told)


def find_faults(rgb: Rgb, face: tuple[float, float, float, float] | None = None) -> list[Fault]:
    """Every fault that is looked for, with its soundness. `face`: the subject's box in pixels."""
    import numpy as np

    step = max(1, max(rgb.shape[:2]) // SIDE)
    small = reduced(np.ascontiguousarray(rgb[::step, ::step]), SIDE)  # most pixels are passed over: it is the flat parts that count
    blank = _blank(small)
    if blank.soundness < 0.5:
        return [blank]
    strips = [strip for side in SIDES if (strip := _strip(small, side)) is not None]
    return [blank, _strips(strips), _blown_out(small, face, small.shape[0] / rgb.shape[0]), _blurred(rgb)]


def reduced(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture, in colour or grey, whose longest side is at most that."""
    import cv2
    import numpy as np

    scale = side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    width, height = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _blank(small: Rgb) -> Fault:
    """The share of the picture that differs from its commonest colour: below 2 % there is nothing to see."""
    import numpy as np

    middle = np.median(small[::4, ::4].reshape(-1, 3), axis=0)
    other = 1.0 - float(_is_near(small, middle, 2 * FLAT_LEVELS).mean())
    return Fault(BLANK, min(1.0, 0.5 * other / 0.02))


def _is_near(part: Rgb, color: NDArray[np.float64], levels: float) -> NDArray[np.bool_]:
    """Where a part of a picture is of that colour, to so many levels in each of red, green and blue."""
    import cv2
    import numpy as np

    low, high = (np.clip(np.round(color + sign * levels), 0, 255) for sign in (-1, 1))
    return np.asarray(cv2.inRange(np.ascontiguousarray(part), low, high) > 0)


def _blown_out(small: Rgb, face: tuple[float, float, float, float] | None, scale: float) -> Fault:
    """The share of the face that is white without any detail; of the whole picture where no face was found. A white wall or snow around
    the subject is no fault."""
    part, most = small, 0.8
    if face is not None:
        x0, y0, x1, y1 = (round(value * scale) for value in face)
        inside = small[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
        if inside.size >= 3 * 64:
            part, most = inside, 0.25
    white = float((part.min(axis=2) >= 250).mean())
    return Fault(BLOWN_OUT, max(0.0, 1.0 - 0.5 * white / most))


SIDES = ("top", "bottom", "left", "right")


@dataclass(frozen=True, slots=True)
class _Strip:
    """A strip along one side: its depth as a share of the picture, and how much of it is of one colour."""

    side: str
    depth: float
    flat: float


def _strip(small: Rgb, side: str) -> _Strip | None:
    """The strip of one colour, with or without letters on it, along that side; None where there is none."""
    import numpy as np

    lines = {"top": small, "bottom": small[::-1], "left": small.transpose(1, 0, 2), "right": small.transpose(1, 0, 2)[::-1]}[side]
    color = np.median(lines[:2].reshape(-1, 3), axis=0)
    if float(_is_near(lines[:2], color, FLAT_LEVELS).mean()) < LEAST_FLAT:
        return None
    is_flat = _is_near(lines, color, FLAT_LEVELS)
    share = is_flat.mean(axis=1)
    ends = np.flatnonzero(share < LEAST_WRITTEN)
    flat = np.flatnonzero(share[: ends[0] if len(ends) else None] >= LEAST_FLAT)
    depth = int(flat[-1]) + 1
    if depth < max(2, LEAST_STRIP * len(lines)) or depth + 1 >= len(lines):
        return None
    near_end = max(0, depth - 3)  # compression spoils the last lines before the step
    last = lines[near_end][is_flat[near_end]].mean(axis=0) if is_flat[near_end].any() else color
    inner, outer = lines[depth + 1 : depth + 3].astype(np.int16), lines[max(0, depth - 2)].astype(np.int16)
    has_step = float((np.abs(inner - outer).max(axis=(0, 2)) > STEP_LEVELS).mean()) >= LEAST_STEP  # JPEG softens the first line
    if not has_step or float(np.abs(last - color).max()) > DRIFT_LEVELS:
        return None
    return _Strip(side, depth / len(lines), float(share[:depth].mean()))


def _strips(strips: list[_Strip]) -> Fault:
    """Strips on opposite sides are a border; one that stands alone is a strip of text, or where the picture was cut off."""
    by_side = {strip.side: strip for strip in strips}
    for one, other in (("top", "bottom"), ("left", "right")):
        if one in by_side and other in by_side:
            depth = by_side[one].depth + by_side[other].depth
            return Fault(BORDER, max(0.0, 0.45 - depth))
    lone = max(strips, key=lambda strip: strip.depth, default=None)
    if lone is None or lone.depth < LEAST_LONE_STRIP:
        return Fault(CUT_OFF, 1.0)
    if lone.flat >= EMPTY and lone.side == "bottom":
        return Fault(CUT_OFF, max(0.0, 0.45 - lone.depth), f"the lowest {lone.depth:.0%} is one colour")
    return Fault(BORDER, max(0.0, 0.45 - lone.depth))


def tile_sharpness(rgb: Rgb) -> NDArray[np.float64]:
    """How much of their steepness the strongest edges of each of 8 x 8 parts lose when they are blurred a little more, 0 to 1: much where
    they are sharp, little where they are soft already. Parts without an edge are left out."""
    import cv2
    import numpy as np

    grey = reduced(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8), BLUR_SIDE).astype(np.float32)
    softer = np.asarray(cv2.GaussianBlur(grey, (0, 0), REBLUR), dtype=np.float32)
    before, after = (_by_tile(_steepness(picture)) for picture in (grey, softer))
    count = before.shape[1] // STRONGEST
    if count < 1:
        return np.zeros(0)
    steepest = np.argpartition(before, -count, axis=1)[:, -count:]
    sharp, soft = (np.take_along_axis(each, steepest, axis=1) for each in (before, after))
    there = sharp.min(axis=1) >= LEAST_STEEPNESS
    return np.asarray(1.0 - soft[there].mean(axis=1) / sharp[there].mean(axis=1), dtype=np.float64)


def _by_tile(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values of each of 8 x 8 parts as a row; what is left over at the right and the bottom is dropped."""
    import numpy as np

    height, width = values.shape[0] // TILES, values.shape[1] // TILES
    tiles = values[: height * TILES, : width * TILES].reshape(TILES, height, TILES, width)
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3)).reshape(TILES * TILES, height * width)


def _steepness(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of every second pixel of every second line: a fourth of them tells as much."""
    import cv2
    import numpy as np

    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order)[::2, ::2] for order in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(np.ascontiguousarray(across), np.ascontiguousarray(down)), dtype=np.float32)


def _blurred(rgb: Rgb) -> Fault:
    """By the sharpest tenth of its parts: a portrait before a blurred background has some that are sharp."""
    import numpy as np

    sharpness = tile_sharpness(rgb)
    best = float(np.quantile(sharpness, 0.9)) if len(sharpness) else 0.0
    return Fault(BLURRED, min(1.0, 0.5 * best / LEAST_SHARP))
