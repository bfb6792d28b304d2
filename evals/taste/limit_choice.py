"""Which limits to propose, of those that the model of people's verdicts finds, and how well each is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.comparison.student import t_quantile
from evals.judging.gates import DIGITS, Gate
from evals.taste.concordance import CONFIDENCE, Estimated
from evals.taste.taste_model import Table
from evals.taste.verdict_table import sign_of, with_limits
from lifeos.policy.schema import check_policy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WIDTH = 0.10
"""A limit is known when its 95 % interval is no wider."""
MOST_TIMES = 20
"""If more than so many times the verdicts that there are would be needed, they do not depend on the score, as far as can be seen."""
STEP = 100
"""Limits are proposed in hundredths."""


def choose_limits(table: Table, best: Floats, gates: Sequence[Gate], policy: Mapping[str, Any]) -> tuple[Floats, list[str]]:
    """The limits to propose, in the direction of the table, and why each is not the model's (empty where it is).

    In hundredths; never beyond the scores that were judged; and the one in force where the verdict on no judged picture depends on it.
    """
    chosen, reasons = table.limits.copy(), list[str]()
    for place, gate in enumerate(gates):
        now = float(table.limits[place])
        scores = table.scores[~np.isnan(table.scores[:, place]), place]
        if not len(scores):
            reasons.append("no judged picture has a score")
            continue
        ends = [floor(float(end) * STEP) / STEP for end in (scores.min(), scores.max())]
        value = round(min(max(float(best[place]), min(now, ends[0])), max(now, ends[1])) * STEP) / STEP
        chosen[place], fault = _allowed(gate, value, now, policy)
        reasons.append(fault or ("" if abs(value - best[place]) < 1 / STEP else "the judged scores end there"))
    for place in range(len(gates)):
        kept = chosen.copy()
        kept[place] = table.limits[place]
        if kept[place] != chosen[place] and (_judge(table, kept) == _judge(table, chosen)).all():
            chosen, reasons[place] = kept, "no judged picture depends on it"
    return chosen, reasons


def _judge(table: Table, limits: Floats) -> NDArray[np.bool_]:
    """Whether all gates that measured it pass each picture."""
    return np.asarray((np.isnan(table.scores) | (np.round(table.scores, DIGITS) >= np.round(limits, DIGITS))).all(axis=1))


def _allowed(gate: Gate, value: float, now: float, policy: Mapping[str, Any]) -> tuple[float, str]:
    """The limit nearest to `value`, on the way to `now`, that makes a sound policy, and what forbids the others."""
    fault = ""
    for step in range(round(abs(now - value) * STEP) + 1):
        tried = round((value + step / STEP * (1 if now > value else -1)) * STEP) / STEP
        found = check_policy(with_limits(policy, {gate.limit_key: sign_of(gate) * tried}), {}, whole=True)
        if not found:
            return tried, fault
        fault = fault or found[0].message
    return now, fault


def limit_of(gate: Gate, place: int, best: float, spread: float | None, table: Table) -> Estimated:
    """The model's limit in the gate's own direction: Student's t around it with the spread of the resamples.

    Beyond the judged scores the model only guesses: then the interval is all that lies on that side of them.
    """
    low, high = (sign_of(gate) * end for end in gate.span)
    bounds = sorted((low, high))
    scores = table.scores[table.counts[:, place], place]
    ends = []
    if spread is not None and len(scores):
        reach = t_quantile((1 + CONFIDENCE) / 2, table.prompt_count - 1) * spread
        ends = [best - reach, best + reach]
        if best < scores.min():
            ends = [bounds[0], max(ends[1], float(scores.min()))]
        elif best > scores.max():
            ends = [min(ends[0], float(scores.max())), bounds[1]]
    value, *around = (sign_of(gate) * min(max(each, bounds[0]), bounds[1]) for each in (best, *ends))
    return Estimated(value, *sorted(around))


def count_missing(gate: Gate, limit: Estimated, verdicts: int) -> int | None:
    """How many more verdicts like these make the interval as narrow as `WIDTH`: its width falls with the root of their number.

    None where nothing can be said, such as of a limit that lies beyond the judged scores: more of the same do not show where.
    """
    if limit.low is None or limit.high is None or limit.low == gate.span[0] or limit.high == gate.span[1]:
        return None
    more = max(0, ceil(verdicts * (((limit.high - limit.low) / WIDTH) ** 2 - 1)))
    return more if more <= MOST_TIMES * verdicts else None
