"""What a curve of checkpoints says, as a document for the sweep's page and other programs, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.comparison.document import estimate_document, finite
from evals.comparison.inference import Estimate
from lifeos.counting import counted
from lifeos.escaping import escape_markdown as escape
from tools.sweep.checkpoint_advice import TrainingAdvice, advise_each
from tools.sweep.checkpoint_choice import CheckpointChoice, choose_checkpoint
from tools.sweep.checkpoint_curve import OVERALL, WITHHELD, CurveCell, CurvePoint, TrainingCurve, measure_points
from tools.sweep.error_spending import SOURCE
from tools.sweep.trainer_samples import SampleGap

TITLES = {OVERALL: "Score", "identity": "Identity", "skin": "Skin", "variety": "Variety", "copying": "Copying"}
MORE_TRAININGS = (
    "This compares the checkpoints of one training. Another training of the same recipe differs by its own seed: to compare recipes, train "
    "each with at least two seeds and compare the runs (evals/compare_versions.py --v1 a --v1 b --v2 c --v2 d)."
)
"""What a sweep cannot tell. A published experiment saw the mean move by .08 to .11 from seed to seed."""


@dataclass(frozen=True, slots=True)
class CurveVerdict:
    """All that is said of a curve at its newest checkpoint: `advice` after each judged one, the newest last."""

    curve: TrainingCurve
    points: tuple[CurvePoint, ...]
    choice: CheckpointChoice
    advice: tuple[TrainingAdvice, ...]
    gap: SampleGap | None = None

    @property
    def sentence(self) -> str:
        """The choice, and what to do with the training."""
        return " ".join([self.choice.sentence, *(each.sentence for each in self.advice[-1:])])


def judge_curve(curve: TrainingCurve, policy: Mapping[str, Any], gap: SampleGap | None = None) -> CurveVerdict:
    """The points, the choice and the advice of a curve."""
    points = measure_points(curve, policy["comparison"]["confidence"])
    return CurveVerdict(curve, points, choose_checkpoint(curve, policy), advise_each(curve, policy), gap)


def extra_cost(usd_of_a_training: float, trainings: int = 3) -> str:
    """What comparing recipes instead of checkpoints costs: two trainings of each of two recipes, one of which is there already."""
    return f"{MORE_TRAININGS} {counted(trainings, 'more training')} would cost about ${trainings * usd_of_a_training:.2f}."


def curve_document(verdict: CurveVerdict) -> dict[str, Any]:
    """JSON: the curve, the heat map, the choice and the advice. What is not known is null."""
    curve = verdict.curve
    return {
        "schema": 1,
        "sentence": verdict.sentence,
        "claims_identity": not curve.references_trained,
        "notice": WITHHELD if curve.references_trained else None,
        "traits": [OVERALL, *curve.traits] if curve.has_overall else list(curve.traits),
        "weights": dict(zip(curve.traits, curve.weights, strict=True)),
        "points": [_point_document(point) for point in verdict.points],
        "heat_map": heat_map(curve, verdict.choice.chosen),
        "choice": _choice_document(verdict.choice),
        "advice": [_advice_document(each) for each in verdict.advice],
        "trainer_samples": None if verdict.gap is None else _gap_document(verdict.gap),
    }


def heat_map(curve: TrainingCurve, chosen: CurveCell | None, trait: str = OVERALL) -> dict[str, Any]:
    """Steps x strengths with the mean of each cell, null where nothing is claimed, and the place of the chosen cell."""
    steps, strengths = list(curve.steps), sorted({cell.strength for cell in curve.cells})
    values: list[list[float | None]] = [[None] * len(strengths) for _ in steps]
    for place, cell in enumerate(curve.cells):
        if not curve.why_unjudged(place):
            values[steps.index(cell.step)][strengths.index(cell.strength)] = curve.mean(place, trait)
    best = None if chosen is None else [steps.index(chosen.step), strengths.index(chosen.strength)]
    return {"rows": steps, "columns": strengths, "values": values, "chosen": best}


def _point_document(point: CurvePoint) -> dict[str, Any]:
    values = {
        name: {"mean": finite(value.effect), "low": finite(value.low), "high": finite(value.high)} for name, value in point.values.items()
    }
    return {**_cell(point.cell), "pictures": point.made, "wanted": point.wanted, "unjudged": point.unjudged or None, "values": values}


def _cell(cell: CurveCell) -> dict[str, Any]:
    return {"config": cell.config, "checkpoint": cell.checkpoint, "step": cell.step, "strength": cell.strength}


def _choice_document(choice: CheckpointChoice) -> dict[str, Any]:
    shares = choice.shares
    return {
        "sentence": choice.sentence,
        "detail": choice.detail or None,
        "chosen": None if choice.chosen is None else _cell(choice.chosen),
        "score": finite(choice.score),
        "sure_within_minimum_effect": None if shares is None else finite(shares.near),
        "best_of_resamples": None if shares is None else finite(shares.best),
        "step_best_of_resamples": None if shares is None else finite(shares.step_best),
        "runner_up": None if choice.runner_up is None else _cell(choice.runner_up),
        "cost_of_runner_up": estimate_document(choice.cost),
        "within_noise": [_cell(cell) for cell in choice.within_noise],
        "compared": choice.compared,
    }


def _advice_document(advice: TrainingAdvice) -> dict[str, Any]:
    return {
        "advice": advice.kind,
        "step": advice.step,
        "sentence": advice.sentence,
        "evidence": list(advice.evidence),
        "gain": estimate_document(advice.gain),
        "signs": {name: {**(estimate_document(sign) or {}), "shown": name in advice.shown} for name, sign in (advice.signs or {}).items()},
    }


def _gap_document(gap: SampleGap) -> dict[str, Any]:
    return {
        "sentence": gap.sentence,
        "difference": {name: estimate_document(each) for name, each in gap.total.items()},
        "graph": {name: estimate_document(each) for name, each in gap.graph_part.items()},
        "prompts": {name: finite(value) for name, value in gap.prompt_part.items()},
        "by_strength": [{"strength": level, **(estimate_document(each) or {})} for level, each in gap.by_strength.items()],
        "strength": gap.strength,
        "samples": gap.samples,
        "pictures": gap.pictures,
        "shared_prompts": gap.shared_prompts,
        "caveats": list(gap.caveats),
    }


def render_curve(verdict: CurveVerdict, confidence: float) -> str:
    """The parts of sweep_report.md that tell of checkpoints."""
    curve, newest = verdict.curve, verdict.advice[-1] if verdict.advice else None
    parts = [f"> **{WITHHELD}**"] if curve.references_trained else []
    parts.append(f"## Which checkpoint\n\n**{escape(verdict.choice.sentence)}**")
    parts.append(escape(verdict.choice.detail))
    if newest is not None:
        parts.append(f"## The training: {newest.kind}\n\n{escape(newest.sentence)}")
        parts.append("\n".join(f"- {escape(line)}" for line in newest.evidence))
    parts.append(_points_table(verdict.points, [*((OVERALL,) if curve.has_overall else ()), *curve.traits]))
    sure = f"{100 * confidence:.0f} %"
    parts.append(
        f"Each value with the interval of that pair alone ({sure} sure). Copying: likeness to the nearest training picture. Variety: "
        "share of pairs of pictures that differ in pose, and in clothes and place. Choice and advice are corrected for looking after "
        f"every checkpoint ({SOURCE}): {sure} sure for all looks together."
    )
    if len(verdict.advice) > 1:
        rows = [f"| {each.step} | {each.kind} | {escape(each.sentence)} |" for each in verdict.advice]
        parts.append("\n".join(["### Advice after each checkpoint", "", "| Step | Advice | Why |", "|---:|---|---|", *rows]))
    if verdict.gap is not None:
        caveats = "\n".join(f"- {escape(line)}" for line in verdict.gap.caveats)
        parts.append(f"## The graph against the trainer's samples\n\n**{escape(verdict.gap.sentence)}**\n\n{caveats}")
    if curve.references_trained:
        parts.append(f"> {WITHHELD}")
    return "\n\n".join(part for part in parts if part)


def _points_table(points: Sequence[CurvePoint], names: Sequence[str]) -> str:
    shown = [name for name in names if any(name in point.values for point in points)]
    titles = " | ".join(TITLES.get(name, name.capitalize()) for name in shown)
    lines = [f"| Step | Strength | {titles} | Pictures | |", f"|---:|---:|{'---|' * len(shown)}---:|---|"]
    for point in points:
        cells = [_with_interval(point.values.get(name)) for name in shown]
        lines.append(f"| {point.cell.step} | {point.cell.strength:.2f} | {' | '.join(cells)} | {point.made} | {escape(point.unjudged)} |")
    return "\n".join(lines)


def _with_interval(value: Estimate | None) -> str:
    if value is None:
        return "-"
    if value.low is None or value.high is None:
        return f"{value.effect:.3f}"
    return f"{value.effect:.3f} ({value.low:.3f} to {value.high:.3f})"
