"""The meter: opens and closes sessions so that no row is lost and no id is given twice, whatever dies in between.

Open sessions are in the state file, closed ones in the log. Closing appends to the log first and clears the state after: a
process killed in between leaves a session that is in both, and the log wins. The log may be shared by several state files (two pods on
one volume): every change happens under the log's lock, and an id is given once for the log.

A session that was never stopped has no known cost, only a highest one. It is closed at the next start, marked with that, and corrected
by a later row when somebody says when it really ended.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from lifeos import files, foreign, locks, times
from lifeos.errors import InputError, LifeosError, LockedError, did_you_mean
from lifeos.escaping import escape_line
from lifeos.leftovers import sweep_once
from tools.cost.ledger import ClosedSession, read_sessions
from tools.cost.session import (
    Instant,
    OpenSession,
    OpenSessions,
    make_row,
    parse_rate,
    parse_time,
    price,
    read_clock,
    seconds_between,
)
from tools.cost.session_ids import is_logged, is_taken, next_id

__all__ = ["LOG_FILE", "STATE_FILE", "Instant", "Meter", "OpenSession", "Started", "beat", "make_row", "parse_rate", "read_clock"]

LOG_FILE = Path("tools/cost_log.jsonl")
STATE_FILE = Path("tools/.cost_session_state.json")
SCHEMA = 1
PATIENCE_SECONDS = 20.0
"""How long to wait for another pod that is changing the log on a volume whose locks do not reach between machines."""

ALIVE_MINUTES = 10
"""A session of another pod with a heartbeat younger than this is that pod's own to stop."""


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

    def start(
        self, activity: str, gpu: str, rate: Decimal, *, lora_version: str = "", keep_open: bool = False, lease_seconds: float = 0.0
    ) -> Started:
        """Open a session. Open ones were forgotten: they are closed and marked so, or kept with `keep_open`.

        `lease_seconds`: what a guard of pods reads of it; 0 for what that was told itself.
        """
        with self._changing() as sessions:
            closed = []
            for old in list(sessions):
                if keep_open:
                    self.warn(f"{_named(old)} is still open, and kept open")
                elif self._is_alive_elsewhere(old):
                    self.warn(f"{_named(old)} is open on pod {old.pod_id}, and left to it")
                else:
                    closed.append(self._close_forgotten(old, sessions))
            now = self.clock()
            session = OpenSession(
                next_id(self.log_file, now.wall, sessions),
                times.stamp(now.wall),
                escape_line(activity),
                escape_line(gpu),
                str(rate),
                escape_line(lora_version),
                _own_pod(),
                escape_line(socket.gethostname()),
                now.boot,
                now.uptime,
                times.stamp(now.wall),
                now.uptime,
                lease_seconds,
                times.stamp(now.wall),
            )
            sessions.append(session)
            self._write(sessions)
            return Started(session, closed)

    def stop(self, session_id: str | None = None, *, at: datetime | None = None, at_last_heartbeat: bool = False) -> dict[str, Any]:
        """Close a session (default: the newest of this pod) and return its row. `at` or the last heartbeat tell when a pod really died.

        One that a later start has closed, because it was forgotten, is corrected: a row of the same id, `corrects`, replaces it.
        """
        with self._changing() as sessions:
            session = self._find(sessions, session_id)
            if session is None:
                return self._correct(self._find_forgotten(session_id, sessions), at)
            now = self.clock()
            if at is not None:
                if at < parse_time(session.start) or at > now.wall:
                    raise InputError("--at", f"{times.stamp(at)} is not between the session's start, {session.start}, and now")
                moment, how = Instant(at, "", 0.0), "stated"
            elif at_last_heartbeat:
                moment, how = _last_life(session), "last_heartbeat"
            else:
                moment, how = now, ""
            return self._close(session, sessions, make_row(session, moment, how))

    def heartbeat(self, session_id: str | None = None, *, progress: bool = False) -> OpenSession:
        """Record that the session (default: the newest of this pod) is alive, so that it can be closed here if its pod dies.

        `progress`: its work has moved on too since the heartbeat before, which is what a guard's lease is held against.
        """
        with self._changing() as sessions:
            session = self._find(sessions, session_id)
            if session is None:
                raise _none_open(sessions, session_id)
            beaten = self._beaten(session, progress)
            sessions[sessions.index(session)] = beaten
            self._write(sessions)
            return beaten

    def heartbeat_all(self, *, progress: bool = False) -> None:
        """Record that every open session of this pod is alive: what runs now is paid for by all of them."""
        with self._changing() as sessions:
            self._write([self._beaten(one, progress) if is_ours(one) else one for one in sessions])

    def open_sessions(self) -> list[OpenSession]:
        """The sessions of this state file that are open, oldest first."""
        with self._state_held():
            return self._read()

    def cost_so_far(self, session: OpenSession) -> Decimal:
        return price(seconds_between(session, self.clock())[0], session.rate_per_hr)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[OpenSession]]:
        """The open sessions while nobody else changes them, the log or the ids of it."""
        lock = self.log_file.with_name(self.log_file.name + ".lock")
        deadline = time.monotonic() + PATIENCE_SECONDS
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(locks.hold(lock, str(self.log_file), wait=True))
                    break
                except LockedError:  # by another machine, for moments
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)
            stack.enter_context(self._state_held())
            sweep_once(self.state_file.parent)  # a `stop` that finds its session closed writes nothing itself
            yield self._read()

    @contextlib.contextmanager
    def _state_held(self) -> Iterator[None]:
        lock = self.state_file.with_name(self.state_file.name + ".lock")
        with locks.hold(lock, str(self.state_file), wait=True):
            yield

    def _read(self) -> list[OpenSession]:
        if not self.state_file.exists():
            return []
        fix = "remove the file: closed sessions are in the log, only the open ones are forgotten"
        sessions = foreign.read_file(self.state_file, OpenSessions, not_finite="refuse", fix=fix).open
        return [session for session in sessions if not is_logged(self.log_file, session)]

    def _write(self, sessions: list[OpenSession]) -> None:
        files.write_json(self.state_file, {"schema": SCHEMA, "open": [asdict(session) for session in sessions]})

    def _close(self, session: OpenSession, sessions: list[OpenSession], row: dict[str, Any]) -> dict[str, Any]:
        if is_taken(self.log_file, session.session_id):
            row["session_id"] = next_id(self.log_file, parse_time(session.start), sessions)
            self.warn(f"the id {session.session_id} was given twice: this session is logged as {row['session_id']}")
        files.append_record(self.log_file, row)
        sessions.remove(session)
        self._write(sessions)
        return row

    def _close_forgotten(self, old: OpenSession, sessions: list[OpenSession]) -> dict[str, Any]:
        """It ended somewhere between its last heartbeat and now. Without a heartbeat nothing is known but the highest cost."""
        highest = make_row(old, self.clock(), "next_start")
        row = make_row(old, _last_life(old), "next_start") if _has_lived(old) else highest
        row["cost_up_to_usd"] = highest["cost_usd"]
        row = self._close(old, sessions, row)
        counted = f"counted up to its last heartbeat, ${row['cost_usd']:.2f}" if _has_lived(old) else "counted in full"
        self.warn(
            f"{_named(old)} was never stopped: its cost is unknown, up to ${row['cost_up_to_usd']:.2f}, {counted}. "
            f"{how_to_settle(row['session_id'], row['end'], self.log_file)}"
        )
        return row

    def _find_forgotten(self, session_id: str | None, sessions: list[OpenSession]) -> ClosedSession:
        """The row of a forgotten session: the one that is named, else the newest of this pod."""
        pod, found = _own_pod(), None
        for row in read_sessions(self.log_file):
            if row.session_id == session_id or (session_id is None and pod and row.pod_id == pod):
                found = row
        if found is None or (session_id is None and found.cost_up_to_usd is None):
            raise _none_open(sessions, session_id)
        if found.cost_up_to_usd is None:
            raise InputError(found.session_id, f"it was closed at {found.end}", "only a session that was never stopped can be corrected")
        return found

    def _correct(self, row: ClosedSession, at: datetime | None) -> dict[str, Any]:
        now = self.clock().wall
        if at is not None and not parse_time(row.start) <= at <= now:
            raise InputError("--at", f"{times.stamp(at)} is not between the session's start, {row.start}, and now")
        names = (row.session_id, row.start, row.activity, row.gpu, str(row.rate_per_hr), row.lora_version or "", row.pod_id or "")
        try:
            session = OpenSession(*names)
        except ValueError as error:
            raise InputError(row.session_id, f"its row cannot be corrected: {error}", f"look at {self.log_file}") from None
        right = make_row(session, Instant(at or now, "", 0.0), "stated" if at else "") | {"corrects": True}
        files.append_record(self.log_file, right)
        return right

    def _find(self, sessions: list[OpenSession], session_id: str | None) -> OpenSession | None:
        wanted = [one for one in sessions if (one.session_id == session_id if session_id else is_ours(one))]
        return wanted[-1] if wanted else None

    def _beaten(self, session: OpenSession, progress: bool) -> OpenSession:
        now = self.clock()
        moment = times.stamp(now.wall)
        moved = moment if progress else session.last_progress
        return replace(session, last_heartbeat=moment, heartbeat_uptime=now.uptime, last_progress=moved)

    def _is_alive_elsewhere(self, session: OpenSession) -> bool:
        age = self.clock().wall - parse_time(session.last_heartbeat or session.start)
        return not is_ours(session) and age < timedelta(minutes=ALIVE_MINUTES)


def how_to_settle(session_id: str, end: str, log_file: Path) -> str:
    """What tells the log when a forgotten session really ended. `end` is the end that is assumed until then."""
    log = "" if log_file.parts[-2:] == LOG_FILE.parts else f" --log-file {log_file}"
    return f"When you know its end, say so: --action stop --session {session_id} --at TIME{log} (UTC, as in {end})"


def _named(session: OpenSession) -> str:
    return f"session {session.session_id} ({session.activity}, since {session.start})"


def _own_pod() -> str:
    return escape_line(os.environ.get("RUNPOD_POD_ID", ""))


def is_ours(session: OpenSession) -> bool:
    """Whether it may be of this pod: it is not where both are known and differ (two pods, one volume, one state file)."""
    pod = _own_pod()
    return not (pod and session.pod_id and session.pod_id != pod)


def _has_lived(session: OpenSession) -> bool:
    return session.heartbeat_uptime > session.uptime or session.last_heartbeat > session.start


def _last_life(session: OpenSession) -> Instant:
    return Instant(parse_time(session.last_heartbeat or session.start), session.boot, session.heartbeat_uptime or session.uptime)


def _none_open(sessions: list[OpenSession], session_id: str | None) -> InputError:
    ids = [one.session_id for one in sessions]
    if session_id is not None and ids:
        return InputError(session_id, "no open session has this id", did_you_mean(session_id, ids))
    if ids:
        return InputError("cost session", "none of this pod is open", f"name one of another pod: --session {ids[-1]}")
    return InputError("cost session", "none is open", "open one with --action start")


def beat(project_root: Path, progress: bool) -> None:
    """A heartbeat from a long piece of work, for whatever session is open; `progress`: it has moved on since the one before. Nothing
    happens where none is open.

    If the pod dies, the session is closed here and not at its start. The work itself never fails for it.
    """
    state = project_root / STATE_FILE
    if state.exists():
        with contextlib.suppress(LifeosError, OSError):
            Meter(project_root / LOG_FILE, state, warn=lambda text: None).heartbeat_all(progress=progress)
