"""A person's taste as limits with noise: the model of people's verdicts, fitted by prompt.

A picture is approved when it is good enough in everything that the gates measure, and when nothing else is wrong with it:

    P(approved) = (1 - lapse) (slip + (1 - slip) product over gates of 1 / (1 + exp(-(score - limit) / noise)))

`limit` is the score at which this person would approve half of the pictures if all else were fine, `noise` how gradual that is, `lapse`
the share that is rejected for what no gate measures, `slip` the share that is approved whatever the scores say. It is the psychometric
function with two lapse rates (Wichmann, Hill 2001, doi:10.3758/BF03194544), one factor for each gate: the gates' rule is "all pass".

A rejection whose reason names gates says that one of these failed: the product is taken over them, without lapses. One whose reason is
something else says nothing of the gates: the product is empty.

The fit maximises the likelihood with weak priors: a limit lies within about `LIMIT_SPREAD` of the one in force, so that a gate of which
the verdicts say nothing stays where it is. Fisher scoring, damped, for many weightings of the verdicts at once: resamples and folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

LIMIT_SPREAD = 0.2
NOISE, NOISE_SPREAD = 0.03, 1.0
"""The median of the noise, and the standard deviation of its logarithm."""
SLIP, SLIP_SPREAD = 0.01, 0.75
LAPSE, LAPSE_SPREAD = 0.05, 1.5
"""Medians of the two rates, and the standard deviations of their logits. Few people approve by a slip what a gate rejects: a few such
verdicts are reason enough to move its limit."""
STEPS = 60
STILL = 1e-4
MOST_STEP = 0.5
LEAST_CHANCE = 1e-9
CHUNK_CELLS = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Verdicts as numbers, one row each: scores by gate, higher is better (a gate where lower is better has both signs turned).

    `counts`: whether a gate has a say in the row: it was measured, and no reason excludes it. `plain`: without a reason, so that lapses
    are possible. `prompts`: the number of the prompt, from 0. NaN stands where a score was never asked for.
    """

    scores: Floats
    counts: Flags
    approved: Flags
    plain: Flags
    prompts: NDArray[np.intp]
    limits: Floats
    """In force, one for each gate, in the same direction as the scores."""

    @property
    def rows(self) -> int:
        return len(self.approved)

    @property
    def gates(self) -> int:
        return len(self.limits)

    @property
    def prompt_count(self) -> int:
        return int(self.prompts.max()) + 1 if len(self.prompts) else 0

    def part(self, chosen: Any) -> Table:
        """Some of the rows; the prompts are numbered anew."""
        prompts = np.unique(self.prompts[chosen], return_inverse=True)[1].astype(np.intp)
        return Table(self.scores[chosen], self.counts[chosen], self.approved[chosen], self.plain[chosen], prompts, self.limits)


@dataclass(frozen=True, slots=True, eq=False)
class Tastes:
    """What was fitted, one line for each weighting: limits and noise (lines x gates), rates (lines)."""

    limits: Floats
    noise: Floats
    slip: Floats
    lapse: Floats
    fitness: Floats

    def best_limits(self, cost_ratio: float) -> Floats:
        """The limits at which the expected costs of both mistakes are equal, where a wrongly published picture costs `cost_ratio`
        wrongly rejected ones: limit + noise ln(cost_ratio). Lapses are left aside: no limit mends them."""
        return self.limits + self.noise * log(cost_ratio)


def fit(table: Table, weights: Floats | None = None, *, start: Tastes | None = None) -> Tastes:
    """Fit the taste for each line of `weights` (lines x rows; none: every verdict counts once).

    `start`: the fit of the whole table, from which resamples begin; without it the best of several starts is taken.
    """
    given = np.ones((1, table.rows)) if weights is None else weights
    if start is not None:
        return _fit_from(table, given, _parameters(start))
    fits = [_fit_from(table, given, point) for point in _starts(table)]
    best = np.argmax([each.fitness for each in fits], axis=0)
    return _choose(fits, best)


def _choose(fits: Sequence[Tastes], best: NDArray[np.intp]) -> Tastes:
    lines = np.arange(len(best))
    names = ("limits", "noise", "slip", "lapse", "fitness")
    return Tastes(*(np.stack([getattr(each, name) for each in fits])[best, lines] for name in names))


def _starts(table: Table) -> list[Floats]:
    """Where the search begins: at the limits in force, below all that was approved, and in the middle. There may be several peaks."""
    rest = [np.full(table.gates, log(NOISE)), np.array([_logit(SLIP), _logit(LAPSE)])]
    approved = table.counts & table.approved[:, None]
    lowest = np.minimum(table.limits, np.where(approved, table.scores, np.inf).min(axis=0, initial=np.inf) - NOISE)
    middle = np.array([_middle_of(table, gate) for gate in range(table.gates)])
    return [np.concatenate([limits, *rest]) for limits in (table.limits, lowest, middle)]


def _middle_of(table: Table, gate: int) -> float:
    there = table.scores[table.counts[:, gate], gate]
    return float(np.median(there)) if len(there) else float(table.limits[gate])


def _parameters(start: Tastes) -> Floats:
    rates = [_logit(float(start.slip[0])), _logit(float(start.lapse[0]))]
    return np.concatenate([start.limits[0], np.log(start.noise[0]), rates])


def _logit(share: float) -> float:
    return log(share / (1 - share))


def _fit_from(table: Table, weights: Floats, point: Floats) -> Tastes:
    rows = max(1, CHUNK_CELLS // max(1, table.rows * (2 * table.gates + 2)))
    found = [_climb(table, weights[first : first + rows], point) for first in range(0, len(weights), rows)]
    values, fitness = (np.concatenate(each) for each in zip(*found, strict=True))
    gates = table.gates
    rates = _sigmoid(values[:, 2 * gates :])
    return Tastes(values[:, :gates], np.exp(values[:, gates : 2 * gates]), rates[:, 0], rates[:, 1], fitness)


def _climb(table: Table, weights: Floats, point: Floats) -> tuple[Floats, Floats]:
    """Damped Fisher scoring from one point, each line on its own: a step that makes the fit worse is tried again, shorter."""
    prior = _Prior.around(table.limits)
    values = np.tile(point, (len(weights), 1))
    damping = np.full(len(weights), 1e-3)
    fitness, slope, curve = _look(table, weights, values, prior)
    diagonal = np.arange(values.shape[1])
    moving = np.arange(len(weights))
    for _ in range(STEPS):
        damped = curve[moving]
        damped[:, diagonal, diagonal] *= 1 + damping[moving, None]
        step = np.linalg.solve(damped, slope[moving][..., None])[..., 0]
        step *= np.minimum(1, MOST_STEP / np.maximum(np.abs(step).max(axis=1), 1e-12))[:, None]
        tried = values[moving] + step
        tried_fitness, tried_slope, tried_curve = _look(table, weights[moving], tried, prior)
        better = tried_fitness >= fitness[moving]
        found = moving[better]
        values[found], fitness[found] = tried[better], tried_fitness[better]
        slope[found], curve[found] = tried_slope[better], tried_curve[better]
        damping[moving] = np.clip(np.where(better, damping[moving] / 10, damping[moving] * 10), 1e-6, 1e6)
        moving = moving[np.abs(step).max(axis=1) >= STILL]
        if not len(moving):
            break
    return values, fitness


@dataclass(frozen=True, slots=True, eq=False)
class _Prior:
    middle: Floats
    precision: Floats

    @classmethod
    def around(cls, limits: Floats) -> _Prior:
        gates = len(limits)
        middle = np.concatenate([limits, np.full(gates, log(NOISE)), [_logit(SLIP), _logit(LAPSE)]])
        spread = np.concatenate([np.full(gates, LIMIT_SPREAD), np.full(gates, NOISE_SPREAD), [SLIP_SPREAD, LAPSE_SPREAD]])
        return cls(middle, spread**-2)


def _look(table: Table, weights: Floats, values: Floats, prior: _Prior) -> tuple[Floats, Floats, Floats]:
    """The logarithm of the posterior, its gradient, and Fisher's information, for each line."""
    gates = table.gates
    limits, noise = values[:, None, :gates], np.exp(values[:, None, gates : 2 * gates])
    rates = _sigmoid(values[:, 2 * gates :])
    slip, lapse = rates[:, :1], rates[:, 1:] * table.plain
    z = np.where(table.counts, (table.scores - limits) / noise, np.inf)
    passing = _sigmoid(z)
    product = passing.prod(axis=2)
    chance = (1 - lapse) * (slip + (1 - slip) * product)
    slopes = np.empty((*product.shape, 2 * gates + 2))
    failing = (1 - passing) * ((1 - lapse) * (1 - slip) * product)[..., None]
    slopes[..., :gates] = -failing / noise
    slopes[..., gates : 2 * gates] = -failing * np.where(table.counts, z, 0.0)
    slopes[..., -2] = (1 - lapse) * (1 - product) * slip * (1 - slip)
    slopes[..., -1] = -(slip + (1 - slip) * product) * lapse * (1 - lapse)
    chance = np.clip(chance, LEAST_CHANCE, 1 - LEAST_CHANCE)
    told = np.where(table.approved, chance, 1 - chance)
    away = values - prior.middle
    fitness = (weights * np.log(told)).sum(axis=1) - 0.5 * (prior.precision * away**2).sum(axis=1)
    variance = chance * (1 - chance)
    slope = np.einsum("bn,bnp->bp", weights * (table.approved - chance) / variance, slopes) - prior.precision * away
    curve = (slopes * (weights / variance)[..., None]).transpose(0, 2, 1) @ slopes
    each = np.arange(curve.shape[1])
    curve[:, each, each] += prior.precision
    return fitness, slope, curve


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -500, 500))))


def draw_prompts(prompts: int, resamples: int, seed: int) -> Floats:
    """How often each resample of the prompts holds each prompt: resamples x prompts."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, prompts, (resamples, prompts))
    return np.stack([np.bincount(each, minlength=prompts) for each in draws]).astype(np.float64)


def resample(table: Table, resamples: int, seed: int) -> Floats:
    """How often each resample holds each row: resamples x rows. All verdicts on a prompt go together."""
    return np.asarray(draw_prompts(table.prompt_count, resamples, seed)[:, table.prompts])
