"""Which pictures a comparison gets, and where they lie: beside the report, named after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.comparison.comparing import VersionComparison
from evals.comparison.run_pictures import find_run_pictures, read_prompts, why_missing


@dataclass(frozen=True, slots=True)
class Illustration:
    """`figures`: title and path relative to the report of each. `missing`: sentences on pictures that could not be shown."""

    figures: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()


def draw_comparison(comparison: VersionComparison, report: Path, folders: Sequence[Path | None]) -> Illustration:
    """Draw what the data allow; figures of an earlier report are removed."""
    from evals.comparison.figures import draw_intervals, draw_scatter
    from evals.comparison.side_by_side import choose_couples, draw_contact_sheet

    names = {kind: report.with_name(f"{report.stem}_{kind}") for kind in ("intervals.png", "pairs.png", "contact_sheet.png")}
    for path in names.values():
        path.unlink(missing_ok=True)  # a report must not show the figures of another comparison
    pairs = comparison.pairs
    if pairs is None or not comparison.has_evidence:
        return Illustration()
    draw_intervals(comparison, names["intervals.png"])
    drawn = [("Differences with their intervals", names["intervals.png"].name)]
    if pairs.keys:
        draw_scatter(comparison, names["pairs.png"])
        drawn.append((f"Every pair of pictures: in the green part {comparison.second.name} is better", names["pairs.png"].name))
    old = find_run_pictures(comparison.first.runs[0], folders[0])
    new = find_run_pictures(comparison.second.runs[0], folders[1])
    ours, theirs = read_prompts(comparison.first.runs[0], folders[0]), read_prompts(comparison.second.runs[0], folders[1])
    prompts = {key: words for key, words in (theirs | ours).items() if theirs.get(key, words) == words}
    couples = choose_couples(comparison, old, new, prompts=prompts)
    if couples:
        path = names["contact_sheet.png"]
        notice = "DEMO PICTURES" if comparison.is_demo else ""
        draw_contact_sheet(couples, path, first=comparison.first.name, second=comparison.second.name, total=len(pairs.keys), notice=notice)
        drawn.append(("Same prompt and seed side by side, largest change first", path.name))
    if not pairs.keys:
        return Illustration(tuple(drawn))
    sides = (comparison.first.runs[0], old, "--pictures-v1"), (comparison.second.runs[0], new, "--pictures-v2")
    missing = [why_missing(*side) for side in sides]
    if old and new and not any(couple.old and couple.new for couple in couples):
        missing.append("No pair is shown in full: files have been replaced since they were scored.")
    return Illustration(tuple(drawn), tuple(filter(None, missing)))
