"""Where a face shows skin: two ellipses on the cheeks, in the face's own coordinates, less what is no skin (hair, glasses, shine).

The forehead is left out: its hairline is where two detectors' points make two verdicts of one picture. The same coordinates place the
eyes and the mouth, where a face has edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

CANONICAL_POINTS = ((-0.5, 0.0), (0.5, 0.0), (-0.37, 1.08), (0.37, 1.08))
"""Eyes and mouth corners of an average face seen from the front, in face units (eye distances) from the middle between the eyes."""
LEAST_HEIGHT = 0.3
"""Eyes to mouth in face units: below it the points are those of no face."""
TURNED_AWAY = 0.25
"""A cheek is left out when its eye is nearer to the nose than this share of both distances."""
CROP_MARGIN = 0.25
"""Around the regions, in face units: what the widest filter reaches."""

GATE_SPREADS = 3.0
"""Skin lies within so many robust deviations of the regions' median, in Lab colour and in lightness."""
LEAST_SPREADS = (6.0, 2.0, 2.0)
"""Deviations of L, a and b are taken to be at least this: evenly lit skin would gate its own pores away."""
LIGHTNESS_LIMITS = (8.0, 97.0)


@dataclass(frozen=True, slots=True)
class Region:
    """An ellipse in face units: its centre from the middle between the eyes, and its half axes, across and down."""

    across: float
    down: float
    half_width: float
    half_height: float


LEFT_CHEEK, RIGHT_CHEEK = Region(-0.48, 0.60, 0.33, 0.34), Region(0.48, 0.60, 0.33, 0.34)
EDGE_REGIONS = (Region(-0.5, 0.0, 0.34, 0.20), Region(0.5, 0.0, 0.34, 0.20), Region(0.0, 1.08, 0.42, 0.20))
"""Both eyes and the mouth: lashes, irises and lips are edges on every face, filtered or not."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceFrame:
    """The face's own coordinates: the middle between the eyes, the face unit in pixels, and unit vectors across and down.

    `nose` is where the tip of the nose lies between the eyes: 0 at the left one as seen in the picture, 1 at the right one.
    """

    eyes: NDArray[np.float64]
    unit: float
    right: NDArray[np.float64]
    down: NDArray[np.float64]
    nose: float

    def shifted(self, x: float, y: float) -> FaceFrame:
        import numpy as np

        return FaceFrame(np.add(self.eyes, (x, y)), self.unit, self.right, self.down, self.nose)

    def scaled(self, x: float, y: float) -> FaceFrame:
        import numpy as np

        return FaceFrame(np.multiply(self.eyes, (x, y)), self.unit * (x + y) / 2, self.right, self.down, self.nose)

    def ellipse(self, region: Region) -> NDArray[np.float64]:
        """The middle of a region and its two half axes, in pixels: three rows."""
        import numpy as np

        middle = self.eyes + self.unit * (region.across * self.right + region.down * self.down)
        return np.array([middle, self.unit * region.half_width * self.right, self.unit * region.half_height * self.down])

    def outline(self, region: Region) -> NDArray[np.float64]:
        """Points around a region, in pixels."""
        import numpy as np

        turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)[:, None]
        middle, across, down = self.ellipse(region)
        outline: NDArray[np.float64] = middle + np.cos(turn) * across + np.sin(turn) * down
        return outline

    def drawn(self, regions: tuple[Region, ...], shape: tuple[int, int]) -> NDArray[np.uint8]:
        """1 inside of the regions, 0 elsewhere."""
        import cv2
        import numpy as np

        mask = np.zeros(shape, dtype=np.uint8)
        for region in regions:
            cv2.fillPoly(mask, [np.round(self.outline(region) * 16).astype(np.int32)], 1, shift=4)
        return mask


def face_frame(points: NDArray[np.float64], box: tuple[float, float, float, float]) -> FaceFrame | None:
    """The frame of a face, or None for points that are no face: not finite, in one place, or centred outside of the box.

    The frame is the similarity that takes the canonical points to the eyes and mouth corners with the least squares: an error of one
    point moves it by a quarter.
    """
    import numpy as np

    if points.shape != (5, 2) or not np.isfinite(points).all() or not all(map(math.isfinite, box)):
        return None
    center = points.mean(axis=0)
    if not (box[0] <= center[0] <= box[2] and box[1] <= center[1] <= box[3]):
        return None
    corners = points[[0, 1, 3, 4]]
    eye_line, fall = corners[1] - corners[0], corners[2:].mean(axis=0) - corners[:2].mean(axis=0)
    if eye_line[0] * fall[1] - eye_line[1] * fall[0] < 0:  # sides named from the face, not from the picture
        corners = corners[[1, 0, 3, 2]]
    canonical = np.array(CANONICAL_POINTS)
    known, seen = canonical - canonical.mean(axis=0), corners - corners.mean(axis=0)
    power = float((known**2).sum())
    cosine = float((known * seen).sum()) / power
    sine = float((known[:, 0] * seen[:, 1] - known[:, 1] * seen[:, 0]).sum()) / power
    unit = math.hypot(cosine, sine)
    if unit < 1.0 or float(np.hypot(*fall)) < LEAST_HEIGHT * max(unit, float(np.hypot(*eye_line))):
        return None
    right, down = np.array([cosine, sine]) / unit, np.array([-sine, cosine]) / unit
    middle = canonical.mean(axis=0)
    eyes = corners.mean(axis=0) - unit * (middle[0] * right + middle[1] * down)
    spans = [float((points[2] - corners[0]) @ right), float((corners[1] - points[2]) @ right)]
    nose = spans[0] / sum(spans) if sum(spans) > 0 else 0.5
    return FaceFrame(eyes, unit, right, down, nose)


def crop_box(frame: FaceFrame, width: int, height: int) -> tuple[int, int, int, int]:
    """Pixels that the regions, and the filters around them, can touch; clipped to the picture."""
    import numpy as np

    corners = np.concatenate([frame.outline(region) for region in (*skin_regions(frame), *EDGE_REGIONS)])
    margin = CROP_MARGIN * frame.unit
    low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    x0, y0 = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
    return x0, y0, min(width, math.ceil(high[0])), min(height, math.ceil(high[1]))


def skin_regions(frame: FaceFrame) -> tuple[Region, ...]:
    """Both cheeks, or the one that is turned towards us."""
    if frame.nose < TURNED_AWAY:
        return (RIGHT_CHEEK,)
    return (LEFT_CHEEK,) if frame.nose > 1.0 - TURNED_AWAY else (LEFT_CHEEK, RIGHT_CHEEK)


def skin_mask(lab: Plane, frame: FaceFrame) -> Plane:
    """1 on skin, 0 elsewhere: the regions, less what differs in colour or lightness from most of them (hair, brows, glasses, shine)."""
    import numpy as np

    inside = frame.drawn(skin_regions(frame), (lab.shape[0], lab.shape[1])) > 0
    if not inside.any():
        return inside.astype(np.float32)
    values = lab[inside]
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    lightness, a, b = np.moveaxis((lab - middle) / np.maximum(spread, LEAST_SPREADS), 2, 0)
    like_skin = (np.hypot(a, b) < GATE_SPREADS) & (np.abs(lightness) < GATE_SPREADS)
    kept = inside & like_skin & (lab[:, :, 0] > LIGHTNESS_LIMITS[0]) & (lab[:, :, 0] < LIGHTNESS_LIMITS[1])
    skin: Plane = kept.astype(np.float32)
    return skin
