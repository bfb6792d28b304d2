"""Locks between processes, on the standard library alone: the launcher and the meter need them before anything is installed.

`exclusive` guards a short write to an open file. `hold` guards a directory or log for as long as a process works on it, and
tells who holds it. Network volumes do not always honour locks between machines: `hold` also reads the owner's record, and a
record of another host that was touched less than `STALE_SECONDS` ago counts as held.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from lifeos.errors import LockedError

STALE_SECONDS = 120
FAR_OFFSET = 1 << 40
"""Windows locks are byte ranges that block readers too: lock a byte that no one reads."""

UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[Any], *, wait: bool) -> bool:
        while True:
            file.seek(FAR_OFFSET)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
                time.sleep(0.02)

    def _unlock(file: IO[Any]) -> None:
        file.seek(FAR_OFFSET)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(file: IO[Any], *, wait: bool) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        return True

    def _unlock(file: IO[Any]) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def exclusive(file: IO[Any]) -> Iterator[None]:
    """Wait for, and hold, the exclusive lock on an open file."""
    _lock(file, wait=True)
    try:
        yield
    finally:
        file.flush()
        _unlock(file)


class Held:
    """A lock in hand. `refresh` it now and then where other machines may look at it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def refresh(self) -> None:
        with contextlib.suppress(OSError):
            os.utime(self.path)


@contextlib.contextmanager
def hold(path: Path, what: str, *, wait: bool = False) -> Iterator[Held]:
    """Hold the lock file `path` while the body runs. The file stays behind, empty: removing it would race with the next holder.

    Raises LockedError, naming the holder, if another process has it (with `wait`, only when another machine has).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        if not _lock(file, wait=wait):
            raise LockedError(what, f"in use by {_describe(_owner(file))}", "wait for it to end, or stop it")
        try:
            owner = _owner(file)
            if owner and owner.get("host") != socket.gethostname() and time.time() - path.stat().st_mtime < STALE_SECONDS:
                raise LockedError(what, f"in use by {_describe(owner)}", f"wait for it to end, or {STALE_SECONDS} s after it died")
            _write(file, {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")})
            try:
                yield Held(path)
            finally:
                _write(file, None)
        finally:
            _unlock(file)


def _owner(file: IO[str]) -> dict[str, Any]:
    try:
        file.seek(0)
        record = json.loads(file.read())
    except (ValueError, OSError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _describe(owner: dict[str, Any]) -> str:
    if not owner:
        return "another process"
    return f"process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}"


def _write(file: IO[str], record: dict[str, Any] | None) -> None:
    with contextlib.suppress(OSError):  # the lock itself stands; only its description is lost
        file.seek(0)
        file.truncate()
        if record is not None:
            file.write(json.dumps(record))
        file.flush()
