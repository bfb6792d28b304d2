"""Assess pictures: one decode, one hash and one face detection for each, serving the face score and the skin score.

`open_assessor(references, policy)` measures the references once; `Assessor.assess` then scores pictures against them, from
any number of threads. `judge` compares an assessment with the policy's thresholds. Nothing here prints or writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.metrics.skin import SkinScore

__all__ = ["Assessment", "Assessor", "FaceScore", "Geometry", "SkinScore", "Verdict", "judge", "open_assessor"]


@dataclass(frozen=True, slots=True)
class FaceScore:
    """Likeness to the references. `score` is on the policy scale (one pass threshold for all engines), `cosine` the engine's own.

    `reason` says why there is no score: `no_face`, or the picture's own reason. `attempt` is the step of the detection ladder that
    found the face. `flags`: `small_face`, `turned_away`, `second_face`, `reference_picture`.
    """

    score: float | None
    reason: str | None
    cosine: float | None = None
    faces: int = 0
    best_reference: str | None = None
    attempt: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the subject's face is. Angles in degrees; everything else in fractions of the picture.

    `yaw` is positive when the face turns to the right of the picture, `roll` when it leans clockwise. `face_area` is a fraction of the
    picture's area, `face_height` of its height. `landmarks`: (x, y) of left eye, right eye, nose, left and right mouth corner as seen in
    the picture, x over width and y over height. `shot_type`: one of `evals.metrics.faces.SHOT_TYPES`.
    """

    yaw: float
    roll: float
    face_area: float
    face_height: float
    center_x: float
    center_y: float
    shot_type: str
    landmarks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """All that is known of one picture. `reason` is set when it could not be read at all: `unreadable`, `truncated`, `empty`, …

    `dhash` is the 64-bit difference hash as 16 hexadecimal digits, for near-duplicates.
    """

    file: str
    sha256: str | None
    width: int
    height: int
    reason: str | None
    face: FaceScore
    skin: SkinScore
    geometry: Geometry | None = None
    dhash: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal assessment."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Assessment:
        fields = dict(data)
        fields["face"] = FaceScore(**{**data["face"], "flags": tuple(data["face"]["flags"])})
        fields["skin"] = SkinScore(**{**data["skin"], "flags": tuple(data["skin"]["flags"])})
        if data["geometry"] is not None:
            landmarks = tuple((point[0], point[1]) for point in data["geometry"]["landmarks"])
            fields["geometry"] = Geometry(**{**data["geometry"], "landmarks": landmarks})
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a picture may be published, and every reason why not, as sentences for people."""

    approved: bool
    reasons: tuple[str, ...]


def judge(assessment: Assessment, policy: Mapping[str, Any]) -> Verdict:
    """The verdict on one picture by the pass thresholds of the policy. Scores are compared after rounding to 4 decimals."""
    raise NotImplementedError


def open_assessor(
    reference_dir: Path,
    policy: Mapping[str, Any],
    *,
    engine: str = "auto",
    prefer_cpu: bool = False,
    model_root: Path | None = None,
    model_pack: str | None = None,
    want_skin: bool = True,
) -> Assessor:
    """An assessor for the references in a folder. Raises InputError (no usable reference) or UnavailableError (no engine)."""
    raise NotImplementedError


class Assessor:
    """Scores pictures against one reference set. Thread safe. `protocol` holds everything that makes scores comparable, and its `id`."""

    protocol: dict[str, Any]
    description: str

    def assess(self, path: Path) -> Assessment:
        """Assess one file. Never raises for a bad picture: its `reason` says what is wrong with it."""
        raise NotImplementedError

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        """Assess the bytes of a picture that lies, or will lie, at `path`."""
        raise NotImplementedError

    def assess_many(self, paths: Iterable[Path], *, workers: int | None = None) -> Iterator[Assessment]:
        """Assess many files in worker threads, in the order given."""
        raise NotImplementedError
