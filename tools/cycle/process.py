"""One step as a process of its own group: its output is shown and kept whole, and nothing of it stays behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

BLOCK_BYTES = 1 << 16
GRACE_SECONDS = 10.0
"""From SIGTERM to SIGKILL: a trainer or a batch uses it to file what it has."""

DRAIN_SECONDS = 1.0
"""How long to wait for output after the step itself has ended: a child it left behind keeps the pipe open for ever."""

CHECK_SECONDS = 0.2
MAX_LOG_BYTES = 256 << 20
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the one that started it dies."""

LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `stopped` says why it was stopped by us (a limit), else empty. `code` is negative for a signal."""

    code: int
    seconds: float
    stopped: str = ""
    left_children: bool = False


def run_command(
    command: list[str],
    cwd: Path,
    log: Path,
    *,
    show: BinaryIO,
    stdin: Path | None = None,
    watch: Callable[[float], str] = lambda seconds: "",
) -> Ended:
    """Run a command to its end. `watch(seconds)` is called a few times a second and stops it by returning a reason.

    On KeyboardInterrupt (Ctrl-C, or SIGTERM made into one) the whole group is stopped before it is raised on. Raises OSError
    if the command cannot be started.
    """
    begun = time.monotonic()
    with open(log, "ab") as record, _input(stdin) as source:
        child = subprocess.Popen(
            command, cwd=cwd, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment(), **_own_group()
        )
        assert child.stdout is not None
        pump = threading.Thread(target=_pump, args=(child.stdout, record, show), daemon=True)
        pump.start()
        stopped = ""
        try:
            while child.poll() is None:
                stopped = watch(time.monotonic() - begun)
                if stopped:
                    end_group(child)
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(CHECK_SECONDS)
            child.wait()
        except BaseException:
            end_group(child)
            raise
        finally:
            pump.join(DRAIN_SECONDS)
            left = _group_lives(child)
            if left:
                _signal_group(child, signal.SIGTERM)
                pump.join(DRAIN_SECONDS)
                _kill_group(child)
                pump.join(DRAIN_SECONDS)
            if not pump.is_alive():
                child.stdout.close()
        return Ended(child.returncode, time.monotonic() - begun, stopped, left and not stopped)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, and make it after the grace time."""
    _signal_group(child, signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _kill_group(child)
        child.wait()


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


def _input(stdin: Path | None) -> contextlib.AbstractContextManager[IO[bytes] | int]:
    return open(stdin, "rb") if stdin is not None else contextlib.nullcontext(subprocess.DEVNULL)


def _pump(pipe: IO[bytes], record: IO[bytes], show: BinaryIO) -> None:
    """Bytes as they come: a flood is passed on block by block, and the log stops growing at its limit."""
    written = 0
    read = getattr(pipe, "read1", pipe.read)
    with contextlib.suppress(ValueError, OSError):  # the pipe is closed under us when the step is over
        while block := read(BLOCK_BYTES):
            show.write(block)
            show.flush()
            if written < MAX_LOG_BYTES:
                record.write(block)
                record.flush()
                written += len(block)
                if written >= MAX_LOG_BYTES:
                    record.write(b"\n[the log ends here: the step wrote more than it may keep]\n")


if sys.platform == "win32":

    def _own_group() -> dict[str, Any]:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

    def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
        with contextlib.suppress(OSError):
            child.send_signal(signal.CTRL_BREAK_EVENT)

    def _kill_group(child: subprocess.Popen[bytes]) -> None:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(child.pid)], capture_output=True, check=False)

    def _group_lives(child: subprocess.Popen[bytes]) -> bool:
        return False
else:

    def _own_group() -> dict[str, Any]:
        return {"start_new_session": True, "preexec_fn": _end_with_parent if sys.platform == "linux" else None}

    def _end_with_parent() -> None:
        """After kill -9 of the cycle its step must not run on, unseen and unpaid for: the kernel sends it SIGTERM."""
        if LIBC is not None:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)

    def _kill_group(child: subprocess.Popen[bytes]) -> None:
        _signal_group(child, signal.SIGKILL)

    def _group_lives(child: subprocess.Popen[bytes]) -> bool:
        try:
            os.killpg(child.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True
