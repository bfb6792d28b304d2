"""The subject of a picture: finding its faces whatever it takes, choosing the one that the picture is of, and its pose.

An engine finds faces and turns one into a unit vector; what is here is the same for all engines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.faces.face_engine import Face, FaceEngine, Rgb, Vector

METRIC = "face_similarity/1"
"""Part of every protocol: scores of two versions of this measure are not comparable."""

BORDERS = (0.0, 0.5, 1.0)
"""The detection ladder. Without a border SCRFD found 0 of 36 tight close-ups, with one 261 of 261; bordering always shifts scores."""
LADDER_PIXELS = 2048
"""Longest side of a bordered picture: detectors shrink to 640 anyway, and a border of 100 % makes nine times the pixels."""

DETECTOR_SIDE = 640
LEAST_SEEN = 8
"""A picture whose short side would be seen with fewer pixels than this is a stripe, and breaks the detectors' resizing."""

CENTRE_WEIGHT = 2.0
NOSE_PROTRUSION = 0.45
"""How far the nose tip stands before the plane of eyes and mouth corners, in eye distances, on an average head."""


def find_with_borders(detect: Callable[[Rgb], list[Face]], rgb: Rgb) -> tuple[list[Face], str]:
    """The detection ladder: as it is; on a miss with a solid border, which gives a close-up the margin that detectors expect."""
    if is_stripe(rgb):
        return [], ""
    for border in BORDERS:
        canvas, scale, left, top = add_border(rgb, border)
        faces = [face.mapped(scale, left, top) for face in detect(canvas)]
        if faces:
            return faces, attempt_name(border)
    return [], ""


def is_stripe(rgb: Rgb) -> bool:
    """Whether a picture is too narrow, or too small, to hold a face that a detector could see."""
    short, long = sorted(rgb.shape[:2])
    return bool(short * min(1.0, DETECTOR_SIDE / long) < LEAST_SEEN)


def attempt_name(border: float) -> str:
    return f"border_{border:.0%}".rstrip("%") if border else "as_is"


def add_border(rgb: Rgb, border: float) -> tuple[Rgb, float, int, int]:
    """The picture with a black border of that fraction of each side, its scale, and the left and top border in pixels."""
    import cv2

    if not border:
        return rgb, 1.0, 0, 0
    height, width = rgb.shape[:2]
    scale = min(1.0, LADDER_PIXELS / (max(height, width) * (1 + 2 * border)))
    if scale < 1.0:
        rgb = np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        height, width = rgb.shape[:2]
    left, top = round(width * border), round(height * border)
    canvas = cv2.copyMakeBorder(rgb, top, top, left, left, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return np.asarray(canvas, dtype=np.uint8), scale, left, top


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """The subject's face as found in one picture: its embedding, and what else was there."""

    subject: Face
    embedding: Vector
    faces: tuple[Face, ...]
    attempt: str


def sight_subject(engine: FaceEngine, rgb: Rgb) -> Sighting | None:
    """Find the faces, choose the subject and embed it; None where there is no face."""
    faces, attempt = engine.find(rgb)
    if not faces:
        return None
    subject = choose_subject(faces, rgb.shape[1], rgb.shape[0])
    return Sighting(subject, engine.embed(rgb, subject), tuple(faces), attempt)


def choose_subject(faces: Sequence[Face], width: int, height: int) -> Face:
    """The face that the picture is of: large and central, never the most similar one.

    Largest area - 2 * (distance of its centre from the picture's)², both in units of the picture: choosing by likeness would pass a
    stranger's portrait with the character small in a corner.
    """

    def prominence(face: Face) -> float:
        x0, y0, x1, y1 = face.box
        distance_x, distance_y = (x0 + x1) / 2 / width - 0.5, (y0 + y1) / 2 / height - 0.5
        return face.area / (width * height) - CENTRE_WEIGHT * (distance_x**2 + distance_y**2)

    return max(faces, key=prominence)


def second_face_share(faces: Sequence[Face], subject: Face) -> float:
    """The area of the largest other face, in shares of the subject's: 0 where there is none, 1 for one of its size."""
    return max((face.area / max(subject.area, 1e-9) for face in faces if face is not subject), default=0.0)


def has_second_face(faces: Sequence[Face], subject: Face, area_ratio: float) -> bool:
    """Whether another face has more than that share of the subject's area."""
    return second_face_share(faces, subject) > area_ratio


def measure_pose(landmarks: NDArray[np.float64]) -> tuple[float, float]:
    """Yaw and roll in degrees from five landmarks; yaw is positive to the right of the picture, roll clockwise.

    Roll is the direction of eyes and mouth together. Yaw: a nose that stands p eye distances before the face's plane moves sideways by
    p · sin(yaw) while the eye distance shrinks by cos(yaw), so tan(yaw) = shift / (p · seen eye distance). Pitch is left out: five points
    do not tell it from the shape of a face.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks
    across = (right_eye - left_eye) + (right_mouth - left_mouth)
    length = float(np.hypot(*across))
    if length == 0:
        return 0.0, 0.0
    axis = across / length
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    down = np.array([-axis[1], axis[0]])
    fall = float((mouth - eyes) @ down)
    along = float((nose - eyes) @ down) / fall if fall else 0.5
    midline = eyes + along * (mouth - eyes)
    shift = float((nose - midline) @ axis)
    seen = max(float((right_eye - left_eye) @ axis), 1e-6)
    return math.degrees(math.atan2(shift, NOSE_PROTRUSION * seen)), math.degrees(math.atan2(float(axis[1]), float(axis[0])))
