"""The figures of a comparison and a sweep: intervals, scatter, heat map, trend. PNG, drawn with matplotlib's Agg."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.comparison.comparing import VersionComparison
from evals.comparison.inference import Estimate
from evals.comparison.verdicts import IMPROVED, REGRESSED, UNCHANGED
from lifeos.files import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLOURS = {IMPROVED: "#1a7f37", REGRESSED: "#b42318", UNCHANGED: "#57606a"}
DOUBTFUL = "#b58105"
INK, FAINT = "#1f2328", "#d0d7de"
DOTS_PER_INCH = 130
MOST_DOTS = 5000
"""A scatter of more dots is a blot, and slow: every n-th is drawn."""
LONGEST_LABEL = 34
SHORT_TREND = timedelta(hours=6)


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot: no global state, no window system

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG: whole, or not at all."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # an empty box stands for it; the report has the name
        figure.savefig(temporary, format="png")


def without_frame(axes: Any) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=10, colors=INK)


def label(text: str) -> str:
    """A name as an axis label: shortened in the middle, `$` taken literally."""
    short = text if len(text) <= LONGEST_LABEL else f"{text[:18]}…{text[-14:]}"
    return short.replace("$", r"\$")


def draw_intervals(comparison: VersionComparison, path: Path) -> None:
    """Each metric's difference with its interval, over the band that does not matter."""
    shown = sorted(comparison.scores, key=lambda result: result.gate is not None)  # the overall score first
    results = [result for result in shown if result.estimate is not None]
    figure = new_figure(8.4, 1.5 + 0.62 * len(results))
    axes = figure.subplots()
    limit = comparison.policy["comparison"]["minimum_effect"]
    axes.axvspan(-limit, limit, color="#f0f2f4", zorder=0)
    axes.axvline(0, color=INK, linewidth=1)
    for row, result in enumerate(reversed(results)):
        estimate = result.estimate
        if estimate is None or estimate.low is None or estimate.high is None:
            axes.text(0, row, "  not known", va="center", color=DOUBTFUL)
            continue
        colour = COLOURS.get(result.verdict, DOUBTFUL)
        axes.plot([estimate.low, estimate.high], [row, row], color=colour, linewidth=5, solid_capstyle="round")
        axes.plot([estimate.effect], [row], "o", color="white", markeredgecolor=colour, markersize=9, markeredgewidth=2.5)
        axes.annotate(f"{estimate.effect:+.2f}  {result.verdict}", (estimate.effect, row), (0, 10), textcoords="offset points",
                      ha="center", fontsize=9.5, color=colour, fontweight="bold")  # fmt: skip
    titles = [f"{result.title}{' (less is better)' if result.lower_is_better else ''}" for result in reversed(results)]
    axes.set_yticks(range(len(results)), titles)
    axes.set_ylim(-0.6, len(results) - 0.25)
    axes.margins(x=0.16)
    first, second = label(comparison.first.name), label(comparison.second.name)
    axes.set_xlabel(f"← {first} is better", color=INK, fontsize=10, loc="left")
    beside = ("axes fraction", axes.xaxis.label)
    axes.annotate(f"{second} is better →", (1, 0), xycoords=beside, color=INK, fontsize=10, ha="right", va="bottom")
    confidence = comparison.policy["comparison"]["confidence"]
    axes.set_title(f"Difference in mean score, {confidence:.0%} interval (grey: too small to matter)", fontsize=11, loc="left", color=INK)
    without_frame(axes)
    save_figure(figure, path)


def draw_scatter(comparison: VersionComparison, path: Path) -> None:
    """Every pair as a dot: the first version's score across, the second's up; within the grey band a difference is too small to matter."""
    assert comparison.pairs is not None
    gates = comparison.pairs.columns.gates
    shown = [column for column, gate in enumerate(gates) if gate.key in comparison.metrics]
    figure = new_figure(4.8 * len(shown), 4.9)
    step = max(1, len(comparison.pairs.keys) // MOST_DOTS)
    limit = comparison.policy["comparison"]["minimum_effect"]
    for axes, column in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        gate = gates[column]
        old, new = comparison.pairs.first[::step, column], comparison.pairs.second[::step, column]
        both = (old == old) & (new == new)
        old, new = old[both], new[both]
        better, worse = int((new - old >= limit).sum()), int((old - new >= limit).sum())
        if gate.lower_is_better:
            better, worse = worse, better
        counts = f"{better} better, {worse} worse, {len(old) - better - worse} alike"
        least, most = gate.span[0] - 1, gate.span[1] + 1
        axes.fill_between([least, most], [least, most], least if gate.lower_is_better else most, color="#eef7f0", zorder=0)
        axes.plot([least, most], [least, most], color=INK, linewidth=1)
        axes.fill_between([least, most], [least - limit, most - limit], [least + limit, most + limit], color="#e4e7ea", zorder=0)
        axes.scatter(old, new, s=22, alpha=0.65 if len(old) < 500 else 0.25, color="#0b5fa5", edgecolors="none")
        low, high = (min(old.min(), new.min()), max(old.max(), new.max())) if len(old) else (0.0, 1.0)
        room = max(0.03, 0.06 * (high - low))
        axes.set(xlim=(low - room, high + room), ylim=(low - room, high + room), aspect="equal")
        axes.set_xlabel(label(comparison.first.name))
        axes.set_ylabel(label(comparison.second.name))
        share = "" if step == 1 else f" (each {step}th pair)"
        axes.set_title(f"{gate.title.capitalize()}: {counts}{share}", fontsize=10.5, loc="left", color=INK)
        axes.grid(color=FAINT, linewidth=0.5)
        without_frame(axes)
    save_figure(figure, path)


def draw_heat_map(
    values: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    path: Path,
    *,
    title: str,
    axes_names: tuple[str, str],
    best: tuple[int, int],
) -> None:
    """Mean score of each cell (NaN: not made), its number in it, the chosen one framed."""
    import numpy as np
    from matplotlib.patches import Rectangle

    figure = new_figure(max(5.6, 2.6 + 1.05 * len(columns)), 1.7 + 0.62 * len(rows))
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(values), cmap="cividis", aspect="auto")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        known = bool(np.isfinite(value))
        colour = "white" if known and value < middle else INK
        axes.text(column, row, f"{value:.2f}" if known else "–", ha="center", va="center", fontsize=11, color=colour)
    axes.add_patch(Rectangle((best[1] - 0.47, best[0] - 0.44), 0.94, 0.88, fill=False, edgecolor="#d1242f", linewidth=3))
    axes.set_xticks(range(len(columns)), [label(name) for name in columns], rotation=0 if len(columns) < 7 else 45)
    axes.set_yticks(range(len(rows)), [label(name) for name in rows])
    axes.set_ylabel(axes_names[0])
    axes.set_xlabel(axes_names[1])
    axes.set_title(title, fontsize=11, loc="left", color=INK)
    without_frame(axes)
    figure.colorbar(image, ax=axes, fraction=0.046).ax.tick_params(labelsize=9)
    save_figure(figure, path)


def draw_ranking(names: Sequence[str], estimates: Sequence[Estimate], path: Path, *, title: str) -> None:
    """Differences to the first of them with intervals, best on top."""
    figure = new_figure(8.6, 1.5 + 0.36 * len(names))
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1)
    _rank(axes, names, estimates, title=title, note="difference in mean score", chosen=names[0] if names else "")
    save_figure(figure, path)


def draw_leaderboard(
    names: Sequence[str],
    estimates: Sequence[Estimate],
    trend: Mapping[str, Sequence[tuple[Any, Estimate]]],
    path: Path,
    *,
    confidence: float,
) -> None:
    """One picture: the ranking, and under it how scores went over time."""
    height = 1.5 + 0.36 * len(names)
    figure = new_figure(9.4, height + (3.6 if trend else 0))
    panels = figure.subplots(2, 1, height_ratios=(height, 3.6)) if trend else [figure.subplots()]
    note = f"mean overall score, with its {confidence:.0%} interval"
    _rank(panels[0], names, estimates, title="Runs, best first", note=note, chosen=names[0] if names else "")
    if trend:
        _trend(panels[1], trend, title="Scores over time")
    save_figure(figure, path)


def _rank(axes: Any, names: Sequence[str], estimates: Sequence[Estimate], *, title: str, note: str, chosen: str) -> None:
    for row, (name, estimate) in enumerate(zip(reversed(names), reversed(estimates), strict=True)):
        colour = "#1a7f37" if name == chosen else "#0b5fa5"
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [row, row], color=colour, linewidth=3.5, alpha=0.55, solid_capstyle="round")
        axes.plot([estimate.effect], [row], "o", color=colour, markersize=7)
        place = (estimate.effect, row)
        axes.annotate(f"{estimate.effect:.2f}", place, (0, 6), textcoords="offset points", ha="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(names)), [label(name) for name in reversed(names)])
    axes.set_ylim(-0.7, len(names) - 0.2)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_title(title, fontsize=11, loc="left", color=INK)
    axes.set_xlabel(note, fontsize=9.5)
    without_frame(axes)


def _trend(axes: Any, series: Mapping[str, Sequence[tuple[Any, Estimate]]], *, title: str) -> None:
    """One line per metric, with intervals; runs without a date are left out by the caller."""
    import matplotlib.dates

    for (name, points), colour in zip(series.items(), (INK, "#0b5fa5", "#b58105"), strict=False):
        axes.plot(
            [when for when, _ in points], [e.effect for _, e in points], "-o", color=colour, markersize=4.5, linewidth=1.6, label=name
        )
        known = [(when, e.low, e.high) for when, e in points if e.low is not None and e.high is not None]
        if known:
            axes.vlines([w for w, _, _ in known], [x for _, x, _ in known], [x for _, _, x in known], color=colour, alpha=0.35, linewidth=3)
    dates: Any = matplotlib.dates
    days = [when for points in series.values() for when, _ in points]
    if max(days) - min(days) < SHORT_TREND:  # ticks of seconds tell nothing: when it began and when it ended
        ends = dict.fromkeys([min(days), max(days)])
        axes.set_xticks(list(ends), [f"{when:%Y-%m-%d %H:%M}" for when in ends])
    else:
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_ylabel("mean score")
    axes.set_title(title, fontsize=11, loc="left", color=INK)
    axes.legend(frameon=False, fontsize=9.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    without_frame(axes)
