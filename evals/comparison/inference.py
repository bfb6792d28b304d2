"""The mean difference between two versions, with an interval that is right about as often as it claims.

Pictures of one prompt are not independent, so prompts are what is resampled. The interval is the symmetric studentised
cluster bootstrap (Hall 1988, doi:10.1111/j.2517-6161.1988.tb01707.x); with fewer than `BOOTSTRAP_PROMPTS` prompts it is
Student's t with one degree of freedom less than there are prompts. Of percentile, BCa-like and equal-tailed studentised
intervals these two came nearest to what they promise on skewed data: `benchmarks/verdict_calibration.py` prints it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from evals.comparison.student import t_cdf, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BOOTSTRAP_PROMPTS = 8
"""Below this the resamples of so few prompts repeat each other, and the studentised ratio has tails without end."""
MOST_TAIL = 1.75
"""Scores of few distinct values make resamples that hardly vary, and a ratio that tells only that: then Student's t is taken."""
POISSON_PROMPTS = 500
CHUNK_CELLS = 2_000_000
"""Resamples are drawn in blocks of this many weights: 16 MB each."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptSums:
    """Values added up per prompt: all that a mean, its error and its resamples need. One column per quantity."""

    sums: Floats
    counts: Floats

    @property
    def prompts(self) -> int:
        return int(self.sums.shape[0])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its uncertainty. `low`, `high` and `probability` are None where the data cannot tell."""

    effect: float
    low: float | None
    high: float | None
    probability: float | None
    """How likely the true mean is above zero, given these data and no other knowledge."""
    error: float | None
    degrees: float
    prompts: int
    pairs: int
    method: str

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def sum_by_prompt(values: Floats, prompts: Sequence[Any]) -> PromptSums:
    """Add up `values` (pairs, or pairs x quantities; NaN means none) per prompt."""
    import numpy as np

    columns = values[:, None] if values.ndim == 1 else values
    index_of: dict[Any, int] = {}
    index = np.fromiter((index_of.setdefault(prompt, len(index_of)) for prompt in prompts), dtype=np.intp, count=len(columns))
    there = np.isfinite(columns)
    sums = np.empty((len(index_of), columns.shape[1]))
    counts = np.empty_like(sums)
    for column in range(columns.shape[1]):
        sums[:, column] = np.bincount(index, np.where(there[:, column], columns[:, column], 0.0), len(index_of))
        counts[:, column] = np.bincount(index, there[:, column], len(index_of))
    return PromptSums(sums, counts)


def means_and_errors(data: PromptSums) -> tuple[Floats, Floats, Floats]:
    """Mean, cluster-robust standard error (with the G/(G-1) correction) and number of prompts of each column."""
    import numpy as np

    total = data.counts.sum(axis=0)
    groups = (data.counts > 0).sum(axis=0).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = data.sums.sum(axis=0) / total
        residual = data.sums - mean * data.counts
        error = np.sqrt((residual**2).sum(axis=0) * groups / (groups - 1)) / total
    return mean, error, groups


def resampled_t(data: PromptSums, resamples: int, seed: int) -> Floats:
    """The studentised deviation of each resample of prompts, resamples x columns; the same prompts for every column."""
    import numpy as np

    rng = np.random.default_rng(seed)
    groups = data.prompts
    mean = means_and_errors(data)[0]
    residual = data.sums - mean * data.counts
    # around each resample's own mean: sum w (r - s n)^2 = sum w r^2 - 2 s sum w r n + s^2 sum w n^2, s = sum w r / sum w n
    parts = np.hstack([residual, data.counts, residual**2, residual * data.counts, data.counts**2])
    blocks = []
    rows = max(1, CHUNK_CELLS // max(groups, parts.shape[1]))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        r, n, rr, rn, nn = np.split(_draw_weights(rng, count, groups) @ parts, 5, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            shift = r / n
            spread = np.sqrt(np.maximum(rr - 2 * shift * rn + shift**2 * nn, 0.0) * groups / (groups - 1)) / n
            deviation = shift / spread
        # a resample of one prompt over and over has no spread: its deviation is not known to be large
        blocks.append(np.where(spread > 1e-12, deviation, 0.0))
    return np.concatenate(blocks)


def _draw_weights(rng: np.random.Generator, count: int, groups: int) -> Floats:
    """How often each resample holds each prompt, resamples x prompts.

    Of many prompts the counts are as good as independent Poisson numbers (Hanley, MacGibbon 2006, doi:10.1016/j.cmpb.2006.04.006),
    which cost a quarter.
    """
    import numpy as np

    if groups < POISSON_PROMPTS:
        draws = rng.integers(0, groups, (count, groups), dtype=np.int32)
        draws += (np.arange(count, dtype=np.int32) * groups)[:, None]
        return np.bincount(draws.ravel(), minlength=count * groups).reshape(count, groups).astype(np.float64)
    chances = np.array([math.exp(-1) / math.factorial(number) for number in range(9)])
    steps = np.rint(np.cumsum(chances) * 65536)
    times = np.searchsorted(steps, np.arange(65536), side="right").astype(np.float64)
    weights: Floats = times[rng.integers(0, 65536, (count, groups), dtype=np.uint16)]
    return weights


def estimate_means(data: PromptSums, *, confidence: float, resamples: int, seed: int = 0) -> list[Estimate]:
    """The mean of each column with its interval; `resamples` 0 asks for Student's t. Columns share their resamples."""
    means, errors, groups = means_and_errors(data)
    deviations = resampled_t(data, resamples, seed) if resamples and data.prompts >= BOOTSTRAP_PROMPTS else None
    estimates = []
    for column in range(len(means)):
        pairs = int(data.counts[:, column].sum())
        prompts = int(groups[column])
        bootstrap = None if deviations is None or prompts < BOOTSTRAP_PROMPTS else deviations[:, column]
        estimates.append(_estimate(float(means[column]), float(errors[column]), prompts, pairs, confidence, bootstrap))
    return estimates


def _estimate(mean: float, error: float, prompts: int, pairs: int, confidence: float, bootstrap: Floats | None) -> Estimate:
    import numpy as np

    if prompts < 2 or not error > 1e-12:  # one prompt, or the same difference everywhere: nothing is known of the spread
        return Estimate(mean, None, None, None, None, max(prompts - 1, 0), prompts, pairs, "none")
    degrees = prompts - 1
    if bootstrap is None:
        return t_estimate(mean, error, degrees, prompts, pairs, confidence)
    size = np.abs(bootstrap)
    critical = float(np.quantile(size, confidence))
    if critical > MOST_TAIL * t_quantile((1 + confidence) / 2, degrees):
        return t_estimate(mean, error, degrees, prompts, pairs, confidence)
    reach = critical * error
    beyond = (float((size >= abs(mean) / error).sum()) + 1) / (len(size) + 1)
    probability = beyond / 2 if mean < 0 else 1 - beyond / 2
    return Estimate(mean, mean - reach, mean + reach, probability, error, degrees, prompts, pairs, "bootstrap")


def t_estimate(mean: float, error: float, degrees: float, prompts: int, pairs: int, confidence: float) -> Estimate:
    """Student's t around a mean whose standard error has `degrees` of freedom."""
    reach = t_quantile((1 + confidence) / 2, degrees) * error
    return Estimate(mean, mean - reach, mean + reach, t_cdf(mean / error, degrees), error, degrees, prompts, pairs, "t")


def keep_within(estimate: Estimate, low: float, high: float) -> Estimate:
    """The estimate with no more of its interval than is possible."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(low, estimate.low), high=min(high, estimate.high))


def estimate_level(estimate: Estimate, low: float, high: float, confidence: float) -> Estimate:
    """A mean of scores between `low` and `high` with an interval that stays between them: Student's t on the logit of the mean."""
    share = (estimate.effect - low) / (high - low)
    if estimate.error is None or not 0.0 < share < 1.0:
        return keep_within(estimate, low, high)
    middle = math.log(share / (1 - share))
    reach = t_quantile((1 + confidence) / 2, estimate.degrees) * estimate.error / (high - low) / (share * (1 - share))
    ends = [low + (high - low) / (1 + math.exp(-min(max(middle + way, -700.0), 700.0))) for way in (-reach, reach)]
    return replace(estimate, low=ends[0], high=ends[1])


def share_interval(values: Floats, prompts: Sequence[Any], confidence: float) -> tuple[float, float] | None:
    """Wilson's interval for a share of pictures, widened by how much pictures of one prompt go together.

    Where every picture is alike the prompts are what was tried: ten prompts of five pictures count as ten.
    """
    import numpy as np

    count = len(values)
    if not count:
        return None
    share = float(np.mean(values))
    data = sum_by_prompt(values, prompts)
    effective = float(data.prompts)
    if 0.0 < share < 1.0 and data.prompts > 1:
        error = float(means_and_errors(data)[1][0])
        effective = min(float(count), share * (1 - share) / max(error**2, 1e-12) + 1)  # independent pictures give their own number
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (share + z * z / (2 * effective)) / (1 + z * z / effective)
    reach = z / (1 + z * z / effective) * math.sqrt(share * (1 - share) / effective + z * z / (4 * effective**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def estimate_unpaired(first: Floats, second: Floats, *, confidence: float) -> Estimate:
    """Welch's interval for two lists of pictures that share no prompt and seed: each picture counts as independent."""
    count1, count2 = len(first), len(second)
    effect = float(second.mean() - first.mean()) if count1 and count2 else math.nan
    if count1 < 2 or count2 < 2:
        return Estimate(effect, None, None, None, None, 0, 0, min(count1, count2), "none")
    part1, part2 = float(first.var(ddof=1)) / count1, float(second.var(ddof=1)) / count2
    if not part1 + part2 > 1e-24:
        return Estimate(effect, None, None, None, None, 0, 0, min(count1, count2), "none")
    degrees = (part1 + part2) ** 2 / (part1**2 / (count1 - 1) + part2**2 / (count2 - 1))
    return t_estimate(effect, math.sqrt(part1 + part2), degrees, 0, min(count1, count2), confidence)


def estimate_versions(first: Floats, second: Floats, counts: Floats, *, confidence: float) -> Estimate:
    """The difference between two versions of several training runs each: the spread between runs is in the interval.

    `first` and `second` are runs x prompts tables of means, `counts` the pairs behind each prompt. Runs and prompts both
    count as drawn at random; their variances add, less what both contain (Cameron, Gelbach, Miller 2011,
    doi:10.1198/jbes.2010.07136); degrees of freedom after Satterthwaite. A version of one run borrows the other's spread.
    """
    import numpy as np

    share = counts / counts.sum()
    contrast = second.mean(axis=0) - first.mean(axis=0)
    effect = float(share @ contrast)
    prompts = len(counts)
    by_prompt = 0.0
    if prompts > 1:
        by_prompt = float((share**2 * (contrast - effect) ** 2).sum()) * prompts / (prompts - 1)
    run_squares, both, free_runs = 0.0, 0.0, 0
    for table in (first, second):
        deviation = table - table.mean(axis=0)
        run_squares += float(((deviation @ share) ** 2).sum())
        free_runs += len(table) - 1
    run_variance = run_squares / max(free_runs, 1)
    for table in (first, second):
        runs = len(table)
        deviation = table - table.mean(axis=0)
        rest = deviation - (deviation @ share)[:, None]
        if prompts > 1 and runs > 1:
            both += float((share**2 * (rest**2).sum(axis=0)).sum()) / (runs - 1) / runs * prompts / (prompts - 1)
    by_run = run_variance * (1 / len(first) + 1 / len(second))
    variance = max(by_prompt + by_run - both, by_prompt, by_run)
    pairs = int(counts.sum()) * min(len(first), len(second))
    if free_runs == 0 or variance <= 1e-24 or not np.isfinite(variance):
        return Estimate(effect, None, None, None, None, 0, prompts, pairs, "none")
    degrees = variance**2 / (by_run**2 / free_runs + (by_prompt**2 / (prompts - 1) if prompts > 1 else 0.0))
    return t_estimate(effect, math.sqrt(variance), min(degrees, free_runs + prompts - 1), prompts, pairs, confidence)


def prompts_that_settle(estimate: Estimate, minimum_effect: float, confidence: float) -> int | None:
    """How many prompts, with as many seeds each as now, would end the doubt if the difference stays what it seems.

    Settled means: the interval leaves zero, or lies within the smallest effect that matters. None where it cannot be said.
    """
    if estimate.error is None or estimate.prompts < 2:
        return None
    wanted = max(abs(estimate.effect), minimum_effect - abs(estimate.effect))
    if wanted <= 0:
        return None
    deviation = estimate.error * math.sqrt(estimate.prompts)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    needed = max(estimate.prompts + 1, math.ceil((z * deviation / wanted) ** 2))
    while t_quantile((1 + confidence) / 2, needed - 1) * deviation / math.sqrt(needed) > wanted:
        needed += 1  # Student's t asks for two or three more than the normal distribution
    return needed
