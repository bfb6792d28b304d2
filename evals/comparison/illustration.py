"""Which pictures a comparison gets, and where they lie: beside the report, named after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evals.comparison.comparing import Comparison
from evals.comparison.pictures import find_run_pictures


def draw_comparison(comparison: Comparison, report: Path, folders: Sequence[Path | None]) -> list[tuple[str, str]]:
    """Draw what the data allow. (Title, path relative to the report) of each; figures of an earlier report are removed."""
    from evals.comparison.contact_sheet import choose_couples, draw_contact_sheet
    from evals.comparison.figures import draw_intervals, draw_scatter

    names = {kind: report.with_name(f"{report.stem}_{kind}") for kind in ("intervals.png", "pairs.png", "contact_sheet.png")}
    for path in names.values():
        path.unlink(missing_ok=True)  # a report must not show the figures of another comparison
    drawn: list[tuple[str, str]] = []
    pairs = comparison.pairs
    if pairs is None or not comparison.has_evidence:
        return drawn
    draw_intervals(comparison, names["intervals.png"])
    drawn.append(("Differences with their intervals", names["intervals.png"].name))
    if pairs.keys:
        draw_scatter(comparison, names["pairs.png"])
        drawn.append(("Every pair of pictures: above the line the new version is better", names["pairs.png"].name))
    old = find_run_pictures(comparison.first.runs[0], folders[0])
    new = find_run_pictures(comparison.second.runs[0], folders[1])
    couples = choose_couples(comparison, old, new)
    if couples:
        path = names["contact_sheet.png"]
        draw_contact_sheet(couples, path, first=comparison.first.name, second=comparison.second.name, total=len(pairs.keys))
        drawn.append(("Same prompt and seed side by side, largest change first", path.name))
    return drawn
