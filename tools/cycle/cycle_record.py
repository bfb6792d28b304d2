"""What a cycle leaves behind: its record, written before and after every step, and the summary that people read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lifeos import files, foreign
from lifeos.errors import LifeosError
from lifeos.escaping import escape_line
from tools.cycle.steps import CycleSettings

RUNS = Path("cycle_runs")
RECORD_NAME = "cycle_report.json"
RUNNING, DONE, FAILED, SKIPPED, DONE_BEFORE, INTERRUPTED = "running", "done", "failed", "skipped", "done before", "interrupted"
MARKS = {DONE: "ok", FAILED: "FAILED", SKIPPED: "-", DONE_BEFORE: "ok (before)", INTERRUPTED: "stopped", RUNNING: "stopped"}
SCHEMA = 1


@dataclass(slots=True)
class StepRecord:
    """How one step went. `command` repeats it; `reason` says why it was skipped or failed, in its own words.

    `left`, of the commit: new files that were not committed. Raises ValueError for a status that no cycle writes.
    """

    name: str
    status: str
    reason: str = ""
    command: str = ""
    exit_code: int | None = None
    seconds: float = 0.0
    log: str = ""
    artefacts: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.status not in MARKS:
            raise ValueError(f"the status {self.status[:40]!r} is none of {', '.join(MARKS)}")


@dataclass(slots=True)
class CycleRecord:
    """A whole cycle. `fingerprint` is that of its settings: the same command continues an unfinished one."""

    cycle_id: str
    fingerprint: str
    started: str
    status: str = RUNNING
    ended: str = ""
    sessions_before: list[str] = field(default_factory=list)
    """Open when this cycle's meter was started: a session beside them is ours, even if we died before noting it."""

    cost_session: str = ""
    cost_usd: str = ""
    steps: list[StepRecord] = field(default_factory=list)

    def step(self, name: str) -> StepRecord | None:
        return next((step for step in self.steps if step.name == name), None)


LATER = ("max_cost_day", "max_cost_month", "production_servers", "production_comfy_token_env", "production_insecure_token")
"""Settings that came after version 3.0: a cycle that was begun without them goes on."""


def fingerprint(settings: CycleSettings) -> str:
    """A hash of everything that decides what a cycle does."""
    given = {one.name: getattr(settings, one.name) for one in fields(settings) if one.name != "skipped"}
    plain = {name: str(value) for name, value in given.items() if value or name not in LATER}
    return hashlib.sha256(json.dumps([plain, sorted(settings.skipped)], sort_keys=True).encode()).hexdigest()[:16]


def write_record(folder: Path, record: CycleRecord) -> None:
    """Down to the disk, before what it says is relied on."""
    files.write_json(folder / RECORD_NAME, as_document(record))


def as_document(record: CycleRecord) -> dict[str, Any]:
    return {"schema": SCHEMA, **asdict(record)}


def find_unfinished(runs: Path) -> tuple[Path, CycleRecord] | None:
    """The newest cycle, if it has not ended well, with its folder. A record that cannot be read is no cycle."""
    for folder in sorted(runs.glob("*/"), reverse=True):
        path = folder / RECORD_NAME
        if not path.is_file():
            continue
        try:
            record = foreign.read_file(path, CycleRecord)
        except LifeosError as error:
            files.warn(f"not continued: {error}")
            continue
        return None if record.status == DONE else (folder, record)
    return None


def render(record: CycleRecord, titles: dict[str, str]) -> str:
    """The table at the end: status, time, and why or what."""
    lines = [f"Cycle {escape_line(record.cycle_id)}: {escape_line(record.status)}", ""]
    for step in record.steps:
        said = escape_line(step.reason or ", ".join(step.artefacts))
        seconds = f"{step.seconds:7.1f} s" if step.status in (DONE, FAILED, INTERRUPTED) else " " * 9
        lines.append(f"  {MARKS[step.status]:12} {escape_line(titles.get(step.name, step.name)):18} {seconds}  {said}".rstrip())
    if record.cost_usd:
        lines += ["", escape_line(f"Cost of the agent step: ${record.cost_usd} (session {record.cost_session})")]
    failed = next((step for step in record.steps if step.status in (FAILED, INTERRUPTED)), None)
    if failed is not None:
        told = [f"To repeat only this step: {failed.command}", f"Its output: {failed.log}"] if failed.command else []
        told.append("The same command continues from here.")
        lines += ["", *map(escape_line, told)]
    return "\n".join(lines)
