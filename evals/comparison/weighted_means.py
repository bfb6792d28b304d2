"""A run's score is a weighted sum of means, each over the pictures that have that score: how much each prompt moves it.

With S and N the sum and count of a gate's scores in a prompt and m the gate's mean over the run, the prompt moves that mean by
(S - m N) / (all its counts), to first order. Weighted and added up over the gates this is the prompt's part in the run's score
(linearisation of ratios: Binder 1983, doi:10.2307/1402588). The parts add up to 0, and their spread gives the error. Where every
picture has every score they are exactly the deviations of the prompts' own means.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evals.comparison.inference import PromptSums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Some numbers of a run, one column each: `means`, and prompts x numbers tables of each prompt's part in them and of its pictures."""

    means: Floats
    parts: Floats
    counts: Floats

    def as_sums(self) -> PromptSums:
        """The numbers as means over prompts, for `estimate_means`."""
        return PromptSums(self.means * self.counts + self.parts * self.counts.sum(axis=0), self.counts)


def number_prompts(prompts: Sequence[Hashable]) -> tuple[NDArray[np.intp], int]:
    """The prompt of each picture as a number, and how many prompts there are."""
    import numpy as np

    index: dict[Hashable, int] = {}
    numbers = np.fromiter((index.setdefault(prompt, len(index)) for prompt in prompts), dtype=np.intp, count=len(prompts))
    return numbers, len(index)


def take_apart(scores: Floats, prompts: NDArray[np.intp], prompt_count: int, weights: Floats) -> Parts:
    """`scores`: pictures x gates, NaN for none; `prompts`: each picture's prompt as a number; `weights`: gates x numbers.

    A number is NaN where a gate that has a weight in it has no score at all.
    """
    import numpy as np

    there = np.isfinite(scores)
    sums = np.empty((prompt_count, scores.shape[1]))
    counts = np.empty_like(sums)
    for gate in range(scores.shape[1]):
        sums[:, gate] = np.bincount(prompts, np.where(there[:, gate], scores[:, gate], 0.0), prompt_count)
        counts[:, gate] = np.bincount(prompts, there[:, gate], prompt_count)
    totals = counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums.sum(axis=0) / totals
        parts = (sums - means * counts) / totals
    used = weights > 0
    columns = range(weights.shape[1])
    return Parts(
        np.array([(means[used[:, column]] * weights[used[:, column], column]).sum() for column in columns]),
        np.column_stack([parts[:, used[:, column]] @ weights[used[:, column], column] for column in columns]),
        np.column_stack([np.bincount(prompts, there[:, used[:, column]].any(axis=1), prompt_count) for column in columns]).astype(float),
    )


def change(first: Parts, second: Parts) -> PromptSums:
    """The second less the first, prompt by prompt, for `estimate_means`. Both count the same prompts."""
    both = Parts(second.means - first.means, second.parts - first.parts, (first.counts + second.counts) / 2)
    return both.as_sums()


def by_prompt(parts: Parts, counts: Floats) -> Floats:
    """The numbers of a run prompt by prompt (prompts x numbers), so that their mean weighted by `counts` is the run's."""
    scaled: Floats = parts.means + parts.parts * (counts.sum() / counts)[:, None]
    return scaled


def by_picture(scores: Floats, weights: Floats) -> Floats:
    """The same picture by picture: pictures x numbers, each column's mean the run's number and its spread that of its error."""
    import numpy as np

    parts = take_apart(scores, np.arange(len(scores)), len(scores), weights)
    scaled: Floats = parts.means + parts.parts * len(scores)
    return scaled
