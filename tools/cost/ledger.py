"""The cost log added up: every row that can be counted is counted exactly, every other one is named with its line.

One loop over the lines: a log of a million rows (a hundred sessions a day for 27 years) takes some seconds, and of each row only its id
is kept. Amounts are kept as whole numbers of small parts, so that sums are exact whatever their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from lifeos import foreign

COST_TOLERANCE = 0.02
"""Dollars by which a cost may differ from its minutes at its rate: both were rounded."""

MAX_NAMED_FAULTS = 20
MAX_AMOUNT = 1e15
"""Dollars or minutes of one session. A larger number is a slip of the hand and would hide every other row."""

LAST_HEARTBEAT = "last_heartbeat"
COST_UNITS = 10**8
MINUTE_UNITS = 10**6


@dataclass(frozen=True, slots=True)
class ClosedSession:
    """A row of the log. `start` and `end` are UTC as in 2026-01-31T12:00:00Z, the rate is in dollars per hour."""

    session_id: str
    start: str
    end: str
    duration_min: float
    activity: str
    cost_usd: float
    gpu: str
    rate_per_hr: float
    lora_version: str | None = None
    pod_id: str | None = None
    clock_moved: bool = False
    cost_up_to_usd: float | None = None
    """Of a session that was never stopped: it cost so much at most. `cost_usd` is what is counted until somebody corrects it."""

    end_is: str | None = None
    """`last_heartbeat` where a session was closed at the last sign of its process: it was killed, or its pod died."""

    batch: str | None = None
    """The work that wrote this row itself, as no session of the meter counted it (`running_costs`)."""
    charged_usd: float | None = None
    """What was paid by the picture, of `cost_usd`; beside minutes and rate."""
    corrects: bool = False
    """Whether this row replaces an earlier one of the same session."""


class CostKind(NamedTuple):
    """What sessions are added up by. `day` is the UTC day on which a session started; `rate` in dollars per hour."""

    activity: str
    gpu: str
    rate: float
    day: str
    lora_version: str


@dataclass(slots=True)
class CostSum:
    """A sum of sessions, in whole units."""

    sessions: int = 0
    minute_units: int = 0
    cost_units: int = 0

    def add(self, other: CostSum) -> None:
        self.sessions += other.sessions
        self.minute_units += other.minute_units
        self.cost_units += other.cost_units

    @property
    def hours(self) -> Decimal:
        return Decimal(self.minute_units) / MINUTE_UNITS / 60

    @property
    def usd(self) -> Decimal:
        return Decimal(self.cost_units) / COST_UNITS


@dataclass(slots=True)
class Ledger:
    """The log added up: sums by kind, what was odd (named), and how many rows could not be counted."""

    sums: dict[CostKind, CostSum] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """What was odd, at its line; the first of many."""
    skipped: int = 0
    overlaps: int = 0
    unsettled: list[ClosedSession] = field(default_factory=list)
    """Sessions that were never stopped, and whose cost is therefore unknown."""
    killed: CostSum = field(default_factory=CostSum)
    """What is counted of sessions that nobody stopped: their process or pod ended before."""

    def note(self, line: int, why: str, counted: bool) -> None:
        self.skipped += not counted
        if len(self.faults) < MAX_NAMED_FAULTS:
            self.faults.append(f"line {line}: {why}" if counted else f"line {line}: {why}; not counted")

    def total(self, wanted: Callable[[CostKind], bool] = lambda kind: True) -> CostSum:
        result = CostSum()
        for kind, part in self.sums.items():
            if wanted(kind):
                result.add(part)
        return result

    def by(self, name: str) -> dict[str, CostSum]:
        """Sums by one field of CostKind, largest cost first."""
        groups: dict[str, CostSum] = {}
        for kind, part in self.sums.items():
            groups.setdefault(str(getattr(kind, name)), CostSum()).add(part)
        return dict(sorted(groups.items(), key=lambda item: -item[1].cost_units))


def read_ledger(log_file: Path, since: date | None = None, until: date | None = None) -> Ledger:
    """Add up the sessions that started from `since` to `until`, both included. A log that is not there is an empty one."""
    first, last = (since or date.min).isoformat(), (until or date.max).isoformat()
    ledger = Ledger()
    last_end = ""
    for session in read_sessions(log_file, ledger.note):
        if session.batch is None:  # batches run beside one another
            ledger.overlaps += session.start < last_end
            last_end = max(last_end, session.end)
        day = session.start[:10]
        if first <= day <= last:
            kind = CostKind(session.activity, session.gpu, session.rate_per_hr, day, session.lora_version or "")
            part = ledger.sums.get(kind)
            if part is None:
                part = ledger.sums[kind] = CostSum()
            own = CostSum(1, round(session.duration_min * MINUTE_UNITS), round(session.cost_usd * COST_UNITS))
            part.add(own)
            if session.cost_up_to_usd is not None or session.end_is == LAST_HEARTBEAT:
                ledger.killed.add(own)
            if session.cost_up_to_usd is not None:
                ledger.unsettled.append(session)
    return ledger


Note = Callable[[int, str, bool], None]
"""Told of an odd row: its line, what is odd, and whether it is counted."""


def read_sessions(log_file: Path, note: Note = lambda line, why, counted: None) -> Iterator[ClosedSession]:
    """The rows that can be counted, in the log's order. A log that is not there is an empty one.

    Raises InputError for a log that cannot be read at all.
    """
    if not log_file.exists():
        return
    seen: dict[str, set[str]] = {}
    corrected = _find_corrections(log_file)
    for line in foreign.read_lines(log_file, ClosedSession, not_finite="refuse"):
        if isinstance(line, foreign.BadLine):
            place = line.error.what.removeprefix(f"{log_file}:{line.number}").lstrip(": ")
            why = line.error.why.replace("(line 1, column ", "(column ")
            note(line.number, f"{place}: {why}" if place else why, False)
            continue
        session = _as_utc(line.record)
        start = session.start
        if line.number < corrected.get((session.session_id, start), 0):
            continue
        starts = seen.setdefault(session.session_id, set())
        why = _fault(session, starts)
        if why:
            note(line.number, why, False)
            continue
        if starts:  # two pods that shared a log, or two logs put together
            note(line.number, f"the id {session.session_id} is used by another session too; both are counted", True)
        starts.add(start)
        hourly = session.cost_usd - (session.charged_usd or 0.0)
        if abs(session.duration_min * session.rate_per_hr / 60 - hourly) > COST_TOLERANCE:
            why = f"${session.cost_usd:g} is not {session.duration_min:g} min at ${session.rate_per_hr:g}/h; taken as written"
            note(line.number, why, True)
        yield session


def _find_corrections(log_file: Path) -> dict[tuple[str, str], int]:
    """(session id, start) -> line of the last row that corrects it. Most logs have none, and are read once."""
    if b'"corrects"' not in log_file.read_bytes():
        return {}
    lines = foreign.read_lines(log_file, ClosedSession, not_finite="refuse")
    rows = [(line.record, line.number) for line in lines if not isinstance(line, foreign.BadLine)]
    return {(row.session_id, to_utc(row.start)): number for row, number in rows if row.corrects and not _fault(_as_utc(row), set())}


def _as_utc(session: ClosedSession) -> ClosedSession:
    return replace(session, start=to_utc(session.start), end=to_utc(session.end))


def _fault(session: ClosedSession, starts: set[str]) -> str:
    """Why a row cannot be counted, or an empty string. `starts` are those of earlier rows with its id."""
    for name in ("duration_min", "cost_usd", "rate_per_hr", "cost_up_to_usd", "charged_usd"):
        amount = getattr(session, name)
        if amount is not None and not 0 <= amount <= MAX_AMOUNT:
            return f"{name} is below 0" if amount < 0 else f"{name} is over {MAX_AMOUNT:,.0f}"
    if not (session.start and session.end):
        return "start or end is no time such as 2026-01-31T12:00:00Z"
    if session.end < session.start and not session.clock_moved:  # the meter of version 3.0 wrote the end that the clock showed
        return "the session ends before it starts"
    return f"the id {session.session_id} is used twice" if session.start in starts else ""


def to_utc(text: str) -> str:
    """A time as UTC to the second (an offset and fractions of a second are allowed); an empty string for what is no such time."""
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == 20 and text[5] != "W" and text[10] == "T" and text[19] == "Z":
            return text
        return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z" if moment.tzinfo else ""
    except (ValueError, OverflowError):
        return ""
