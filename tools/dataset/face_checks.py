"""Check a training set by its faces: nobody there, somebody else, always the same pose or shot, blurred, cut off, held-out pictures.

`measure_faces` looks at every picture once (decode, detect, embed); `judge_faces` turns the measurements into notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifeos.file_names import stored_path, system_name
from lifeos.findings import Finding
from lifeos.images import ImageError, find_pictures, read_picture
from lifeos.progress import Progress
from tools.dataset.bucketing import BucketPlacement, BucketSettings, bucket_sizes, place_picture
from tools.dataset.hashing import default_jobs, run_threads
from tools.dataset.notices import noticed
from tools.dataset.training_set import PictureRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import Face, FaceEngine
    from evals.judging.records import Geometry
    from evals.judging.variety import Sameness

MAX_WORKERS = 4
"""Each holds a decoded picture."""

FACE_SIDE = 160
"""Blur is measured at one size of face, else a small face would count as sharp."""

MAD_TO_DEVIATION = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""

LEAST_DEVIATION = 0.02
"""Of the cosine: in a set of near-equal pictures the least difference must not make an outlier."""

CUT_SHARE = 0.05
"""A face box may lose this much of its area to the trainer's crop: boxes hold some hair and air."""

FEWEST_FACES = 4
"""With fewer there is no centre to be far from, and no variety to miss."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceMeasurement:
    """What is known of one picture. Without a face only `name`, `sha256`, `dhash` and the size are."""

    name: str
    sha256: str
    width: int
    height: int
    dhash: str
    faces: int = 0
    box: tuple[float, float, float, float] | None = None
    geometry: Geometry | None = None
    embedding: NDArray[np.float64] | None = None
    sharpness: float | None = None


@dataclass(frozen=True, slots=True)
class FaceReport:
    """The notices, and the numbers they rest on. `likeness`: each picture's cosine to the middle of all others."""

    notices: list[Finding]
    engine: dict[str, Any]
    sameness: Sameness
    likeness: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        sameness = {name: value for name, value in asdict(self.sameness).items() if name != "duplicates"}
        return {"engine": self.engine, "sameness": sameness, "likeness": self.likeness}


def check_faces(
    dataset_dir: Path,
    records: Iterable[PictureRecord],
    engine: FaceEngine,
    policy: Mapping[str, Any],
    bucket: BucketSettings,
    *,
    reference_dir: Path | None = None,
    jobs: int | None = None,
) -> FaceReport:
    """Measure and judge a training set, against the evaluation references too where their folder is given."""
    readable = [(record.name, record.sha256) for record in records if not {"unreadable", "truncated"} & set(record.header.faults)]
    measured = measure_faces(engine, dataset_dir, readable, jobs=jobs)
    references = []
    if reference_dir is not None:
        names = [(stored_path(path.relative_to(reference_dir)), "") for path in find_pictures(reference_dir, recursive=True)]
        references = measure_faces(engine, reference_dir, names, jobs=jobs)
    report = judge_faces(measured, references, engine, policy, bucket)
    seen = {measurement.name for measurement in measured}
    if unseen := tuple(name for name, _ in readable if name not in seen):
        report.notices.append(noticed("face_unseen", "error", "the picture cannot be decoded: no face was looked for", unseen))
    return report


def measure_faces(engine: FaceEngine, folder: Path, files: Sequence[tuple[str, str]], *, jobs: int | None = None) -> list[FaceMeasurement]:
    """Look at every picture of a folder, given as (name, SHA-256). One that cannot be decoded is left out: `hashing` names it."""
    import cv2

    cv2.setNumThreads(1)  # pictures run in parallel, not the filters within one

    def measure(file: tuple[str, str], _: bytearray) -> FaceMeasurement | None:
        return _measure(engine, folder, file[0])

    with Progress(len(files), "looking at faces", unit="file") as bar:
        found = list(run_threads(measure, files, min(jobs or default_jobs(), MAX_WORKERS), bar))
    return [measurement for measurement in found if measurement is not None]


def _measure(engine: FaceEngine, folder: Path, name: str) -> FaceMeasurement | None:
    from evals.faces.subject import sight_subject
    from evals.judging.assessor import geometry_of
    from evals.likeness.hashes import picture_hash

    try:
        picture = read_picture(folder / system_name(name))
    except ImageError:
        return None
    plain = FaceMeasurement(name, picture.sha256, picture.width, picture.height, picture_hash(picture.rgb))
    sighting = sight_subject(engine, picture.rgb)
    if sighting is None:
        return plain
    subject = sighting.subject
    return FaceMeasurement(
        name,
        picture.sha256,
        picture.width,
        picture.height,
        plain.dhash,
        len(sighting.faces),
        subject.box,
        geometry_of(subject, picture.width, picture.height),
        sighting.embedding,
        measure_sharpness(picture.rgb, subject),
    )


def measure_sharpness(rgb: NDArray[np.uint8], face: Face) -> float | None:
    """Standard deviation of the Laplacian of the face's luma at one size of face, in grey levels; None if it lies outside the picture."""
    import cv2
    import numpy as np

    x0, y0, x1, y1 = (round(value) for value in face.box)
    crop = rgb[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    if min(crop.shape[:2]) < 8:
        return None
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    scale = FACE_SIDE / max(luma.shape)
    if scale < 1:
        luma = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(np.asarray(cv2.Laplacian(luma, cv2.CV_64F)).std())


def judge_faces(
    measured: Sequence[FaceMeasurement],
    references: Sequence[FaceMeasurement],
    engine: FaceEngine,
    policy: Mapping[str, Any],
    bucket: BucketSettings,
) -> FaceReport:
    """The notices of a measured set; opens no file and runs no engine."""
    from evals.faces.policy_scale import PolicyScale
    from evals.judging.variety import measure_sameness

    limits = policy["dataset"]
    geometries, hashes = [item.geometry for item in measured], [item.dhash for item in measured]
    sameness = measure_sameness(geometries, hashes, same_pose_yaw_spread_deg=limits["min_yaw_spread_deg"])
    likeness = _likeness(measured)
    scale = PolicyScale.from_policy(policy["face_similarity"]["engines"][engine.scale_key])
    notices: list[Finding] = []

    def tell(check: str, message: str, names: Sequence[str]) -> None:
        if names:
            notices.append(noticed(check, "warning", message, tuple(names)))

    tell("no_face", "no face is found", [item.name for item in measured if not item.faces])
    tell("several_faces", "more than one face: the LoRA learns them all", [item.name for item in measured if item.faces > 1])
    outliers = find_outliers(likeness, limits["identity_outlier_spread"], scale, policy["face_similarity"]["pass_threshold"])
    tell("identity_outlier", "looks like somebody else than the rest of the set", outliers)
    tell(
        "blurred",
        f"the face is less than {limits['min_sharpness']:.0%} as sharp as is usual here",
        _find_blurred(measured, limits["min_sharpness"]),
    )
    tell("face_cut_off", "the trainer's crop to its bucket cuts into the face", _find_cut(measured, bucket))
    notices += _judge_variety(sameness, limits)
    held_out = "also an evaluation reference, or nearly: take it out of one of the two, or the scores reward memorising"
    tell("reference_overlap", held_out, _find_overlap(measured, references))
    return FaceReport(notices, engine.identity(), sameness, likeness)


def _likeness(measured: Sequence[FaceMeasurement]) -> dict[str, float]:
    """Each face's cosine to the middle of all the others."""
    import numpy as np

    from evals.faces.centroid import left_out_cosines

    faces = [(item.name, item.embedding) for item in measured if item.embedding is not None]
    if len(faces) < 2:
        return {}
    cosines = left_out_cosines(np.stack([embedding for _, embedding in faces]))
    return {name: round(float(cosine), 6) for (name, _), cosine in zip(faces, cosines, strict=True)}


def find_outliers(likeness: Mapping[str, float], spread: float, scale: Any, pass_threshold: float) -> list[str]:
    """Who is far below the set's own median likeness and would not pass as the same person. Robust: a few strangers do not hide each
    other."""
    import numpy as np

    if len(likeness) < FEWEST_FACES:
        return []
    values = np.array(list(likeness.values()))
    middle = float(np.median(values))
    deviation = max(LEAST_DEVIATION, MAD_TO_DEVIATION * float(np.median(np.abs(values - middle))))
    lowest = middle - spread * deviation
    return sorted(name for name, cosine in likeness.items() if cosine < lowest and scale.score(cosine) < pass_threshold)


def _find_blurred(measured: Sequence[FaceMeasurement], least: float) -> list[str]:
    import numpy as np

    sharp = {item.name: item.sharpness for item in measured if item.sharpness is not None}
    if len(sharp) < FEWEST_FACES:
        return []
    usual = float(np.median(list(sharp.values())))
    return [name for name, sharpness in sharp.items() if sharpness < least * usual]


def _find_cut(measured: Sequence[FaceMeasurement], bucket: BucketSettings) -> list[str]:
    sizes = bucket_sizes(bucket)
    found = []
    for item in measured:
        placement = place_picture(item.width, item.height, bucket, sizes)
        if item.box and placement and cut_share(item.box, item.width, item.height, placement) > CUT_SHARE:
            found.append(item.name)
    return found


def cut_share(box: tuple[float, float, float, float], width: int, height: int, placement: BucketPlacement) -> float:
    """The part of a box's area, inside the picture, that the trainer's crop removes."""
    left, top, right, bottom = placement.crop

    def area(x0: float, y0: float, x1: float, y1: float) -> float:
        return max(0.0, min(box[2], x1) - max(box[0], x0)) * max(0.0, min(box[3], y1) - max(box[1], y0))

    whole = area(0, 0, width, height)
    return 1 - area(left * width, top * height, right * width, bottom * height) / whole if whole else 0.0


def _judge_variety(sameness: Sameness, limits: Mapping[str, Any]) -> list[Finding]:
    """What the set does not show, the LoRA cannot learn."""
    notices = []
    if sameness.faces < FEWEST_FACES:
        return []
    shot, count = max(sameness.shots.items(), key=lambda item: item[1])
    if count > limits["one_shot_share"] * sameness.faces:
        shots = ", ".join(f"{name} {number}" for name, number in sameness.shots.items() if number)
        notices.append(
            noticed("one_shot_size", "warning", f"{count} of {sameness.faces} faces are a {shot}: other sizes are not learnt ({shots})")
        )
    if sameness.yaw_spread_deg is not None and sameness.yaw_spread_deg < limits["min_yaw_spread_deg"]:
        text = f"the faces turn by only {sameness.yaw_spread_deg:g}° around their mean: other directions are not learnt"
        notices.append(noticed("one_pose", "warning", text))
    return notices


def _find_overlap(measured: Sequence[FaceMeasurement], references: Sequence[FaceMeasurement]) -> list[str]:
    from evals.likeness.hashes import DUPLICATE_BITS, hash_distance

    hashes = {item.sha256 for item in references}
    looks = [item.dhash for item in references]
    return [
        item.name for item in measured if item.sha256 in hashes or any(hash_distance(item.dhash, look) <= DUPLICATE_BITS for look in looks)
    ]
