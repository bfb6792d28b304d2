"""Whether a process lives, and when it began, by what the system says without a package: locks and the launcher need it so."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT_COMMAND = ("sysctl", "-n", "kern.bootsessionuuid")
BOOT_COMMAND_SECONDS = 5
START_FIELD = 19
"""Of /proc/PID/stat after the name: the start time, in clock ticks since the machine started. A clock that is set does not change it."""


def is_alive(pid: int) -> bool:
    """Whether there is a process of this id. Windows cannot be asked without a package: there each counts as alive."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def boot_id() -> str:
    """What tells one start of the machine from another (Linux, macOS); empty where the system does not say."""
    with contextlib.suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    return _ask_boot_id() if sys.platform == "darwin" else ""


def _ask_boot_id() -> str:
    import subprocess  # takes milliseconds to import, which Linux need not pay

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(BOOT_COMMAND, capture_output=True, text=True, timeout=BOOT_COMMAND_SECONDS, check=True).stdout.strip()
    return ""


def start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since the start of the machine (Linux); None where there is no such process, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[START_FIELD])  # the name before it may hold spaces and parentheses
    except (OSError, ValueError, IndexError):
        return None


def birth(pid: int) -> str:
    """What tells a process from a later one of the same id: the boot and when it began. Empty where the system does not say."""
    ticks = start_ticks(pid)
    return f"{boot_id()} {ticks}" if ticks is not None else ""
