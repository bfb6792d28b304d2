"""Temporary files of `files.replacing`: named after who writes them, so that what a killed process left behind is known and removed."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
import zlib
from pathlib import Path

from lifeos.liveness import is_alive

NAME = re.compile(r"\..+\.(?:(?P<host>[0-9a-f]{4})(?P<pid>[0-9a-f]{8})[0-9a-f]{6}|[0-9a-f]{12})\.tmp", re.DOTALL)
"""`.report.md.` and the host, the process and chance, in hexadecimal; version 3.0 had chance alone."""

STALE_SECONDS = 3600
"""What a process of another machine (or of Windows, or of version 3.0) writes is left this long after its last change."""

_swept: set[Path] = set()


def temporary_name(name: str) -> str:
    """A new name beside `name`; nobody else makes the same."""
    return f".{name[:40]}.{_host()}{os.getpid() & 0xFFFFFFFF:08x}{os.urandom(3).hex()}.tmp"


def sweep_once(folder: Path) -> None:
    """Remove what killed processes left half written in a folder. Each folder is looked through once by each process."""
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".tmp") and entry.is_file(follow_symlinks=False) and is_left_behind(entry.name, entry.stat().st_mtime):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def is_left_behind(name: str, changed: float) -> bool:
    """Whether a file of this name, last changed at `changed` (seconds since 1970), is a temporary one that nobody writes any more."""
    found = NAME.fullmatch(name)
    if not found:
        return False
    if found["host"] == _host() and not is_alive(int(found["pid"], 16)):
        return True
    return time.time() - changed > STALE_SECONDS


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode('utf-8', 'replace')) & 0xFFFF:04x}"
