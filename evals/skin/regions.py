"""Where a face shows skin: cheeks and forehead, found from five landmarks, less what is no skin (hair, brows, glasses, shine)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

UNIT_HEIGHT = 1.15
"""Eyes to mouth over eye distance on a face seen from the front: a turned face keeps its unit by its height."""
TURNED_AWAY = 0.25
"""A cheek is left out when its eye is nearer to the nose than this share of both distances."""
CROP_MARGIN = 0.25
"""Around the regions, in face units: what the widest filter reaches."""

GATE_SPREADS = 3.0
"""Skin lies within so many robust deviations of the regions' median, in Lab colour and in lightness."""
LEAST_SPREADS = (6.0, 2.0, 2.0)
"""Deviations of L, a and b are taken to be at least this: evenly lit skin would gate its own pores away."""
LIGHTNESS_LIMITS = (8.0, 97.0)


@dataclass(frozen=True, slots=True, eq=False)
class FaceFrame:
    """The face's own coordinates: the points, its unit in pixels, and unit vectors across (first eye to second) and down."""

    points: NDArray[np.float64]
    unit: float
    right: NDArray[np.float64]
    down: NDArray[np.float64]

    def shifted(self, x: float, y: float) -> FaceFrame:
        import numpy as np

        return FaceFrame(np.add(self.points, (x, y)), self.unit, self.right, self.down)

    def scaled(self, x: float, y: float) -> FaceFrame:
        import numpy as np

        return FaceFrame(np.multiply(self.points, (x, y)), self.unit * (x + y) / 2, self.right, self.down)

    @property
    def eyes(self) -> NDArray[np.float64]:
        middle: NDArray[np.float64] = self.points[:2].mean(axis=0)
        return middle


def face_frame(points: NDArray[np.float64], box: tuple[float, float, float, float]) -> FaceFrame | None:
    """The frame of a face, or None for points that are no face: not finite, in one place, or centred outside of the box."""
    import numpy as np

    if points.shape != (5, 2) or not np.isfinite(points).all() or not all(map(math.isfinite, box)):
        return None
    center = points.mean(axis=0)
    if not (box[0] <= center[0] <= box[2] and box[1] <= center[1] <= box[3]):
        return None
    eye_line = points[1] - points[0]
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    height = float(np.hypot(*down))
    unit = max(float(np.hypot(*eye_line)), height / UNIT_HEIGHT)
    if height < 0.3 * unit or unit < 1.0:
        return None
    down = down / height
    right = np.array([down[1], -down[0]])
    if float(right @ eye_line) < 0:  # the points of a mirrored face: sides are told from the first eye to the second
        right = -right
    return FaceFrame(points, unit, right, down)


def crop_box(frame: FaceFrame, width: int, height: int) -> tuple[int, int, int, int]:
    """Pixels that the regions, and the filters around them, can touch; clipped to the picture."""
    import numpy as np

    corners = np.concatenate([region.outline(frame) for region in skin_regions(frame)])
    margin = CROP_MARGIN * frame.unit
    low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    x0, y0 = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
    return x0, y0, min(width, math.ceil(high[0])), min(height, math.ceil(high[1]))


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """An ellipse in face units around a point of the picture."""

    center: NDArray[np.float64]
    half_width: float
    half_height: float

    def outline(self, frame: FaceFrame) -> NDArray[np.float64]:
        import numpy as np

        turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)[:, None]
        right, down = frame.right * frame.unit * self.half_width, frame.down * frame.unit * self.half_height
        outline: NDArray[np.float64] = self.center + np.cos(turn) * right + np.sin(turn) * down
        return outline


def skin_regions(frame: FaceFrame) -> list[Region]:
    """Both cheeks, or the one that is turned towards us, and the forehead."""
    left_eye, right_eye, nose, left_mouth, right_mouth = frame.points
    spans = [float((nose - left_eye) @ frame.right), float((right_eye - nose) @ frame.right)]
    regions, lean = [], 0
    for eye, mouth, span, side in ((left_eye, left_mouth, spans[0], -1), (right_eye, right_mouth, spans[1], 1)):
        if span >= TURNED_AWAY * abs(sum(spans)):
            center = eye + 0.55 * (mouth - eye) + side * 0.12 * frame.unit * frame.right
            regions.append(Region(center, 0.27, 0.30))
            lean += side
    # with one cheek turned away the forehead ends near the eyes' middle on that side: move and narrow its region
    forehead = frame.eyes - 0.68 * frame.unit * frame.down + lean * 0.15 * frame.unit * frame.right
    regions.append(Region(forehead, 0.60 - 0.15 * abs(lean), 0.27))
    return regions


def skin_mask(lab: Plane, frame: FaceFrame) -> Plane:
    """1 on skin, 0 elsewhere: the regions, less what differs in colour or lightness from most of them (hair, brows, glasses, shine)."""
    import cv2
    import numpy as np

    mask = np.zeros(lab.shape[:2], dtype=np.uint8)
    for region in skin_regions(frame):
        cv2.fillPoly(mask, [np.round(region.outline(frame) * 16).astype(np.int32)], 1, shift=4)
    inside = mask > 0
    if not inside.any():
        return mask.astype(np.float32)
    values = lab[inside]
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    lightness, a, b = np.moveaxis((lab - middle) / np.maximum(spread, LEAST_SPREADS), 2, 0)
    like_skin = (np.hypot(a, b) < GATE_SPREADS) & (np.abs(lightness) < GATE_SPREADS)
    kept = inside & like_skin & (lab[:, :, 0] > LIGHTNESS_LIMITS[0]) & (lab[:, :, 0] < LIGHTNESS_LIMITS[1])
    skin: Plane = kept.astype(np.float32)
    return skin
