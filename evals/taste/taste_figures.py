"""The figure of a calibration: for each gate what people approve and reject over its score, with the limits, and its ROC curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.comparison.figures import FAINT, INK, label, new_figure, save_figure, without_frame
from evals.taste.calibrating import LimitCalibration
from evals.taste.proposing import GateProposal

APPROVED, REJECTED = "#1a7f37", "#b42318"
BINS = 25
ROW_HEIGHT = 2.5


def draw_limits(found: LimitCalibration, path: Path) -> None:
    """Write the PNG. A gate without both kinds of verdicts has no curve, and says so."""
    gates = found.proposal.gates
    figure = new_figure(9.6, 0.6 + ROW_HEIGHT * len(gates))
    axes = figure.subplots(len(gates), 2, squeeze=False, width_ratios=(2.2, 1))
    for row, each in zip(axes, gates, strict=True):
        _draw_scores(row[0], each, found)
        _draw_curve(row[1], each, _proposed(each, found))
    save_figure(figure, path)


def _draw_scores(axes: Any, each: GateProposal, found: LimitCalibration) -> None:
    read = [(each.gate.reading(opinion.picture.assessment).score, opinion.approved) for opinion in found.proposal.opinions]
    approved = [score for score, good in read if score is not None and good]
    rejected = [score for score, good in read if score is not None and not good]
    kinds = [f"people approve ({len(approved)})", f"people reject ({len(rejected)})"]
    axes.hist([approved, rejected], bins=BINS, range=each.gate.span, stacked=True, color=[APPROVED, REJECTED], label=kinds, alpha=0.75)
    if each.limit.low is not None and each.limit.high is not None:
        axes.axvspan(each.limit.low, each.limit.high, color=FAINT, alpha=0.6, zorder=0, label="where people put it, 95 % sure")
    axes.axvline(each.now, color=INK, linestyle=":", label=f"in force {each.now:.2f}")
    proposed = _proposed(each, found)
    if proposed != each.now:
        axes.axvline(proposed, color=INK, label=f"proposed {proposed:.2f}")
    axes.set_title(label(each.gate.title) + (" (less is better)" if each.gate.lower_is_better else ""), loc="left", fontsize=11, color=INK)
    axes.set_ylabel("verdicts", fontsize=9, color=INK)
    axes.legend(fontsize=7.5, frameon=False, loc="upper left")
    without_frame(axes)


def _proposed(each: GateProposal, found: LimitCalibration) -> float:
    return found.proposal.changes.get(each.gate.limit_key, each.now)


def _draw_curve(axes: Any, each: GateProposal, proposed: float) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel("rejected ones that pass", fontsize=8, color=INK)
    axes.set_ylabel("approved ones that pass", fontsize=8, color=INK)
    if each.curve.area.value is None:
        axes.text(0.5, 0.5, "no curve: verdicts\nof one kind only", ha="center", va="center", fontsize=8, color=INK)
    else:
        axes.plot(
            [0, *(point[1] for point in each.curve.points)], [0, *(point[2] for point in each.curve.points)], color=INK, linewidth=1.5
        )
        axes.set_title(f"ROC area {each.curve.area.value:.2f}", loc="left", fontsize=9, color=INK)
        for limit, colour in ((proposed, INK), (each.now, "white")):
            _mark(axes, each, limit, colour)
    without_frame(axes)


def _mark(axes: Any, each: GateProposal, limit: float, colour: str) -> None:
    """The point of the curve at a limit: that of the lowest score that passes."""
    wanted = -limit if each.gate.lower_is_better else limit
    passing = [point for point in each.curve.points if point[0] >= wanted]
    if passing:
        _, wrong, right = passing[-1]
        axes.plot([wrong], [right], "o", markersize=7, markeredgecolor=INK, color=colour)
