"""Paired pictures to estimates: how much each score changed from one version to the other, with its uncertainty."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evals.comparison.inference import Estimate, estimate_means, estimate_unpaired, estimate_versions, keep_within
from evals.comparison.pairing import TRUTHS, Pairs
from evals.comparison.runs import Run
from evals.comparison.weighted_means import by_picture, by_prompt, change, number_prompts, take_apart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

OVERALL = "overall"
RESAMPLING_SEED = 20260211
"""Fixed, so that the same rows give the same report."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The paired differences of a part of the pictures (one shot type, one configuration), by gate key."""

    name: str
    pairs: int
    estimates: Mapping[str, Estimate]


def estimate_changes(
    pairs: Pairs, first: Sequence[Run], second: Sequence[Run], policy: Mapping[str, Any]
) -> tuple[dict[str, Estimate], str]:
    """By gate key, `overall`, `approved` and `has_face`: what changed. Or nothing, and the reason why nothing can be said."""
    section = policy["comparison"]
    if pairs.matched_by == "nothing":
        if any(image.prompt_id for run in (*first, *second) for image in run.images):
            return {}, "the versions have no prompt in common, so a difference may come from the prompts alone"
        return _without_pairs(pairs, section["confidence"]), ""
    if len(first) > 1 or len(second) > 1:
        estimates = _between_versions(pairs, section["confidence"])
    else:
        estimates = _between_files(pairs.columns.weights(), pairs, section["confidence"], section["resamples"])
    there = _count_pairs(pairs)
    named = zip(number_names(pairs), estimates, strict=True)
    return {name: _bounded(replace(estimate, pairs=there[name]), name, pairs) for name, estimate in named}, ""


def number_names(pairs: Pairs) -> tuple[str, ...]:
    """What the columns of `Columns.weights` are."""
    return (*pairs.columns.names, OVERALL)


def _bounded(estimate: Estimate, name: str, pairs: Pairs) -> Estimate:
    """A difference of two scores lies within the span of that score."""
    span = next((gate.span for gate in pairs.columns.gates if gate.key == name), (0.0, 1.0))
    return keep_within(estimate, span[0] - span[1], span[1] - span[0])


def _count_pairs(pairs: Pairs) -> dict[str, int]:
    """Of each number: the pairs in which both pictures have it; of the overall score, in which both have a score with a weight."""
    import numpy as np

    one, two = np.isfinite(pairs.first), np.isfinite(pairs.second)
    weighted = pairs.columns.weights()[:, -1] > 0
    counts = [int(count) for count in (one & two).sum(axis=0)]
    both = one[:, weighted].any(axis=1) & two[:, weighted].any(axis=1)
    return dict(zip(number_names(pairs), [*counts, int(both.sum())], strict=True))


def _between_files(weights: Floats, pairs: Pairs, confidence: float, resamples: int) -> list[Estimate]:
    import numpy as np

    prompts, count = number_prompts(pairs.prompts)
    sums = change(take_apart(pairs.first, prompts, count, weights), take_apart(pairs.second, prompts, count, weights))
    estimates = estimate_means(sums, confidence=confidence, resamples=resamples, seed=RESAMPLING_SEED)
    # a share moves in a few prompts only, and resamples without any of them have no spread to divide by: Student's t
    plain = estimate_means(sums, confidence=confidence, resamples=0) if resamples else estimates
    is_share = np.isin(number_names(pairs), TRUTHS)
    return [plain[column] if is_share[column] else estimates[column] for column in range(len(estimates))]


def _between_versions(pairs: Pairs, confidence: float) -> list[Estimate]:
    """Runs as well as prompts vary: each run's numbers, prompt by prompt."""
    import numpy as np

    prompts, count = number_prompts(pairs.prompts)
    counts = np.bincount(prompts, minlength=count).astype(np.float64)
    weights = pairs.columns.weights()
    runs = np.array([by_prompt(take_apart(run, prompts, count, weights), counts) for run in (*pairs.runs_first, *pairs.runs_second)])
    split = len(pairs.runs_first)
    return [
        estimate_versions(runs[:split, :, column], runs[split:, :, column], counts, confidence=confidence)
        for column in range(runs.shape[2])
    ]


def _without_pairs(pairs: Pairs, confidence: float) -> dict[str, Estimate]:
    weights = pairs.columns.weights()
    one, two = by_picture(pairs.first, weights), by_picture(pairs.second, weights)
    columns = zip(number_names(pairs), one.T, two.T, strict=True)
    return {name: _bounded(estimate_unpaired(*sides, confidence=confidence), name, pairs) for name, *sides in columns}


def slice_pairs(pairs: Pairs | None, attribute: str, policy: Mapping[str, Any]) -> tuple[Slice, ...]:
    """Paired differences of each shot type or configuration, where the pictures of both versions carry it."""
    import numpy as np

    if pairs is None or not pairs.keys:
        return ()
    groups: dict[str, list[int]] = {}
    for index, (one, two) in enumerate(zip(pairs.images_first, pairs.images_second, strict=True)):
        name = getattr(one, attribute)
        if name and (attribute == "shot" or name == getattr(two, attribute)):
            groups.setdefault(name, []).append(index)
    if len(groups) < 2:
        return ()
    gates = len(pairs.columns.gates)
    weights = np.eye(gates)
    slices = []
    for name, indices in sorted(groups.items()):
        rows = np.array(indices)
        labels: list[Hashable] = [pairs.prompts[index] for index in indices]
        prompts, count = number_prompts(labels)
        sums = change(*(take_apart(side[rows][:, :gates], prompts, count, weights) for side in (pairs.first, pairs.second)))
        estimates = estimate_means(sums, confidence=policy["comparison"]["confidence"], resamples=0)
        named = zip((gate.key for gate in pairs.columns.gates), estimates, strict=True)
        slices.append(Slice(name, len(indices), {key: _bounded(estimate, key, pairs) for key, estimate in named}))
    return tuple(slices)
