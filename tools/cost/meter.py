"""The meter: opens and closes sessions so that no row is lost and no id is given twice, whatever dies in between.

Open sessions are in the state file, closed ones in the log. Closing appends to the log first and clears the state after: a
process killed in between leaves a session that is in both, and the log wins. Every change happens under one lock.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from lifeos import files, foreign, locks
from lifeos.errors import InputError, LifeosError, did_you_mean
from lifeos.escaping import escape_line

LOG_FILE = Path("tools/cost_log.jsonl")
STATE_FILE = Path("tools/.cost_session_state.json")
SCHEMA = 1
SECONDS_PER_HOUR = 3600
COST_STEP = Decimal("0.0001")
MINUTE_STEP = Decimal("0.01")
CLOCK_TOLERANCE_SECONDS = 60
"""The wall clock and the machine's uptime may differ this much before the uptime is believed (a clock that was set)."""

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
SESSION_NUMBER = re.compile(r"\d{4}-\d\d-\d\d_(\d{1,9})", re.ASCII)
MAX_RATE = Decimal(1_000_000)
MAX_UPTIME_SECONDS = 1e9
"""Thirty years. What is believed of a state file must give a row that the ledger counts."""


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment: the wall clock (UTC), and the seconds since this boot, which nobody can set back."""

    wall: datetime
    boot: str
    uptime: float


def read_clock() -> Instant:
    """Now. The boot id makes uptimes of different machines or boots incomparable (Linux; elsewhere empty, never compared)."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return Instant(datetime.now(UTC).replace(microsecond=0), boot, _uptime())


def _uptime() -> float:
    """Seconds since the start of the machine, its sleep included where the system counts it."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    else:  # noqa: RET505 - mypy reads it for each platform
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class OpenSession:
    """An open session. Times are UTC, the rate a decimal in text: money is never a float here.

    Raises ValueError for a rate, a time or an uptime that is none.
    """

    session_id: str
    start: str
    activity: str
    gpu: str
    rate_per_hr: str
    lora_version: str = ""
    pod_id: str = ""
    host: str = ""
    boot: str = ""
    uptime: float = 0.0
    last_heartbeat: str = ""
    heartbeat_uptime: float = 0.0

    def __post_init__(self) -> None:
        for moment in (self.start, self.last_heartbeat or self.start):
            if f"{_parse(moment):{TIME_FORMAT}}" != moment or not "2000" < moment < "9000":
                raise ValueError(f"{moment} is no UTC time such as 2026-01-31T12:00:00Z")
        try:
            parse_rate(self.rate_per_hr)
        except InputError as error:
            raise ValueError(f"the rate is not usable: {error.why}") from None
        if not (0 <= self.uptime <= MAX_UPTIME_SECONDS and 0 <= self.heartbeat_uptime <= MAX_UPTIME_SECONDS):
            raise ValueError("an uptime below 0 or above thirty years")


@dataclass(frozen=True, slots=True)
class OpenSessions:
    """The state file."""

    open: tuple[OpenSession, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """A session just opened, and the rows of those that were closed for it."""

    session: OpenSession
    closed: list[dict[str, Any]]


class Meter:
    """The sessions of one log. `clock` and `warn` come from outside so that tests can tell the time."""

    def __init__(
        self, log_file: Path, state_file: Path, clock: Callable[[], Instant] = read_clock, warn: Callable[[str], None] = files.warn
    ) -> None:
        self.log_file, self.state_file, self.clock, self.warn = log_file, state_file, clock, warn

    def start(self, activity: str, gpu: str, rate: Decimal, *, lora_version: str = "", keep_open: bool = False) -> Started:
        """Open a session. Open ones are closed at their last heartbeat and marked so, or kept with `keep_open`."""
        with self._changing() as sessions:
            closed = []
            for old in list(sessions):
                if keep_open:
                    self.warn(f"session {old.session_id} ({old.activity}, since {old.start}) is still open, and kept open")
                    continue
                self.warn(f"session {old.session_id} ({old.activity}, since {old.start}) was never stopped: closed at its last heartbeat")
                closed.append(self._close(old, sessions, self._last_life(old), "next_start"))
            now = self.clock()
            session = OpenSession(
                self._next_id(now.wall, sessions),
                now.wall.strftime(TIME_FORMAT),
                escape_line(activity),
                escape_line(gpu),
                str(rate),
                escape_line(lora_version),
                escape_line(os.environ.get("RUNPOD_POD_ID", "")),
                escape_line(socket.gethostname()),
                now.boot,
                now.uptime,
                now.wall.strftime(TIME_FORMAT),
                now.uptime,
            )
            sessions.append(session)
            self._write(sessions)
            return Started(session, closed)

    def stop(self, session_id: str | None = None, *, at: datetime | None = None, at_last_heartbeat: bool = False) -> dict[str, Any]:
        """Close a session (default: the newest) and return its row. `at` or the last heartbeat tell when a pod really died."""
        with self._changing() as sessions:
            session = self._choose(sessions, session_id)
            now = self.clock()
            if at is not None:
                if at < _parse(session.start) or at > now.wall:
                    raise InputError("--at", f"{at:{TIME_FORMAT}} is not between the session's start, {session.start}, and now")
                moment, how = Instant(at, "", 0.0), "stated"
            elif at_last_heartbeat:
                moment, how = self._last_life(session), "last_heartbeat"
            else:
                moment, how = now, ""
            return self._close(session, sessions, moment, how)

    def heartbeat(self, session_id: str | None = None) -> OpenSession:
        """Record that the session (default: the newest) is alive, so that it can be closed here if its pod dies."""
        with self._changing() as sessions:
            session = self._choose(sessions, session_id)
            now = self.clock()
            beaten = replace(session, last_heartbeat=now.wall.strftime(TIME_FORMAT), heartbeat_uptime=now.uptime)
            sessions[sessions.index(session)] = beaten
            self._write(sessions)
            return beaten

    def heartbeat_all(self) -> None:
        """Record that every open session is alive: what runs now is paid for by all of them."""
        with self._changing() as sessions:
            now = self.clock()
            stamp = now.wall.strftime(TIME_FORMAT)
            self._write([replace(one, last_heartbeat=stamp, heartbeat_uptime=now.uptime) for one in sessions])

    def open_sessions(self) -> list[OpenSession]:
        """The sessions that are open, oldest first."""
        with self._changing() as sessions:
            return list(sessions)

    def cost_so_far(self, session: OpenSession) -> Decimal:
        return _cost(_seconds(session, self.clock())[0], session.rate_per_hr)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[OpenSession]]:
        lock = self.state_file.with_name(self.state_file.name + ".lock")
        with locks.hold(lock, str(self.state_file), wait=True):
            sessions = self._read()
            logged = [session for session in sessions if _is_logged(self.log_file, session.session_id)]
            yield [session for session in sessions if session not in logged]

    def _read(self) -> list[OpenSession]:
        if not self.state_file.exists():
            return []
        fix = "remove the file: closed sessions are in the log, only the open ones are forgotten"
        return list(foreign.read_file(self.state_file, OpenSessions, not_finite="refuse", fix=fix).open)

    def _write(self, sessions: list[OpenSession]) -> None:
        files.write_json(self.state_file, {"schema": SCHEMA, "open": [asdict(session) for session in sessions]})

    def _close(self, session: OpenSession, sessions: list[OpenSession], moment: Instant, how: str) -> dict[str, Any]:
        row = make_row(session, moment, how)
        files.append_record(self.log_file, row)
        sessions.remove(session)
        self._write(sessions)
        return row

    def _last_life(self, session: OpenSession) -> Instant:
        return Instant(_parse(session.last_heartbeat or session.start), session.boot, session.heartbeat_uptime or session.uptime)

    def _choose(self, sessions: list[OpenSession], session_id: str | None) -> OpenSession:
        if not sessions:
            raise InputError("cost session", "none is open", "open one with --action start")
        if session_id is None:
            return sessions[-1]
        for session in sessions:
            if session.session_id == session_id:
                return session
        raise InputError(session_id, "no open session has this id", did_you_mean(session_id, [one.session_id for one in sessions]))

    def _next_id(self, wall: datetime, sessions: list[OpenSession]) -> str:
        day = f"{wall:%Y-%m-%d}"
        taken = [int(number) for number in _numbers_of(self.log_file, day)]
        ours = (SESSION_NUMBER.fullmatch(one.session_id) for one in sessions if one.session_id.startswith(f"{day}_"))
        taken += [int(number[1]) for number in ours if number]
        return f"{day}_{max(taken, default=0) + 1:03d}"


def beat(project_root: Path) -> None:
    """A heartbeat from a long piece of work, for whatever session is open. Nothing happens where there is none.

    If the pod dies, the session is closed here and not at its start. The work itself never fails for it.
    """
    state = project_root / STATE_FILE
    if state.exists():
        with contextlib.suppress(LifeosError, OSError):
            Meter(project_root / LOG_FILE, state, warn=lambda text: None).heartbeat_all()


def make_row(session: OpenSession, moment: Instant, how: str = "") -> dict[str, Any]:
    """The log's row for a session that ended at `moment`; `how` says why that is not simply when it was stopped."""
    seconds, clock_moved = _seconds(session, moment)
    minutes = (seconds / 60).quantize(MINUTE_STEP)
    end = max(moment.wall, _parse(session.start) + timedelta(seconds=int(seconds))) if clock_moved else moment.wall
    row: dict[str, Any] = {
        "session_id": session.session_id,
        "start": session.start,
        "end": end.strftime(TIME_FORMAT),
        "duration_min": int(minutes) if minutes == int(minutes) else float(minutes),
        "activity": session.activity,
        "cost_usd": float(_cost(seconds, session.rate_per_hr)),
        "gpu": session.gpu,
        "rate_per_hr": float(session.rate_per_hr),
    }
    extra = {"lora_version": session.lora_version, "pod_id": session.pod_id, "end_is": how, "clock_moved": clock_moved}
    return row | {key: value for key, value in extra.items() if value}


def parse_rate(value: object) -> Decimal:
    """A rate in dollars per hour as a decimal. Raises InputError for what is no amount of money."""
    try:
        rate = Decimal(str(value))
    except InvalidOperation:
        raise InputError("--rate-per-hr", f"{str(value)[:40]!r} is no amount of money", "give dollars per hour, such as 0.60") from None
    if not rate.is_finite() or not 0 <= rate <= MAX_RATE:
        raise InputError("--rate-per-hr", f"{str(value)[:40]} is no rate", f"give dollars per hour, from 0 to {MAX_RATE:,}")
    return rate


def _seconds(session: OpenSession, moment: Instant) -> tuple[Decimal, bool]:
    """How long the session lasted, and whether its wall clock moved. Within one boot the uptime settles a disagreement."""
    by_wall = (moment.wall - _parse(session.start)).total_seconds()
    if moment.boot and moment.boot == session.boot:
        by_uptime = moment.uptime - session.uptime
        if abs(by_wall - by_uptime) > CLOCK_TOLERANCE_SECONDS:
            return Decimal(max(0, round(by_uptime))), True
    return Decimal(max(0, round(by_wall))), by_wall < 0


def _cost(seconds: Decimal, rate: str) -> Decimal:
    return (seconds * Decimal(rate) / SECONDS_PER_HOUR).quantize(COST_STEP)


def _parse(text: str) -> datetime:
    return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)


def _numbers_of(log_file: Path, day: str) -> list[bytes]:
    """The session numbers that the log holds for a day, found without parsing a line of it."""
    return _search(log_file, rb'"session_id"\s*:\s*"' + day.encode() + rb'_(\d{1,9})"')


def _is_logged(log_file: Path, session_id: str) -> bool:
    return bool(_search(log_file, rb'"session_id"\s*:\s*"' + re.escape(session_id).encode() + rb'"'))


def _search(log_file: Path, pattern: bytes) -> list[bytes]:
    try:
        with open(log_file, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return re.findall(pattern, data)
    except (FileNotFoundError, ValueError):  # no log yet, or an empty one, which cannot be mapped
        return []
