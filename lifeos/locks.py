"""Locks between processes, on the standard library alone: the launcher and the meter need them before anything is installed.

`exclusive` guards a short write to an open file. `hold` guards a directory or log for as long as a process works on it, and
tells who holds it. Network volumes do not always honour locks between machines: `hold` also reads the owner's record, and a
record of another host that was touched less than `STALE_SECONDS` ago counts as held. On a volume that has no locks at all (some FUSE
and NFS mounts) a claim beside the file stands for the lock: created by one process only, it counts while that process lives.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from lifeos import times
from lifeos.errors import LockedError
from lifeos.liveness import birth, is_alive

STALE_SECONDS = 120
POLL_SECONDS = 0.02
CLAIM_SUFFIX = ".claim"
FAR_OFFSET = 1 << 40
"""Windows locks are byte ranges that block readers too: lock a byte that no one reads."""

UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
TAKEN = (errno.EACCES, errno.EDEADLK)
"""What Windows answers when another process has the bytes. Any other error is one, and waiting would not mend it."""

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[Any], *, wait: bool) -> bool:
        while True:
            file.seek(FAR_OFFSET)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                return True
            except OSError as error:
                if error.errno not in TAKEN:
                    raise
                if not wait:
                    return False
                time.sleep(POLL_SECONDS)

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
        return True

    def _unlock(file: IO[Any]) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


def _acquire(file: IO[Any], path: Path, *, wait: bool) -> Callable[[], None] | None:
    """What lets the lock of an open file go again; None if another process has it. Raises OSError if it cannot be asked for."""
    try:
        return functools.partial(_unlock, file) if _lock(file, wait=wait) else None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            error.filename = error.filename or str(path)
            raise
    claim = path.with_name(path.name + CLAIM_SUFFIX)
    while not _claim(claim):
        if not wait:
            return None
        time.sleep(POLL_SECONDS)
    return functools.partial(claim.unlink, missing_ok=True)


def _claim(claim: Path) -> bool:
    """Create the claim, which only one process can; False if it counts for another. One that counts for nobody is taken over."""
    if _create(claim):
        return True
    owner, text = _read_claim(claim)
    if text is not None:
        if _counts(claim, owner):
            return False
        _remove(claim, text)
    return _create(claim)


def _create(claim: Path) -> bool:
    try:
        handle = os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with open(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(_ourselves()))
    return True


def _remove(claim: Path, text: str) -> None:
    """Take away a claim that reads `text`. Of several that try at once one moves it; another may move the new claim: it gives that back."""
    taken = claim.with_name(f"{claim.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        claim.rename(taken)
        if _read_claim(taken)[1] != text:
            os.link(taken, claim)
        taken.unlink()


def _read_claim(claim: Path) -> tuple[dict[str, Any], str | None]:
    """The owner in a claim, and its text; None if it is gone."""
    try:
        text = claim.read_text(encoding="utf-8")
    except OSError:
        return {}, None
    return _parse(text), text


def _counts(claim: Path, owner: dict[str, Any]) -> bool:
    pid = owner.get("pid")
    if owner.get("host") == socket.gethostname() and isinstance(pid, int) and pid > 0:
        return is_alive(pid) and owner.get("started") == birth(pid)
    try:
        return time.time() - claim.stat().st_mtime < STALE_SECONDS
    except OSError:
        return False


def _ourselves() -> dict[str, Any]:
    pid = os.getpid()
    return {"pid": pid, "host": socket.gethostname(), "since": times.stamp(), "started": birth(pid)}


@contextlib.contextmanager
def exclusive(file: IO[Any]) -> Iterator[None]:
    """Wait for, and hold, the exclusive lock on an open file."""
    release = _acquire(file, Path(file.name), wait=True)
    try:
        yield
    finally:
        file.flush()
        if release is not None:
            release()


def is_held(path: Path) -> bool:
    """Whether the owner that a lock file of `hold` names is still at work, for those who only look: nothing is locked or written."""
    owner = _read_claim(path)[0]
    return bool(owner) and _counts(path, owner)


class Held:
    """A lock in hand. `refresh` it now and then where other machines may look at it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def refresh(self) -> None:
        for path in (self.path, self.path.with_name(self.path.name + CLAIM_SUFFIX)):
            with contextlib.suppress(OSError):
                os.utime(path)


@contextlib.contextmanager
def hold(path: Path, what: str, *, wait: bool = False) -> Iterator[Held]:
    """Hold the lock file `path` while the body runs. The file stays behind, empty: removing it would race with the next holder.

    Raises LockedError, naming the holder, if another process has it (with `wait`, only when another machine has; where a claim stands for
    the lock, that one is waited for too).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        release = _acquire(file, path, wait=wait)
        if release is None:
            raise LockedError(what, f"in use by {_describe(_owner(file))}", "wait for it to end, or stop it")
        try:
            owner = _owner(file)
            if owner and owner.get("host") != socket.gethostname() and time.time() - path.stat().st_mtime < STALE_SECONDS:
                raise LockedError(what, f"in use by {_describe(owner)}", f"wait for it to end, or {STALE_SECONDS} s after it died")
            _write(file, _ourselves())
            try:
                yield Held(path)
            finally:
                _write(file, None)
        finally:
            release()


def _owner(file: IO[str]) -> dict[str, Any]:
    try:
        file.seek(0)
        return _parse(file.read())
    except (ValueError, OSError):
        return {}


def _parse(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
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
