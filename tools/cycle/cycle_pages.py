"""A cycle's record for people: `cycle_report.md` and `cycle_report.html` beside the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifeos import files
from lifeos.escaping import escape_markdown, escape_markdown_code
from lifeos.pages.beside import address_from
from lifeos.pages.page_templates import write_page
from lifeos.printing import note
from tools.cycle.cycle_record import DONE, DONE_BEFORE, FAILED, INTERRUPTED, MARKS, RUNNING, SKIPPED, CycleRecord, StepRecord, as_document

TEMPLATE = "cycle.html.j2"
KINDS = {DONE: "ok", DONE_BEFORE: "ok", FAILED: "no", INTERRUPTED: "no", RUNNING: "no", SKIPPED: ""}


def write_pages(place: Path, record: CycleRecord, titles: Mapping[str, str]) -> Path | None:
    """Write both beside the JSON file `place`, and return where the page is; None where this Python has nothing to make one with."""
    files.write_text(place.with_suffix(".md"), render_markdown(record, titles))
    page = place.with_suffix(".html")
    try:
        _write_html(page, record, titles)
    except ModuleNotFoundError as error:  # the guardrails of a cycle run on a Python alone
        page.unlink(missing_ok=True)  # that of another cycle
        note(f"{page}: no page is written, because {error.name} is not installed (python -m lifeos setup installs it)")
        return None
    return page


def _write_html(page: Path, record: CycleRecord, titles: Mapping[str, str]) -> None:
    def link(path: str) -> str:
        """The way to a file of the cycle; empty where it is not there."""
        target = page.parent / path
        return address_from(page, target) if target.exists() else ""

    rows = [_row(step, record, titles) for step in record.steps]
    kinds = [row["kind"] for row in rows]
    write_page(
        page,
        TEMPLATE,
        as_document(record),
        rows=rows,
        counts={"done": kinds.count("ok"), "failed": kinds.count("no"), "skipped": kinds.count("")},
        took=f"{sum(step.seconds for step in record.steps):.0f} s",
        failed=next((row for row, step in zip(rows, record.steps, strict=True) if step is find_failed(record)), None),
        judgement=_judgement(record, titles),
        when=_span(record),
        link=link,
    )


def _row(step: StepRecord, record: CycleRecord, titles: Mapping[str, str]) -> dict[str, Any]:
    """A step as the page shows it: `share` is that of its time in the longest step's, in percent."""
    longest = max(each.seconds for each in record.steps)
    told = {name: getattr(step, name) for name in ("reason", "command", "log", "artefacts", "left")}
    share = round(100 * step.seconds / longest) if longest else 0
    return {
        **told,
        "title": _title(step, titles),
        "kind": KINDS[step.status],
        "mark": MARKS[step.status] if step.status != SKIPPED else SKIPPED,
        "took": _seconds(step),
        "share": share,
    }


def _judgement(record: CycleRecord, titles: Mapping[str, str]) -> str:
    """What came of it, in a sentence."""
    failed = find_failed(record)
    if failed is not None:
        return f"The cycle ended early, at the step {_title(failed, titles)}; what was done before it stays done."
    return "Every step is done." if record.status == DONE else f"The cycle is {record.status}."


def render_markdown(record: CycleRecord, titles: Mapping[str, str]) -> str:
    lines = [f"# Cycle {escape_markdown(record.cycle_id)}: {escape_markdown(record.status)}", "", escape_markdown(_when(record)), ""]
    lines += ["| step | result | time | why, or what it made |", "|---|---|---:|---|"]
    for step in record.steps:
        cells = (_title(step, titles), MARKS[step.status], _seconds(step), _told(step))
        lines.append(f"| {' | '.join(map(escape_markdown, cells))} |")
    failed = find_failed(record)
    if failed is not None:
        lines += ["", f"**{escape_markdown(_title(failed, titles))}:** {escape_markdown(failed.reason)}", ""]
        if failed.command:
            lines.append(f"- To repeat only this step: `{escape_markdown_code(failed.command)}`")
            lines.append(f"- Its output: `{escape_markdown_code(failed.log)}`")
    for step in record.steps:
        if step.left:
            lines += ["", "New files that no step declares, and that were not committed:", ""]
            lines += [f"- {escape_markdown(path)}" for path in step.left]
    return "\n".join(lines) + "\n"


def find_failed(record: CycleRecord) -> StepRecord | None:
    """The step at which a cycle ended early."""
    return next((step for step in record.steps if step.status in (FAILED, INTERRUPTED)), None)


def _title(step: StepRecord, titles: Mapping[str, str]) -> str:
    return titles.get(step.name, step.name)


def _when(record: CycleRecord) -> str:
    cost = f" The agent step cost ${record.cost_usd} (session {record.cost_session})." if record.cost_usd else ""
    return f"From {_span(record)}.{cost}"


def _span(record: CycleRecord) -> str:
    return f"{record.started} to {record.ended or 'now'}"


def _seconds(step: StepRecord) -> str:
    return f"{step.seconds:.1f} s" if step.status in (DONE, FAILED, INTERRUPTED) else ""


def _told(step: StepRecord) -> str:
    return step.reason or ", ".join(step.artefacts)
