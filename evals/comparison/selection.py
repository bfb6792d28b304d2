"""Choose the best of many configurations, and say how sure that is, corrected for having looked at many.

The best of 27 equal configurations looks good by chance. So three things are said of the chosen one that hold together with the
wanted confidence: which others may be the best just as well (Hsu 1981, doi:10.1214/aos/1176345582: comparisons with the best need
as many tests as there are rivals, not as there are pairs), how far it is from the best at most, and whether it beats the settings
in use. Critical values are Bonferroni's with Student's t over prompts: with few prompts a max-T bootstrap is wider, and methods
that pool variances call a winner far too often (`benchmarks/verdict_calibration.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evals.comparison.comparing import SAME_NUMBER
from evals.comparison.inference import Estimate, estimate_level, estimate_means, keep_within, means_and_errors
from evals.comparison.student import t_quantile
from evals.comparison.verdicts import INCONCLUSIVE, judge_estimate
from evals.comparison.weighted_means import change, number_prompts, take_apart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_PROMPTS = 3
"""With fewer prompts nothing can be said of how configurations differ between prompts."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration. `behind` is how far it lies behind the chosen one, with an interval that holds for all at once.

    `score` is the chosen one's overall score less that: configurations that were dropped early were tried on fewer, perhaps easier,
    prompts. It is None where no overall score is known. `shortfall` says why the configuration cannot be ranked, empty where it can.
    """

    name: str
    score: float | None
    mean: Estimate
    behind: Estimate | None
    may_be_best: bool
    pictures: int
    shortfall: str = ""


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
    def chosen(self) -> Candidate | None:
        """The best; None where no configuration has an overall score."""
        return self.ranked[0] if self.ranked and self.ranked[0].score is not None else None

    @property
    def rivals(self) -> tuple[Candidate, ...]:
        """The others that may be the best just as well."""
        return tuple(candidate for candidate in self.ranked[1:] if candidate.may_be_best)

    @property
    def unmeasured(self) -> tuple[Candidate, ...]:
        """The others of which nothing is known: dropped after pictures of fewer than FEWEST_PROMPTS prompts."""
        return tuple(candidate for candidate in self.ranked[1:] if candidate.behind is None or candidate.behind.prompts < FEWEST_PROMPTS)


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """What was tried. `scores`: pictures x configurations x gates, NaN for none; rows are pictures of one prompt and seed.

    `made`: which pictures were made. `levels`: each configuration's overall score as every other tool prints it, None for none.
    `shortfalls`: why it cannot be ranked, empty where it can.
    """

    names: Sequence[str]
    scores: Floats
    made: NDArray[np.bool_]
    prompts: Sequence[Hashable]
    weights: Sequence[float]
    levels: Sequence[float | None]
    shortfalls: Sequence[str]

    @classmethod
    def of_scores(cls, names: Sequence[str], scores: Floats, prompts: Sequence[Hashable]) -> Trials:
        """Trials with one score a picture (pictures x configurations, NaN where none was made), each of which counts."""
        import numpy as np

        made = np.isfinite(scores)
        means = [float(column[there].mean()) if there.any() else None for column, there in zip(scores.T, made.T, strict=True)]
        return cls(names, scores[:, :, None], made, prompts, (1.0,), means, [""] * len(names))

    def sort_key(self, index: int, score: float | None = None) -> tuple[bool, bool, float, str]:
        """Best first; what cannot be ranked after what can, and what has no score last."""
        score = self.levels[index] if score is None else score
        return self.levels[index] is None, bool(self.shortfalls[index]), -(score or 0.0), self.names[index]


def select(
    trials: Trials,
    *,
    confidence: float,
    minimum_effect: float,
    baseline: str | None = None,
    error_of: Callable[[int, int], float] | None = None,
) -> Selection:
    """Choose among the configurations. One that was dropped early is compared on the pictures that it has, and not chosen.

    `baseline` names the settings in use. `error_of`: the chance of being wrong that the comparison of two configurations (by their
    places) may have, where more will be looked at than are there now; else the rivals share it evenly.
    """
    counts = trials.made.sum(axis=0)
    finished = counts == counts.max()
    order = sorted(range(len(trials.names)), key=lambda i: (*trials.sort_key(i)[:2], not finished[i], *trials.sort_key(i)[2:]))
    best, others = order[0], sorted(order[1:])
    own = [_own(trials, index, confidence) for index in range(len(trials.names))]
    enough = len(set(trials.prompts)) >= FEWEST_PROMPTS and trials.levels[best] is not None
    candidates = [Candidate(trials.names[best], trials.levels[best], own[best], None, True, int(counts[best]), trials.shortfalls[best])]
    regret = 0.0 if enough else None
    baseline_verdict = ""
    for index in others:
        error = (1 - confidence) / len(others) if error_of is None else error_of(best, index)
        gap, reach, wide = _gap(trials, best, index, error)
        may_be_best = _may_be_best(trials, best, index, gap, reach)
        if regret is not None and reach is not None and may_be_best is not None:
            regret = max(regret, reach - gap.effect)
        behind = keep_within(_widen(gap, wide), -1.0, 1.0) if gap.effect == gap.effect else None
        level = trials.levels[index]
        top = trials.levels[best]
        score = level if behind is None or top is None else top - behind.effect
        candidates.append(
            Candidate(trials.names[index], score, own[index], behind, bool(may_be_best), int(counts[index]), trials.shortfalls[index])
        )
        if trials.names[index] == baseline and behind is not None:
            baseline_verdict = judge_estimate(behind, minimum_effect)
    place = {name: index for index, name in enumerate(trials.names)}
    ranked = [candidates[0], *sorted(candidates[1:], key=lambda item: trials.sort_key(place[item.name], item.score))]
    if baseline is not None and not baseline_verdict:
        baseline_verdict = "" if trials.names[best] == baseline else INCONCLUSIVE
    comparable = [i for i in order if finished[i] and trials.sort_key(i)[:2] == trials.sort_key(best)[:2]]
    fair = _fair_score(trials, comparable) if enough and comparable else None
    return Selection(tuple(ranked), confidence, regret, fair, baseline, baseline_verdict)


def _own(trials: Trials, index: int, confidence: float) -> Estimate:
    """The overall score of one configuration on its own pictures, with its interval."""
    import numpy as np

    prompts, count = number_prompts(trials.prompts)
    weights = np.array(trials.weights)[:, None]
    (estimate,) = estimate_means(take_apart(trials.scores[:, index], prompts, count, weights).as_sums(), confidence=confidence, resamples=0)
    level = trials.levels[index]
    return estimate_level(estimate if level is None else replace(estimate, effect=level), 0.0, 1.0, confidence)


def _gap(trials: Trials, best: int, other: int, allowed: float) -> tuple[Estimate, float | None, float | None]:
    """How far `other` lies behind on the pictures that both have, and the one-sided and two-sided reach of its interval.

    `allowed`: the chance that the interval misses the truth.
    """
    import numpy as np

    shared = trials.made[:, best] & trials.made[:, other]
    prompts, count = number_prompts([prompt for prompt, there in zip(trials.prompts, shared, strict=True) if there])
    weights = np.array(trials.weights)[:, None]
    sides = [take_apart(trials.scores[shared, index], prompts, count, weights) for index in (other, best)]
    (gap,), (error,), (groups,) = means_and_errors(change(*sides))
    ours, theirs = trials.levels[best], trials.levels[other]
    if ours is not None and theirs is not None and abs(ours - theirs - gap) < SAME_NUMBER:
        gap = ours - theirs  # the very numbers that are printed
    found = Estimate(float(gap), None, None, None, None, float(groups) - 1, int(groups), int(shared.sum()), "t")
    if groups < FEWEST_PROMPTS or not error > 1e-12:
        return found, None, None
    one_sided, two_sided = (1 - allowed / sides for sides in (1, 2))
    reach, wide = (t_quantile(level, groups - 1) * float(error) for level in (one_sided, two_sided))
    return found, reach, wide


def _widen(gap: Estimate, wide: float | None) -> Estimate:
    return gap if wide is None else replace(gap, low=gap.effect - wide, high=gap.effect + wide)


def _may_be_best(trials: Trials, best: int, other: int, gap: Estimate, reach: float | None) -> bool | None:
    """Whether it may be the best just as well; None where it is out of the question: it has no score, or too few pictures with one."""
    if trials.sort_key(other)[:2] > trials.sort_key(best)[:2]:
        return None
    return True if reach is None else gap.effect < reach


def _fair_score(trials: Trials, among: Sequence[int]) -> float | None:
    """The overall score of the pictures of each prompt under the configuration that the other prompts choose."""
    import numpy as np

    prompts, count = number_prompts(trials.prompts)
    weights = np.array(trials.weights)
    there = np.isfinite(trials.scores[:, among])
    filled = np.where(there, trials.scores[:, among], 0.0)
    sums, counts = np.zeros((count, *filled.shape[1:])), np.zeros((count, *filled.shape[1:]))
    np.add.at(sums, prompts, filled)
    np.add.at(counts, prompts, there)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = ((sums.sum(axis=0) - sums) / (counts.sum(axis=0) - counts)) @ weights
    choice = np.where(np.isfinite(rest), rest, -np.inf).argmax(axis=1)
    rows = np.arange(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        fair = float((sums[rows, choice].sum(axis=0) / counts[rows, choice].sum(axis=0)) @ weights)
    return fair if math.isfinite(fair) else None


def how_sure(selection: Selection) -> str:
    """The sentence that ends a sweep."""
    best = selection.chosen
    if best is None:
        return "No configuration can be chosen: none has an overall score."
    chosen, sure = best.name, f"{selection.confidence:.0%}".replace("%", " %")
    lead = f"Use {chosen}"
    if best.shortfall:
        return f"{lead} for now, but {best.shortfall}: no configuration has enough pictures with a score."
    rankable = [candidate for candidate in selection.ranked if candidate.score is not None and not candidate.shortfall]
    if len(selection.ranked) < 2:
        return f"Only {chosen} was tried: there is nothing to choose among."
    if len(rankable) < 2:
        return f"{lead}: it is the only one of the {len(selection.ranked)} tried that can be ranked."
    if selection.regret is None:
        return f"{lead}. With fewer than {FEWEST_PROMPTS} prompts it cannot be said how sure that is."
    if not selection.rivals:
        return f"{lead}: it is the best of the {len(rankable)} tried ({sure} sure)."
    unmeasured = [candidate for candidate in selection.unmeasured if candidate in rankable]
    measured = len(rankable) - len(unmeasured)
    if measured < 2:
        return f"{lead}. The others were tried on too few prompts to say how sure that is."
    loss = f"at most {selection.regret:.2f}" if selection.regret >= 0.005 else "less than 0.01"
    text = f"{lead}: {loss} below the best of the {measured} {'tried' if not unmeasured else 'tried enough'} ({sure} sure)"
    early = [rival for rival in selection.rivals if rival in unmeasured or rival.pictures < best.pictures]
    known = [rival.name for rival in selection.rivals if rival not in early]
    if known:
        more = f" and {len(known) - 4} more" if len(known) > 4 else ""
        text += f"; {', '.join(known[:4])}{more} may be as good or better"
    if early:
        count = len(early)
        text += f"; {count} {'was' if count == 1 else 'were'} dropped early after too few pictures, and may be as good"
    return f"{text}."


def complete_table(
    tables: Mapping[str, Mapping[Hashable, Sequence[float]]], columns: int
) -> tuple[list[str], Floats, NDArray[np.bool_], list[Hashable]]:
    """Configuration -> (key -> scores) as names, a keys x names x scores array, which of its rows were made, and the keys."""
    import numpy as np

    names = list(tables)
    keys = list(dict.fromkeys(key for table in tables.values() for key in table))
    index = {key: row for row, key in enumerate(keys)}
    scores = np.full((len(keys), len(names), columns), np.nan)
    made = np.zeros((len(keys), len(names)), dtype=np.bool_)
    for column, name in enumerate(names):
        for key, values in tables[name].items():
            scores[index[key], column] = values
            made[index[key], column] = True
    return names, scores, made, keys
