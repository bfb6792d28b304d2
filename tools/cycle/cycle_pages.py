"""A cycle's record for people: `cycle_report.md` and `cycle_report.html` beside the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lifeos import files
from lifeos.escaping import escape_html, escape_markdown, escape_markdown_code
from tools.cycle.cycle_record import DONE, FAILED, INTERRUPTED, MARKS, CycleRecord, StepRecord

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d0d7de;vertical-align:top}.failed{color:#a40e26;font-weight:600}"
    "code{font-size:.9em;overflow-wrap:anywhere}"
)


def write_pages(place: Path, record: CycleRecord, titles: Mapping[str, str]) -> None:
    """Write both beside the JSON file `place`."""
    files.write_text(place.with_suffix(".md"), render_markdown(record, titles))
    files.write_text(place.with_suffix(".html"), render_html(record, titles))


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


def render_html(record: CycleRecord, titles: Mapping[str, str]) -> str:
    title = escape_html(f"Cycle {record.cycle_id}: {record.status}")
    rows = "".join(_html_row(step, titles) for step in record.steps)
    parts = [f"<h1>{title}</h1><p>{escape_html(_when(record))}</p>"]
    parts.append(f"<table><tr><th>step<th>result<th>time<th>why, or what it made</tr>{rows}</table>")
    failed = find_failed(record)
    if failed is not None:
        parts.append(f"<p class=failed>{escape_html(_title(failed, titles))}: {escape_html(failed.reason)}</p>")
        if failed.command:
            parts.append(f"<p>To repeat only this step: <code>{escape_html(failed.command)}</code></p>")
            parts.append(f"<p>Its output: <code>{escape_html(failed.log)}</code></p>")
    for step in record.steps:
        if step.left:
            listed = "".join(f"<li>{escape_html(path)}" for path in step.left)
            parts.append(f"<p>New files that no step declares, and that were not committed:</p><ul>{listed}</ul>")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{"".join(parts)}</main></body></html>\n'


def find_failed(record: CycleRecord) -> StepRecord | None:
    """The step at which a cycle ended early."""
    return next((step for step in record.steps if step.status in (FAILED, INTERRUPTED)), None)


def _html_row(step: StepRecord, titles: Mapping[str, str]) -> str:
    cells = (_title(step, titles), MARKS[step.status], _seconds(step), _told(step))
    mark = " class=failed" if step.status == FAILED else ""
    return f"<tr{mark}>{''.join(f'<td>{escape_html(cell)}' for cell in cells)}</tr>"


def _title(step: StepRecord, titles: Mapping[str, str]) -> str:
    return titles.get(step.name, step.name)


def _when(record: CycleRecord) -> str:
    cost = f" The agent step cost ${record.cost_usd} (session {record.cost_session})." if record.cost_usd else ""
    return f"From {record.started} to {record.ended or 'now'}.{cost}"


def _seconds(step: StepRecord) -> str:
    return f"{step.seconds:.1f} s" if step.status in (DONE, FAILED, INTERRUPTED) else ""


def _told(step: StepRecord) -> str:
    return step.reason or ", ".join(step.artefacts)
