"""Assess pictures: one decode, one hash and one face detection for each, serving the face score and the skin score.

`open_assessor(references, policy)` measures the references once; `Assessor.assess` then scores pictures against them, from
any number of threads. Nothing here prints or writes.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.judging.gates import check_known, gates_in_force
from evals.judging.records import CONVERTED, NOT_MEASURED, Assessment, FaceScore, Geometry, Reading
from evals.judging.view import Prepared, Setting, View
from evals.skin.realism import SkinScore
from lifeos.counting import counted
from lifeos.errors import UnavailableError
from lifeos.project import require_directory

if TYPE_CHECKING:
    from evals.faces.face_engine import Face, FaceEngine
    from evals.faces.subject import Sighting
    from evals.judging.references import ReferenceSet
    from evals.likeness.embedding import Embedder, Vector
    from lifeos.images import Picture


def open_assessor(
    reference_dir: Path,
    policy: Mapping[str, Any],
    *,
    engine: str = "auto",
    prefer_cpu: bool = False,
    model_root: Path | None = None,
    model_pack: str | None = None,
    face_model: Path | None = None,
    begun: Mapping[str, Any] | None = None,
    want_skin: bool = True,
    want_guards: bool = True,
    folders: Mapping[str, Path] | None = None,
) -> Assessor:
    """An assessor for the references in a folder. `folders`: further folders, by name, for the measures of gates that need one; `begun`:
    the protocol of the batch that goes on, whose engine `auto` then is. `want_guards`: whether further gates are measured.

    Raises InputError (no usable reference, a gate or model pack that is not known) or UnavailableError (no engine, no model).
    """
    require_directory(reference_dir, "--reference-dir")
    check_known(policy)
    import cv2

    from evals.faces.engines import choose_engine
    from evals.judging.references import load_references

    cv2.setNumThreads(1)  # pictures run in parallel, not the filters within one
    chosen = choose_engine(
        engine, policy, prefer_cpu=prefer_cpu, model_root=model_root, model_pack=model_pack, face_model=face_model, begun=begun
    )
    references = load_references(reference_dir, chosen, want_skin=want_skin, workers=default_workers())
    return Assessor(chosen, references, policy, want_skin=want_skin, want_guards=want_guards, folders=folders)


def default_workers() -> int:
    """Worker threads: one for each core, at most four, since each holds a decoded picture."""
    return max(1, min(4, os.cpu_count() or 1))


class Assessor:
    """Scores pictures against one reference set. Thread safe.

    `protocol` holds everything that makes scores comparable, and its `id`. `provider` is what really runs. `description` is one line for
    people, `warnings` the lines that they should read before trusting a score, `for_owner` those that may name files.
    `reference_hashes`: SHA-256 of the references. `likeness`: what a face score stands between (`LikenessRange`).
    """

    def __init__(
        self,
        engine: FaceEngine,
        references: ReferenceSet,
        policy: Mapping[str, Any],
        *,
        want_skin: bool = True,
        want_guards: bool = True,
        folders: Mapping[str, Path] | None = None,
    ) -> None:
        from evals.faces.policy_scale import PolicyScale, doubt_of
        from evals.guards.second_face import limit_in_force
        from evals.judging.likeness_range import doubts_about, measure_range
        from evals.judging.protocol import protocol_of
        from evals.judging.skin_sight import SkinSight

        limits = policy["face_similarity"]
        row = limits["engines"][engine.scale_key]
        self.engine, self.references = engine, references
        self._centroid, self._skin = references.centroid, SkinSight(engine) if want_skin else None
        self.scale = PolicyScale.from_policy(row)
        self._least_height, self._widest_yaw = limits["low_confidence_face_px"], limits["low_confidence_yaw_deg"]
        self._second_face = limit_in_force(policy)
        self._known: dict[str, Assessment] = {}
        self._measured = [gate for gate in gates_in_force(policy) if gate.measure is not None and want_guards]
        self._policy, self._folders, self._memory = policy, folders or {}, dict[str, Any]()
        self._embedder, missing = _find_embedder() if want_skin else (None, ())
        prepared = self._prepare_measures()
        self.provider = engine.provider
        self.reference_hashes = frozenset(references.hashes)
        points = None if self._skin is None else self._skin.points
        self.protocol: dict[str, Any] = protocol_of(
            engine,
            references,
            self.scale.to_json(),
            skin_points=points,
            measures={gate.key: f"{gate.metric} {prepared[gate.key].identity}".strip() for gate in self._measured},
        )
        name = f"{self.protocol['engine']} ({self.protocol['model_pack']}, {engine.provider})"
        count = len(references.names)
        self.description = f"face engine {name}, {counted(count, 'reference')}, protocol {self.protocol['id']}"
        doubt = doubt_of(row, engine.scale_key, engine.model_sha256)
        self.warnings = (*engine.notes, *((doubt,) if doubt else ()), *references.left_out, *doubts_about(references, self.scale), *missing)
        self.likeness = measure_range(references, self.scale, engine.scale_key).to_json()
        self.warnings += tuple(line for each in prepared.values() for line in each.warnings)
        self.for_owner = tuple(line for each in prepared.values() for line in each.for_owner)
        if want_skin and not references.skin.levels:
            self.warnings += ("no reference shows enough skin in colour: skin cannot be judged, and no picture can be approved",)

    def _prepare_measures(self) -> dict[str, Prepared]:
        """What the gates that are measured need, made ready before anything is judged, by gate key."""
        around = Setting(
            self.engine, self.references, self.scale, self._policy, self._folders, self._memory, default_workers(), self._embedder
        )
        return {gate.key: gate.prepare(around) if gate.prepare is not None else Prepared() for gate in self._measured}

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
        from evals.faces.subject import sight_subject
        from evals.likeness.embedding import to_record
        from evals.likeness.hashes import picture_hash
        from lifeos.images import ImageError, decode_picture

        try:
            picture = decode_picture(data, path, sha256=digest)
        except ImageError as error:
            return _unassessed(path, error.reason, digest)
        sighting = sight_subject(self.engine, picture.rgb)
        missing = NOT_MEASURED if self._skin is None else "no_face"
        face, skin, geometry = FaceScore(None, "no_face"), SkinScore(None, missing), None
        if sighting is not None:
            geometry = geometry_of(sighting.subject, picture.width, picture.height)
            face = self._score_face(sighting, geometry, digest)
            skin = self._score_skin(picture, sighting.subject)
        if picture.profile is not None:
            face = replace(face, flags=(*face.flags, CONVERTED))
            skin = replace(skin, flags=(*skin.flags, CONVERTED))
        size, digits = (picture.width, picture.height), picture_hash(picture.rgb)
        embedding = None if self._embedder is None else self._embedder.embed(picture.rgb)
        measures = self._measure_more(picture, sighting, embedding)
        scene = None if embedding is None else to_record(embedding)
        return Assessment(path.as_posix(), digest, *size, None, face, skin, geometry, digits, measures, scene)

    def _measure_more(self, picture: Picture, sighting: Sighting | None, embedding: Vector | None) -> dict[str, Reading]:
        """What the gates measure that are not part of face or skin."""
        view = View(picture, sighting, self.references, self._policy, self._folders, self._memory, embedding)
        return {gate.key: gate.measure(view) for gate in self._measured if gate.measure is not None}

    def _score_face(self, sighting: Sighting, geometry: Geometry, digest: str) -> FaceScore:
        from evals.faces.subject import has_second_face

        cosines = self.references.cosines(sighting.embedding)
        cosine = float(self._centroid @ sighting.embedding)
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
        from evals.judging.borderline import mark_borderline
        from evals.skin.realism import score_skin

        if self._skin is None:
            return SkinScore(None, NOT_MEASURED)
        reference = self.references.skin
        return mark_borderline(score_skin(self._skin.measure(picture.rgb, subject, reference), reference), self._policy)


def _find_embedder() -> tuple[Embedder | None, tuple[str, ...]]:
    """The model that compares clothes and places; else none, and the line that says so: nothing else needs it."""
    from evals.likeness.embedding import open_embedder

    try:
        return open_embedder(), ()
    except UnavailableError as error:
        return None, (f"clothes and places are not compared: {error}",)


def _unassessed(path: Path, reason: str, digest: str | None) -> Assessment:
    return Assessment(path.as_posix(), digest, 0, 0, reason, FaceScore(None, reason), SkinScore(None, reason))


def geometry_of(subject: Face, width: int, height: int) -> Geometry:
    """Where a face is in a picture of that size, in pixels."""
    from evals.faces.subject import measure_pose
    from evals.judging.variety import shot_type

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
