"""What a check says: findings at `file:line`, and a report of them as text, JSON or GitHub annotations.

A report passes when it holds no error; warnings and notices are told and change nothing. On GitHub Actions (GITHUB_ACTIONS=true)
the annotations are printed without being asked for, and a table goes to the job's summary ($GITHUB_STEP_SUMMARY).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError

Severity = Literal["error", "warning", "notice"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "notice")
MARKS = {"error": "❌", "warning": "⚠️", "notice": "ℹ️"}
MAX_SUMMARY_ROWS = 200
"""A job's summary is cut at 1 MiB; the whole list is in the log."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: which rule, where, what, and how to mend it.

    `path` is relative to the checkout, "" for no file; `line` counts from 1, 0 for none.
    """

    rule: str
    path: str
    line: int
    message: str
    fix: str = ""
    severity: Severity = "error"

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}" if self.path and self.line else self.path

    @property
    def text(self) -> str:
        """The message and the fix as one printable line, whatever a file's name or content put into them."""
        return printable(f"{self.message} ({self.fix})" if self.fix else self.message)


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one check: a line for people, details under it, the findings, and what `--json` prints besides."""

    check: str
    summary: str
    findings: tuple[Finding, ...]
    details: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "passed": self.passed,
            "summary": self.summary,
            "findings": [asdict(finding) for finding in sort_findings(self.findings)],
            **self.data,
        }


def printable(text: str) -> str:
    """`text` on one line, with control characters escaped: data must not move the cursor or start a workflow command."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first, then by file and line."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.path, finding.line))


def render_text(report: Report) -> str:
    lines = [f"{report.check}: {printable(report.summary)}", *(f"  {printable(line)}" for line in report.details)]
    for finding in sort_findings(report.findings):
        place = f"{printable(finding.place)}: " if finding.path else ""
        lines.append(f"{finding.severity}: {place}{finding.text} [{finding.rule}]")
    lines.append(f"{'passed' if report.passed else 'FAILED'}: {_count(report.findings)}")
    return "\n".join(lines)


def render_annotations(findings: Sequence[Finding]) -> str:
    """Workflow commands that put each finding at its line (GitHub shows ten of each severity a step, so errors come first)."""
    lines = []
    for finding in sort_findings(findings):
        place = f"file={_property(finding.path)}," if finding.path else ""
        line = f"line={finding.line}," if finding.path and finding.line else ""
        lines.append(f"::{finding.severity} {place}{line}title={_property(finding.rule)}::{_data(finding.text)}")
    return "\n".join(lines)


def render_summary(report: Report) -> str:
    """The report as Markdown for the job's summary."""
    lines = [f"### {'✅' if report.passed else MARKS['error']} {report.check}", "", _cell(report.summary), ""]
    if report.details:  # indented, so a block of code that no line can end
        lines += [*(f"    {printable(line)}" for line in report.details), ""]
    if report.findings:
        lines += ["| | where | what | how to mend it |", "|---|---|---|---|"]
        found = sort_findings(report.findings)
        for item in found[:MAX_SUMMARY_ROWS]:
            lines.append(f"| {MARKS[item.severity]} | {_cell(item.place)} | {_cell(item.message)} | {_cell(item.fix)} |")
        if len(found) > MAX_SUMMARY_ROWS:
            lines.append(f"| | | and {len(found) - MAX_SUMMARY_ROWS} more in the log | |")
        lines.append("")
    return "\n".join(lines) + "\n"


def add_format(parser: cli.Parser) -> None:
    """`--format` and `--json` of every check."""
    parser.add_argument(
        "--format",
        choices=("text", "json", "github"),
        help="text for people, one JSON document, or text with GitHub annotations and a job summary "
        "(default: github when GITHUB_ACTIONS=true, else text)",
    )
    parser.add_json()


def publish(report: Report, *, format: str | None, as_json: bool, environ: Mapping[str, str] = os.environ) -> int:
    """Print the report as asked for and return the exit code: 0 passed, 1 not."""
    if as_json and format not in (None, "json"):
        raise InputError("--json", f"contradicts --format {format}", "give one of the two")
    chosen = "json" if as_json else format or ("github" if environ.get("GITHUB_ACTIONS") == "true" else "text")
    if chosen == "json":
        cli.print_json(report.to_json())
    else:
        text = render_text(report)
        print(_disarmed(text) if chosen == "github" else text)
    if chosen == "github":
        if report.findings:
            print(render_annotations(report.findings))
        if environ.get("GITHUB_STEP_SUMMARY"):
            with open(Path(environ["GITHUB_STEP_SUMMARY"]), "a", encoding="utf-8", newline="\n") as file:
                file.write(render_summary(report) + "\n")
    return EXIT_OK if report.passed else EXIT_GATE


def _count(findings: Sequence[Finding]) -> str:
    counts = [(sum(finding.severity == severity for finding in findings), severity) for severity in SEVERITIES]
    told = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count]
    return ", ".join(told) or "nothing found"


def _disarmed(text: str) -> str:
    """No line of data begins with `::` or `##[`, which a runner would take for a command of ours."""
    marks = ("::", "##[")
    return "\n".join(f"| {line}" if line.lstrip().startswith(marks) else line for line in text.split("\n"))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    escaped = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace("\\", "\\\\")
    for char in "|`*_[]":
        escaped = escaped.replace(char, f"\\{char}")
    return escaped
