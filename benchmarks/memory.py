"""How much memory a process needs, as the kernel counts it. For Linux and macOS: Windows counts otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

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


def page_bytes() -> int:
    """The size of a page of memory. Raises UnavailableError on Windows."""
    if sys.platform == "win32":
        raise _not_counted()
    else:  # noqa: RET506 - mypy reads it for each platform
        return int(os.sysconf("SC_PAGE_SIZE"))


def _to_mb(counted: int) -> float:
    """`ru_maxrss` is in KiB on Linux and in bytes on macOS."""
    return counted / (MEGABYTE if sys.platform == "darwin" else 1024)


def _not_counted() -> UnavailableError:
    return UnavailableError("memory", "not counted on Windows", "run this benchmark on Linux or macOS")
