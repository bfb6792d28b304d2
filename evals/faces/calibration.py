"""Warn and pass marks for an engine and a character, from how like it are strangers (the floor) and its own photos (the ceiling)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from evals.faces.face_engine import Vector
from evals.faces.policy_scale import PolicyScale
from evals.faces.strangers import Floor

WARN_WAY, PASS_WAY = 0.5, 0.6
"""The marks lie no nearer to strangers than this share of the way to the middle one of the own photos: what is generated may look like
another face and still be more like the character than a stranger is. With it the rows of SFace and of the small InsightFace pack come out
that were set by looking at pictures."""
MOST_REJECTED = 0.1
"""The pass mark rejects no larger share of the character's own photos. Where that mark lets through more strangers than may reach the
warn mark, there is none."""
ABOVE_HIGHEST = 0.005
"""By how much the pass mark lies above the highest stranger who was shown."""
LEAST_GAP = 0.02
"""Between the marks."""
SURE = 0.95


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened, with where the true rate lies, 95 % sure: exact for small numbers; 3 of N where it never did."""

    count: int
    of: int

    @property
    def share(self) -> float:
        return self.count / self.of

    @property
    def low(self) -> float:
        return 0.0 if not self.count else _solve(lambda p: 1 - _at_most(self.count - 1, self.of, p), (1 - SURE) / 2, rising=True)

    @property
    def high(self) -> float:
        if not self.count:
            return min(1.0, 3 / self.of)
        return 1.0 if self.count == self.of else _solve(lambda p: _at_most(self.count, self.of, p), (1 - SURE) / 2, rising=False)

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "of": self.of, "share": round(self.share, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def _at_most(count: int, of: int, chance: float) -> float:
    """The chance of `count` or fewer of `of` (binomial)."""
    return sum(comb(of, each) * chance**each * (1 - chance) ** (of - each) for each in range(count + 1))


def _solve(function: Any, wanted: float, *, rising: bool) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if (function(middle) < wanted) == rising else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark of a row, and what it means. `accepts` is the share of strangers by the normal curve, `shown` counts those who were looked
    at and reach it, `rejects` the character's own photos that do not."""

    cosine: float
    accepts: float
    shown: Rate | None
    rejects: Rate

    def to_json(self) -> dict[str, Any]:
        return {
            "cosine": self.cosine,
            "strangers_accepted": float(f"{self.accepts:.3g}"),
            "strangers_shown": self.shown.to_json() if self.shown else None,
            "own_rejected": self.rejects.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    """The marks that are proposed and those in force (None where the policy has no row); `limited` says why a mark is not where it was
    wished to be."""

    warn: Mark
    passing: Mark
    warn_now: Mark | None
    pass_now: Mark | None
    limited: str = ""


def calibrate(
    floor: Floor,
    own: Vector,
    shown: Vector,
    row: PolicyScale | None,
    *,
    warn_accepts: float,
    pass_accepts: float,
) -> Calibration | str:
    """The marks by a floor, the cosines of the character's own photos, and those of strangers who were looked at (or none).

    A sentence where there is no room for a pass mark between the two.
    """

    def mark(cosine: float) -> Mark:
        accepted = Rate(int((shown >= cosine).sum()), len(shown)) if len(shown) else None
        return Mark(cosine, floor.share_above(cosine), accepted, Rate(int((own < cosine).sum()), len(own)))

    limited = ""
    way = float(np.median(own)) - floor.mean
    passing = max(floor.cosine_at(pass_accepts), floor.mean + PASS_WAY * way)
    if floor.highest is not None and passing < floor.highest + ABOVE_HIGHEST:
        passing = floor.highest + ABOVE_HIGHEST
        limited = "the pass mark lies above the highest stranger shown"
    highest = float(np.sort(own)[int(len(own) * MOST_REJECTED)])  # that many lie below it
    passing = _up(passing)
    if passing > highest:
        passing = int(highest * 100) / 100
        limited = f"the pass mark is lower than wished for: a higher one would reject more than {MOST_REJECTED:.0%} of the own photos"
    least = floor.cosine_at(warn_accepts)
    if passing < least or (floor.highest is not None and passing <= floor.highest):
        kept = f"a pass mark of {passing:.2f}, which keeps {1 - MOST_REJECTED:.0%} of the own photos, lets through"
        strangers = int((shown >= passing).sum())
        let_through = f"{strangers} of the {len(shown)} strangers" if strangers else f"{floor.share_above(passing):.1%} of all strangers"
        return f"this engine does not tell the character from strangers: {kept} {let_through}"
    warn = min(_up(max(least, floor.mean + WARN_WAY * way)), round(passing - LEAST_GAP, 2))
    warn_now, pass_now = (None, None) if row is None else (mark(row.warn), mark(row.passing))
    return Calibration(mark(warn), mark(passing), warn_now, pass_now, limited)


def _up(cosine: float) -> float:
    """Rounded up to two digits: a mark does not let through more than was wished."""
    return float(np.ceil(round(cosine * 100, 6)) / 100)


def find_own_among(cosines: Vector, own: Vector) -> Sequence[int]:
    """The strangers who are as like the character as its own photos, far beyond all others: they probably are the character.

    Three robust standard deviations above the median, and above the lowest tenth of the own photos.
    """
    middle = float(np.median(cosines))
    spread = 1.4826 * float(np.median(np.abs(cosines - middle)))
    limit = max(middle + 3 * spread, float(np.quantile(own, MOST_REJECTED)))
    return [int(index) for index in np.flatnonzero(cosines >= limit)]
