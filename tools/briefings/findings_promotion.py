"""Findings into memory (`context/session-learnings.md`) and tasks (`context/tasks.md`), each once, within the context budget.

The ledger `briefings/promoted.jsonl` remembers what was promoted, so that a line which someone cut from memory stays cut. It is
written last: after a crash the lines that are there already are found and only entered.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lifeos import times
from lifeos.files import append_record, read_records, read_text, write_text
from lifeos.guardrails.checkout import Checkout, Document
from lifeos.guardrails.context_budget import check_context_budget
from lifeos.guardrails.secret_shapes import find_secrets
from tools.briefings.briefing import FOLDER, SEVERITIES, Briefing, BriefingFinding

MEMORY = Path("context/session-learnings.md")
TASKS = Path("context/tasks.md")
LEDGER = FOLDER / "promoted.jsonl"
MEMORY_HEADING = "## From briefings"
TASKS_HEADING = "## Open"
DRESSING = re.compile(r"^- (?:\[.\] |\d{4}-\d\d-\d\d: )|(?<=\S) \(\w+, \d{4}-\d\d-\d\d\)$")
"""What a line says besides a finding's own words: the tick or the day before them, severity and day behind."""
NEW_MEMORY = f"# Session learnings\n\n{MEMORY_HEADING}\n"
NEW_TASKS = f"# Tasks\n\nAdded by `tools/promote_findings.py`, done by people and agents: tick them, then cut them.\n\n{TASKS_HEADING}\n"


@dataclass(frozen=True, slots=True)
class Refused:
    """A finding that was not promoted, why, and what to do."""

    finding: BriefingFinding
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class PromotionPlan:
    """What promoting would change. `texts` holds the new contents of the files that change, by their path in the checkout."""

    briefing: Briefing
    accepted: tuple[BriefingFinding, ...]
    refused: tuple[Refused, ...]
    before: Mapping[Path, str]
    texts: Mapping[Path, str]

    def diff(self) -> str:
        """The change as a unified diff."""
        parts: list[str] = []
        for path, text in self.texts.items():
            old, new = self.before[path].splitlines(keepends=True), text.splitlines(keepends=True)
            parts += difflib.unified_diff(old, new, f"a/{path.as_posix()}", f"b/{path.as_posix()}", n=1)
        return "".join(parts)


def find_new(briefing: Briefing, project_root: Path) -> list[BriefingFinding]:
    """The findings that ask for something and were never promoted, the most severe first, each once."""
    ledger = project_root / LEDGER
    known = {str(record.data.get("id")) for record in read_records(ledger)} if ledger.exists() else set()
    wanted = {finding.id: finding for finding in reversed(briefing.findings) if finding.severity != "note" or finding.action}
    new = [finding for finding in wanted.values() if finding.id not in known]
    return sorted(new, key=lambda finding: (SEVERITIES.index(finding.severity), finding.line))


def plan_promotion(briefing: Briefing, findings: list[BriefingFinding], project_root: Path, budget: Mapping[str, Any]) -> PromotionPlan:
    """Place the findings one by one; one that would break the context budget, or holds a secret, is refused."""
    before = {path: read_text(project_root / path) if (project_root / path).exists() else "" for path in (MEMORY, TASKS)}
    start = {MEMORY: before[MEMORY] or NEW_MEMORY, TASKS: before[TASKS] or NEW_TASKS}
    texts: Mapping[Path, str] = start
    accepted: list[BriefingFinding] = []
    refused: list[Refused] = []
    for finding in findings:  # the most severe first: they get the room that is left
        placed = _place(finding, briefing.day, texts)
        reason = _reason_against(finding, placed, texts, project_root, budget)
        if reason:
            refused.append(reason)
        else:
            accepted.append(finding)
            texts = placed
    texts = start
    for finding in reversed(accepted):  # each goes to the top of its list: the most severe last
        texts = _place(finding, briefing.day, texts)
    changed = {path: text for path, text in texts.items() if text != start[path]}
    return PromotionPlan(briefing, tuple(accepted), tuple(refused), before, changed)


def apply_plan(plan: PromotionPlan, project_root: Path, *, now: datetime) -> None:
    """Write the files, then the ledger."""
    for path, text in plan.texts.items():
        write_text(project_root / path, text)
    for finding in plan.accepted:
        append_record(
            project_root / LEDGER,
            {
                "id": finding.id,
                "promoted": times.stamp(now),
                "briefing": plan.briefing.path.name,
                "severity": finding.severity,
                "text": finding.text,
                "action": finding.action,
            },
        )


def _place(finding: BriefingFinding, day: str, texts: Mapping[Path, str]) -> dict[Path, str]:
    placed = dict(texts)
    if finding.severity != "note":
        placed[MEMORY] = _insert(placed[MEMORY], MEMORY_HEADING, f"- {day}: {finding.text}", finding.text)
    if finding.action:
        placed[TASKS] = _insert(placed[TASKS], TASKS_HEADING, f"- [ ] {finding.action} ({finding.severity}, {day})", finding.action)
    return placed


def _insert(text: str, heading: str, line: str, words: str) -> str:
    """`text` with `line` first under `heading`, unless a line with these words is there already."""
    lines = text.rstrip("\n").split("\n")
    if any(DRESSING.sub("", existing) == words for existing in lines):
        return text
    if heading not in lines:
        lines += ["", heading]
    at = lines.index(heading) + 1
    return "\n".join([*lines[:at], line, *lines[at:]]) + "\n"


def _reason_against(
    finding: BriefingFinding, placed: Mapping[Path, str], texts: Mapping[Path, str], project_root: Path, budget: Mapping[str, Any]
) -> Refused | None:
    secrets = list(find_secrets(Document("", f"{finding.text}\n{finding.action}")))
    if secrets:
        return Refused(finding, f"it holds {secrets[0].message}", secrets[0].fix)
    longest = max(len(finding.text), len(finding.action))
    if longest > budget["long_line_characters"]:
        return Refused(finding, f"it is {longest} characters long", f"say it in under {budget['long_line_characters']}")
    if placed[MEMORY] == texts[MEMORY]:
        return None
    checkout = Checkout(project_root)
    checkout.replace(Document(MEMORY.as_posix(), placed[MEMORY]))
    over = [item for item in check_context_budget(checkout, budget).findings if item.severity == "error"]
    return Refused(finding, f"it does not fit: {over[0].message}", over[0].fix) if over else None
