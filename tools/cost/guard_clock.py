"""How much time passed between two looks of the guard, whoever set which clock meanwhile.

Within one start of the machine its uptime tells, which nobody can set. Across starts, and after the guard was started again where the
system names no boot, the shorter of two spans counts: by RunPod's Date header and by the machine's own clock. A clock that is off can
then only make the guard wait longer.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from lifeos import times
from tools.cost.guard_log import GuardLook
from tools.cost.session import Instant

OWN_BOOT = f"process {secrets.token_hex(6)}"
"""Stands for the boot where the system names none: uptimes are then compared within this process only."""


def make_look(instant: Instant, date_header: str) -> GuardLook:
    return GuardLook(read_date(date_header), times.stamp(instant.wall), instant.boot or OWN_BOOT, instant.uptime)


def read_date(header: str) -> str:
    """An HTTP date as UTC text; empty for what is none."""
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return ""
    return times.stamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def seconds_since(before: GuardLook, now: GuardLook) -> float:
    """Seconds between two looks, never below 0; 0 where nothing is known of the one before."""
    if before.boot and before.boot == now.boot:
        return max(now.uptime - before.uptime, 0.0)
    spans = [_between(before.server, now.server), _between(before.wall, now.wall)]
    return max(min((span for span in spans if span is not None), default=0.0), 0.0)


def _between(before: str, now: str) -> float | None:
    try:
        return (datetime.fromisoformat(now) - datetime.fromisoformat(before)).total_seconds()
    except (ValueError, TypeError):
        return None
