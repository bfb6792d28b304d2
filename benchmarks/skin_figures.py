"""The figures of the skin score, each with its goal: what `skin_validity.py` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.goals import Figure, share
from benchmarks.picture_changes import BENIGN, STRENGTHS
from benchmarks.rank_figures import area_under_curve, rank_correlation
from benchmarks.skin_copies import FULL
from evals.skin.realism import TEXTURE_POINT, SkinReference, SkinScore, score_skin

if TYPE_CHECKING:
    from evals.skin.measurement import SkinMeasurement

FEWEST = 3
PASS, BORDERLINE, REJECTED = "pass", "borderline", "rejected"
LEAST_CORRELATED = 60
"""Pictures from which a correlation is known to some ± .13, and a ratio of two shares of rejections means anything."""
CERTAIN_UNIT = 43.2
"""The smallest face unit in pixels that is measured at the scale of 48."""


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """One picture, measured untouched and after each change. `lightness`: the individual typology angle of its skin in degrees."""

    name: str
    unit: float
    measured: Mapping[str, SkinMeasurement]
    lightness: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The scores of one picture by change, only those that there are."""

    name: str
    unit: float
    scores: Mapping[str, SkinScore]
    lightness: float

    def verdict(self, change: str) -> str | None:
        found = self.scores.get(change)
        return None if found is None else verdict_of(found)


def verdict_of(score: SkinScore) -> str:
    """A clear verdict on the texture, or `borderline`."""
    if score.texture_range is None or score.texture is None:
        return REJECTED
    low, high = score.texture_range
    if low < TEXTURE_POINT <= high:
        return BORDERLINE
    return PASS if score.texture >= TEXTURE_POINT else REJECTED


def judge(copies: Sequence[Copies], references: Sequence[Copies] | None) -> list[Judged]:
    """Each picture against the references, or against the others of its own folder."""
    found = []
    for item in copies:
        against = [other for other in (references or copies) if other is not item]
        reference: SkinReference = SkinReference.from_measurements([other.measured["untouched"] for other in against])
        scores = {change: score_skin(measured, reference) for change, measured in item.measured.items()}
        known = {change: score for change, score in scores.items() if score.score is not None}
        if "untouched" in known:
            found.append(Judged(item.name, item.unit, known, item.lightness))
    return found


def skin_rows(group: str, judged: Sequence[Judged]) -> list[Figure]:
    """Every figure of one group."""
    large = [item for item in judged if item.unit >= CERTAIN_UNIT]
    larger = [item for item in judged if item.unit >= 1.3 * CERTAIN_UNIT]
    kept = [item for item in large if item.verdict("untouched") != REJECTED]

    def verdicts_share(
        name: str, items: Sequence[Judged], change: str, verdicts: Sequence[str], goal: float | None, *, at_least: bool = False
    ) -> Figure:
        seen = [verdict for item in items if (verdict := item.verdict(change)) is not None]
        return share(group, name, sum(verdict in verdicts for verdict in seen), len(seen), goal, at_least=at_least)

    rows = [
        verdicts_share("untouched: pass", large, "untouched", (PASS,), None),
        verdicts_share("untouched: pass or borderline", large, "untouched", (PASS, BORDERLINE), 0.95, at_least=True),
        verdicts_share("untouched: rejected", large, "untouched", (REJECTED,), 0.03),
    ]
    for name in FULL:
        rows += [_curve(group, large, name), _correlation(group, large, name)]
    changes = (
        *((name, f"{name} 1.0", 0.10) for name in FULL),
        ("bilateral, white grain 3", "bilateral 1.0 + white grain 3", 0.15),
        ("bilateral, white grain 3, JPEG 85", "bilateral 1.0 + white grain 3, JPEG 85", 0.20),
        ("bilateral, white grain 6", "bilateral 1.0 + white grain 6", 0.10),
        ("bilateral, soft grain 6", "bilateral 1.0 + soft grain 6", 0.10),
        ("bilateral, film grain 6", "bilateral 1.0 + film grain 6", 0.15),
        ("bilateral, film grain 6, JPEG 85", "bilateral 1.0 + film grain 6, JPEG 85", None),
        ("bilateral, colour grain 6", "bilateral 1.0 + colour grain 6", 0.10),
        ("bilateral, sharpened 1", "bilateral 1.0 + sharpened 1", 0.10),
        ("bilateral, sharpened 2", "bilateral 1.0 + sharpened 2", 0.20),
        ("reduced and enlarged 4 times, sharpened", "enlarged 4 times", None),
        ("grain painted on the face alone", "painted grain", None),
    )
    for title, change, goal in changes:
        rows.append(verdicts_share(f"{title}: pass", kept, change, (PASS,), goal))
        rows.append(verdicts_share(f"{title}: borderline", kept, change, (BORDERLINE,), None))
    rows += [
        verdicts_share("slight defocus: rejected", kept, "defocus", (REJECTED,), 0.20),
        verdicts_share("mild makeup: rejected", kept, "makeup", (REJECTED,), 0.15),
        verdicts_share("plastic face of 128 pixels: pass", larger, "plastic 128 px", (PASS,), 0.15),
        verdicts_share("plastic face of 80 pixels: pass", judged, "plastic 80 px", (PASS,), 0.0),
        verdicts_share("face of 80 pixels: borderline", judged, "80 px", (BORDERLINE,), None),
        _flips(group, large, "half size", 0.05),
        _flips(group, large, "JPEG 60", 0.05),
        _drift(group, large),
        *_lightness(group, large),
    ]
    return rows


def _curve(group: str, items: Sequence[Judged], name: str) -> Figure:
    both = [(item.scores["untouched"], item.scores[f"{name} 1.0"]) for item in items if f"{name} 1.0" in item.scores]
    value = area_under_curve([one.texture or 0.0 for one, _ in both], [other.texture or 0.0 for _, other in both])
    return Figure(group, f"{name}: AUC against untouched", value, None, len(both), 0.95, at_least=True)


def _correlation(group: str, items: Sequence[Judged], name: str) -> Figure:
    steps = ["untouched", *(f"{name} {strength}" for strength in STRENGTHS)]
    whole = [item for item in items if all(step in item.scores for step in steps)]
    ranks = [rank_correlation([0.0, *STRENGTHS], [-(item.scores[step].texture or 0.0) for step in steps]) for item in whole]
    return Figure(
        group, f"{name}: Spearman with strength", sum(ranks) / len(ranks) if ranks else None, None, len(ranks), 0.94, at_least=True
    )


def _flips(group: str, items: Sequence[Judged], change: str, goal: float) -> Figure:
    pairs = [(before, after) for item in items if (before := item.verdict("untouched")) and (after := item.verdict(change))]
    hits = sum({before, after} == {PASS, REJECTED} for before, after in pairs)
    return share(group, f"{change}: flips", hits, len(pairs), goal)


def _drift(group: str, items: Sequence[Judged]) -> Figure:
    moved = [
        abs((item.scores[change].score or 0.0) - (item.scores["untouched"].score or 0.0))
        for item in items
        for change in BENIGN
        if change in item.scores and item.scores[change].scale == item.scores["untouched"].scale
    ]
    return Figure(group, "benign changes: mean drift of the score", sum(moved) / len(moved) if moved else None, None, len(items))


def _lightness(group: str, items: Sequence[Judged]) -> list[Figure]:
    """Whether light skin and dark skin are judged alike: the correlation, and the rejections of the darker half over the lighter half's."""
    known = sorted((item for item in items if math.isfinite(item.lightness)), key=lambda item: item.lightness)
    if len(known) < 2 * FEWEST:
        return []
    angles = [item.lightness for item in known]
    correlation = abs(rank_correlation(angles, [item.scores["untouched"].texture or 0.0 for item in known]))
    count = len(known)
    halves = known[: len(known) // 2], known[len(known) // 2 :]
    darker, lighter = (sum((item.scores["untouched"].texture or 0.0) < TEXTURE_POINT for item in half) / len(half) for half in halves)
    ratio = max(darker, lighter) / max(min(darker, lighter), 1e-9) if max(darker, lighter) else 1.0
    return [
        Figure(
            group,
            f"skin lightness ({angles[0]:.0f}° to {angles[-1]:.0f}°) with texture: |Spearman|",
            correlation,
            None,
            count,
            0.15,
            least=LEAST_CORRELATED,
        ),
        Figure(
            group,
            f"below the limit: darker half {darker:.0%}, lighter half {lighter:.0%}: ratio",
            min(ratio, 99.0),
            None,
            len(known),
            1.5,
            least=LEAST_CORRELATED,
        ),
    ]


def agreement_row(judged_by: Mapping[str, Mapping[str, str]]) -> Figure | None:
    """The share of pictures on which two engines agree, by the verdicts of each on each picture; None with fewer than two engines."""
    if len(judged_by) < 2:
        return None
    first, second = list(judged_by)[:2]
    both = judged_by[first].keys() & judged_by[second].keys()
    hits = sum(judged_by[first][name] == judged_by[second][name] for name in both)
    return share("engines", f"{first} and {second}: the same verdict", hits, len(both), 0.92, at_least=True)
