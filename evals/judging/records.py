"""What is known of one picture after it was assessed: its scores, the reasons why one is missing, and where the face is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from evals.skin.realism import SkinScore

NOT_MEASURED = "not_measured"
CONVERTED = "converted_colors"
"""The flag of a picture whose colours were converted to sRGB: before version 3.1 they were taken as they stood in the file."""
REASONS = {
    "no_face": "no face found",
    "unreadable": "the file cannot be read as a picture",
    "truncated": "the file is cut off",
    "empty": "the file is empty",
    "too_large": "the picture is over the pixel limit",
    "animated": "an animated picture",
    "grey": "the picture has no colour",
    "face_too_small": "the face is too small",
    "too_little_skin": "too little skin is visible",
    "bad_landmarks": "the points found on the face are not those of a face",
    "no_reference_skin": "no reference shows enough skin",
}
"""What each reason means, for people."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one gate reads from a picture: a score, or None and the reason why there is none.

    `cause` says in words what the score comes from (`blurred as a whole`); pictures that are rejected for one cause are counted together.
    `note` is for whoever owns the batch: it may name files (of training pictures, of people who must not be resembled), so it stands in the
    batch's own records and reports, and nowhere else.
    """

    score: float | None
    reason: str | None = None
    cause: str = ""
    note: str = ""

    @property
    def public(self) -> Reading:
        """The same without the note."""
        return replace(self, note="") if self.note else self


@dataclass(frozen=True, slots=True)
class FaceScore:
    """Likeness to the references. `score` is on the policy scale (one pass threshold for all engines), `cosine` the engine's own: to the
    middle of the references. `best_reference` is the one that is the most alike.

    `reason` says why there is no score: `no_face`, or the picture's own reason. `attempt` is the step of the detection ladder that
    found the face. `flags`: `small_face`, `turned_away`, `second_face`, `reference_picture`,
    `converted_colors`.
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
    the picture, x over width and y over height. `shot_type`: one of `evals.judging.variety.SHOT_TYPES`.
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
    measures: Mapping[str, Reading] = field(default_factory=dict)
    """What further gates measured, by gate key."""
    scene: str | None = None
    """The record of its embedding (`evals.likeness.embedding`), which shows clothes and place; None: not recorded."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal assessment."""
        document = asdict(self)
        document["measures"] = {key: _reading_to_json(reading) for key, reading in self.measures.items()}
        if not self.measures:
            del document["measures"]
        if self.scene is None:
            del document["scene"]
        return document

    @property
    def public(self) -> Assessment:
        """The same without the notes of its readings, which are for the owner of the batch."""
        return replace(self, measures={key: reading.public for key, reading in self.measures.items()})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Assessment:
        fields = dict(data)
        fields["face"] = FaceScore(**{**data["face"], "flags": tuple(data["face"]["flags"])})
        fields["skin"] = _skin_from_json(data["skin"])
        if data["geometry"] is not None:
            landmarks = tuple((point[0], point[1]) for point in data["geometry"]["landmarks"])
            fields["geometry"] = Geometry(**{**data["geometry"], "landmarks": landmarks})
        fields["measures"] = {key: Reading(**value) for key, value in data.get("measures", {}).items()}
        return cls(**fields)


def _reading_to_json(reading: Reading) -> dict[str, Any]:
    """What is empty is left out."""
    told = {"cause": reading.cause, "note": reading.note}
    return {"score": reading.score, "reason": reading.reason, **{key: text for key, text in told.items() if text}}


def _skin_from_json(data: Mapping[str, Any]) -> SkinScore:
    """Records of version 1 of the measure hold no `texture_range`, `edge_offset` and `noise_share`."""
    span = data.get("texture_range")
    return SkinScore(**{**data, "flags": tuple(data["flags"]), "texture_range": None if span is None else (span[0], span[1])})


def explain_reason(reason: str) -> str:
    """A reason's word, for people."""
    return REASONS.get(reason, reason.replace("_", " "))
