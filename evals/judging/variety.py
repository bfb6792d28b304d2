"""Sameness of a batch: the same pose over and over passes every gate of a single picture and is still a failed batch.

Geometry of the faces shows it: yaw, roll, size and place (pitch from five points is unreliable). Perceptual hashes do not, since
clothes and background differ; they find near-duplicates only. That clothes and places are the same is told by the pictures' embeddings
(`evals.likeness.embedding`). Nothing here opens a picture or a model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from evals.likeness.hashes import DUPLICATE_BITS
from lifeos.counting import counted, verb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evals.judging.records import Geometry

T = TypeVar("T")

SHOT_TYPES = (
    ("extreme close-up", 0.70),
    ("close-up", 0.40),
    ("medium close-up", 0.25),
    ("medium shot", 0.16),
    ("medium full shot", 0.105),
    ("full shot", 0.06),
    ("wide shot", 0.0),
)
"""Shot types by the least face height, as a fraction of the picture's, widest last.

A detector's face (brows to chin, with some forehead) is about 0.8 of a head, and a person 7.5 heads. Framed from head to chest (2.3
heads and some air) the face is about 0.31 of the height, to the waist 0.20, to the knees 0.13, to the feet 0.09; the bounds lie between.
"""

YAW_EDGES = (-45.0, -15.0, 15.0, 45.0)
YAW_NAMES = ("left profile", "half left", "front", "half right", "right profile")
"""Directions of the picture, not of the person."""

POSE_DEGREES = 10.0
LISTED_DUPLICATES = 100
CHUNK_ROWS = 256
"""Rows of the pair matrix at a time: memory grows with the number of pictures, not with its square."""
MOST_COMPARED = 3_000
"""Pictures of which every pair is compared; of more, so many are taken at even steps. The shares of pairs then differ from those of all by
less than 0.01; 100,000 pictures have five milliard pairs, which would take half an hour."""
DISTANCE_BINS = 20_000
DISTANCE_LIMIT = 2.0
FEWEST = 4
"""With fewer faces than this nothing is said about variety."""
SAME, ALIKE, VARIED, TOO_FEW = "same", "alike", "varied", "too_few"
LEADS = {SAME: "one pose", ALIKE: "little variety", VARIED: "varied"}
SCENE_LEADS = {SAME: "one scene", ALIKE: "few scenes", VARIED: "varied scenes"}
"""A scene: the clothes and the place."""
BLOCK = "block"
"""The value of `scorecard.one_pose` and `scorecard.one_scene` in the policy that promotes no such run; else it is said."""
NOT_RECORDED = "not recorded"
"""The line of a run whose row in the history is older than these figures."""
SAME_PAIRS, ALIKE_PAIRS = 0.80, 0.50
SAME_ENTROPY, VARIED_ENTROPY = 0.5, 2.0


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two pictures, by their places in the lists given, whose hashes differ in `bits` of 64."""

    first: int
    second: int
    bits: int


@dataclass(frozen=True, slots=True)
class PoseFigures:
    """The figures that tell whether a set of pictures has one pose or one scene, as a row of the history carries them; None: not known.

    `verdict` and `line` are the one rule and the one wording for poses, `scene_verdict` and `scene_line` those for clothes and places:
    every report, table and check uses these. `scenes`: how many pictures have an embedding.
    """

    faces: int
    yaw_spread_deg: float | None = None
    same_pose_share: float | None = None
    entropy_bits: float | None = None
    landmark_distance: float | None = None
    scenes: int | None = None
    same_scene_share: float | None = None

    def verdict(self, same_pose_yaw_spread_deg: float) -> str:
        """`same`, `alike`, `varied` or `too_few`. A set whose yaw spreads by less than the limit may be called the same pose."""
        spread, share, entropy = self.yaw_spread_deg, self.same_pose_share, self.entropy_bits
        if self.faces < FEWEST or spread is None or share is None or entropy is None:
            return TOO_FEW
        if share >= SAME_PAIRS or (spread < same_pose_yaw_spread_deg and entropy < SAME_ENTROPY):
            return SAME
        # few pictures cannot reach many bits: four different ones have two
        if share >= ALIKE_PAIRS or spread < same_pose_yaw_spread_deg or entropy < min(VARIED_ENTROPY, 0.5 * math.log2(self.faces)):
            return ALIKE
        return VARIED

    def line(self, same_pose_yaw_spread_deg: float) -> str:
        """`one pose: yaw spread 2.4°, 99 % of pairs within 10°`."""
        verdict = self.verdict(same_pose_yaw_spread_deg)
        if verdict == TOO_FEW or self.yaw_spread_deg is None or self.same_pose_share is None:
            why = f": {counted(self.faces, 'face')} {verb(self.faces, 'is', 'are')} too few" if self.faces < FEWEST else ""
            return f"variety is not known{why}"
        numbers = f"yaw spread {self.yaw_spread_deg:.1f}°, {100 * self.same_pose_share:.0f} % of pairs within {POSE_DEGREES:.0f}°"
        return f"{LEADS[verdict]}: {numbers}"

    def scene_verdict(self) -> str:
        """`same`, `alike` or `varied`; empty where it is not recorded, or of too few pictures."""
        share = self.same_scene_share
        if share is None or (self.scenes or 0) < FEWEST:
            return ""
        return SAME if share >= SAME_PAIRS else ALIKE if share >= ALIKE_PAIRS else VARIED

    def scene_line(self) -> str:
        """`one scene: 97 % of pairs have the same clothes and place`."""
        verdict = self.scene_verdict()
        if not verdict or self.same_scene_share is None:
            if self.scenes is None:
                return f"clothes and places are {NOT_RECORDED}"
            few = f"{counted(self.scenes, 'picture')} {verb(self.scenes, 'is', 'are')} too few"
            return f"the variety of clothes and places is not known: {few}"
        return f"{SCENE_LEADS[verdict]}: {format_share(self.same_scene_share)} of pairs have the same clothes and place"


@dataclass(frozen=True, slots=True)
class Sameness:
    """How alike the pictures of a batch are. None where fewer than two faces leave nothing to compare.

    `yaw_spread_deg`: standard deviation. `same_pose_share`: share of the pairs within 10 degrees of yaw and roll. `entropy_bits`: of the
    cells yaw direction x shot type; 0 when all are in one cell, `log2(n)` at the most. `landmark_distance`: median over the pairs of the
    mean distance of the five points, in fractions of the picture. `face_area_spread`: the 90th over the 10th percentile.
    `position_spread`: root mean square distance of the face centres from their mean, in fractions of the picture.
    `scenes`: pictures with an embedding, `same_scene_share`: share of their pairs with the same clothes and place; both None where no
    picture has one. `verdict`: `same`, `alike`, `varied` or `too_few`; `line` says it in a line. `scene_verdict` and `scene_line` say it
    of clothes and places. `judgement` says both in sentences.
    """

    pictures: int
    faces: int
    yaw_spread_deg: float | None
    same_pose_share: float | None
    entropy_bits: float | None
    landmark_distance: float | None
    face_area_median: float | None
    face_area_spread: float | None
    position_spread: float | None
    shots: dict[str, int]
    directions: dict[str, int]
    near_duplicate_pairs: int
    duplicates: tuple[Duplicate, ...]
    verdict: str
    line: str
    judgement: str
    scenes: int | None = None
    same_scene_share: float | None = None
    scene_verdict: str = ""
    scene_line: str = ""

    def to_row(self) -> dict[str, Any]:
        """What a row of the history holds of it: the figures."""
        return {name: value for name, value in asdict(self).items() if name not in ("duplicates", "line", "judgement", "scene_line")}


def shot_type(face_height: float) -> str:
    """The name of the shot for a face height in fractions of the picture's height."""
    return next(name for name, least in SHOT_TYPES if face_height >= least or least == 0.0)


def measure_sameness(
    geometries: Sequence[Geometry | None],
    hashes: Sequence[str | None],
    scenes: Sequence[str | None] = (),
    *,
    same_pose_yaw_spread_deg: float = 5.0,
) -> Sameness:
    """How alike pictures are. The sequences hold one entry for each picture, None where there is no face, no hash or no embedding;
    without `scenes` nothing is said of clothes and places.

    `same_pose_yaw_spread_deg` (policy: production): a batch whose yaw spreads by less is called the same pose.
    """
    import numpy as np

    if len(geometries) != len(hashes):
        raise ValueError(f"{len(geometries)} geometries and {len(hashes)} hashes: one of each is wanted for every picture")
    faces = [geometry for geometry in geometries if geometry is not None]
    found = [(place, digits) for place, digits in enumerate(hashes) if digits is not None]
    pairs, duplicates = _find_duplicates(found)
    shots = Counter(face.shot_type for face in faces)
    directions = Counter(_direction(face.yaw) for face in faces)
    area = np.array([face.face_area for face in faces])
    centers = np.array([(face.center_x, face.center_y) for face in faces]).reshape(-1, 2)
    low, high = np.percentile(area, (10, 90)) if len(faces) > 1 else (0.0, 0.0)
    figures = measure_poses(faces, scenes)
    line = figures.line(same_pose_yaw_spread_deg)
    verdict = figures.verdict(same_pose_yaw_spread_deg)
    return Sameness(
        pictures=len(geometries),
        faces=len(faces),
        yaw_spread_deg=figures.yaw_spread_deg,
        same_pose_share=figures.same_pose_share,
        entropy_bits=figures.entropy_bits,
        landmark_distance=figures.landmark_distance,
        face_area_median=_rounded(float(np.median(area)), 4) if faces else None,
        face_area_spread=_rounded(float(high / low), 3) if low > 0 else None,
        position_spread=_rounded(float(np.sqrt(centers.var(axis=0).sum())), 4) if len(faces) > 1 else None,
        shots=_in_order(shots, [name for name, _ in SHOT_TYPES]),
        directions=_in_order(directions, YAW_NAMES),
        near_duplicate_pairs=pairs,
        duplicates=duplicates,
        verdict=verdict,
        line=line,
        judgement=_judgement(verdict, line, len(faces), shots, directions) + _scene_judgement(figures),
        scenes=figures.scenes,
        same_scene_share=figures.same_scene_share,
        scene_verdict=figures.scene_verdict(),
        scene_line=figures.scene_line(),
    )


def measure_poses(faces: Sequence[Geometry], scenes: Sequence[str | None] = ()) -> PoseFigures:
    """The figures of pose, shot, clothes and places. `scenes`: the records of the pictures' embeddings."""
    import numpy as np

    clothes = _compare_scenes(scenes)
    if len(faces) < 2:
        return PoseFigures(len(faces), **clothes)
    spread = float(np.array([face.yaw for face in faces]).std())
    share, distance = _compare_poses(_thinned(faces))
    entropy = _entropy(Counter((_direction(face.yaw), face.shot_type) for face in faces))
    return PoseFigures(len(faces), round(spread, 2), round(share, 4), round(entropy, 3), round(distance, 4), **clothes)


def format_share(share: float) -> str:
    """`97 %`."""
    return f"{100 * share:.0f} %"


YAW_TITLE = "Yaw spread (how far heads turn, standard deviation)"
PAIRS_TITLE = f"Pairs of pictures within {POSE_DEGREES:.0f}° of each other's pose"
MIXTURE_TITLE = "Mixture of poses and shot types (0: all alike)"
DISTANCE_TITLE = "Median distance between faces (0: all in one place)"
SCENE_TITLE = "Pairs of pictures with the same clothes and place"


def variety_rows(sameness: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of a `Sameness` as a document holds them, named and written out for a table; without those that are not known."""
    share = sameness.get("same_scene_share")
    scenes = [] if share is None else [(SCENE_TITLE, format_share(share))]
    if sameness["yaw_spread_deg"] is None:
        return scenes
    return [
        (YAW_TITLE, f"{sameness['yaw_spread_deg']:.1f}°"),
        (PAIRS_TITLE, f"{100 * sameness['same_pose_share']:.0f} %"),
        (MIXTURE_TITLE, f"{sameness['entropy_bits']:.2f} bits"),
        (DISTANCE_TITLE, f"{sameness['landmark_distance']:.3f}"),
        *scenes,
    ]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _in_order(counts: Counter[str], names: Sequence[str]) -> dict[str, int]:
    """The counts in the order of `names`, names that are not among them last."""
    known = {name: place for place, name in enumerate(names)}
    return {name: counts[name] for name in sorted(counts, key=lambda name: (known.get(name, len(known)), name))}


def _direction(yaw: float) -> str:
    return YAW_NAMES[sum(yaw >= edge for edge in YAW_EDGES)]


def _entropy(cells: Counter[tuple[str, str]]) -> float:
    total = cells.total()
    return abs(sum(count / total * math.log2(total / count) for count in cells.values()))


def _pair_rows(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + CHUNK_ROWS, count)) for start in range(0, count, CHUNK_ROWS))


def _later(start: int, stop: int, count: int) -> NDArray[Any]:
    """Of the rows from `start` to `stop` and the columns from `start`: the pairs whose second comes behind the first."""
    import numpy as np

    return np.arange(start, count)[None, :] > np.arange(start, stop)[:, None]


def _thinned(pictures: Sequence[T]) -> Sequence[T]:
    """All of them, or `MOST_COMPARED` at even steps."""
    count = len(pictures)
    return pictures if count <= MOST_COMPARED else [pictures[place * count // MOST_COMPARED] for place in range(MOST_COMPARED)]


def _compare_poses(faces: Sequence[Geometry]) -> tuple[float, float]:
    """The share of pairs within 10 degrees of pose, and the median distance of the landmarks over the pairs: of faces that are thinned.

    The median is read from a histogram of fine bins (0.0001 of a picture), so that the pairs need not be kept.
    """
    import numpy as np

    poses = np.array([(face.yaw, face.roll) for face in faces], dtype=np.float32)
    points = np.array([face.landmarks for face in faces], dtype=np.float32)
    near = 0
    histogram = np.zeros(DISTANCE_BINS, dtype=np.int64)
    for start, stop in _pair_rows(len(faces)):
        later = _later(start, stop, len(faces))
        turn = np.hypot(*np.moveaxis(poses[start:stop, None] - poses[None, start:], 2, 0))
        near += int((later & (turn <= POSE_DEGREES)).sum())
        distance = np.zeros(turn.shape, dtype=np.float32)
        for point in range(points.shape[1]):
            apart = points[start:stop, None, point] - points[None, start:, point]
            distance += np.hypot(apart[..., 0], apart[..., 1])
        distance /= points.shape[1]
        histogram += np.histogram(distance[later], bins=DISTANCE_BINS, range=(0.0, DISTANCE_LIMIT))[0]
    pairs = len(faces) * (len(faces) - 1) // 2
    middle = int(np.searchsorted(histogram.cumsum(), (histogram.sum() + 1) // 2))
    return near / pairs, (middle + 0.5) * DISTANCE_LIMIT / DISTANCE_BINS


class _SceneFigures(TypedDict):
    scenes: int | None
    same_scene_share: float | None


def _compare_scenes(records: Sequence[str | None]) -> _SceneFigures:
    from evals.likeness.embedding import read_record, share_of_same_scenes

    known = [record for record in records if read_record(record) is not None]  # the numbers of all would be a kilobyte each
    if not known:
        return {"scenes": None, "same_scene_share": None}
    share = share_of_same_scenes([vector for record in _thinned(known) if (vector := read_record(record)) is not None])
    return {"scenes": len(known), "same_scene_share": None if share is None else round(share, 4)}


def _find_duplicates(found: Sequence[tuple[int, str]]) -> tuple[int, tuple[Duplicate, ...]]:
    """How many pairs of hashes are near, and the nearest of them."""
    import numpy as np

    values = np.array([int(digits, 16) for _, digits in found], dtype=np.uint64)
    places = [place for place, _ in found]
    total, listed = 0, []
    for start, stop in _pair_rows(len(values)):
        bits: NDArray[Any] = np.bitwise_count(values[start:stop, None] ^ values[None, start:])
        rows, columns = np.nonzero(_later(start, stop, len(values)) & (bits <= DUPLICATE_BITS))
        total += len(rows)
        pairs = sorted(zip(bits[rows, columns].tolist(), (rows + start).tolist(), (columns + start).tolist(), strict=True))
        listed += [Duplicate(places[row], places[column], bit) for bit, row, column in pairs[:LISTED_DUPLICATES]]
    listed.sort(key=lambda pair: (pair.bits, pair.first, pair.second))
    return total, tuple(listed[:LISTED_DUPLICATES])


def _judgement(verdict: str, line: str, faces: int, shots: Counter[str], directions: Counter[str]) -> str:
    said = f"{line[0].upper()}{line[1:]}."
    if verdict == TOO_FEW:
        return said
    shot, shot_count = shots.most_common(1)[0]
    direction, direction_count = directions.most_common(1)[0]
    frequent = f" Most frequent: {direction} ({direction_count} of {faces}), {shot} ({shot_count} of {faces})."
    advice = "" if verdict == VARIED else " Ask for other angles and distances in the prompts."
    return f"{said}{frequent}{advice}"


def _scene_judgement(figures: PoseFigures) -> str:
    """Another sentence or two, where embeddings are recorded."""
    if not figures.scenes:
        return ""
    line, verdict = figures.scene_line(), figures.scene_verdict()
    advice = " Ask for other clothes and places in the prompts." if verdict in (SAME, ALIKE) else ""
    return f" {line[0].upper()}{line[1:]}.{advice}"
