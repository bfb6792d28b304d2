"""Assess pictures: one decode, one hash and one face detection for each, serving the face score and the skin score.

`open_assessor(references, policy)` measures the references once; `Assessor.assess` then scores pictures against them, from
any number of threads. `judge` compares an assessment with the policy's thresholds. Nothing here prints or writes.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.metrics.skin import SkinScore
from lifeos.cli import require_directory

if TYPE_CHECKING:
    from evals.metrics.faces import Face, FaceEngine, Sighting
    from evals.metrics.references import ReferenceSet
    from lifeos.images import Picture

__all__ = ["Assessment", "Assessor", "FaceScore", "Geometry", "SkinScore", "Verdict", "judge", "open_assessor"]

NOT_MEASURED = "not_measured"
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
    "bad_landmarks": "the face's landmarks make no face",
    "no_reference_skin": "no reference shows enough skin",
}
"""What each reason means, for people."""


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
    the picture, x over width and y over height. `shot_type`: one of `evals.metrics.sameness.SHOT_TYPES`.
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
    """The verdict on one picture by the pass thresholds of the policy. Scores are compared after rounding to 4 decimals.

    A gate that could not measure says no: a picture is approved on evidence. Skin that was never asked for is no gate.
    """
    if assessment.reason is not None:
        return Verdict(False, (explain_reason(assessment.reason),))
    if assessment.face.score is None:
        return Verdict(False, (explain_reason(assessment.face.reason or "no_face"),))
    skin, limits = assessment.skin, policy["skin_realism"]
    face_limit = policy["face_similarity"]["pass_threshold"]
    gates: list[tuple[str, float | None, float]] = [("face similarity", assessment.face.score, face_limit)]
    if skin.score is not None:
        gates += [
            ("skin realism", skin.score, limits["overall_pass_threshold"]),
            ("skin texture", skin.texture, limits["texture_pass_threshold"]),
            ("skin colour", skin.color, limits["color_naturalness_pass_threshold"]),
        ]
    reasons = [describe_miss(name, score, limit) for name, score, limit in gates if score is not None and not passes(score, limit)]
    if skin.score is None and skin.reason != NOT_MEASURED:
        reasons.append(f"skin cannot be judged: {explain_reason(skin.reason or '')}")
    return Verdict(not reasons, tuple(reasons))


def passes(score: float, threshold: float) -> bool:
    """Whether a score reaches a threshold, both at 4 decimals: 0.59996 passes 0.60."""
    return round(score, 4) >= round(threshold, 4)


def describe_miss(name: str, score: float, threshold: float) -> str:
    """`face similarity 0.41 is below 0.60`, with as many decimals as show the difference."""
    digits = next((digits for digits in (2, 3) if f"{score:.{digits}f}" != f"{threshold:.{digits}f}"), 4)
    return f"{name} {score:.{digits}f} is below {threshold:.{digits}f}"


def explain_reason(reason: str) -> str:
    """A reason's word, for people."""
    return REASONS.get(reason, reason.replace("_", " "))


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
    """An assessor for the references in a folder.

    Raises InputError (no usable reference, a model pack that the policy does not know) or UnavailableError (no engine, no model).
    """
    require_directory(reference_dir, "--reference")
    import cv2

    from evals.metrics.engines import choose_engine
    from evals.metrics.references import load_references

    cv2.setNumThreads(1)  # pictures run in parallel, not the filters within one
    chosen = choose_engine(engine, policy, prefer_cpu=prefer_cpu, model_root=model_root, model_pack=model_pack)
    references = load_references(reference_dir, chosen, want_skin=want_skin, workers=default_workers())
    return Assessor(chosen, references, policy, want_skin=want_skin)


def default_workers() -> int:
    """Worker threads: one for each core, at most four, since each holds a decoded picture."""
    return max(1, min(4, os.cpu_count() or 1))


class Assessor:
    """Scores pictures against one reference set. Thread safe.

    `protocol` holds everything that makes scores comparable, and its `id`. `provider` is what really runs. `description` is one line for
    people, `warnings` the lines that they should read before trusting a score. `reference_hashes`: SHA-256 of the references.
    """

    def __init__(self, engine: FaceEngine, references: ReferenceSet, policy: Mapping[str, Any], *, want_skin: bool = True) -> None:
        from evals.metrics import faces, skin
        from evals.metrics.protocol import with_id

        limits = policy["face_similarity"]
        row = limits["engines"][engine.scale_key]
        self.engine, self.references, self._want_skin = engine, references, want_skin
        self.scale = faces.PolicyScale.from_policy(row)
        self._least_height, self._widest_yaw = limits["low_confidence_face_px"], limits["low_confidence_yaw_deg"]
        self._second_face = limits["second_face_area_ratio"]
        self._known: dict[str, Assessment] = {}
        self.provider = engine.provider
        self.reference_hashes = frozenset(references.hashes)
        self.protocol: dict[str, Any] = with_id(
            {
                **engine.identity(),
                "aggregation": "mean",
                "subject": "area - 2 d2",
                "scale": dict(row),
                "face_metric": faces.METRIC,
                "skin_metric": skin.METRIC if want_skin else None,
                "reference_set_id": references.set_id,
                "references": len(references.names),
            }
        )
        name = f"{self.protocol['engine']} ({self.protocol['model_pack']}, {engine.provider})"
        count = len(references.names)
        self.description = f"face engine {name}, {count} reference{'s' if count != 1 else ''}, protocol {self.protocol['id']}"
        self.warnings = (*engine.notes, *references.warnings())
        if want_skin and not references.skin.levels:
            self.warnings += ("no reference shows enough skin in colour: skin cannot be judged, and no picture can be approved",)

    def assess(self, path: Path) -> Assessment:
        """Assess one file. Never raises for a bad picture: its `reason` says what is wrong with it."""
        try:
            data = path.read_bytes()
        except OSError:
            return _unassessed(path, "unreadable", None)
        return self.assess_bytes(data, path)

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        """Assess the bytes of a picture that lies, or will lie, at `path`. The same bytes are decoded once, under whatever name."""
        digest = hashlib.sha256(data).hexdigest()
        known = self._known.get(digest)
        if known is None:
            known = self._known[digest] = self._measure(data, path, digest)
        return replace(known, file=path.as_posix())

    def forget(self) -> None:
        """Forget the pictures seen so far: for measuring speed, and for runs without an end."""
        self._known.clear()

    def assess_many(self, paths: Iterable[Path], *, workers: int | None = None) -> Iterator[Assessment]:
        """Assess many files in worker threads, in the order given. Only a few are in memory at a time."""
        count = workers or default_workers()
        waiting: deque[Future[Assessment]] = deque()
        pool = ThreadPoolExecutor(count, thread_name_prefix="assess")
        try:
            for path in paths:
                waiting.append(pool.submit(self.assess, path))
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _measure(self, data: bytes, path: Path, digest: str) -> Assessment:
        from evals.metrics.faces import sight_subject
        from evals.metrics.sameness import picture_hash
        from lifeos.images import ImageError, decode_picture

        try:
            picture = decode_picture(data, path)
        except ImageError as error:
            return _unassessed(path, error.reason, digest)
        sighting = sight_subject(self.engine, picture.rgb)
        missing = "no_face" if self._want_skin else NOT_MEASURED
        face, skin, geometry = FaceScore(None, "no_face"), SkinScore(None, missing), None
        if sighting is not None:
            geometry = geometry_of(sighting.subject, picture.width, picture.height)
            face = self._score_face(sighting, geometry, picture.sha256)
            skin = self._score_skin(picture, sighting.subject)
        size = (picture.width, picture.height)
        return Assessment(path.as_posix(), digest, *size, None, face, skin, geometry, picture_hash(picture.rgb))

    def _score_face(self, sighting: Sighting, geometry: Geometry, digest: str) -> FaceScore:
        from evals.metrics.faces import has_second_face

        cosines = self.references.cosines(sighting.embedding)
        cosine = float(cosines.mean())
        box = sighting.subject.box
        flags = {
            "small_face": box[3] - box[1] < self._least_height,
            "turned_away": abs(geometry.yaw) > self._widest_yaw,
            "second_face": has_second_face(sighting.faces, sighting.subject, self._second_face),
            "reference_picture": digest in self.reference_hashes,
        }
        return FaceScore(
            score=round(self.scale.score(cosine), 6),
            reason=None,
            cosine=round(cosine, 6),
            faces=len(sighting.faces),
            best_reference=self.references.names[int(cosines.argmax())],
            attempt=sighting.attempt,
            flags=tuple(name for name, is_set in flags.items() if is_set),
        )

    def _score_skin(self, picture: Picture, subject: Face) -> SkinScore:
        from evals.metrics.skin import measure_skin, score_skin

        if not self._want_skin:
            return SkinScore(None, NOT_MEASURED)
        reference = self.references.skin
        return score_skin(measure_skin(picture.rgb, subject.landmarks, subject.box, reference=reference), reference)


def _unassessed(path: Path, reason: str, digest: str | None) -> Assessment:
    return Assessment(path.as_posix(), digest, 0, 0, reason, FaceScore(None, reason), SkinScore(None, reason))


def geometry_of(subject: Face, width: int, height: int) -> Geometry:
    """Where a face is in a picture of that size, in pixels."""
    from evals.metrics.faces import measure_pose
    from evals.metrics.sameness import shot_type

    x0, y0, x1, y1 = subject.box
    yaw, roll = measure_pose(subject.landmarks)
    face_height = (y1 - y0) / height
    return Geometry(
        yaw=round(yaw, 2),
        roll=round(roll, 2),
        face_area=round(subject.area / (width * height), 6),
        face_height=round(face_height, 6),
        center_x=round((x0 + x1) / 2 / width, 6),
        center_y=round((y0 + y1) / 2 / height, 6),
        shot_type=shot_type(face_height),
        landmarks=tuple((round(float(x) / width, 6), round(float(y) / height, 6)) for x, y in subject.landmarks),
    )
