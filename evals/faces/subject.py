"""Faces in a picture: finding them whatever it takes, choosing the subject, its pose, and its likeness on the policy scale.

An engine finds faces and turns one into a unit vector; everything else is the same for all engines and lives here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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

Rgb = NDArray[np.uint8]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face found. `box` is (x0, y0, x1, y1) in pixels; `landmarks` 5 x 2: left eye, right eye, nose, left and right mouth corner, as
    seen in the picture."""

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float64]
    confidence: float

    @property
    def area(self) -> float:
        x0, y0, x1, y1 = self.box
        return max(0.0, x1 - x0) * max(0.0, y1 - y0)

    def mapped(self, scale: float, offset_x: float, offset_y: float) -> Face:
        """The same face after subtracting an offset and dividing by a scale: from a bordered picture back to the original."""
        shift = np.array([offset_x, offset_y])
        corners = (np.array(self.box).reshape(2, 2) - shift) / scale
        x0, y0, x1, y1 = (float(value) for value in corners.ravel())
        return Face((x0, y0, x1, y1), (self.landmarks - shift) / scale, self.confidence)


class FaceEngine(Protocol):
    """Finds faces and embeds one. Both methods may be called from several threads at once."""

    scale_key: str
    """Its row in the policy's `face_similarity.engines`."""
    provider: str
    """What it really runs on: `CUDAExecutionProvider`, `CPUExecutionProvider`, `dlib CPU`."""
    notes: tuple[str, ...]
    """What a person must know about it: licence, a provider that was wanted and does not run."""

    def identity(self) -> dict[str, Any]:
        """What makes its scores comparable with another run's: engine, files with SHA-256, detection settings."""

    def find(self, rgb: Rgb) -> tuple[list[Face], str]:
        """Every face in a picture, and the attempt that found them (empty when none did)."""

    def embed(self, rgb: Rgb, face: Face) -> Vector:
        """The unit embedding of one face."""


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


def has_second_face(faces: Sequence[Face], subject: Face, area_ratio: float) -> bool:
    """Whether another face has at least that share of the subject's area."""
    return any(face is not subject and face.area >= area_ratio * subject.area for face in faces)


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


def unit(vector: NDArray[np.floating[Any]]) -> Vector:
    """The vector at length 1."""
    wide = np.asarray(vector, dtype=np.float64).ravel()
    return wide / max(float(np.linalg.norm(wide)), 1e-12)


@dataclass(frozen=True, slots=True)
class PolicyScale:
    """Maps an engine's cosine onto the policy's scale, so that one pass threshold holds for every engine.

    Piecewise-linear through: a stranger's mean -> 0, the engine's warn point -> 0.50, its pass point -> 0.60, identity -> 1.
    """

    stranger: float
    warn: float
    passing: float
    same: float

    @classmethod
    def from_policy(cls, row: Mapping[str, float]) -> PolicyScale:
        return cls(row["stranger"], row["warn"], row["pass"], row["same"])

    def score(self, cosine: float) -> float:
        points = (self.stranger, self.warn, self.passing, self.same)
        return float(np.interp(cosine, points, (0.0, 0.5, 0.6, 1.0)))
