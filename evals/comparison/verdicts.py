"""From an interval to a word: IMPROVED, REGRESSED, UNCHANGED or INCONCLUSIVE."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evals.comparison.inference import Estimate, prompts_that_settle
from evals.judging.gates import DIGITS
from lifeos.counting import counted

IMPROVED, REGRESSED, UNCHANGED, INCONCLUSIVE = "IMPROVED", "REGRESSED", "UNCHANGED", "INCONCLUSIVE"
NO_VERDICT = "-"
FAR_TOO_MANY = 100_000


@dataclass(frozen=True, slots=True)
class Settle:
    """How many pictures of each version would end the doubt, if the difference stays what it seems."""

    prompts: int
    pictures: int

    def __str__(self) -> str:
        if self.pictures > FAR_TOO_MANY:
            return f"more than {FAR_TOO_MANY:,} pictures of each version would settle it: take them as equal"
        return f"about {counted(self.pictures, 'picture')} of each version ({counted(self.prompts, 'prompt')}) would settle it"


def judge_estimate(estimate: Estimate, minimum_effect: float) -> str:
    """UNCHANGED when the whole interval is too small to matter; a direction when it leaves zero; else INCONCLUSIVE."""
    if estimate.low is None or estimate.high is None:
        return INCONCLUSIVE
    if -minimum_effect <= estimate.low and estimate.high <= minimum_effect:
        return UNCHANGED
    if estimate.low > 0:
        return IMPROVED
    return REGRESSED if estimate.high < 0 else INCONCLUSIVE


def judge_delta(delta: float, minimum_effect: float) -> str:
    """The verdict of a plain difference whose noise is unknown."""
    size = round(delta, DIGITS)
    if abs(size) < minimum_effect:
        return UNCHANGED
    return IMPROVED if size > 0 else REGRESSED


def settle(estimate: Estimate, minimum_effect: float, confidence: float) -> Settle | None:
    """What would settle an INCONCLUSIVE estimate; None where it cannot be said."""
    prompts = prompts_that_settle(estimate, minimum_effect, confidence)
    if prompts is None:
        return None
    return Settle(prompts, -(-prompts * estimate.pairs // estimate.prompts))


def mirrored(estimate: Estimate) -> Estimate:
    """The estimate of the same number with its sign turned: for a score of which less is better."""
    low, high = (None if end is None else -end for end in (estimate.high, estimate.low))
    chance = None if estimate.probability is None else 1 - estimate.probability
    return replace(estimate, effect=-estimate.effect, low=low, high=high, probability=chance)


def level_text(levels: int) -> str:
    """`+2 levels`, `-1 level`, `0 levels`."""
    return f"{levels:+d} level{'' if abs(levels) == 1 else 's'}" if levels else "0 levels"
