"""Does the new LoRA repeat its training pictures? Such pictures score well and are worth nothing.

The rule is that of the guard *memorised* (`evals.guards.memorised`).
"""

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
    from evals.likeness.training_pictures import Match

TITLE = "Memorised"


def check_memorised(
    runs: Sequence[Run], folder: Path | None, manifest: Path | None, policy: Mapping[str, Any], *, engine: Mapping[str, Any] | None = None
) -> PromotionCheck:
    """Compare every picture with the training pictures that the manifest names, by file hash and by what they show.

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
    from lifeos.files import sha256_file

    hashes, files = read_training_set(manifest)
    copies = [name for name, path in pictures.items() if sha256_file(path) in hashes]
    if copies:
        of_the_set = f"{counted(len(copies), 'picture')} {verb(len(copies), 'is a file', 'are files')} of the training set"
        return PromotionCheck(TITLE, NO, f"{of_the_set}, such as {copies[0]}")
    if not files:
        return PromotionCheck(
            TITLE, YES, "no picture is a file of the training set (the training pictures were not found, so none was compared)"
        )
    return _judge(_compare(pictures, files, manifest.parent, policy, flags), policy)


@dataclass(frozen=True, slots=True)
class _Compared:
    """The nearest training picture of each picture that could be compared, by its name, and those that could not be."""

    matches: Mapping[str, Match]
    unread: tuple[str, ...]


def _compare(
    pictures: Mapping[str, Path], files: Sequence[Path], base: Path, policy: Mapping[str, Any], flags: Mapping[str, Any]
) -> _Compared:
    from evals.faces.engines import choose_engine
    from evals.faces.subject import sight_subject
    from evals.likeness.embedding import open_embedder
    from evals.likeness.training_pictures import load_training_set, see
    from lifeos.images import ImageError, read_picture

    engine, embedder = choose_engine(policy=policy, **flags), open_embedder()
    training = load_training_set(files, base, engine, embedder)
    matches: dict[str, Match] = {}
    unread: list[str] = []
    for name, path in track(pictures.items(), "comparing with the training pictures", unit="picture"):
        try:
            picture = read_picture(path)
        except ImageError:
            unread.append(name)
            continue
        seen = see(name, picture.sha256, picture.rgb, sight_subject(engine, picture.rgb), embedder.embed(picture.rgb))
        if seen is None:
            unread.append(name)
        else:
            matches[name] = training.nearest(seen)
    return _Compared(matches, tuple(unread))


def _judge(compared: _Compared, policy: Mapping[str, Any]) -> PromotionCheck:
    """A picture that could not be compared is named; where none could be, nothing is known."""
    from evals.guards.memorised import describe, is_memorised, limit_in_force

    total, limit = len(compared.matches) + len(compared.unread), limit_in_force(policy)
    left = f"{counted(len(compared.unread), 'picture')} could not be compared, such as {compared.unread[0]}" if compared.unread else ""
    if not compared.matches:
        return PromotionCheck(TITLE, UNKNOWN, left)
    close = {name: match for name, match in compared.matches.items() if is_memorised(match, policy)}
    left = f"; {left}" if left else ""
    if close:
        name, match = max(close.items(), key=lambda item: item[1].score)
        worst = f"{name}: {describe(match)}, {match.score:.2f} alike; {limit:g} is allowed"
        repeat = f"{len(close)} of {counted(total, 'picture')} {verb(len(close), 'repeats', 'repeat')} a training picture"
        return PromotionCheck(TITLE, NO, f"{repeat} ({worst}){left}")
    nearest = max(compared.matches.values(), key=lambda match: match.score)
    if not nearest.name:
        return PromotionCheck(TITLE, YES, f"no training picture is near any of {counted(total, 'picture')}{left}")
    return PromotionCheck(TITLE, YES, f"the nearest training picture is {nearest.score:.2f} alike, {limit:g} is allowed{left}")


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
    """The hashes of the training pictures, and the files of those that are still there. Raises InputError for no manifest."""
    found = foreign.read_file(manifest, ManifestPictures, too_large="null", fix="make one: python tools/dataset_manifest.py")
    base = Path(found.dataset_dir)
    if not found.dataset_dir or not is_there(base, Path.is_dir):
        base = manifest.parent
    files = {base / picture.filename for picture in found.images if is_there(base / picture.filename)}
    return frozenset(picture.sha256 for picture in found.images), sorted(files)
