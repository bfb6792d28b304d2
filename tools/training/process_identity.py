"""Whether a recorded process group is still the one that was recorded: process ids are used again, and after a restart all of them."""

from __future__ import annotations

import contextlib
import os
import sys
from datetime import datetime

from lifeos import liveness
from lifeos.process_group import is_group_alive

RUN_VARIABLE = "LIFEOS_TRAINING_RUN"
"""Every process of a training has its run id in its environment under this name."""

TOLERANCE_SECONDS = 2.0
"""Where the system does not count in ticks, the start time is by the clock, and rounded."""


def start_time(pid: int) -> float | None:
    """When a process began: clock ticks since the machine's start on Linux, else seconds since 1970; None if there is no such process."""
    ticks = liveness.start_ticks(pid)
    if ticks is not None:
        return float(ticks)
    import psutil

    with contextlib.suppress(psutil.Error, ValueError, OverflowError):
        return float(psutil.Process(pid).create_time())
    return None


def is_same_group(group: int, run_id: str, boot: str | None, started: float | None, recorded_at: str | None) -> bool:
    """Whether a group lives and is the recorded one of a run.

    `boot`, `started`: as recorded, None by version 3.0.0. `recorded_at`: when the record was begun (UTC), by which a start of the machine
    since then can be told without them.
    """
    if boot and liveness.boot_id() not in ("", boot):
        return False
    if not boot and recorded_at and _machine_started_after(recorded_at):
        return False
    if not is_group_alive(group):
        return False
    if started is None:
        return True
    now = start_time(group)
    if now is not None:  # an id is not given again while its group has members: the leader tells for all
        return abs(now - started) <= (TOLERANCE_SECONDS if liveness.start_ticks(group) is None else 0)
    return _has_member_of(group, run_id)


def _machine_started_after(moment: str) -> bool:
    import psutil

    try:
        return datetime.fromisoformat(moment).timestamp() < psutil.boot_time()
    except (ValueError, OSError, OverflowError):
        return False


def _has_member_of(group: int, run_id: str) -> bool:
    """Whether a process of the group has the run in its environment; also if none lets us look: then nothing speaks against it."""
    import psutil

    may_look = False
    for process in psutil.process_iter():
        try:
            if sys.platform != "win32" and os.getpgid(process.pid) != group:
                continue
            may_look = True
            if process.environ().get(RUN_VARIABLE) == run_id:
                return True
        except psutil.AccessDenied:
            return True
        except (psutil.Error, OSError):
            continue
    return not may_look
