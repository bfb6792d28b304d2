"""A session and its price: the clock, what is kept of an open session, and the log's row of a closed one."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from lifeos import times
from lifeos.errors import InputError
from lifeos.liveness import boot_id

SECONDS_PER_HOUR = 3600
COST_STEP = Decimal("0.0001")
MINUTE_STEP = Decimal("0.01")
CLOCK_TOLERANCE_SECONDS = 60
"""The wall clock and the machine's uptime may differ this much before the uptime is believed (a clock that was set)."""

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
    """Now. The boot id makes uptimes of different machines or boots incomparable (Linux; elsewhere empty, never compared: uptimes there
    may leave out the machine's sleep)."""
    return Instant(times.now().replace(microsecond=0), boot_id() if sys.platform == "linux" else "", _uptime())


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
    lease_seconds: float = 0.0
    """How long a guard lets the pod run without anything new; 0: as the guard was told."""
    last_progress: str = ""
    """When its work last moved on: a step, a picture, a file. A heartbeat alone says that a process lives. Empty: opened by version 3.0.0,
    of which each heartbeat counts."""

    def __post_init__(self) -> None:
        for moment in (self.start, self.last_heartbeat or self.start, self.last_progress or self.start):
            if times.stamp(parse_time(moment)) != moment or not "2000" < moment < "9000":
                raise ValueError(f"{moment} is no UTC time such as 2026-01-31T12:00:00Z")
        try:
            parse_rate(self.rate_per_hr)
        except InputError as error:
            raise ValueError(f"the rate is not usable: {error.why}") from None
        if not (0 <= self.uptime <= MAX_UPTIME_SECONDS and 0 <= self.heartbeat_uptime <= MAX_UPTIME_SECONDS):
            raise ValueError("an uptime below 0 or above thirty years")
        if not 0 <= self.lease_seconds <= MAX_UPTIME_SECONDS:
            raise ValueError("a lease below 0 or above thirty years")


@dataclass(frozen=True, slots=True)
class OpenSessions:
    """The state file."""

    open: tuple[OpenSession, ...]


def make_row(session: OpenSession, moment: Instant, how: str = "") -> dict[str, Any]:
    """The log's row for a session that ended at `moment`; `how` says why that is not simply when it was stopped."""
    seconds, clock_moved = seconds_between(session, moment)
    minutes = (seconds / 60).quantize(MINUTE_STEP)
    end = max(moment.wall, parse_time(session.start) + timedelta(seconds=int(seconds))) if clock_moved else moment.wall
    row: dict[str, Any] = {
        "session_id": session.session_id,
        "start": session.start,
        "end": times.stamp(end),
        "duration_min": int(minutes) if minutes == int(minutes) else float(minutes),
        "activity": session.activity,
        "cost_usd": float(price(seconds, session.rate_per_hr)),
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


def seconds_between(session: OpenSession, moment: Instant) -> tuple[Decimal, bool]:
    """How long the session lasted, and whether its wall clock moved. Within one boot the uptime settles a disagreement."""
    by_wall = (moment.wall - parse_time(session.start)).total_seconds()
    if moment.boot and moment.boot == session.boot:
        by_uptime = moment.uptime - session.uptime
        if abs(by_wall - by_uptime) > CLOCK_TOLERANCE_SECONDS:
            return Decimal(max(0, round(by_uptime))), True
    return Decimal(max(0, round(by_wall))), by_wall < 0


def price(seconds: Decimal, rate: str) -> Decimal:
    """What so many seconds cost at a rate per hour, to a hundredth of a cent."""
    return (seconds * Decimal(rate) / SECONDS_PER_HOUR).quantize(COST_STEP)


def parse_time(text: str) -> datetime:
    """A time as sessions hold it. Raises ValueError for any other."""
    return datetime.strptime(text, times.FORMAT).replace(tzinfo=times.UTC)
