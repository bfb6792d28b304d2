"""The trainer's own sample pictures beside those of the production graph, of one checkpoint: how far they are apart, and what of that is
the graph.

The difference has two parts: the prompts differ, and the way the pictures are made differs (sampler, guidance, text encoder, LoRA
strength, LoRA keys that the server did not load). Where some graph pictures show the samples' own prompts, the difference on these
prompts is the graph's, and the rest is the prompts'. Otherwise the two cannot be separated, and that is what is said. Which of the
graph's settings it is, pictures of one setting each cannot tell; of the strength they can, where the graph's pictures were made at
several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evals.comparison.inference import Estimate, estimate_means, estimate_unpaired, keep_within
from evals.comparison.selection import FEWEST_PROMPTS
from evals.comparison.weighted_means import by_picture, change, number_prompts, take_apart
from evals.judging.gates import effective, gate_of, gates_in_force
from evals.judging.records import Assessment
from lifeos.counting import counted
from tools.sweep.checkpoint_curve import GATE_TRAITS, IDENTITY, OVERALL, SKIN, claimed_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_PICTURES = 3


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture of either side. `prompt`: its text, None where it is not known. `strength`: of the LoRA, in the graph."""

    assessment: Assessment
    prompt: str | None = None
    strength: float | None = None


@dataclass(frozen=True, slots=True)
class SampleGap:
    """How much higher the graph's pictures score than the trainer's samples, by trait and overall; negative: lower.

    `total`: all pictures of both. `graph_part`: on the prompts that both have, paired; empty where there are too few. `prompt_part`: the
    rest, by trait. `by_strength`: the overall difference at each LoRA strength. `strength` is the one that `total` is taken at.
    """

    total: Mapping[str, Estimate]
    graph_part: Mapping[str, Estimate]
    prompt_part: Mapping[str, float]
    by_strength: Mapping[float, Estimate]
    strength: float | None
    samples: int
    pictures: int
    shared_prompts: int
    sentence: str
    caveats: tuple[str, ...]


def compare_samples(
    samples: Sequence[ShownPicture],
    pictures: Sequence[ShownPicture],
    policy: Mapping[str, Any],
    *,
    strength: float | None = None,
    known_causes: Sequence[str] = (),
    references_trained: bool = False,
) -> SampleGap:
    """The gap between the two sides. `pictures`: the graph's, of the same checkpoint, at one or several strengths; `strength` is compared,
    else all. `known_causes`: what is known to differ, in words (such as `12 LoRA keys were not loaded`): named, not measured.
    """
    names, weights = _numbers(policy, references_trained)
    at = [picture for picture in pictures if strength is None or picture.strength == strength]
    section = policy["comparison"]
    theirs, ours = _table(samples, policy), _table(at, policy)
    total = _unpaired(theirs, ours, names, weights, section["confidence"])
    shared = sorted({picture.prompt for picture in samples if picture.prompt} & {picture.prompt for picture in at if picture.prompt})
    graph_part = _paired(samples, at, shared, policy, names, weights) if len(shared) >= FEWEST_PROMPTS else {}
    prompt_part = {name: total[name].effect - part.effect for name, part in graph_part.items() if name in total}
    levels = sorted({picture.strength for picture in pictures if picture.strength is not None})
    by_strength = {
        level: _unpaired(theirs, _table([p for p in pictures if p.strength == level], policy), names, weights, section["confidence"])[
            OVERALL
        ]
        for level in (levels if len(levels) > 1 else ())
        if OVERALL in total
    }
    found = SampleGap(
        total, graph_part, prompt_part, by_strength, strength, len(samples), len(at), len(shared), "", _caveats(len(shared), known_causes)
    )
    return replace(found, sentence=_sentence(found, section, references_trained))


def _numbers(policy: Mapping[str, Any], references_trained: bool) -> tuple[list[str], Floats]:
    """The names of what is compared, and the weights of the gates in each (gates x numbers)."""
    import numpy as np

    gates = _gates(policy)
    traits = [GATE_TRAITS.get(key, key) for key in gates]
    parts = claimed_weights([gate_of(key).weight(policy) for key in gates], traits, references_trained)
    columns = [np.eye(len(gates)), np.array(parts)[:, None]] if any(parts) else [np.eye(len(gates))]
    return [*traits, *([OVERALL] if any(parts) else [])], np.hstack(columns)


def _gates(policy: Mapping[str, Any]) -> list[str]:
    return [gate.key for gate in gates_in_force(policy) if gate.weight(policy) > 0 or gate.key == SKIN]


def _table(pictures: Sequence[ShownPicture], policy: Mapping[str, Any]) -> Floats:
    """Pictures x gates, NaN for no score."""
    import numpy as np

    keys = _gates(policy)
    rows = [[effective(gate_of(key), gate_of(key).reading(each.assessment), policy) for key in keys] for each in pictures]
    return np.array([[math.nan if value is None else value for value in row] for row in rows]).reshape(len(rows), len(keys))


def _unpaired(theirs: Floats, ours: Floats, names: Sequence[str], weights: Floats, confidence: float) -> dict[str, Estimate]:
    """Welch's interval, each picture counted as independent; without what one side has no score of."""
    import numpy as np

    found = {}
    if not len(theirs) or not len(ours):
        return {}
    one, two = by_picture(theirs, weights), by_picture(ours, weights)
    for column, name in enumerate(names):
        sides = [side[:, column] for side in (one, two)]
        if all(np.isfinite(side).all() for side in sides):
            found[name] = keep_within(estimate_unpaired(*sides, confidence=confidence), -1.0, 1.0)
    return found


def _paired(
    samples: Sequence[ShownPicture],
    pictures: Sequence[ShownPicture],
    shared: Sequence[str],
    policy: Mapping[str, Any],
    names: Sequence[str],
    weights: Floats,
) -> dict[str, Estimate]:
    """The difference on the prompts that both have, prompt by prompt."""
    import numpy as np

    numbers, count = number_prompts(shared)
    number_of = dict(zip(shared, numbers.tolist(), strict=True))
    sides = []
    for side in (samples, pictures):
        kept = [picture for picture in side if picture.prompt in number_of]
        places = np.array([number_of[picture.prompt or ""] for picture in kept], dtype=np.intp)
        sides.append(take_apart(_table(kept, policy), places, count, weights))
    estimates = estimate_means(change(*sides), confidence=policy["comparison"]["confidence"], resamples=0)
    return {name: keep_within(each, -1.0, 1.0) for name, each in zip(names, estimates, strict=True) if math.isfinite(each.effect)}


def _caveats(shared: int, known_causes: Sequence[str]) -> tuple[str, ...]:
    lines = []
    if shared < FEWEST_PROMPTS:
        lines.append(
            f"The two sides share {counted(shared, 'prompt')}, {FEWEST_PROMPTS} are wanted, so what the prompts do cannot be separated "
            "from what the graph does. Put the trainer's sample prompts into the sweep (--prompts-file) to separate them."
        )
    lines.append(
        "Sampler, guidance, text encoder and the way the LoRA is loaded differ all at once: which of them it is, these pictures cannot "
        "tell. Change one at a time in the graph to find out."
    )
    if known_causes:
        lines.append(f"Known to differ: {'; '.join(known_causes)}.")
    return tuple(lines)


def _sentence(gap: SampleGap, section: Mapping[str, Any], references_trained: bool) -> str:
    measure = OVERALL if OVERALL in gap.total else IDENTITY if not references_trained else SKIN
    total = gap.total.get(measure)
    if min(gap.samples, gap.pictures) < FEWEST_PICTURES or total is None:
        few = f"{counted(gap.samples, 'sample')} and {counted(gap.pictures, 'picture')}"
        return f"How much of a difference the graph makes cannot be said: {few} with scores are too few."
    sure = f"{100 * section['confidence']:.0f} % sure"
    if total.low is None or total.high is None:
        return f"The graph's pictures score {total.effect:+.3f} against the trainer's samples; how much of that is chance is not known."
    text = _difference(total, section["minimum_effect"], sure)
    part = gap.graph_part.get(measure)
    if part is None and total.low <= 0.0 <= total.high:
        return text
    if part is None:
        return f"{text} How much of it is the graph cannot be separated from the other prompts.{_strengths(gap)}"
    if part.low is None or part.high is None:
        return f"{text} On the {gap.shared_prompts} prompts that both have the difference is {part.effect:+.3f}.{_strengths(gap)}"
    span = f"between {part.low:+.3f} and {part.high:+.3f}, {sure}, on {gap.shared_prompts} prompts that both have"
    rest = f"the other prompts account for {gap.prompt_part[measure]:+.3f}"
    return f"{text} The graph accounts for {part.effect:+.3f} ({span}), and {rest}.{_strengths(gap)}"


def _difference(total: Estimate, minimum_effect: float, sure: str) -> str:
    assert total.low is not None and total.high is not None
    span = f"between {total.low:+.3f} and {total.high:+.3f}, {sure}"
    if -minimum_effect <= total.low and total.high <= minimum_effect:
        return f"The graph's pictures and the trainer's samples score alike ({total.effect:+.3f}, {span})."
    if total.low <= 0.0 <= total.high:
        return f"The graph's pictures are not shown to differ from the trainer's samples ({total.effect:+.3f}, {span})."
    way = "lower" if total.effect < 0 else "higher"
    return f"The graph's pictures score {abs(total.effect):.3f} {way} than the trainer's samples ({span})."


def _strengths(gap: SampleGap) -> str:
    """What another strength makes of a gap in which the graph is lower, where several were tried."""
    lower = {level: each.effect for level, each in gap.by_strength.items() if math.isfinite(each.effect)}
    if len(lower) < 2:
        return ""
    start = gap.strength if gap.strength in lower else min(lower)
    best = max(lower, key=lambda level: lower[level])
    if lower[start] >= 0 or best == start or lower[best] <= lower[start]:
        return ""
    share = min(1.0, (lower[best] - lower[start]) / -lower[start])
    return f" Strength {best:.2f} instead of {start:.2f} makes up {100 * share:.0f} % of it."
