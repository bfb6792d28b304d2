"""Does the new LoRA repeat its training pictures? Such pictures score well and are worth nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.comparison.promotion import NO, SKIPPED, UNKNOWN, YES, PromotionCheck
from evals.comparison.run_pictures import find_run_pictures, is_there
from evals.comparison.runs import Run
from lifeos import foreign
from lifeos.counting import counted, verb
from lifeos.errors import LifeosError
from lifeos.progress import track

if TYPE_CHECKING:
    from evals.faces.face_engine import FaceEngine
    from evals.faces.policy_scale import PolicyScale
    from evals.judging.references import ReferenceSet

TITLE = "Memorised"


def check_memorised(
    runs: Sequence[Run], folder: Path | None, manifest: Path | None, policy: Mapping[str, Any], *, engine: Mapping[str, Any] | None = None
) -> PromotionCheck:
    """Compare every picture with the training pictures that the manifest names, by file hash and by face.

    Without a manifest, its dataset, or the run's pictures nothing is known, and the check says so; it does not bar promotion then,
    unless the manifest was asked for by name.
    """
    unchecked = SKIPPED if manifest is None else UNKNOWN
    if manifest is None:
        told = next((run.manifest_path for run in runs if run.manifest_path), None)
        manifest = Path(told) if told else None
    if manifest is None or not is_there(manifest):
        return PromotionCheck(TITLE, unchecked, "no dataset manifest was found (give it with --dataset-manifest)")
    pictures = {name: path for run in runs for name, path in find_run_pictures(run, folder).items()}
    if not pictures:
        return PromotionCheck(TITLE, unchecked, "the pictures were not found (give their folder with --pictures-v2)")
    try:
        return _check(pictures, manifest, policy, engine or {"engine": "auto"})
    except (LifeosError, ModuleNotFoundError) as error:
        return PromotionCheck(TITLE, unchecked, str(error))


def _check(pictures: Mapping[str, Path], manifest: Path, policy: Mapping[str, Any], flags: Mapping[str, Any]) -> PromotionCheck:
    from evals.faces.engines import choose_engine
    from evals.faces.policy_scale import PolicyScale
    from evals.judging.references import load_references
    from lifeos.files import sha256_file

    hashes, folders = read_training_set(manifest)
    copies = [name for name, path in pictures.items() if sha256_file(path) in hashes]
    if copies:
        return PromotionCheck(
            TITLE,
            NO,
            f"{counted(len(copies), 'picture')} {verb(len(copies), 'is a file', 'are files')} of the training set, such as {copies[0]}",
        )
    if not folders:
        return PromotionCheck(
            TITLE, YES, "no picture is a file of the training set (the training pictures were not found, so faces were not compared)"
        )
    engine = choose_engine(policy=policy, **flags)
    scale = PolicyScale.from_policy(policy["face_similarity"]["engines"][engine.scale_key])
    training = [load_references(folder, engine, want_skin=False, workers=1) for folder in folders]
    limit = policy["comparison"]["memorised_cosine"]
    close: list[tuple[float, str, str]] = []
    nearest = 0.0
    for name, path in track(pictures.items(), "comparing with the training pictures", unit="picture"):
        score, like = nearest_training_picture(path, training, engine, scale)
        nearest = max(nearest, score)
        if score >= limit:
            close.append((score, name, like))
    if close:
        score, name, like = max(close)
        worst = f"{name} is {score:.2f} like {like}; {limit:g} is too close"
        return PromotionCheck(
            TITLE,
            NO,
            f"{len(close)} of {counted(len(pictures), 'picture')} {verb(len(close), 'repeats', 'repeat')} a training picture ({worst})",
        )
    return PromotionCheck(TITLE, YES, f"the nearest training picture is {nearest:.2f} alike, {limit:g} would be too close")


def nearest_training_picture(path: Path, training: Sequence[ReferenceSet], engine: FaceEngine, scale: PolicyScale) -> tuple[float, str]:
    """Likeness (policy scale) to the nearest training picture, and its name; 0 where there is no face."""
    from evals.faces.subject import sight_subject
    from lifeos.images import ImageError, read_picture

    try:
        sighting = sight_subject(engine, read_picture(path).rgb)
    except ImageError:
        return 0.0, ""
    if sighting is None:
        return 0.0, ""
    best, name = 0.0, ""
    for references in training:
        cosines = references.cosines(sighting.embedding)
        index = int(cosines.argmax())
        score = scale.score(float(cosines[index]))
        if score > best:
            best, name = score, references.names[index]
    return best, name


@dataclass(frozen=True, slots=True)
class TrainingPicture:
    """A picture of a dataset manifest, as far as it is read here."""

    filename: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class ManifestPictures:
    """A dataset manifest, as far as it is read here."""

    images: list[TrainingPicture]
    dataset_dir: str = ""


def read_training_set(manifest: Path) -> tuple[frozenset[str], list[Path]]:
    """The hashes of the training pictures, and the folders that still hold some of them. Raises InputError for no manifest."""
    found = foreign.read_file(manifest, ManifestPictures, too_large="null", fix="make one: python tools/dataset_manifest.py")
    base = Path(found.dataset_dir)
    if not found.dataset_dir or not is_there(base, Path.is_dir):
        base = manifest.parent
    folders = {(base / picture.filename).parent for picture in found.images if is_there(base / picture.filename)}
    return frozenset(picture.sha256 for picture in found.images), sorted(folders)
