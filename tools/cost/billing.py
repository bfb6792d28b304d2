"""RunPod's own bill beside our log, by pod and day. The API key comes from the environment and is never printed or logged.

REST API v2: GET /v2/billing/pods answers `records`, one for each pod and day with `podId`, `startTime` and `totalAmount` in dollars (GPU,
CPU and disk together). Version 1 of the API was retired in November 2026.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from lifeos import files, foreign, web
from lifeos.errors import InputError, UnavailableError
from lifeos.escaping import escape_line
from tools.cost.ledger import ClosedSession, read_sessions, to_utc

API_URL = "https://api.runpod.io"
KEY_VARIABLE = "RUNPOD_API_KEY"
TIMEOUT_SECONDS = 30
BILLING = "RunPod billing"
TOLERANCE_USD = Decimal("0.05")
OWN_MACHINE = ("127.0.0.1", "localhost", "::1")
HINTS = {
    401: f"check {KEY_VARIABLE}",
    403: f"the key in {KEY_VARIABLE} may not read the bill: give it that right at RunPod, or use another",
    404: "check --billing-url",
    410: "check --billing-url",
}


@dataclass(frozen=True, slots=True)
class BilledTime:
    """A record of RunPod's answer: what a pod cost from `startTime` on, to the end of that day.

    Raises ValueError for a time that is none.
    """

    startTime: str
    totalAmount: float
    podId: str | None = None

    def __post_init__(self) -> None:
        if not to_utc(self.startTime):
            raise ValueError(f"startTime {self.startTime[:40]!r} is no time such as 2026-01-31T00:00:00Z")


@dataclass(frozen=True, slots=True)
class Bill:
    """RunPod's answer."""

    records: tuple[BilledTime, ...]


@dataclass(frozen=True, slots=True)
class BillDifference:
    """One pod and UTC day: what RunPod billed, and the log's sessions as far as they lie in that day."""

    day: str
    pod_id: str
    billed: Decimal
    logged: Decimal

    @property
    def matters(self) -> bool:
        return abs(self.billed - self.logged) > TOLERANCE_USD


def fetch_bill(since: date, until: date, api_url: str = API_URL) -> dict[tuple[str, str], Decimal]:
    """Dollars billed by (day, pod). Raises InputError without a usable key, UnavailableError when RunPod does not answer as expected."""
    query = urllib.parse.urlencode(
        {
            "bucketSize": "day",
            "startTime": f"{since}T00:00:00Z",
            "endTime": f"{min(until, date.max - timedelta(days=1)) + timedelta(days=1)}T00:00:00Z",
        }
    )
    base = find_base(api_url)
    headers = {"Authorization": f"Bearer {read_key()}"}
    try:
        data = web.get(f"{base}/v2/billing/pods?{query}", BILLING, seconds=TIMEOUT_SECONDS, headers=headers)
    except web.StatusError as error:
        raise UnavailableError(BILLING, error.why, HINTS.get(error.status, "try again later")) from None
    billed: dict[tuple[str, str], Decimal] = {}
    for record in foreign.decode(data, Bill, BILLING, not_finite="refuse", error=UnavailableError).records:
        key = (to_utc(record.startTime)[:10], record.podId or "")
        billed[key] = billed.get(key, Decimal(0)) + Decimal(str(record.totalAmount))
    return billed


def find_base(url: str, flag: str = "--billing-url") -> str:
    """The address without the version, which we add. A key is sent over https, or to this machine. Raises InputError, naming `flag`."""
    base = url.rstrip("/").removesuffix("/v2")
    parts = urllib.parse.urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(flag, f"{base.rpartition('@')[2][:80]!r} is no http or https address", f"leave the flag out, or give {API_URL}")
    if parts.path.rstrip("/").endswith("/v1"):
        raise InputError(flag, "version 1 of RunPod's API was retired in November 2026", f"leave the flag out, or give {API_URL}")
    if parts.scheme == "http" and parts.hostname not in OWN_MACHINE:
        raise InputError(flag, "begins with http://: anybody on the way could read the key", "give its https:// address")
    return base


def read_key() -> str:
    """The key without the line end that a file saved on Windows leaves. Whatever is wrong with it, it is not shown."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise InputError(KEY_VARIABLE, "not set", "put your RunPod API key into this environment variable")
    if not (key.isascii() and key.isprintable()):
        raise InputError(KEY_VARIABLE, "holds a line end or another character that no key has", "copy the key again")
    return key


def compare_bill(log_file: Path, billed: dict[tuple[str, str], Decimal], since: date, until: date) -> list[BillDifference]:
    """Bill and log side by side, by day and pod, sorted. Sessions without a pod id stand under an empty one."""
    logged: dict[tuple[str, str], Decimal] = {}

    def warn(line: int, why: str, counted: bool) -> None:
        if not counted:
            files.warn(f"{log_file}:{line}: not counted: {escape_line(why)}")

    for session in read_sessions(log_file, warn):
        if session.charged_usd is not None:  # of an endpoint or a cloud: no pod's bill has it
            continue
        for day, usd in _by_day(session):
            if since.isoformat() <= day <= until.isoformat():
                key = (day, session.pod_id or "")
                logged[key] = logged.get(key, Decimal(0)) + usd
    zero = Decimal(0)
    return [BillDifference(day, pod, billed.get((day, pod), zero), logged.get((day, pod), zero)) for day, pod in sorted({*billed, *logged})]


def _by_day(session: ClosedSession) -> Iterator[tuple[str, Decimal]]:
    """The cost of a session on each UTC day that it ran, as a bill has it: by the share of its time."""
    start, end = (datetime.fromisoformat(moment) for moment in (session.start, session.end))
    whole, usd = Decimal((end - start).total_seconds()), Decimal(str(session.cost_usd))
    if whole <= 0 or start.year < 2000:
        yield session.start[:10], usd
        return
    at = start
    while at < end:
        midnight = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0)
        until = min(midnight, end)
        yield f"{at:%Y-%m-%d}", usd * Decimal((until - at).total_seconds()) / whole
        at = until


def render_differences(differences: list[BillDifference]) -> str:
    if not differences:
        return "Nothing was billed and nothing logged in this time."
    lines = ["Day         Pod               Billed    Logged  Difference"]
    for one in differences:
        mark = "  <- look here" if one.matters else ""
        pod = escape_line(one.pod_id) or "(no pod id)"
        lines.append(f"{escape_line(one.day)}  {pod:16}  {one.billed:7.2f}  {one.logged:8.2f}  {one.billed - one.logged:+10.2f}{mark}")
    return "\n".join(lines)
