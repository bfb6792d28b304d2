"""The reference set: the faces, and the skin, that every picture is measured against."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.faces.centroid import centroid_of
from evals.faces.face_engine import FaceEngine, Vector
from evals.faces.subject import sight_subject
from evals.judging.inputs import left_out_lines
from evals.judging.skin_sight import SkinSight
from evals.skin.measurement import SkinMeasurement
from evals.skin.realism import SkinReference
from lifeos.errors import InputError
from lifeos.escaping import escape_line
from lifeos.images import ImageError, list_pictures, read_picture
from lifeos.picture_formats import READABLE


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSet:
    """The usable references. `embeddings`: one unit row for each; `left_out`: a sentence for each file that could not be used."""

    folder: Path
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    embeddings: NDArray[np.float64]
    skin: SkinReference
    left_out: tuple[str, ...]
    converted: tuple[str, ...] = ()
    """The names of those whose colours were converted to sRGB."""

    @property
    def set_id(self) -> str:
        """A hash over the contents: the same pictures make the same set under any name, in any order, at any place."""
        return content_id(self.hashes)

    @property
    def centroid(self) -> Vector:
        """The middle of the set: likeness to the character is the cosine to it."""
        return centroid_of(self.embeddings)

    def cosines(self, embedding: Vector) -> Vector:
        """The cosine to each reference: which one is the most alike."""
        return np.asarray(self.embeddings @ embedding, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    name: str
    sha256: str
    embedding: Vector
    skin: SkinMeasurement
    is_converted: bool


def content_id(hashes: Iterable[str]) -> str:
    """The id of a set of files by their contents' SHA-256: independent of names, order and place."""
    return hashlib.sha256("\n".join(sorted(set(hashes))).encode("ascii")).hexdigest()[:16]


def load_references(folder: Path, engine: FaceEngine, *, want_skin: bool, workers: int) -> ReferenceSet:
    """Measure every picture in a folder. Raises InputError where there is none with a face; leaves out, and names, what is unusable."""
    listing = list_pictures(folder)
    if not listing.pictures:
        why = "; ".join(["no pictures in it", *left_out_lines(listing.left_out, folder)])
        raise InputError(folder, why, f"give --reference-dir a folder with {READABLE} pictures of the character")
    sight = SkinSight(engine) if want_skin else None
    with ThreadPoolExecutor(workers) as pool:
        outcomes = list(pool.map(lambda path: _measure_reference(path, engine, sight), listing.pictures))
    return _collect(folder, [*outcomes, *(f"reference {escape_line(item.path.name)} left out: {item.why}" for item in listing.left_out)])


def _measure_reference(path: Path, engine: FaceEngine, sight: SkinSight | None) -> _Reference | str:
    """A reference, or the sentence that says why it cannot be one."""
    try:
        picture = read_picture(path)
    except ImageError as error:
        return f"reference {escape_line(path.name)} left out: {error.why}"
    sighting = sight_subject(engine, picture.rgb)
    if sighting is None:
        return f"reference {escape_line(path.name)} left out: no face found"
    skin = SkinMeasurement(0.0, "not_measured")
    if sight is not None:
        skin = sight.measure(picture.rgb, sighting.subject)
    return _Reference(path.name, picture.sha256, sighting.embedding, skin, picture.profile is not None)


def _collect(folder: Path, outcomes: Iterable[_Reference | str]) -> ReferenceSet:
    found: dict[str, Any] = {}
    left_out: list[str] = []
    for outcome in outcomes:
        if isinstance(outcome, str):
            left_out.append(outcome)
        elif outcome.sha256 in found:
            left_out.append(
                f"reference {escape_line(outcome.name)} left out: the same picture as {escape_line(found[outcome.sha256].name)}"
            )
        else:
            found[outcome.sha256] = outcome
    if not found:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        why = f"no usable reference: {'; '.join(left_out[:3])}{more}"
        raise InputError(folder, why, "give --reference-dir pictures that show the character's face")
    references = list(found.values())
    return ReferenceSet(
        folder,
        tuple(item.name for item in references),
        tuple(item.sha256 for item in references),
        np.stack([item.embedding for item in references]),
        SkinReference.from_measurements([item.skin for item in references]),
        tuple(left_out),
        tuple(item.name for item in references if item.is_converted),
    )
