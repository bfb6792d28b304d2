"""Where each pixel of a picture comes from: framing, a turn of the head, and the features of another face.

Displacements are computed on a coarse grid and enlarged, for they are smooth: a picture of a megapixel takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.stand_in.portrait import HEAD_CENTER, HEAD_RADII

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

GRID = 8
"""Picture pixels per grid cell."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Which part of the source a picture shows. `center` in source pixels is put at `anchor`, a fraction of the picture."""

    center: tuple[float, float]
    anchor: tuple[float, float]
    scale: float
    angle: float
    """Picture pixels per source pixel, and degrees anticlockwise."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A soft spot of the face, in source pixels, that can be moved and stretched."""

    center: tuple[float, float]
    radius: tuple[float, float]
    shift: tuple[float, float] = (0.0, 0.0)
    stretch: tuple[float, float] = (0.0, 0.0)


LEFT, RIGHT, MOUTH = (203.0, 101.0), (247.0, 103.0), (222.0, 142.0)
FEATURES: dict[str, tuple[Feature, ...]] = {
    "face_width": (Feature((225, 125), (44, 60), stretch=(1, 0)),),
    "midface": (Feature((224, 126), (40, 22), stretch=(0, 1)),),
    "lower_face": (Feature((223, 158), (44, 24), shift=(0, 1)),),
    "eye_row": (Feature((225, 100), (52, 14), shift=(0, -1)),),
    "eye_distance": (Feature((200, 101), (20, 15), shift=(-1, 0)), Feature((250, 103), (20, 15), shift=(1, 0))),
    "eye_size": (Feature(LEFT, (13, 9), stretch=(1, 1)), Feature(RIGHT, (13, 9), stretch=(1, 1))),
    "eye_slant": (Feature((192, 101), (10, 9), shift=(0, -1)), Feature((258, 103), (10, 9), shift=(0, -1))),
    "brow_height": (Feature((202, 91), (20, 8), shift=(0, -1)), Feature((249, 92), (20, 8), shift=(0, -1))),
    "nose_width": (Feature((223, 124), (14, 13), stretch=(1, 0)),),
    "nose_length": (Feature((223, 130), (14, 12), shift=(0, 1)),),
    "mouth_width": (Feature(MOUTH, (24, 11), stretch=(1, 0)),),
    "mouth_height": (Feature(MOUTH, (28, 12), shift=(0, -1)),),
    "lip_fullness": (Feature(MOUTH, (24, 9), stretch=(0, 1)),),
    "jaw_width": (Feature((188, 150), (18, 26), shift=(-1, 0)), Feature((260, 152), (18, 26), shift=(1, 0))),
    "cheek_width": (Feature((182, 118), (16, 24), shift=(-1, 0)), Feature((266, 120), (16, 24), shift=(1, 0))),
    "chin_length": (Feature((223, 174), (28, 16), shift=(0, 1)),),
    "smile": (Feature((203, 140), (12, 10), shift=(0, -1)), Feature((242, 142), (12, 10), shift=(0, -1))),
}
"""What an amount of 1 does: a shift of one source pixel, or a stretch by the whole. Left and right are the picture's."""


def sample_map(width: int, height: int, framing: Framing, turn: tuple[float, float], features: Mapping[str, float]) -> tuple[Plane, Plane]:
    """For each pixel the source coordinates that it shows: two planes, height x width.

    `turn` is yaw and pitch in degrees, positive to the picture's right and down; `features` are amounts of FEATURES.
    """
    import cv2
    import numpy as np

    columns, rows = -(-width // GRID), -(-height // GRID)
    coarse_x, coarse_y = _frame(columns, rows, GRID, width, height, framing)
    move_x, move_y = _displacement(coarse_x, coarse_y, turn, features)
    x, y = _frame(width, height, 1, width, height, framing)
    size = (columns * GRID, rows * GRID)
    x += cv2.resize(move_x, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    y += cv2.resize(move_y, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def _frame(columns: int, rows: int, step: int, width: int, height: int, framing: Framing) -> tuple[Plane, Plane]:
    import numpy as np

    angle = np.deg2rad(framing.angle)
    cosine, sine = np.cos(angle) / framing.scale, np.sin(angle) / framing.scale
    right = (np.arange(columns, dtype=np.float32) + 0.5) * step - 0.5 - framing.anchor[0] * width
    down = (np.arange(rows, dtype=np.float32) + 0.5) * step - 0.5 - framing.anchor[1] * height
    x = (right * cosine)[None, :] - (down * sine)[:, None] + framing.center[0]
    y = (right * sine)[None, :] + (down * cosine)[:, None] + framing.center[1]
    return x.astype(np.float32), y.astype(np.float32)


def _displacement(x: Plane, y: Plane, turn: tuple[float, float], features: Mapping[str, float]) -> tuple[Plane, Plane]:
    """How far to look aside for each source point. The features sit on the head, so the turn comes first."""
    import numpy as np

    across, along = (x - HEAD_CENTER[0]) / HEAD_RADII[0], (y - HEAD_CENTER[1]) / HEAD_RADII[1]
    depth = np.clip(1 - across**2 - along**2, 0, 1) ** 0.75
    yaw, pitch = np.deg2rad(turn)
    move_x = -np.sin(yaw) * HEAD_RADII[0] * 0.62 * depth
    move_y = -np.sin(pitch) * HEAD_RADII[1] * 0.45 * depth
    on_x, on_y = x + move_x, y + move_y
    for name, amount in features.items():
        for feature in FEATURES[name]:
            from_x, from_y = on_x - feature.center[0], on_y - feature.center[1]
            weight = amount * np.exp(-0.5 * ((from_x / feature.radius[0]) ** 2 + (from_y / feature.radius[1]) ** 2))
            move_x -= weight * (feature.shift[0] + feature.stretch[0] * from_x)
            move_y -= weight * (feature.shift[1] + feature.stretch[1] * from_y)
    return move_x.astype(np.float32), move_y.astype(np.float32)
