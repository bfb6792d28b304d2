"""Labelled pictures for the benchmarks: from folders, or made from pictures that every installation has.

scikit-image's wheel holds a public-domain portrait (NASA), InsightFace's a group photo. From them a small character is made: the
portrait in other crops, sizes and lights is the character, with a little of another face over it still the character, with much of one
no longer; the people of the group photo are strangers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.picture_changes import mix_faces, relight, resize
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
PASSED_SHARES, FAILED_SHARES = (0.0, 0.15, 0.3), (0.4, 0.5, 0.6)
"""How much of another face lies over the character's in pictures that should pass, and in such that should not."""
LEAST_FACE, MARGIN = 60, 0.6
"""Height in pixels of faces that are taken out of a group photo, and how much of their longer side is kept around them."""
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
    """Labelled sets; one that nobody gave is empty. `missed`: pictures without a face, by set."""

    references: list[Sample]
    passed: list[Sample]
    failed: list[Sample]
    strangers: list[Sample]
    photos: list[Sample]
    missed: dict[str, int]
    source: str

    @property
    def generated(self) -> list[Sample]:
        return self.passed + self.failed


def sight(engine: FaceEngine, name: str, rgb: Rgb) -> Sample | None:
    from evals.faces.subject import sight_subject

    sighting = sight_subject(engine, rgb)
    return None if sighting is None else Sample(name, rgb, sighting.subject, sighting.embedding)


def read_sets(engine: FaceEngine, folders: dict[str, Path | None], limit: int) -> SampleSets:
    """Pictures from labelled folders, at most `limit` of each, evenly chosen."""
    sets: dict[str, list[Sample]] = {}
    missed: dict[str, int] = {}
    for label, folder in folders.items():
        paths = choose_pictures(folder, label, limit) if folder else []
        found = [sight(engine, name, rgb) for name, rgb in read_reduced(paths, label, LONGEST_SIDE)]
        sets[label] = [sample for sample in found if sample is not None]
        missed[label] = len(paths) - len(sets[label])
    return SampleSets(**sets, missed=missed, source="labelled folders")


def choose_pictures(folder: Path, label: str, limit: int) -> list[Path]:
    """At most `limit` pictures of the folder that `--label` names, evenly chosen. Raises InputError if none is there."""
    paths = find_pictures(folder, recursive=True)
    if not paths:
        raise InputError(folder, "no pictures in it", f"give --{label} a folder with pictures")
    count = min(limit, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def read_reduced(paths: list[Path], label: str, longest_side: int) -> Iterator[tuple[str, Rgb]]:
    """Name and picture, larger ones reduced to `longest_side`; what cannot be read is left out."""
    for path in track(paths, f"reading {label}", unit="picture"):
        try:
            rgb = read_picture(path).rgb
        except ImageError:
            continue
        longest = max(rgb.shape[:2])
        yield path.name, resize(rgb, longest_side / longest) if longest > longest_side else rgb


def make_sets(engine: FaceEngine) -> SampleSets:
    """A small character and its strangers, made from pictures that come with the dependencies."""
    portrait = sight(engine, "portrait", packaged("skimage", "data/astronaut.png"))
    group = packaged(*GROUP_PHOTO)
    if portrait is None:
        raise UnavailableError("sample pictures", "no face found in the portrait", "use another --engine")
    others = [sample for rgb in crop_faces(engine.find, group) if (sample := sight(engine, "stranger", rgb)) is not None]
    if not others:
        raise UnavailableError("sample pictures", "no face found in the group photo", "use another --engine")
    made: dict[str, Sequence[Sample | None]] = {
        "references": _made(engine, _variations(portrait.rgb)),
        "passed": _made(engine, _mixed(portrait, others, PASSED_SHARES)),
        "failed": _made(engine, _mixed(portrait, others, FAILED_SHARES)),
        "strangers": _made(engine, [rgb for other in others for rgb in _variations(other.rgb)[:3]]),
        "photos": [portrait, *others],
    }
    return SampleSets(
        **{label: [sample for sample in samples if sample] for label, samples in made.items()},
        missed={label: sum(sample is None for sample in samples) for label, samples in made.items()},
        source="made from scikit-image's portrait and InsightFace's group photo",
    )


def packaged(package: str, name: str) -> Rgb:
    """A picture that comes with a package. Raises UnavailableError if that is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UnavailableError(package, "is not installed, and its sample picture is wanted", "run: python -m lifeos setup")
    return read_picture(Path(spec.origin).parent / name).rgb


def crop_faces(find: Callable[[Rgb], tuple[list[Face], str]], rgb: Rgb, *, margin: float = MARGIN, least: float = LEAST_FACE) -> list[Rgb]:
    """Portraits out of a group photo: each face of `least` pixels in height, with `margin` of its longer side around it, which leaves the
    next one out of the middle."""
    import numpy as np

    portraits = []
    for face in find(rgb)[0]:
        x0, y0, x1, y1 = face.box
        around = margin * max(x1 - x0, y1 - y0)
        left, top = (max(0, int(value - around)) for value in (x0, y0))
        if y1 - y0 >= least:
            portraits.append(np.ascontiguousarray(rgb[top : int(y1 + around), left : int(x1 + around)]))
    return portraits


def _made(engine: FaceEngine, pictures: list[Rgb]) -> list[Sample | None]:
    return [sight(engine, f"picture {number}", rgb) for number, rgb in enumerate(pictures, 1)]


def _variations(rgb: Rgb) -> list[Rgb]:
    """One picture as several might have been taken: mirrored, cropped, smaller, in other light."""
    import numpy as np

    height, width = rgb.shape[:2]
    mirrored = np.ascontiguousarray(rgb[:, ::-1])
    cropped = np.ascontiguousarray(rgb[: int(0.9 * height), int(0.05 * width) : int(0.95 * width)])
    return [
        rgb,
        relight(mirrored, 0.92, 0.92, 0.92),
        relight(cropped, 1.04, 1.0, 0.95),
        resize(relight(rgb, 0.95, 1.0, 1.04), 0.8),
        relight(np.ascontiguousarray(cropped[:, ::-1]), 1.05, 1.05, 1.05),
    ]


def _mixed(portrait: Sample, others: list[Sample], shares: tuple[float, ...]) -> list[Rgb]:
    pictures = [mix_faces(portrait.rgb, portrait.face, other.rgb, other.face, share) for share in shares for other in others]
    return [_variations(rgb)[number % 5] for number, rgb in enumerate(pictures)]
