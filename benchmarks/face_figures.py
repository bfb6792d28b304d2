"""The figures of the face measure and of sameness, each with its goal: what `metric_validity.py` prints.

The goals are those of the default engine, set by pictures of one character (`research/metrics.md`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

from benchmarks.goals import Figure, share
from benchmarks.picture_changes import resize
from benchmarks.rank_figures import area_under_curve
from benchmarks.sample_pictures import LABELS, Sample, SampleSets
from lifeos.counting import counted
from lifeos.progress import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import Face, FaceEngine
    from evals.faces.policy_scale import PolicyScale

    Rgb = NDArray[np.uint8]
    Vectors = NDArray[np.float64]

FOUND, LIKENESS, SAMENESS = "faces found", "likeness", "sameness"
ALWAYS_FOUND = ("references", "passed", "one_pose")
"""Sets in which every face must be found; in the others some may look away."""
SIZES = (400, 256, 160, 100, 64, 48, 32)
"""Heights of a face in pixels."""
LEAST_SIZE = 100
"""Below it a face is flagged as uncertain, and may be missed."""
MARGINS = (0.25, 0.0)
"""Around the face, in heights of it, of crops that it fills."""
SAME_PLACE = 0.3
"""Intersection over union from which a box is that of the face looked for."""
FEWEST_REFERENCES = 2
SET_SIZE, MOST_SETS = 5, 2000


def title_of(label: str) -> str:
    return label.replace("_", " ")


def found_rows(engine: FaceEngine, sets: SampleSets) -> list[Figure]:
    """Whether the faces are found: in each set as they are, then all of them at each size, and where they fill the picture."""
    rows = []
    for label in LABELS:
        seen, missed = len(getattr(sets, label)), sets.missed.get(label, 0)
        if seen + missed:
            goal = 1.0 if label in ALWAYS_FOUND else None
            rows.append(share(FOUND, title_of(label), seen, seen + missed, goal, at_least=True))
    titles = {f"face of {size} pixels": size >= LEAST_SIZE for size in SIZES}
    titles |= {f"cropped to the face, margin {margin:.0%}": True for margin in MARGINS}
    hits, of = dict.fromkeys(titles, 0), dict.fromkeys(titles, 0)
    for _, sample in track(sets.distinct, "looking at each size", unit="picture"):
        for title, rgb, expected in _sizes_of(sample):
            of[title] += 1
            hits[title] += _is_found(engine, rgb, expected)
    return rows + [
        share(FOUND, title, hits[title], of[title], 1.0 if is_wanted else None, at_least=True) for title, is_wanted in titles.items()
    ]


def _sizes_of(sample: Sample) -> Iterator[tuple[str, Rgb, Face]]:
    """The picture reduced to each height of its face, never enlarged, and cropped to it; with where the face then is."""
    import numpy as np

    x0, y0, x1, y1 = sample.face.box
    height = y1 - y0
    for size in SIZES:
        if height >= size:
            factor = size / height
            yield f"face of {size} pixels", resize(sample.rgb, factor), sample.face.mapped(1.0 / factor, 0.0, 0.0)
    for margin in MARGINS:
        left, top = (max(0, int(value - margin * height)) for value in (x0, y0))
        right, bottom = (int(np.ceil(value + margin * height)) for value in (x1, y1))
        cropped = np.ascontiguousarray(sample.rgb[top:bottom, left:right])
        yield f"cropped to the face, margin {margin:.0%}", cropped, sample.face.mapped(1.0, left, top)


def _is_found(engine: FaceEngine, rgb: Rgb, expected: Face) -> bool:
    from evals.faces.yunet import overlap

    return any(overlap(face.box, expected.box) >= SAME_PLACE for face in engine.find(rgb)[0])


def likeness_rows(sets: SampleSets, scale: PolicyScale | None) -> list[Figure]:
    """Whether the cosine to the middle of the references tells the character from strangers, whichever references there are.

    `scale`: the policy's row of the engine; without one nothing is said about scores and verdicts.
    """
    if len(sets.references) < FEWEST_REFERENCES:
        return []
    from evals.faces.centroid import centroid_of, left_out_cosines

    references = _vectors(sets.references)
    middle = centroid_of(references)
    good, generated, strangers = (_cosines(samples, middle) for samples in (sets.good, sets.generated, sets.strangers))
    passed, failed = (_cosines(samples, middle) for samples in (sets.passed, sets.failed))
    both = f"{len(good)} good pictures and {counted(len(strangers), 'stranger')}"

    def reports(who: str, cosines: Vectors, *steps: tuple[str, float]) -> list[Figure]:
        import numpy as np

        known = steps if len(cosines) else ()
        return [Figure(LIKENESS, f"{who}: {name} cosine", float(np.quantile(cosines, at)), None, len(cosines)) for name, at in known]

    margin = float(good.min() - strangers.max()) if len(good) and len(strangers) else None
    rows = [
        *reports("floor, strangers", strangers, ("median", 0.5), ("95th percentile", 0.95), ("highest", 1.0)),
        *reports("ceiling, references left out one by one", left_out_cosines(references), ("lowest", 0.0), ("median", 0.5)),
        *reports("good pictures", good, ("lowest", 0.0), ("5th percentile", 0.05), ("median", 0.5)),
        Figure(LIKENESS, "margin: lowest good less highest stranger", margin, None, min(len(good), len(strangers)), 0.09, True, on=both),
        _curve("good pictures against strangers", good, strangers, 0.995, both),
        _curve("all generated against strangers", generated, strangers, 0.97, f"{len(generated)} generated and {len(strangers)} strangers"),
        _curve("passed against failed", passed, failed, 0.92, f"{len(passed)} passed and {len(failed)} failed"),
    ]
    shift = _largest_shift(references, _vectors(sets.good))
    name = f"largest shift of a good picture, one of {len(references)} references dropped"
    rows.append(Figure(LIKENESS, name, shift, None, len(good), 0.035))
    return rows if scale is None else rows + _verdict_rows(sets, scale, middle) + _few_references(sets, scale)


def _vectors(samples: Sequence[Sample]) -> Vectors:
    import numpy as np

    return np.stack([sample.embedding for sample in samples]) if samples else np.zeros((0, 1))


def _cosines(samples: Sequence[Sample], middle: Vectors) -> Vectors:
    import numpy as np

    return np.asarray(_vectors(samples) @ middle) if samples else np.zeros(0)


def _curve(name: str, better: Vectors, worse: Vectors, goal: float, on: str) -> Figure:
    value = area_under_curve(list(better), list(worse))
    return Figure(LIKENESS, f"{name}, AUC", value, None, min(len(better), len(worse)), goal, True, on=on)


def _largest_shift(references: Vectors, good: Vectors) -> float | None:
    """Of the cosine to the middle, as one reference is dropped."""
    import numpy as np

    from evals.faces.centroid import centroid_of

    if not len(good):
        return None
    whole = good @ centroid_of(references)
    fewer = [centroid_of(np.delete(references, row, axis=0)) for row in range(len(references))]
    return float(max(np.abs(good @ middle - whole).max() for middle in fewer))


def _verdict_rows(sets: SampleSets, scale: PolicyScale, middle: Vectors) -> list[Figure]:
    """By the pass mark in force."""
    rows = []
    for label in ("passed", "one_pose", "failed", "strangers"):
        cosines = _cosines(getattr(sets, label), middle)
        passing = int((cosines >= scale.passing).sum())
        if len(cosines):
            goal = 0.0 if label == "strangers" else None
            rows.append(
                share(LIKENESS, f"{title_of(label)}: at the pass mark of {scale.passing:.2f} or above", passing, len(cosines), goal)
            )
    return rows


def _few_references(sets: SampleSets, scale: PolicyScale) -> list[Figure]:
    """Whether one fixed mark holds for every set of five of the references, the five that are most alike among them."""
    import numpy as np

    from evals.faces.centroid import centroid_of

    strangers, references = _vectors(sets.strangers), _vectors(sets.references)
    if not len(strangers) or len(references) <= SET_SIZE:
        return []
    tightest = max(_sets_of_five(len(references)), key=lambda rows: float(np.linalg.norm(references[list(rows)].mean(axis=0))))
    chosen = list(_sets_of_five(len(references)))
    highest = np.array([float((strangers @ centroid_of(references[list(rows)])).max()) for rows in chosen])
    scores = [scale.score(cosine) for cosine in highest]
    what = f"{len(chosen)} sets of five references and {counted(len(strangers), 'stranger')}"
    rows = [
        share(
            LIKENESS, "sets of five references with which a stranger passes", int((highest >= scale.passing).sum()), len(chosen), 0.0,
            on=what, pictures=len(strangers),
        ),
        Figure(LIKENESS, "highest stranger's score, median of these sets", float(np.median(scores)), None, len(strangers), 0.5, on=what),
        Figure(LIKENESS, "highest stranger's score, highest of these sets", max(scores), None, len(strangers), on=what),
        Figure(
            LIKENESS, "highest stranger's score, the five references most alike",
            scale.score(float((strangers @ centroid_of(references[list(tightest)])).max())), None, len(strangers), 0.6,
        ),
    ]  # fmt: skip
    if good := sets.good:
        low = np.array([float(np.quantile(_vectors(good) @ centroid_of(references[list(rows)]), 0.05)) for rows in chosen])
        held = int(((highest < scale.passing) & (low >= scale.passing)).sum())
        on = f"{what} and {len(good)} good pictures"
        rows.append(share(LIKENESS, "sets whose 95 % of good pictures pass and no stranger", held, len(chosen), on=on))
    return rows


def _sets_of_five(count: int) -> Iterator[tuple[int, ...]]:
    """Every set of five places, or, where there are more than some thousands, so many that are drawn by chance."""
    import numpy as np

    if comb(count, SET_SIZE) <= MOST_SETS:
        yield from combinations(range(count), SET_SIZE)
        return
    random = np.random.default_rng(0)
    for _ in range(MOST_SETS):
        yield tuple(int(place) for place in sorted(random.choice(count, SET_SIZE, replace=False)))


def sameness_rows(sets: SampleSets) -> list[Figure]:
    """Whether a batch of one pose is told from a varied one."""
    return [
        *_pose_rows("one pose", sets.one_pose, yaw=4.0, pairs=0.90, entropy=0.5, is_varied=False),
        *_pose_rows("varied set", sets.varied, yaw=15.0, pairs=None, entropy=2.0, is_varied=True),
    ]


def _pose_rows(title: str, samples: Sequence[Sample], *, yaw: float, pairs: float | None, entropy: float, is_varied: bool) -> list[Figure]:
    from evals.judging.assessor import geometry_of
    from evals.judging.variety import measure_poses

    if len(samples) < 2:
        return []
    found = measure_poses([geometry_of(sample.face, sample.rgb.shape[1], sample.rgb.shape[0]) for sample in samples])
    near, faces = found.same_pose_share or 0.0, found.faces
    return [
        Figure(SAMENESS, f"{title}: yaw spread in degrees", found.yaw_spread_deg, None, faces, yaw, is_varied),
        Figure(SAMENESS, f"{title}: share of pairs within 10° of pose", near, None, faces, pairs, True),
        Figure(SAMENESS, f"{title}: entropy of yaw and shot in bits", found.entropy_bits, None, faces, entropy, is_varied),
    ]
