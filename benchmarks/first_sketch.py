"""The face and skin metrics against the metrics as first sketched, on the same pictures: what `metric_validity.py --first-sketch` prints.

"plain" is the highest cosine of the references, the whole picture's Laplacian and a YCrCb mask; "new" is what the scores rest on: the
cosine to the middle of the references, and the skin of the cheeks. Every changed picture goes through detection again. A photo or
reference is scored against the others of its set: one that is coarser than all of them gains from a filter at first, which lowers the
Spearman of a small mixed set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.picture_changes import BENIGN, FILTERS, SIZES, STRENGTHS, add_noise
from benchmarks.rank_figures import area_under_curve, rank_correlation
from benchmarks.sample_pictures import Sample, SampleSets, sight
from lifeos.progress import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import FaceEngine

Pair = tuple[float | None, float | None]
"""A value of the plain and of the new metric."""
Scores = dict[str, dict[str, float]]
"""One picture's scores: way -> change -> score."""
Likeness = Callable[["NDArray[np.float64]", "NDArray[np.float64]"], float]
"""How like the references (unit rows) a face (a unit embedding) is."""
WAYS = ("plain", "new")
FEWEST_REFERENCES = 2
NOISE_DEVIATION = 20.0
TIE = 0.005


@dataclass(frozen=True, slots=True)
class SketchRow:
    """One comparison; a value is None where the pictures for it are missing. `higher` says which side is the better one.

    `gates`: whether a worse value fails the run. Rows that rest on one extreme picture, or where a plain score is stable because it has
    hit its ceiling, are shown and do not.
    """

    group: str
    name: str
    plain: float | None
    new: float | None
    higher: bool = True
    gates: bool = True
    count: int = 0

    @property
    def is_worse(self) -> bool:
        if self.plain is None or self.new is None or not self.gates:
            return False
        return self.new < self.plain - TIE if self.higher else self.new > self.plain + TIE


def compare_faces(sets: SampleSets) -> list[SketchRow]:
    """Likeness: which aggregation over the references tells the character from strangers, and depends least on one reference."""
    import numpy as np

    if len(sets.references) < FEWEST_REFERENCES:
        return []
    references = np.stack([sample.embedding for sample in sets.references])
    plain, new = _score_faces(sets, references, _highest), _score_faces(sets, references, _to_the_middle)

    def row(name: str, value: Callable[[FaceScores], float | None], *, higher: bool = True, gates: bool = True) -> SketchRow:
        return SketchRow("face similarity", name, value(plain), value(new), higher, gates)

    return [
        row("character (generated) vs strangers, AUC", lambda way: area_under_curve(way.passed + way.failed, way.strangers)),
        row("character (passed) vs strangers, AUC", lambda way: area_under_curve(way.passed, way.strangers)),
        row("passed vs failed, AUC", lambda way: area_under_curve(way.passed, way.failed)),
        row("lowest reference left out less highest stranger", lambda way: way.margin, gates=False),
        row("largest move of a score as one reference is dropped", lambda way: way.largest_move, higher=False),
    ]


@dataclass(frozen=True, slots=True)
class FaceScores:
    """Cosines under one aggregation over the references, by label; how far the references, each left out, stay above the strangers; and
    how far any score moves when one reference is dropped."""

    passed: list[float]
    failed: list[float]
    strangers: list[float]
    margin: float | None
    largest_move: float | None


def _highest(references: NDArray[np.float64], embedding: NDArray[np.float64]) -> float:
    return float((references @ embedding).max())


def _to_the_middle(references: NDArray[np.float64], embedding: NDArray[np.float64]) -> float:
    from evals.faces.centroid import centroid_of

    return float(centroid_of(references) @ embedding)


def _score_faces(sets: SampleSets, references: NDArray[np.float64], likeness: Likeness) -> FaceScores:
    import numpy as np

    def scores(samples: Sequence[Sample]) -> list[float]:
        return [likeness(references, sample.embedding) for sample in samples]

    strangers = scores(sets.strangers)
    fewer = [np.delete(references, row, axis=0) for row in range(len(references))]
    left_out = [likeness(others, reference) for others, reference in zip(fewer, references, strict=True)]
    seen = [sample.embedding for sample in sets.generated + sets.strangers]
    moves = [abs(likeness(others, face) - likeness(references, face)) for face in seen for others in fewer]
    margin = min(left_out) - max(strangers) if strangers else None
    return FaceScores(scores(sets.passed), scores(sets.failed), strangers, margin, max(moves, default=None))


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One picture and its changed copies, measured by both metrics, by change. `lost`: changed copies in which no face was found."""

    plain: dict[str, Any]
    new: dict[str, Any]
    lost: int


def measure_changes(engine: FaceEngine, sample: Sample) -> Judged:
    """The picture as it is (`original`), under every filter and strength (`bilateral 0.5`), and under every benign change."""
    from benchmarks.plain_metrics import measure_plain_skin
    from evals.skin.measurement import measure_skin

    changed = {"original": sample.rgb, "noise": add_noise(sample.rgb, NOISE_DEVIATION)}
    changed |= {
        f"{name} {strength}": smooth(sample.rgb, sample.face, strength) for name, smooth in FILTERS.items() for strength in STRENGTHS
    }
    changed |= {name: change(sample.rgb) for name, change in BENIGN.items()}
    plain: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name, rgb in changed.items():
        seen = sight(engine, name, rgb) if name != "original" else sample
        if seen is not None:
            plain[name] = measure_plain_skin(rgb)
            new[name] = measure_skin(rgb, seen.face.landmarks, seen.face.box)
    return Judged(plain, new, len(changed) - len(new))


def score_changes(judged: Sequence[Judged], references: Sequence[Judged]) -> list[Scores]:
    """way -> change -> score, for each picture. A picture that is itself a reference is scored against the others."""
    from benchmarks.plain_metrics import score_plain_skin
    from evals.skin.realism import SkinReference, score_skin

    found = []
    for item in judged:
        others = [other for other in references if other is not item]
        reference = SkinReference.from_measurements([other.new["original"] for other in others])
        new = {name: score_skin(measured, reference).score for name, measured in item.new.items()}
        plain = {name: score_plain_skin(measured, [other.plain["original"] for other in others]) for name, measured in item.plain.items()}
        known = {name: score for name, score in new.items() if score is not None}
        if "original" in known:
            found.append({"plain": {name: plain[name] for name in known}, "new": known})
    return found


def compare_skin(group: str, scores: Sequence[Scores]) -> list[SketchRow]:
    """How both metrics take a beauty filter, noise, and what should not move them."""
    if not scores:
        return []

    def row(name: str, pair: Pair, *, higher: bool = True, gates: bool = True) -> SketchRow:
        return SketchRow(f"skin realism, {group}", name, *pair, higher, gates, len(scores))

    return [
        *(row(f"original vs strongest {name} filter, AUC", _curves(scores, f"{name} {STRENGTHS[-1]}")) for name in FILTERS),
        row(f"original vs noise of {NOISE_DEVIATION:.0f} levels, AUC", _curves(scores, "noise")),
        *(row(f"Spearman with strength, {name}", _correlations(scores, name)) for name in FILTERS),
        row("mean drift under benign changes", _drifts(scores, tuple(BENIGN)), higher=False),
        *(row(f"drift: {name}", _drifts(scores, (name,)), higher=False, gates=False) for name in SIZES),
    ]


def _curves(scores: Sequence[Scores], change: str) -> Pair:
    plain, new = (
        area_under_curve([item[way]["original"] for item in scores], [item[way][change] for item in scores if change in item[way]])
        for way in WAYS
    )
    return plain, new


def _correlations(scores: Sequence[Scores], name: str) -> Pair:
    names = ["original", *(f"{name} {strength}" for strength in STRENGTHS)]
    found = []
    for way in WAYS:
        values = [[-item[way][step] for step in names] for item in scores if all(step in item[way] for step in names)]
        ranks = [rank_correlation([0.0, *STRENGTHS], one) for one in values]
        found.append(sum(ranks) / len(ranks) if ranks else None)
    return found[0], found[1]


def _drifts(scores: Sequence[Scores], changes: tuple[str, ...]) -> Pair:
    found = []
    for way in WAYS:
        moved = [abs(item[way][name] - item[way]["original"]) for item in scores for name in changes if name in item[way]]
        found.append(sum(moved) / len(moved) if moved else None)
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class SketchComparison:
    """Every row that the pictures allow. `lost`: changed copies in which no face was found; they are in no row."""

    rows: list[SketchRow]
    lost: int


def compare_with_sketch(engine: FaceEngine, sets: SampleSets) -> SketchComparison:
    rows = compare_faces(sets)
    photos, references = _measure(engine, "photos", sets.photos), _measure(engine, "references", sets.references)
    generated = _measure(engine, "generated", sets.generated) if references else []
    for label, items in (("photos", photos), ("references", references)):
        if len(items) > FEWEST_REFERENCES:
            rows += compare_skin(label, score_changes(items, items))
    if generated:
        rows += compare_skin("generated", score_changes(generated, references))
    return SketchComparison(rows, sum(item.lost for item in photos + references + generated))


def _measure(engine: FaceEngine, label: str, samples: Sequence[Sample]) -> list[Judged]:
    return [measure_changes(engine, sample) for sample in track(samples, f"changing {label}", unit="picture")]


def render_comparison(comparison: SketchComparison) -> str:
    lines: list[str] = []
    group = ""
    for row in comparison.rows:
        if row.group != group:
            group = row.group
            title = f"{group} ({row.count} pictures)" if row.count else group
            lines += ["", f"{title:58}{'plain':>8}{'new':>8}"]
        lines.append(f"  {row.name:56}{_number(row.plain):>8}{_number(row.new):>8}{'   WORSE' if row.is_worse else ''}")
    if comparison.lost:
        lines += ["", f"{comparison.lost} changed copies without a face, in no row"]
    return "\n".join(lines).lstrip("\n")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
