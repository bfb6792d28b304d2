"""RunPod's own bill beside our log, by pod and day. The API key comes from the environment and is never printed or logged.

REST API: GET /billing/pods, one record for each pod and day with `podId`, `time` and `amount` in dollars.
"""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from lifeos import files, foreign, web
from lifeos.errors import InputError, UnavailableError
from lifeos.escaping import escape_line
from tools.cost.ledger import read_sessions

API_URL = "https://rest.runpod.io/v1"
KEY_VARIABLE = "RUNPOD_API_KEY"
TIMEOUT_SECONDS = 30
BILLING = "RunPod billing"
TOLERANCE_USD = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class BilledDay:
    """A record of RunPod's answer. `time` begins with the UTC day."""

    time: str
    amount: float
    podId: str | None = None


@dataclass(frozen=True, slots=True)
class BillDifference:
    """One pod and UTC day: what RunPod billed and what the log says."""

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
            "grouping": "podId",
            "startTime": f"{since}T00:00:00Z",
            "endTime": f"{min(until, date.max - timedelta(days=1)) + timedelta(days=1)}T00:00:00Z",
        }
    )
    headers = {"Authorization": f"Bearer {_read_key()}"}
    try:
        data = web.get(f"{api_url}/billing/pods?{query}", BILLING, seconds=TIMEOUT_SECONDS, headers=headers)
    except web.StatusError as error:
        hint = f"check {KEY_VARIABLE}" if error.status in (401, 403) else "try again later"
        raise UnavailableError(BILLING, error.why, hint) from None
    billed: dict[tuple[str, str], Decimal] = {}
    for record in foreign.decode(data, list[BilledDay], BILLING, not_finite="refuse", error=UnavailableError):
        key = (record.time[:10], record.podId or "")
        billed[key] = billed.get(key, Decimal(0)) + Decimal(str(record.amount))
    return billed


def _read_key() -> str:
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
        day = session.start[:10]
        if since.isoformat() <= day <= until.isoformat():
            key = (day, session.pod_id or "")
            logged[key] = logged.get(key, Decimal(0)) + Decimal(str(session.cost_usd))
    zero = Decimal(0)
    return [BillDifference(day, pod, billed.get((day, pod), zero), logged.get((day, pod), zero)) for day, pod in sorted({*billed, *logged})]


def render_differences(differences: list[BillDifference]) -> str:
    if not differences:
        return "Nothing was billed and nothing logged in this time."
    lines = ["Day         Pod               Billed    Logged  Difference"]
    for one in differences:
        mark = "  <- look here" if one.matters else ""
        pod = escape_line(one.pod_id) or "(no pod id)"
        lines.append(f"{escape_line(one.day)}  {pod:16}  {one.billed:7.2f}  {one.logged:8.2f}  {one.billed - one.logged:+10.2f}{mark}")
    return "\n".join(lines)
