"""What the guard stopped, why, and what that saved: records of its log, one JSON line each, that survive the guard.

A stop has up to three lines: `asked`, before RunPod is asked; `settled`, with what came of it; `ended`, when the pod runs again or is gone,
with how long it stood. Until then the guard's state file knows how long it was seen standing.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from lifeos import files, foreign
from lifeos.errors import LifeosError
from lifeos.escaping import escape_line
from tools.cost.guard_rules import GuardRules, PodMemory
from tools.cost.ledger import to_utc
from tools.cost.pods_api import RentedPod

GUARD_LOG = "guard_log.jsonl"
GUARD_STATE = ".guard_state.json"
HOURS_PER_MONTH = 730.0
COUNTED_HOURS = 12.0
"""Of each stop at most so much counts as saved: nobody knows how long a forgotten pod would have stayed forgotten."""

STOPPED, REFUSED, WITHDRAWN, GONE = "stopped", "refused", "withdrawn", "gone"
MAX_USD_PER_HR = 1e6


@dataclass(frozen=True, slots=True)
class GuardRecord:
    """A line of the log. Raises ValueError for amounts or a time that none are."""

    stop_id: str
    event: Literal["asked", "settled", "ended"]
    at: str
    pod_id: str = ""
    pod_name: str = ""
    reason: str = ""
    why: str = ""
    usd_per_hr: float | None = None
    volume_usd_per_hr: float | None = None
    outcome: str = ""
    detail: str = ""
    stood_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not to_utc(self.at):
            raise ValueError(f"{self.at[:40]!r} is no time")
        amounts = (self.usd_per_hr or 0.0, self.volume_usd_per_hr or 0.0)
        if any(not 0 <= amount <= MAX_USD_PER_HR for amount in amounts) or self.stood_seconds < 0:
            raise ValueError("an amount below 0, or too large")


@dataclass(frozen=True, slots=True)
class GuardLook:
    """When the guard last looked: RunPod's clock, the machine's, and its uptime within one boot."""

    server: str = ""
    wall: str = ""
    boot: str = ""
    uptime: float = 0.0


@dataclass(frozen=True, slots=True)
class GuardState:
    """The state file."""

    looked: GuardLook = field(default_factory=GuardLook)
    pods: dict[str, PodMemory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GuardStop:
    """A pod that the guard stopped, and what that saved so far."""

    stop_id: str
    pod: str
    at: str
    reason: str
    why: str
    outcome: str
    stood_seconds: float
    usd_per_hr: float | None
    volume_usd_per_hr: float | None

    @property
    def saved_usd(self) -> Decimal | None:
        """None where RunPod did not tell what the pod costs. What the volume costs meanwhile is taken off."""
        if self.outcome != STOPPED:
            return Decimal(0)
        if self.usd_per_hr is None:
            return None
        hours = min(self.stood_seconds / 3600, COUNTED_HOURS)
        return Decimal(str(round(max(self.usd_per_hr - (self.volume_usd_per_hr or 0.0), 0.0) * hours, 4)))


class GuardLog:
    """The log of one guard. `now()` gives RunPod's time as text."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, pod: RentedPod, reason: str, why: str, at: str, rules: GuardRules) -> str:
        """Write down that a stop is about to be asked for; the id of the stop. Raises OSError: then nothing may be asked."""
        stop_id = secrets.token_hex(6)
        volume = volume_usd_per_hr(pod, rules)
        self._append(
            GuardRecord(stop_id, "asked", at, pod.id, escape_line(pod.name or ""), reason, why, usd_per_hr(pod), volume),
            ("pod_id", "pod_name", "reason", "why", "usd_per_hr", "volume_usd_per_hr"),
        )
        return stop_id

    def settle(self, stop_id: str, at: str, outcome: str, detail: str = "") -> None:
        self._append(GuardRecord(stop_id, "settled", at, outcome=outcome, detail=detail), ("outcome", "detail"))

    def end(self, stop_id: str, at: str, stood_seconds: float) -> None:
        """The pod runs again, or is gone."""
        self._append(GuardRecord(stop_id, "ended", at, stood_seconds=round(stood_seconds, 1)), ("stood_seconds",))

    def _append(self, record: GuardRecord, names: tuple[str, ...]) -> None:
        told = {name: getattr(record, name) for name in ("stop_id", "event", "at", *names)}
        files.append_record(self.path, {"schema": 1, **told})


def usd_per_hr(pod: RentedPod) -> float | None:
    return pod.cost if pod.cost is not None and 0 < pod.cost <= MAX_USD_PER_HR else None


def volume_usd_per_hr(pod: RentedPod, rules: GuardRules) -> float | None:
    """What the pod's own volume costs while it is stopped; 0 without one, None where its size is not told.

    A network volume has a bill of its own, which a stop does not change.
    """
    volume = pod.mounts.persistent if pod.mounts else None
    if volume is None:
        return 0.0
    if volume.size is None or volume.size < 0:
        return None
    return round(min(volume.size * rules.volume_usd_per_gb_month / HOURS_PER_MONTH, MAX_USD_PER_HR), 6)


def read_state(path: Path) -> GuardState:
    """What a guard before this one knew. Raises InputError for a file that is none."""
    if not path.exists():
        return GuardState()
    return foreign.read_file(path, GuardState, not_finite="refuse", fix="remove the file: each pod's idle time then begins anew")


def write_state(path: Path, state: GuardState) -> None:
    from dataclasses import asdict

    files.write_json(path, {"schema": 1, **asdict(state)})


def read_stops(log: Path, state_file: Path, since: date | None = None, until: date | None = None) -> list[GuardStop]:
    """The stops of the log from `since` to `until` (UTC), oldest first. Lines that are none are named and left out."""
    if not log.exists():
        return []
    stops: dict[str, GuardStop] = {}
    for line in foreign.read_lines(log, GuardRecord, not_finite="refuse"):
        if isinstance(line, foreign.BadLine):
            files.warn(f"left out of the report: {line.error}")
            continue
        one = line.record
        if one.event == "asked":
            name = f"{one.pod_name} ({one.pod_id})" if one.pod_name else one.pod_id
            stops[one.stop_id] = GuardStop(
                one.stop_id, name, to_utc(one.at), one.reason, one.why, "", 0.0, one.usd_per_hr, one.volume_usd_per_hr
            )
        elif one.stop_id in stops and one.event == "settled":
            stops[one.stop_id] = replace(stops[one.stop_id], outcome=one.outcome)
        elif one.stop_id in stops:
            stops[one.stop_id] = replace(stops[one.stop_id], stood_seconds=one.stood_seconds)
    standing = _read_standing(state_file)
    found = [replace(stop, stood_seconds=max(stop.stood_seconds, standing.get(stop.stop_id, 0.0))) for stop in stops.values()]
    first, last = (since or date.min).isoformat(), (until or date.max).isoformat()
    return [stop for stop in found if first <= stop.at[:10] <= last]


def find_unsettled(log: Path) -> dict[str, str]:
    """By pod, the stop that was asked for last and of which the log does not say what came of it."""
    unsettled: dict[str, str] = {}
    with contextlib.suppress(LifeosError):  # where the log cannot be read, nothing can be written down either
        for line in foreign.read_lines(log, GuardRecord, not_finite="refuse") if log.exists() else ():
            if isinstance(line, foreign.BadLine):
                continue
            if line.record.event == "asked":
                unsettled[line.record.pod_id] = line.record.stop_id
            else:
                unsettled = {pod: stop for pod, stop in unsettled.items() if stop != line.record.stop_id}
    return unsettled


def _read_standing(state_file: Path) -> dict[str, float]:
    """How long each stopped pod was seen standing."""
    try:
        return {one.stop_id: one.stopped_seconds for one in read_state(state_file).pods.values() if one.stop_id}
    except LifeosError as error:
        files.warn(f"left out of the report: {error}")
        return {}


def stop_document(stop: GuardStop) -> Mapping[str, Any]:
    """A stop for programs."""
    return {
        "stop_id": stop.stop_id,
        "pod": stop.pod,
        "at": stop.at,
        "reason": stop.reason,
        "why": stop.why,
        "outcome": stop.outcome or None,
        "stopped_hours": round(stop.stood_seconds / 3600, 4),
        "saved_usd": None if stop.saved_usd is None else f"{stop.saved_usd:.4f}",
    }
