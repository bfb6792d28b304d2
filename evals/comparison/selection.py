"""Choose the best of many configurations, and say how sure that is, corrected for having looked at many.

The best of 27 equal configurations looks good by luck. So three things are said of the chosen one that hold together with the
wanted confidence: which others may be the best just as well (Hsu 1981, doi:10.1214/aos/1176345582: comparisons with the best need
as many tests as there are rivals, not as there are pairs), how far it is from the best at most, and whether it beats the settings
in use. Critical values are Bonferroni's with Student's t over prompts: with few prompts a max-T bootstrap is wider, and methods
that pool variances call a winner far too often (`benchmarks/verdict_calibration.py`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evals.comparison.inference import Estimate, estimate_means, means_and_errors, sum_by_prompt
from evals.comparison.student import t_quantile
from evals.comparison.verdicts import INCONCLUSIVE, judge_estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_PROMPTS = 3
"""With fewer prompts nothing can be said of how configurations differ between prompts."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration. `behind` is how far it lies behind the chosen one, with an interval that holds for all at once.

    `score` is the chosen one's mean less that: configurations that were dropped early were tried on fewer, perhaps easier, prompts.
    """

    name: str
    score: float
    mean: Estimate
    behind: Estimate | None
    may_be_best: bool
    pictures: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The choice. `regret` is how far below the best of those measured on enough prompts it lies at most, with the given confidence.

    `fair_score` is what a choice made in this way really scores: each prompt is judged by the choice made without it.
    """

    ranked: tuple[Candidate, ...]
    confidence: float
    regret: float | None
    fair_score: float | None
    baseline: str | None
    baseline_verdict: str

    @property
    def chosen(self) -> Candidate:
        return self.ranked[0]

    @property
    def rivals(self) -> tuple[Candidate, ...]:
        """The others that may be the best just as well."""
        return tuple(candidate for candidate in self.ranked[1:] if candidate.may_be_best)

    @property
    def unmeasured(self) -> tuple[Candidate, ...]:
        """The others of which nothing is known: dropped after pictures of fewer than FEWEST_PROMPTS prompts."""
        return tuple(candidate for candidate in self.ranked[1:] if candidate.behind is None or candidate.behind.low is None)


def select(
    names: Sequence[str],
    scores: Floats,
    prompts: Sequence[Hashable],
    *,
    confidence: float,
    minimum_effect: float,
    baseline: str | None = None,
) -> Selection:
    """Choose among `names`, the columns of `scores`; rows are pictures of one prompt and seed, NaN where one was not made.

    A configuration that was dropped early is compared on the pictures that it has. `baseline` names the settings in use.
    """
    import numpy as np

    most = np.isfinite(scores).sum(axis=0)
    finished = most == most.max()
    own = estimate_means(sum_by_prompt(scores, prompts), confidence=confidence, resamples=0)
    means = np.array([estimate.effect for estimate in own])
    best = int(np.argmax(np.where(finished, means, -np.inf)))
    others = [index for index in range(len(names)) if index != best]
    differences = scores[:, [best]] - scores
    data = sum_by_prompt(differences, prompts)
    gaps, errors, groups = means_and_errors(data)
    one_sided = 1 - (1 - confidence) / max(len(others), 1)
    two_sided = 1 - (1 - confidence) / (2 * max(len(others), 1))
    enough = len(set(prompts)) >= FEWEST_PROMPTS
    regret = 0.0 if enough else None
    top = own[best].effect
    candidates = [Candidate(names[best], top, own[best], None, True, int(most[best]))]
    baseline_verdict = ""
    for index in others:
        rival = bool(groups[index] < FEWEST_PROMPTS or not errors[index] > 1e-12)
        reach = float("nan") if rival else t_quantile(one_sided, groups[index] - 1) * float(errors[index])
        gap = float(gaps[index])
        if regret is not None and not rival:
            regret = max(regret, reach - gap)
        wide = float("nan") if rival else t_quantile(two_sided, groups[index] - 1) * float(errors[index])
        pairs = int(np.isfinite(differences[:, index]).sum())
        known = not rival
        behind = Estimate(
            gap,
            gap - wide if known else None,
            gap + wide if known else None,
            None,
            None,
            float(groups[index]) - 1,
            int(groups[index]),
            pairs,
            "t",
        )
        candidates.append(Candidate(names[index], top - gap, own[index], behind, rival or bool(gap < reach), int(most[index])))
        if names[index] == baseline:
            baseline_verdict = judge_estimate(behind, minimum_effect)
    ranked = [candidates[0], *sorted(candidates[1:], key=lambda item: -item.score)]
    fair = _fair_score(scores[:, finished], prompts) if enough else None
    if baseline is not None and not baseline_verdict:
        baseline_verdict = "" if names[best] == baseline else INCONCLUSIVE
    return Selection(tuple(ranked), confidence, regret, fair, baseline, baseline_verdict)


def _fair_score(scores: Floats, prompts: Sequence[Hashable]) -> float:
    """Mean score of each prompt's pictures under the configuration that the other prompts choose."""
    data = sum_by_prompt(scores, prompts)
    rest = (data.sums.sum(axis=0) - data.sums) / (data.counts.sum(axis=0) - data.counts)
    choice = rest.argmax(axis=1)
    rows = range(data.prompts)
    return float(data.sums[rows, choice].sum() / data.counts[rows, choice].sum())


def how_sure(selection: Selection) -> str:
    """The sentence that ends a sweep."""
    chosen, sure = selection.chosen.name, f"{selection.confidence:.0%}".replace("%", " %")
    if len(selection.ranked) < 2:
        return f"Only {chosen} was tried: there is nothing to choose among."
    if selection.regret is None:
        return f"Use {chosen}, for want of better: with so few prompts it cannot be said how sure that is."
    if not selection.rivals:
        return f"Use {chosen}: it is the best of the {len(selection.ranked)} tried ({sure} sure)."
    measured = len(selection.ranked) - len(selection.unmeasured)
    if measured < 2:
        return f"Use {chosen}, for want of better: the others were tried on too few prompts to say how sure that is."
    loss = f"at most {selection.regret:.2f}" if selection.regret >= 0.005 else "less than 0.01"
    text = f"Use {chosen}: {loss} below the best of the {measured} {'tried' if not selection.unmeasured else 'tried enough'} ({sure} sure)"
    early = [rival for rival in selection.rivals if rival in selection.unmeasured or rival.pictures < selection.chosen.pictures]
    known = [rival.name for rival in selection.rivals if rival not in early]
    if known:
        more = f" and {len(known) - 4} more" if len(known) > 4 else ""
        text += f"; {', '.join(known[:4])}{more} may be as good or better"
    if early:
        count = len(early)
        text += f"; {count} {'was' if count == 1 else 'were'} dropped after too few pictures to be ruled out"
    return f"{text}."


def complete_table(tables: Mapping[str, Mapping[Hashable, float]]) -> tuple[list[str], Floats, list[Hashable]]:
    """Configuration -> (key -> score) as names, a keys x names array with NaN for what was not made, and the keys."""
    import numpy as np

    names = list(tables)
    keys = list(dict.fromkeys(key for table in tables.values() for key in table))
    index = {key: row for row, key in enumerate(keys)}
    scores = np.full((len(keys), len(names)), np.nan)
    for column, name in enumerate(names):
        for key, score in tables[name].items():
            scores[index[key], column] = score
    return names, scores, keys
