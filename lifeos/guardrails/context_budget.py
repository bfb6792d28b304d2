"""How large the context layer is: what an assistant loads at the start of every session, against the policy's line budgets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lifeos.counting import counted
from lifeos.findings import Finding, Report
from lifeos.guardrails.checkout import MISSING, Checkout, Document

CHECK = "context budget"
RULE = "context-budget"
BUDGETS = {
    "CLAUDE.md": "claude_md_max_lines",
    "context/goals.md": "goals_max_lines",
    "context/patterns.md": "patterns_max_lines",
    "context/session-learnings.md": "session_learnings_max_lines",
}
"""The files with a budget of their own, and its key in the policy's `context_budget`."""
BYTES_PER_TOKEN = 4
"""What tokenizers of large language models need for English text, within a fifth; it is an estimate and called so."""
MAX_IMPORT_DEPTH = 5
"""How far Claude Code follows `@path` imports of memory files (its documentation, "CLAUDE.md imports")."""
IMPORT = re.compile(r"(?<![\w`@/.])@([\w~][\w./~-]*\.\w+)")
HEADING = re.compile(r"#{1,6}\s+(.+?)\s*#*\s*$")
FENCE = re.compile(r" {0,3}(```+|~~~+)")


@dataclass(frozen=True, slots=True)
class ContextPart:
    """A stretch of a file under one heading, from `line` on."""

    path: str
    line: int
    heading: str
    lines: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One file of the context layer. `max_lines` is None where only the total counts it."""

    path: str
    lines: int
    tokens: int
    longest_line: int
    max_lines: int | None
    parts: tuple[ContextPart, ...]


def estimate_tokens(text: str) -> int:
    return math.ceil(len(text.encode("utf-8")) / BYTES_PER_TOKEN)


def measure(document: Document, max_lines: int | None) -> Measured:
    """Lines, tokens and parts of one file. A last line without an end counts."""
    parts = tuple(_find_parts(document))
    longest = max(range(len(document.lines)), key=lambda index: len(document.lines[index]), default=-1) + 1
    return Measured(document.path, len(document.lines), estimate_tokens(document.text), longest, max_lines, parts)


def _find_parts(document: Document) -> Iterator[ContextPart]:
    starts: list[tuple[int, str]] = [(0, "(top)")]
    fenced = False
    for index, line in enumerate(document.lines):
        fenced ^= bool(FENCE.match(line))
        heading = None if fenced else HEADING.match(line)
        if heading:
            starts.append((index, heading.group(1)))
    for (start, heading_text), end in zip(starts, [start for start, _ in starts[1:]] + [len(document.lines)], strict=True):
        if end > start:
            body = "\n".join(document.lines[start:end])
            yield ContextPart(document.path, start + 1, heading_text, end - start, estimate_tokens(body))


def find_loaded(checkout: Checkout, also_counted: list[str]) -> list[str]:
    """Every file of the layer: those with a budget, those the policy counts besides, and what CLAUDE.md imports with `@path`."""
    loaded = list(dict.fromkeys([*BUDGETS, *also_counted]))
    fresh = ["CLAUDE.md"]
    for _ in range(MAX_IMPORT_DEPTH):
        fresh = [path for source in fresh for path in _imports(checkout, source) if path not in loaded]
        loaded += dict.fromkeys(fresh)
    return loaded


def _imports(checkout: Checkout, source: str) -> list[str]:
    folder = source.rpartition("/")[0]
    text = re.sub(r"(?ms)^ {0,3}(```+|~~~+).*?^ {0,3}\1|`[^`\n]*`", "", checkout.document(source).text)
    named = [f"{folder}/{name}".lstrip("/") for name in IMPORT.findall(text)]
    return [name for name in named if name in checkout.files]


def check_context_budget(checkout: Checkout, budget: Mapping[str, Any]) -> Report:
    """Judge the context layer by the policy's section `context_budget`."""
    paths = find_loaded(checkout, budget["also_counted"])
    documents = [checkout.document(path) for path in paths]
    measured = [measure(document, budget.get(BUDGETS.get(document.path, ""))) for document in documents]
    findings = [finding for document in documents for finding in _check_readable(document, document.path in BUDGETS)]
    for document, file in zip(documents, measured, strict=True):
        findings += _check_file(document, file, budget["long_line_characters"])
    total = sum(file.lines for file in measured)
    most = budget["total_max_lines"]
    first = rank_cuts(measured)
    if total > most:
        top = first[0]
        findings.append(
            Finding(
                RULE,
                f"the context layer has {counted(total, 'line')}, {most} allowed",
                _cut_fix(top, total - most),
                path=top.path,
                line=top.line,
            )
        )
    tokens = sum(file.tokens for file in measured)
    return Report(
        CHECK,
        f"{counted(len(measured), 'file')}, {total} of {counted(most, 'line')}, about {counted(tokens, 'token')}",
        tuple(findings),
        tuple(_table(measured, tokens, first[:3])),
        {"total_lines": total, "total_max_lines": most, "estimated_tokens": tokens, **_data(measured, tokens, first)},
    )


def _check_readable(document: Document, budgeted: bool) -> Iterator[Finding]:
    if document.problem == MISSING and not budgeted:
        yield Finding(RULE, "missing: counted as no lines", severity="warning", path=document.path)
    elif document.problem:
        yield Finding(
            RULE, f"{document.problem}: its size cannot be judged", "write it as UTF-8 text", path=document.path, line=document.line
        )
    elif not document.text.strip():
        yield Finding(RULE, "empty", "write it, or the assistant starts without it", path=document.path)


def _check_file(document: Document, file: Measured, long_line: int) -> Iterator[Finding]:
    if file.max_lines is not None and file.lines > file.max_lines:
        over = file.lines - file.max_lines
        cut = rank_cuts([file])[0]
        yield Finding(
            RULE, f"{counted(file.lines, 'line')}, {file.max_lines} allowed", _cut_fix(cut, over), path=file.path, line=file.max_lines + 1
        )
    for number, line in enumerate(document.lines, 1):
        if len(line) > long_line:
            message = f"a line of {len(line)} characters, about {estimate_tokens(line)} tokens"
            yield Finding("long-line", message, f"say it in under {long_line}", "warning", path=file.path, line=number)


def rank_cuts(measured: list[Measured]) -> list[ContextPart]:
    """Where to cut first: the parts of most tokens, those of files over their own budget before all others."""
    over = {file.path for file in measured if file.max_lines is not None and file.lines > file.max_lines}
    parts = [part for file in measured for part in file.parts]
    return sorted(parts, key=lambda part: (part.path not in over, -part.tokens, part.path, part.line))


def _cut_fix(part: ContextPart, count: int) -> str:
    lines = counted(count, "line")
    return f'cut {lines}, first in "{part.heading}" at {part.path}:{part.line}, {counted(part.lines, "line")}'


def _table(measured: list[Measured], tokens: int, first: list[ContextPart]) -> Iterator[str]:
    width = max(len(file.path) for file in measured)
    for file in measured:
        limit = f"of {file.max_lines:>3}" if file.max_lines is not None else "      "
        share = file.tokens / tokens if tokens else 0.0
        yield f"{file.path:{width}}  {file.lines:>4} lines {limit}  {file.tokens:>6,} tokens  {share:>4.0%}"
    if first:
        yield "largest parts: " + "; ".join(f'{part.path}:{part.line} "{part.heading}" ({counted(part.tokens, "token")})' for part in first)


def _data(measured: list[Measured], tokens: int, first: list[ContextPart]) -> dict[str, Any]:
    return {
        "files": [
            {
                "path": file.path,
                "lines": file.lines,
                "max_lines": file.max_lines,
                "estimated_tokens": file.tokens,
                "share": round(file.tokens / tokens, 4) if tokens else 0.0,
                "longest_line": file.longest_line,
            }
            for file in measured
        ],
        "cut_first": [
            {"path": part.path, "line": part.line, "heading": part.heading, "lines": part.lines, "estimated_tokens": part.tokens}
            for part in first[:5]
        ],
    }
