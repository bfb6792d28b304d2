"""After each checkpoint: go on, stop, or overtrained, with the evidence.

*Stop*: the last `patience` checkpoints, averaged over the strengths, are shown to gain less than `min_delta` over as many before them,
and at no strength do they look that much better. It is a test of absence: a gain that cannot be excluded is a reason to go on.
*Overtrained*: against the best checkpoint before it the newest shows at least two of three signs: copying rises, variety falls, the score
falls, each by its margin or more; a newest one that is shown to score higher is not overtrained. Each look spends its share of the error
that all looks together may have (`tools.sweep.error_spending`), once for stopping and once for overtraining. No rule can foresee a gain
that begins after it stopped: a longer patience is the only protection, and `benchmarks/checkpoint_choice.py` prints what it costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evals.comparison.inference import Estimate
from evals.comparison.verdicts import mirrored
from lifeos.counting import counted
from tools.sweep.checkpoint_choice import CheckpointChoice, choose_checkpoint
from tools.sweep.checkpoint_curve import COPYING, OVERALL, VARIETY, WITHHELD, TrainingCurve, contrast
from tools.sweep.error_spending import ErrorSpending

GO_ON, STOP, OVERTRAINED = "go on", "stop", "overtrained"
WANTED_SIGNS = 2
SIGN_WORDS = {COPYING: "copying rose by", VARIETY: "variety fell by", OVERALL: "the score fell by"}


@dataclass(frozen=True, slots=True)
class TrainingAdvice:
    """What to do after the checkpoint `step`. `sentence` says it, `evidence` on what it rests.

    `gain`: of the last checkpoints over those before, with the interval of this look. `signs`: of overtraining, each turned so that more
    is worse; `shown` names those that are beyond the noise and their margin.
    """

    kind: str
    step: int | None
    sentence: str
    evidence: tuple[str, ...] = ()
    gain: Estimate | None = None
    signs: Mapping[str, Estimate] | None = None
    shown: tuple[str, ...] = ()


def advise(curve: TrainingCurve, policy: Mapping[str, Any], choice: CheckpointChoice | None = None) -> TrainingAdvice:
    """The advice at the newest checkpoint that is judged. `choice`: that of the same curve, where it is known already."""
    steps = curve.judged
    if not steps:
        return TrainingAdvice(GO_ON, None, "Go on: no checkpoint has been judged yet.")
    choice = choice or choose_checkpoint(curve, policy)
    error = 1 - policy["comparison"]["confidence"]
    settings = policy["checkpoints"]
    anchor = _anchor(curve, choice, policy)
    signs = {} if anchor is None else _signs(curve, anchor, ErrorSpending(error, curve.planned))
    margins = {COPYING: settings["max_copying_rise"], VARIETY: settings["max_variety_fall"], OVERALL: settings["min_delta"]}
    shown = tuple(name for name, sign in signs.items() if sign.low is not None and sign.low > 0 and sign.effect >= margins[name])
    evidence = [_sign_line(name, sign, name in shown) for name, sign in signs.items()]
    found = TrainingAdvice(GO_ON, steps[-1], "", tuple(evidence), None, signs, shown)
    if len(shown) >= WANTED_SIGNS and not _scores_higher(signs):
        told = " and ".join(f"{SIGN_WORDS[name]} {signs[name].effect:.2f}" for name in shown)
        sentence = f"Overtrained: since step {anchor} {told}, beyond the noise. Stop the training.{_keep(choice)}"
        return replace(found, kind=OVERTRAINED, sentence=sentence)
    if not curve.has_overall:
        return replace(found, sentence=f"No advice to stop can be given. {WITHHELD}")
    if len(steps) <= settings["patience"]:
        wanted = settings["patience"] + 1
        return replace(found, sentence=f"Go on: advice to stop takes {wanted} judged checkpoints, and there are {len(steps)} so far.")
    return _on_gain(curve, settings, error, found, _keep(choice))


def _on_gain(curve: TrainingCurve, settings: Mapping[str, Any], error: float, so_far: TrainingAdvice, keep: str) -> TrainingAdvice:
    """Stop, or go on, by the gain of the last checkpoints. `so_far` holds the signs."""
    steps, patience, least = curve.judged, settings["patience"], settings["min_delta"]
    last, before = steps[-patience:], steps[-2 * patience : -patience]
    spending = ErrorSpending(error, None if curve.planned is None else max(curve.planned - patience, 1))
    confidence = 1 - 2 * spending.at(len(steps) - patience)
    common = _common_strengths(curve, (*before, *last))
    gain = contrast(curve, _at(curve, before, common), _at(curve, last, common), OVERALL, confidence) if common else None
    if gain is None or gain.low is None or gain.high is None:
        why = "Go on: whether the last checkpoints gain anything cannot be said: too little is known of the noise."
        return replace(so_far, sentence=why, gain=gain)
    these = f"the last {counted(len(last), 'checkpoint')} (steps {last[0]} to {last[-1]})"
    span = f"between {gain.low:+.3f} and {gain.high:+.3f}"
    over = f"over the {counted(len(before), 'checkpoint')} before"
    evidence = (f"gain of {these} {over}: {gain.effect:+.3f} ({span} at this look)", *so_far.evidence)
    rising = [strength for strength in common if _looks_better(curve, before, last, strength, least)]
    kind = STOP if gain.high < least and not rising else GO_ON
    if kind == STOP:
        sentence = f"Stop: {these} bring no gain of {least:g} or more {over} (the gain is {span}, noise and all).{keep}"
    elif gain.low > 0:
        sentence = f"Go on: {these} gained {gain.effect:.3f} {over}, beyond the noise."
    elif gain.high < least:
        at = ", ".join(f"{strength:.2f}" for strength in rising)
        sentence = f"Go on: on average over the strengths nothing is gained, but at strength {at} {these} look better by {least:g} or more."
    else:
        sentence = f"Go on: a gain of {least:g} or more by {these} cannot be excluded; the gain is {span}."
    return replace(so_far, kind=kind, sentence=sentence, evidence=evidence, gain=gain)


def advise_each(curve: TrainingCurve, policy: Mapping[str, Any]) -> tuple[TrainingAdvice, ...]:
    """The advice after each judged checkpoint, as it was given then."""
    return tuple(advise(curve.up_to(step), policy) for step in curve.judged)


def _signs(curve: TrainingCurve, anchor: int, spending: ErrorSpending) -> dict[str, Estimate]:
    """How much worse the newest checkpoint is than the one at `anchor`, by sign, over their common strengths."""
    newest = curve.judged[-1]
    common = _common_strengths(curve, (anchor, newest))
    names = [name for name in SIGN_WORDS if name != OVERALL or curve.has_overall]
    confidence = 1 - 2 * spending.at(len(curve.judged) - 1) / len(names)
    found: dict[str, Estimate] = {}
    for name in names if common else ():
        change = contrast(curve, _at(curve, [anchor], common), _at(curve, [newest], common), name, confidence)
        if change is not None:
            found[name] = change if name == COPYING else mirrored(change)
    return found


def _anchor(curve: TrainingCurve, choice: CheckpointChoice, policy: Mapping[str, Any]) -> int | None:
    """The step that the newest is held against: the best one before it; where none may be called that, the first."""
    steps = curve.judged
    if len(steps) < 2:
        return None
    if choice.chosen is not None and choice.chosen.step == steps[-1]:
        choice = choose_checkpoint(curve.up_to(steps[-2]), policy)
    return steps[0] if choice.chosen is None else choice.chosen.step


def _scores_higher(signs: Mapping[str, Estimate]) -> bool:
    """Whether the newest is shown to score higher."""
    sign = signs.get(OVERALL)
    return sign is not None and sign.high is not None and sign.high < 0


def _common_strengths(curve: TrainingCurve, steps: Sequence[int]) -> list[float]:
    return sorted(set.intersection(*({curve.cells[place].strength for place in curve.places(step)} for step in steps)))


def _at(curve: TrainingCurve, steps: Sequence[int], strengths: Sequence[float]) -> list[int]:
    return [place for step in steps for place in curve.places(step) if curve.cells[place].strength in strengths]


def _looks_better(curve: TrainingCurve, before: Sequence[int], last: Sequence[int], strength: float, least: float) -> bool:
    """Whether at one strength the last checkpoints score so much more than those before, noise or not."""
    gain = contrast(curve, _at(curve, before, [strength]), _at(curve, last, [strength]), OVERALL, 0.5)
    return gain is not None and gain.effect >= least


def _keep(choice: CheckpointChoice) -> str:
    return "" if choice.chosen is None else f" Keep {choice.chosen.checkpoint} ({choice.chosen.title})."


def _sign_line(name: str, sign: Estimate, shown: bool) -> str:
    """`copying rose by 0.120 (between +0.080 and +0.160 at this look): a sign of overtraining`."""
    rise = sign if name == COPYING else mirrored(sign)
    what = f"{SIGN_WORDS[name].rsplit(' ', 2)[0]} {'rose' if rise.effect > 0 else 'fell'} by {abs(rise.effect):.3f}"
    span = "" if rise.low is None or rise.high is None else f" (change between {rise.low:+.3f} and {rise.high:+.3f} at this look)"
    return f"{what}{span}: {'a sign of overtraining' if shown else 'no sign of overtraining'}"
