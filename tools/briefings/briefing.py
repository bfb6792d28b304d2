"""The briefing file: `briefings/YYYY-MM-DD.md`, written by the cycle's agent step or by hand.

    # Briefing 2026-11-23

    ## Findings
    - [critical] Strength over 0.9 drops the mean face score under 0.50 -> Cap production.lora_strength at 0.85
    - [important] Close-ups pass twice as often as full-body pictures
    - [note] The new sampler costs 10 % more time

A finding is one list item: its severity in brackets, what was found, and perhaps `->` and what to do about it. Indented lines go
on with the item above. `- none` says that there are none. Other sections are for people and are not read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from lifeos.errors import InputError, did_you_mean
from lifeos.files import read_text

FOLDER = Path("briefings")
SEVERITIES = ("critical", "important", "note")
FILE_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})[\w.-]*\.md")
SECTION = re.compile(r"#{1,2}\s+(.+?)\s*#*\s*$")
ITEM = re.compile(r"[-*+]\s+(.*)")
MARKED = re.compile(r"\[([^\]]*)\]\s*(.*)", re.DOTALL)
IMPORT = re.compile(r"(?<![\w`@/.])(@[\w~][\w./~-]*)")
ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class BriefingFinding:
    """One finding. `action` is what to do about it, or ""; `line` is that of the briefing."""

    severity: str
    text: str
    action: str
    line: int

    @property
    def id(self) -> str:
        """The same for the same words, whatever their case and spacing, the day and the severity."""
        words = " ".join(f"{self.text} -> {self.action}".casefold().split())
        return hashlib.sha256(words.encode("utf-8")).hexdigest()[:ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Briefing:
    path: Path
    day: str
    findings: tuple[BriefingFinding, ...]


def find_latest(project_root: Path) -> Path | None:
    """The briefing of the latest day, by its name; of one day the last by name. None where there is none."""
    folder = project_root / FOLDER
    names = [path for path in folder.iterdir() if _day_of(path)] if folder.is_dir() else []
    return max(names, key=lambda path: (_day_of(path), path.name), default=None)


def _day_of(path: Path) -> str:
    match = FILE_NAME.fullmatch(path.name)
    try:
        return date.fromisoformat(match.group(1)).isoformat() if match else ""
    except ValueError:
        return ""


def read_briefing(path: Path, *, today: date) -> Briefing:
    """Parse one briefing; its day is that of its name, else today. Raises InputError with file:line."""
    lines = read_text(path).splitlines()
    items = list(_find_items(path, lines))
    findings = tuple(_parse(path, line, text) for line, text in items if text.strip().rstrip(".").lower() not in ("none", "nothing"))
    return Briefing(path, _day_of(path) or today.isoformat(), findings)


def _find_items(path: Path, lines: list[str]) -> Iterator[tuple[int, str]]:
    inside = seen = fenced = False
    number, text = 0, ""
    for index, line in enumerate([*lines, "# end"], 1):
        fenced ^= line.lstrip().startswith("```")
        section = None if fenced else SECTION.match(line)
        item = ITEM.match(line) if inside and not fenced else None
        if text and (section or item or not line.strip()):
            yield number, text
            text = ""
        if section:
            inside = section.group(1).lower() == "findings"
            seen = seen or inside
        elif item:
            number, text = index, item.group(1)
        elif text and line.startswith((" ", "\t")):
            text += f" {line.strip()}"
        elif inside and line.strip() and not fenced:
            raise InputError(
                f"{path}:{index}", f"not a finding: {line.strip()[:60]}", 'a finding is a list item: "- [critical] what -> what to do"'
            )
    if not seen:
        raise InputError(path, 'no section "## Findings"', 'write one, with "- none" if there are none')


def _parse(path: Path, line: int, text: str) -> BriefingFinding:
    match = MARKED.match(re.sub(r"<!--.*?(?:-->|$)", " ", text, flags=re.DOTALL))  # what people do not see, memory does not get
    if not match:
        raise InputError(f"{path}:{line}", "a finding without a severity", f"begin it with [{'], ['.join(SEVERITIES)}]")
    severity = match.group(1).strip().lower()
    if severity not in SEVERITIES:
        raise InputError(f"{path}:{line}", f"unknown severity [{match.group(1)}]", did_you_mean(severity, SEVERITIES))
    said, _, action = match.group(2).replace("→", "->").partition("->")
    if not said.strip():
        raise InputError(f"{path}:{line}", "a finding without words", "say what was found")
    return BriefingFinding(severity, _plain(said), _plain(action), line)


def _plain(text: str) -> str:
    """One line of plain text. What an agent wrote is data: no `@path`, which would import a file into memory."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return IMPORT.sub(r"`\1`", " ".join(shown.split()))
