"""What proposed limits are worth: found on some of the prompts, tried on the others.

The prompts are divided into `FOLDS` parts. For each the taste is fitted on all others, and its limits judge the pictures of that part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.judging.gates import Gate
from evals.taste.concordance import Concordance, Estimated, compare, mean_of
from evals.taste.limit_choice import choose_limits
from evals.taste.opinions import Opinion
from evals.taste.rated_verdicts import Rated
from evals.taste.taste_model import Table, Tastes, fit
from evals.taste.verdict_table import number_of, open_limit, sign_of, with_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

FOLDS = 10


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The proposed limits on verdicts that they were not found with, in `folds` parts. Costs are for 100 pictures."""

    proposed: Concordance
    cost_now: Estimated
    cost_proposed: Estimated
    saved: Estimated
    folds: int
    by_picture: bool = False
    """One prompt alone: the parts are pictures, which are more alike than those of other prompts."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The proposal held out, and for each gate: by itself at its proposed limit, and what leaving it out adds to the cost."""

    held_out: HeldOut
    alone: tuple[Concordance, ...]
    without: tuple[Estimated, ...]


def try_out(
    opinions: Sequence[Opinion],
    table: Table,
    rows: Sequence[int],
    tastes: Tastes,
    gates: Sequence[Gate],
    policy: Mapping[str, Any],
    *,
    cost_ratio: float,
    seed: int,
) -> Trial | None:
    """Try limits on verdicts that they were not found with. None where no verdict says how often.

    `rows` are the places in `opinions` of the table's rows, `tastes` the fit of all of them.
    """
    rated = [place for place, opinion in enumerate(opinions) if opinion.weight is not None]
    if not rated:
        return None
    parts, by_picture = _divide(opinions, seed)
    folds = int(parts.max()) + 1
    weights = (parts[list(rows)][None] != np.arange(folds)[:, None]).astype(np.float64)
    best = fit(table, weights, start=tastes).best_limits(cost_ratio)
    judged = np.zeros((len(opinions), 1 + 2 * len(gates)), dtype=bool)
    for fold in range(folds):
        limits, _ = choose_limits(table.part(weights[fold] > 0), best[fold], gates, policy)
        proposed = with_limits(policy, {gate.limit_key: sign_of(gate) * float(limit) for gate, limit in zip(gates, limits, strict=True)})
        policies = [proposed, *(with_limits(proposed, open_limit(gate)) for gate in gates)]
        tried = [place for place in rated if parts[place] == fold]
        part = Rated.of([opinions[place] for place in tried])
        columns = [part.judge(each) for each in policies] + [part.passes(gate, gate.limit(proposed) or 0.0) for gate in gates]
        judged[tried] = np.stack(columns, axis=1)
    return _count(Rated.of([opinions[place] for place in rated]), judged[rated], policy, cost_ratio, seed, (folds, by_picture))


def _divide(opinions: Sequence[Opinion], seed: int) -> tuple[NDArray[np.intp], bool]:
    """The part of each verdict: all on one prompt are in the same. Of one prompt alone the pictures are divided."""
    groups = number_of([each.picture.prompt for each in opinions])
    by_picture = groups.max() == 0
    if by_picture:
        groups = number_of([f"{each.batch}/{each.picture.file}" for each in opinions])
    count = int(groups.max()) + 1
    parts = np.random.default_rng(seed).permutation(count) % min(FOLDS, count)
    return parts[groups], bool(by_picture)


def _count(rated: Rated, judged: Flags, policy: Mapping[str, Any], cost_ratio: float, seed: int, how: tuple[int, bool]) -> Trial:
    """`judged`: by the proposed limits, then without each gate, then by each gate alone."""

    def cost(verdicts: Flags) -> Floats:
        return np.asarray(100.0 * (cost_ratio * (verdicts & ~rated.approved) + (~verdicts & rated.approved)))

    gates = judged.shape[1] // 2
    now, proposed = cost(rated.judge(policy)), cost(judged[:, 0])
    return Trial(
        HeldOut(
            compare(judged[:, 0], rated.approved, rated.asked, seed=seed),
            mean_of(now, rated.asked, seed=seed),
            mean_of(proposed, rated.asked, seed=seed),
            mean_of(now - proposed, rated.asked, seed=seed),
            *how,
        ),
        tuple(compare(judged[:, 1 + gates + gate], rated.approved, rated.asked, seed=seed) for gate in range(gates)),
        tuple(mean_of(cost(judged[:, 1 + gate]) - proposed, rated.asked, seed=seed) for gate in range(gates)),
    )
