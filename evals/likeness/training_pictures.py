"""A training set, as a picture is compared with it: is it one of these pictures, saved again, mirrored, or cut?

Candidates are the training pictures whose embedding is near. Where both show a face, the eyes, nose and mouth of one are laid over those of
the other, which places whatever was cut; and the hashes of windows find pictures without a face (`evals.likeness.grey_looks`). Each such
place is moved and scaled until both fit best. The score is the correlation there of what both show, and where the face is large enough that
of the face alone, if it is lower: another face in the same scene is another picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from evals.likeness.grey_looks import SMALL_SCALES, GreyLook, Places, fit, hashes_of, look_at, patch_of
from lifeos.errors import InputError
from lifeos.escaping import escape_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import FaceEngine
    from evals.faces.subject import Sighting
    from evals.likeness.embedding import Embedder, Vector

    Floats = NDArray[np.float64]

METRIC = "memorised/1"
CANDIDATE = 0.10
"""Cosine of the embeddings. The lowest of any cut, mirrored or changed copy was .16; two pictures without relation have -.03 on average."""
MOST_CANDIDATES = 40
REFINED = 4
"""Places that are moved to where they fit, the best first: each takes some 5 ms."""
LEAST_OVERLAP = 0.7
"""Of the smaller picture: faces can be laid over each other in any two portraits."""
FACE_CELLS = 10
"""A face smaller than this many pixels of the small grey picture says nothing by itself."""
LEFT_RIGHT = [1, 0, 2, 4, 3]
"""The order of the five points after mirroring."""
NAMED = 3


@dataclass(frozen=True, slots=True, eq=False)
class ComparedPicture:
    """What is compared of a picture. `points` (5 x 2) and `face` (left, top, right, bottom) in pixels of `look`, None without a face."""

    name: str
    sha256: str
    look: GreyLook
    embedding: Vector
    points: Floats | None = None
    face: Floats | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The training picture that is the most alike: 0 where none is near, 1 for the same file. `how`: in words, may be empty."""

    score: float
    name: str = ""
    how: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where a picture may lie in a training picture: what it shows there, and the window."""

    training: ComparedPicture
    mirrored: bool
    patch: Floats
    window: Floats
    seen_window: Floats

    def first_fit(self) -> float:
        return float((patch_of(self.training.look.integral, self.window) * self.patch).sum())


class TrainingPictures:
    """The pictures of a training set. Thread safe. `left_out`: those that cannot be compared, and why, a line each."""

    def __init__(self, pictures: Sequence[ComparedPicture], left_out: Sequence[str] = ()) -> None:
        import numpy as np

        self.pictures, self.left_out = tuple(pictures), tuple(left_out)
        self._by_hash = {picture.sha256: picture for picture in self.pictures}
        self._embeddings = np.stack([picture.embedding for picture in self.pictures])
        self._places: dict[int, Places] = {}
        self._lock = Lock()

    def nearest(self, seen: ComparedPicture) -> Match:
        """The training picture that this one repeats the most."""
        same = self._by_hash.get(seen.sha256)
        if same is not None:
            return Match(1.0, same.name, "the same file")
        candidates = self._candidates(seen)
        places = [*_places_by_points(seen, candidates), *self._places_by_hash(seen, candidates)]
        best = Match(0.0)
        for place in sorted(places, key=_Place.first_fit, reverse=True)[:REFINED]:
            score, window = fit(place.training.look, place.window, place.patch)
            if score > best.score:
                score = min(score, _face_fit(seen, place, window))
            if score > best.score:
                best = Match(score, place.training.name, "mirrored" if place.mirrored else "")
        return best

    def _candidates(self, seen: ComparedPicture) -> list[ComparedPicture]:
        cosines = self._embeddings @ seen.embedding
        near = [int(place) for place in (-cosines).argsort()[:MOST_CANDIDATES] if cosines[place] >= CANDIDATE]
        return [self.pictures[place] for place in near]

    def _places_by_hash(self, seen: ComparedPicture, candidates: Sequence[ComparedPicture]) -> Iterator[_Place]:
        import numpy as np

        named = {picture.name: picture for picture in candidates}
        whole = np.array([[0.0, 0.0, *seen.look.size]])
        for mirrored in (False, True):
            integral = seen.look.mirrored if mirrored else seen.look.integral
            for look, windows in self._windows_of(seen.look.shape_class).closest(hashes_of(integral, whole)[0]):
                if look.name in named:
                    patch = patch_of(integral, whole[0])
                    yield from (_Place(named[look.name], mirrored, patch, window, whole[0]) for window in windows)

    def _windows_of(self, shape_class: int) -> Places:
        """The windows of a shape in all training pictures: some 20 ms for each of them, once."""
        with self._lock:
            if shape_class not in self._places:
                self._places[shape_class] = Places.of([picture.look for picture in self.pictures], shape_class, SMALL_SCALES)
            return self._places[shape_class]


def _places_by_points(seen: ComparedPicture, candidates: Sequence[ComparedPicture]) -> Iterator[_Place]:
    """Where the face of the one lies over that of the other, plain and mirrored."""
    for training in candidates:
        for mirrored in (False, True):
            place = _lay_over(seen, training, mirrored)
            if place is not None:
                yield place


def _lay_over(seen: ComparedPicture, training: ComparedPicture, mirrored: bool) -> _Place | None:
    """Scale and shift (least squares) that bring the five points of one picture to those of the other; what both show then."""
    import numpy as np

    if seen.points is None or training.points is None:
        return None
    size, limits = np.array(seen.look.size, dtype=float), np.array(training.look.size, dtype=float)
    points = _mirror_points(seen.points, size[0]) if mirrored else seen.points
    mine, theirs = points - points.mean(axis=0), training.points - training.points.mean(axis=0)
    scale = float((mine * theirs).sum() / ((mine**2).sum() or 1.0))
    if scale <= 0:
        return None
    shift = training.points.mean(axis=0) - scale * points.mean(axis=0)
    low, high = np.maximum(shift, 0), np.minimum(shift + scale * size, limits)
    sides = high - low
    if (sides < FACE_CELLS).any() or sides.prod() < LEAST_OVERLAP * min((scale * size).prod(), limits.prod()):
        return None
    seen_window = np.concatenate([(low - shift) / scale, (high - shift) / scale])
    integral = seen.look.mirrored if mirrored else seen.look.integral
    return _Place(training, mirrored, patch_of(integral, seen_window), np.concatenate([low, high]), seen_window)


def _mirror_points(points: Floats, width: float) -> Floats:
    import numpy as np

    return np.stack([width - points[:, 0], points[:, 1]], axis=1)[LEFT_RIGHT]


def _face_fit(seen: ComparedPicture, place: _Place, window: Floats) -> float:
    """The correlation of the face alone where the pictures lie over each other; 1 where it is too small to say, or not in both."""
    import numpy as np

    if seen.face is None:
        return 1.0
    face = seen.face.copy()
    if place.mirrored:
        face[[0, 2]] = seen.look.size[0] - face[[2, 0]]
    low, high = place.seen_window[:2], place.seen_window[2:]
    face = np.concatenate([np.maximum(face[:2], low), np.minimum(face[2:], high)])  # of a face that was cut off, what is there
    scale = (window[2:] - window[:2]) / (high - low)
    there = np.concatenate([window[:2] + (face[:2] - low) * scale, window[:2] + (face[2:] - low) * scale])
    if min((face[2:] - face[:2]).min(), (there[2:] - there[:2]).min()) < FACE_CELLS:
        return 1.0
    integral = seen.look.mirrored if place.mirrored else seen.look.integral
    return float((patch_of(integral, face) * patch_of(place.training.look.integral, there)).sum())


def see(name: str, sha256: str, rgb: NDArray[np.uint8], sighting: Sighting | None, embedding: Vector) -> ComparedPicture | None:
    """What is compared of a picture; None for one that shows nothing but one tone."""
    import numpy as np

    look = look_at(name, sha256, rgb)
    if look is None:
        return None
    if sighting is None:
        return ComparedPicture(name, sha256, look, embedding)
    factor = np.array(look.size) / np.array((rgb.shape[1], rgb.shape[0]))
    subject = sighting.subject
    face = np.asarray(subject.box, dtype=float) * np.tile(factor, 2)
    return ComparedPicture(name, sha256, look, embedding, np.asarray(subject.landmarks, dtype=float) * factor, face)


def load_training_set(paths: Sequence[Path], base: Path, engine: FaceEngine, embedder: Embedder, *, workers: int = 1) -> TrainingPictures:
    """The pictures that these files hold, named as seen from `base`. Raises InputError where none of them can be compared."""

    def read(path: Path) -> ComparedPicture | str:
        name = (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()
        return _read(path, name, engine, embedder)

    with ThreadPoolExecutor(workers) as pool:
        found: list[Any] = list(pool.map(read, paths))
    left_out = [line for line in found if isinstance(line, str)]
    pictures = [picture for picture in found if isinstance(picture, ComparedPicture)]
    if not pictures:
        why = f"no training picture can be read: {'; '.join(left_out[:NAMED])}" if left_out else "no pictures in it"
        raise InputError(base, why, "name the folder of the training pictures")
    return TrainingPictures(pictures, left_out)


def _read(path: Path, name: str, engine: FaceEngine, embedder: Embedder) -> ComparedPicture | str:
    from evals.faces.subject import sight_subject
    from lifeos.images import ImageError, read_picture

    try:
        picture = read_picture(path)
    except ImageError as error:
        return f"{escape_line(name)} ({error.why})"
    seen = see(name, picture.sha256, picture.rgb, sight_subject(engine, picture.rgb), embedder.embed(picture.rgb))
    return seen or f"{escape_line(name)} (it shows one tone)"
