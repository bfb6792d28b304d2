"""Labelled pictures for the benchmarks: from folders, or rendered, with strangers from pictures that every installation has."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.picture_changes import resize
from lifeos import cli
from lifeos.errors import InputError, UnavailableError
from lifeos.images import ImageError, find_pictures, read_picture
from lifeos.progress import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import Face, FaceEngine

    Rgb = NDArray[np.uint8]

LONGEST_SIDE = 1600
"""Larger pictures are reduced first: the changes and their doubles would take minutes."""
LABELS = ("references", "passed", "failed", "one_pose", "varied", "strangers", "photos")
RENDERED = "the demo's person, rendered"
MARGIN = 0.8
"""How much of its longer side is kept around a face that is taken out of a group photo."""
GROUP_PHOTO = ("insightface", "data/images/t1.jpg")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture, its subject's face, and the unit embedding of it."""

    name: str
    rgb: Rgb
    face: Face
    embedding: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SampleSets:
    """Labelled sets; one that nobody gave is empty. `unseen`: pictures in which no face was found, by set."""

    references: list[Sample]
    passed: list[Sample]
    failed: list[Sample]
    one_pose: list[Sample]
    varied: list[Sample]
    strangers: list[Sample]
    photos: list[Sample]
    unseen: dict[str, list[tuple[str, Rgb]]]
    source: str

    @property
    def missed(self) -> dict[str, int]:
        """How many pictures have no face, by set."""
        return {label: len(pictures) for label, pictures in self.unseen.items()}

    @property
    def distinct(self) -> list[tuple[str, Sample]]:
        """Every picture once, though it may be in two sets, with the first of them."""
        found: dict[tuple[str, int], tuple[str, Sample]] = {}
        for label in LABELS:
            for sample in getattr(self, label):
                found.setdefault((sample.name, hash(sample.rgb.tobytes())), (label, sample))
        return list(found.values())

    @property
    def generated(self) -> list[Sample]:
        """Every picture of the character, or meant to be of her, that is no reference."""
        return self.passed + self.failed + self.one_pose

    @property
    def good(self) -> list[Sample]:
        """Pictures that surely show the character."""
        return self.passed + self.one_pose


def sight(engine: FaceEngine, name: str, rgb: Rgb) -> Sample | None:
    from evals.faces.subject import sight_subject

    sighting = sight_subject(engine, rgb)
    return None if sighting is None else Sample(name, rgb, sighting.subject, sighting.embedding)


def read_sets(engine: FaceEngine, folders: Mapping[str, Path | None], limit: int) -> SampleSets:
    """Pictures from labelled folders, at most `limit` of each, evenly chosen."""
    pictures = {
        label: read_reduced(choose_pictures(folder, label, limit), label, LONGEST_SIDE) if (folder := folders.get(label)) else ()
        for label in LABELS
    }
    return _sight_all(engine, pictures, "labelled folders")


def _sight_all(engine: FaceEngine, pictures: Mapping[str, Iterable[tuple[str, Rgb]]], source: str) -> SampleSets:
    sets: dict[str, list[Sample]] = {}
    unseen: dict[str, list[tuple[str, Rgb]]] = {}
    for label, named in pictures.items():
        sets[label], unseen[label] = [], []
        for name, rgb in named:
            sample = sight(engine, name, rgb)
            if sample is None:
                unseen[label].append((name, rgb))
            else:
                sets[label].append(sample)
    return SampleSets(**sets, unseen=unseen, source=source)


def choose_pictures(folder: Path, label: str, limit: int) -> list[Path]:
    """At most `limit` pictures of the folder that `--label` names, evenly chosen. Raises InputError if none is there."""
    paths = find_pictures(folder, recursive=True)
    if not paths:
        raise InputError(folder, "no pictures in it", f"give --{label} a folder with pictures")
    count = min(limit, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def read_reduced(paths: list[Path], label: str, longest_side: int) -> Iterator[tuple[str, Rgb]]:
    """Name and picture, larger ones reduced to `longest_side`; what cannot be read is named and left out."""
    for path in track(paths, f"reading {label}", unit="picture"):
        try:
            rgb = read_picture(path).rgb
        except ImageError as error:
            cli.note(f"left out: {error}")
            continue
        longest = max(rgb.shape[:2])
        yield path.name, resize(rgb, longest_side / longest) if longest > longest_side else rgb


def make_sets(engine: FaceEngine, folders: Mapping[str, Path | None], limit: int) -> SampleSets:
    """The rendered character, and what the folders hold that need not show one; without strangers among them the people of pictures that
    come with packages are hers."""
    from benchmarks.rendered_sets import render_character

    given = {label: choose_pictures(folder, label, limit) for label in ("varied", "strangers", "photos") if (folder := folders.get(label))}
    pictures: dict[str, Iterable[tuple[str, Rgb]]] = {
        label: track(list(named), f"rendering {label}", unit="picture") for label, named in render_character(limit).items()
    }
    pictures |= {label: read_reduced(given.get(label, []), label, LONGEST_SIDE) for label in ("varied", "strangers", "photos")}
    if "strangers" not in given:
        pictures["strangers"] = people(engine.find)
    return _sight_all(engine, pictures, RENDERED)


def people(find: Callable[[Rgb], tuple[list[Face], str]]) -> Iterator[tuple[str, Rgb]]:
    """People of pictures that come with packages, of those that are installed; none of them is the rendered character."""
    with contextlib.suppress(UnavailableError, ImageError):
        yield "grace_hopper", packaged("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
    with contextlib.suppress(UnavailableError, ImageError):
        portraits = crop_faces(find, packaged(*GROUP_PHOTO))
        yield from ((f"group {number}", rgb) for number, rgb in enumerate(portraits, 1))


def packaged(package: str, name: str) -> Rgb:
    """A picture that comes with a package. Raises UnavailableError if that is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UnavailableError(package, "is not installed, and its sample picture is wanted", "run: python -m lifeos setup")
    return read_picture(Path(spec.origin).parent / name).rgb


def crop_faces(find: Callable[[Rgb], tuple[list[Face], str]], rgb: Rgb) -> list[Rgb]:
    """Portraits out of a group photo, each with a margin that leaves the next face out of the middle."""
    import numpy as np

    portraits = []
    for face in find(rgb)[0]:
        x0, y0, x1, y1 = face.box
        around = MARGIN * max(x1 - x0, y1 - y0)
        left, top = (max(0, int(value - around)) for value in (x0, y0))
        portraits.append(np.ascontiguousarray(rgb[top : int(y1 + around), left : int(x1 + around)]))
    return portraits
