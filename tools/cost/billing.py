"""RunPod's own bill beside our log, by pod and day. The API key comes from the environment and is never printed or logged.

REST API: GET /billing/pods, one record for each pod and day with `podId`, `time` and `amount` in dollars.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from lifeos.errors import InputError, UnavailableError
from lifeos.files import read_records

API_URL = "https://rest.runpod.io/v1"
KEY_VARIABLE = "RUNPOD_API_KEY"
TIMEOUT_SECONDS = 30
TOLERANCE_USD = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Difference:
    """One pod and UTC day: what RunPod billed and what the log says."""

    day: str
    pod_id: str
    billed: Decimal
    logged: Decimal

    @property
    def matters(self) -> bool:
        return abs(self.billed - self.logged) > TOLERANCE_USD


def fetch_bill(since: date, until: date, api_url: str = API_URL) -> dict[tuple[str, str], Decimal]:
    """Dollars billed by (day, pod). Raises InputError without a key, UnavailableError when RunPod does not answer as expected."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise InputError(KEY_VARIABLE, "not set", "put your RunPod API key into this environment variable")
    if not key.isascii() or not key.isprintable():  # http.client would quote the whole key in its error
        raise InputError(KEY_VARIABLE, "holds a line end or another character that no key has", "copy the key again")
    query = urllib.parse.urlencode(
        {
            "bucketSize": "day",
            "grouping": "podId",
            "startTime": f"{since}T00:00:00Z",
            "endTime": f"{until + timedelta(days=1)}T00:00:00Z",
        }
    )
    request = urllib.request.Request(f"{api_url}/billing/pods?{query}")
    request.add_unredirected_header("Authorization", f"Bearer {key}")  # urllib sends other headers wherever a redirect leads
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as reply:
            document = json.loads(reply.read(), parse_float=Decimal, parse_int=Decimal)
    except urllib.error.HTTPError as error:
        hint = f"check {KEY_VARIABLE}" if error.code in (401, 403) else "try again later"
        raise UnavailableError("RunPod billing", f"answered {error.code}", hint) from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UnavailableError("RunPod billing", f"no usable answer: {getattr(error, 'reason', None) or error}") from None
    return _by_pod_and_day(document)


def _by_pod_and_day(document: Any) -> dict[tuple[str, str], Decimal]:
    billed: dict[tuple[str, str], Decimal] = {}
    try:
        for record in document:
            key = (str(record["time"])[:10], str(record.get("podId") or ""))
            billed[key] = billed.get(key, Decimal(0)) + Decimal(record["amount"])
    except (TypeError, KeyError, ArithmeticError, AttributeError):
        raise UnavailableError("RunPod billing", "the answer has another form than documented") from None
    return billed


def compare_bill(log_file: Path, billed: dict[tuple[str, str], Decimal], since: date, until: date) -> list[Difference]:
    """Bill and log side by side, by day and pod, sorted. Sessions without a pod id stand under an empty one."""
    logged: dict[tuple[str, str], Decimal] = {}
    for record in read_records(log_file) if log_file.exists() else ():
        day = str(record.data.get("start", ""))[:10]
        if since.isoformat() <= day <= until.isoformat() and isinstance(record.data.get("cost_usd"), int | float):
            key = (day, str(record.data.get("pod_id") or ""))
            logged[key] = logged.get(key, Decimal(0)) + Decimal(str(record.data["cost_usd"]))
    zero = Decimal(0)
    return [Difference(day, pod, billed.get((day, pod), zero), logged.get((day, pod), zero)) for day, pod in sorted({*billed, *logged})]


def render_differences(differences: list[Difference]) -> str:
    if not differences:
        return "Nothing was billed and nothing logged in this time."
    lines = ["Day         Pod               Billed    Logged  Difference"]
    for one in differences:
        mark = "  <- look here" if one.matters else ""
        lines.append(
            f"{one.day}  {one.pod_id or '(no pod id)':16}  {one.billed:7.2f}  {one.logged:8.2f}  {one.billed - one.logged:+10.2f}{mark}"
        )
    return "\n".join(lines)
