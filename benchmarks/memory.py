"""How much memory a process needs, as the kernel counts it. For Linux and macOS: Windows counts otherwise."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lifeos.errors import UnavailableError

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class ChildUse:
    """What a child process that has ended used: seconds since `began`, its exit code, its peak memory in MiB."""

    seconds: float
    exit_code: int
    peak_mb: float


def peak_mb() -> float:
    """The most memory that this process held so far, in MiB. Raises UnavailableError on Windows."""
    if sys.platform == "win32":
        raise _not_counted()
    else:  # noqa: RET506 - mypy reads it for each platform
        import resource

        return _to_mb(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def wait_for(process: subprocess.Popen[bytes], began: float) -> ChildUse:
    """Wait for a child whose streams are read to their ends. Raises UnavailableError on Windows."""
    if sys.platform == "win32":
        raise _not_counted()
    else:  # noqa: RET506 - mypy reads it for each platform
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return ChildUse(time.perf_counter() - began, process.returncode, _to_mb(usage.ru_maxrss))


def resident_mb() -> float:
    """Resident memory of this process now, in millions of bytes, of what is still in use. Raises UnavailableError but on Linux."""
    counted = Path("/proc/self/statm")
    if sys.platform == "win32" or not counted.exists():
        raise UnavailableError("resident memory", "not counted here", "run this benchmark on Linux")
    else:  # noqa: RET506 - mypy reads it for each platform
        gc.collect()
        return int(counted.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1_000_000


def machine_load() -> float:
    """Of the last minute: how many programs wanted to run at once. 0 on Windows, which does not tell."""
    tell = getattr(os, "getloadavg", None)
    return float(tell()[0]) if tell is not None else 0.0


def _to_mb(counted: int) -> float:
    """`ru_maxrss` is in KiB on Linux and in bytes on macOS."""
    return counted / (MEGABYTE if sys.platform == "darwin" else 1024)


def _not_counted() -> UnavailableError:
    return UnavailableError("memory", "not counted on Windows", "run this benchmark on Linux or macOS")
