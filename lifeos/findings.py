"""What a check says: one `Finding` for every check of the project, and a report of them as text, JSON or GitHub annotations.

A report passes when it holds no error; warnings and notices are told and change nothing. `ok` is a finding too where a reader wants to
see what was looked at (doctor, health check). On GitHub Actions (GITHUB_ACTIONS=true) the annotations are printed without being asked
for, and a table goes to the job's summary ($GITHUB_STEP_SUMMARY).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lifeos.errors import EXIT_GATE, EXIT_OK, InputError
from lifeos.escaping import escape_line, escape_markdown
from lifeos.printing import print_json, say
from lifeos.shells import in_this_shell

Severity = Literal["error", "warning", "notice", "ok"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "notice", "ok")
MARKS = {"error": "❌", "warning": "⚠️", "notice": "ℹ️", "ok": "✅"}
MAX_SUMMARY_ROWS = 200
"""A job's summary is cut at 1 MiB; the whole list is in the log."""
FILES_SHOWN = 5
"""Of a finding that holds for many files; JSON has them all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: which rule or part, what was found, and how to fix it.

    `rule` names the check (`disk`, `caption_missing`, `--network_module`). A finding in one file has its `path`, relative to the checkout
    and `/`-separated, and the `line`, counted from 1; "" and 0 where there is none. One that holds for several files lists them in `files`.
    """

    rule: str
    message: str
    fix: str = ""
    severity: Severity = "error"
    path: str = ""
    line: int = 0
    files: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}" if self.path and self.line else self.path

    @property
    def said(self) -> str:
        """The message with the first of its files."""
        shown = ", ".join(self.files[:FILES_SHOWN])
        more = f" and {len(self.files) - FILES_SHOWN} more" if len(self.files) > FILES_SHOWN else ""
        return f"{self.message}: {shown}{more}" if self.files else self.message

    @property
    def text(self) -> str:
        """Message, files and fix as one printable line, whatever a file's name or content put into them."""
        return escape_line(f"{self.said} ({in_this_shell(self.fix)})" if self.fix else self.said)

    @property
    def sentence(self) -> str:
        """`warning: a.md:3: what was found (how to fix it) [rule]`: the one line that every check prints."""
        place = f"{escape_line(self.place)}: " if self.path else ""
        return f"{self.severity}: {place}{self.text} [{escape_line(self.rule)}]"

    def to_json(self) -> dict[str, Any]:
        """The finding as every `--json` holds it; `files` only where there are some."""
        document = asdict(self)
        document["files"] = list(self.files)
        return document if self.files else {key: value for key, value in document.items() if key != "files"}


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
            "findings": [finding.to_json() for finding in sort_findings(self.findings)],
            **self.data,
        }


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first, then by file and line."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.path, finding.line))


def render_text(report: Report) -> str:
    """The report for a person: what was found, worst first; where the findings also tell what is well, a table in their own order."""
    if any(finding.severity == "ok" for finding in report.findings):
        return _render_checklist(report)
    lines = [f"{report.check}: {escape_line(report.summary)}", *(f"  {escape_line(line)}" for line in report.details)]
    lines += [finding.sentence for finding in sort_findings(report.findings)]
    lines.append(f"{'passed' if report.passed else 'FAILED'}: {_count(report.findings)}")
    return "\n".join(lines)


def _render_checklist(report: Report) -> str:
    wide = max(len(finding.rule) for finding in report.findings)
    lines = [f"{report.check}: {escape_line(report.summary)}"]
    for finding in report.findings:
        place = f"{escape_line(finding.place)}: " if finding.path else ""
        lines.append(f"{finding.severity:8} {escape_line(finding.rule):{wide}}  {place}{escape_line(finding.said)}")
        if finding.fix:
            lines.append(f"{'':8} {'':{wide}}  -> {escape_line(finding.fix)}")
    return "\n".join([*lines, f"{'passed' if report.passed else 'FAILED'}: {_count(report.findings)}"])


def render_annotations(findings: Sequence[Finding]) -> str:
    """Workflow commands that put each finding at its line (GitHub shows ten of each severity a step, so errors come first)."""
    lines = []
    for finding in sort_findings(findings):
        if finding.severity == "ok":
            continue
        place = f"file={_property(finding.path)}," if finding.path else ""
        line = f"line={finding.line}," if finding.path and finding.line else ""
        lines.append(f"::{finding.severity} {place}{line}title={_property(finding.rule)}::{_data(finding.text)}")
    return "\n".join(lines)


def render_summary(report: Report) -> str:
    """The report as Markdown for the job's summary."""
    lines = [f"### {'✅' if report.passed else MARKS['error']} {report.check}", "", escape_markdown(report.summary), ""]
    if report.details:  # indented, so a block of code that no line can end
        lines += [*(f"    {escape_line(line)}" for line in report.details), ""]
    if report.findings:
        lines += ["| | where | what | how to fix it |", "|---|---|---|---|"]
        found = sort_findings(report.findings)
        for item in found[:MAX_SUMMARY_ROWS]:
            cells = " | ".join(map(escape_markdown, (item.place or item.rule, item.said, item.fix)))
            lines.append(f"| {MARKS[item.severity]} | {cells} |")
        if len(found) > MAX_SUMMARY_ROWS:
            lines.append(f"| | | and {len(found) - MAX_SUMMARY_ROWS} more in the log | |")
        lines.append("")
    return "\n".join(lines) + "\n"


def wants_annotations(format: str | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether GitHub annotations were asked for, or this runs on GitHub Actions and nothing was."""
    return format == "github" or (format is None and environ.get("GITHUB_ACTIONS") == "true")


def publish(report: Report, *, format: str | None, as_json: bool, environ: Mapping[str, str] = os.environ) -> int:
    """Print the report as asked for and return the exit code: 0 passed, 1 not."""
    if as_json and format not in (None, "json"):
        raise InputError("--json", f"contradicts --format {format}", "give one of the two")
    chosen = "json" if as_json else "github" if wants_annotations(format, environ) else format or "text"
    if chosen == "json":
        print_json(report.to_json())
    else:
        text = render_text(report)
        say(_disarmed(text) if chosen == "github" else text)
    if chosen == "github":
        if report.findings:
            say(render_annotations(report.findings))
        if environ.get("GITHUB_STEP_SUMMARY"):
            with open(Path(environ["GITHUB_STEP_SUMMARY"]), "a", encoding="utf-8", newline="\n") as file:
                file.write(render_summary(report) + "\n")
    return EXIT_OK if report.passed else EXIT_GATE


def _count(findings: Sequence[Finding]) -> str:
    counts = [(sum(finding.severity == severity for finding in findings), severity) for severity in SEVERITIES if severity != "ok"]
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
