"""One step as a process of its own group: its output is shown and kept whole, and nothing of it stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from lifeos.process_group import ProcessGroup
from lifeos.signals import deaf_to_signals

BLOCK_BYTES = 1 << 16
GRACE_SECONDS = 30.0
"""From SIGTERM to SIGKILL: a batch files what it has, a training run first stops its own trainer."""

DRAIN_SECONDS = 1.0
"""How long to wait for output after the step itself has ended: a child it left behind keeps the pipe open for ever."""

CHECK_SECONDS = 0.2
MAX_LOG_BYTES = 256 << 20


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
        group = ProcessGroup(command, cwd, _environment(), stdin=source, stderr=subprocess.STDOUT, ends_with_parent=True)
        child = group.process
        assert child.stdout is not None
        pump = threading.Thread(target=_pump, args=(child.stdout, record, show), daemon=True)
        pump.start()
        stopped = ""
        try:
            while child.poll() is None:
                stopped = watch(time.monotonic() - begun)
                if stopped:
                    group.stop((signal.SIGTERM, GRACE_SECONDS))
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(CHECK_SECONDS)
            pump.join(DRAIN_SECONDS)
            left_children = not stopped and group.is_alive()
        finally:
            if group.is_alive():
                with deaf_to_signals():
                    group.stop((signal.SIGTERM, GRACE_SECONDS))
            pump.join(DRAIN_SECONDS)
            if not pump.is_alive():
                child.stdout.close()
        return Ended(child.returncode, time.monotonic() - begun, stopped, left_children)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


def _input(stdin: Path | None) -> contextlib.AbstractContextManager[IO[bytes] | int]:
    return open(stdin, "rb") if stdin is not None else contextlib.nullcontext(subprocess.DEVNULL)


def _pump(pipe: IO[bytes], record: IO[bytes], show: BinaryIO) -> None:
    """Bytes as they come: a flood is passed on block by block, and the log stops growing at its limit.

    A full disk or a closed terminal costs its own copy only: the pipe is read to its end, or the step would hang.
    """
    written = 0
    with contextlib.suppress(ValueError):  # the pipe is closed under us when the step is over
        while block := pipe.read(BLOCK_BYTES):
            with contextlib.suppress(OSError):
                show.write(block)
                show.flush()
            if written < MAX_LOG_BYTES:
                with contextlib.suppress(OSError):
                    record.write(block)
                    record.flush()
                written += len(block)
                if written >= MAX_LOG_BYTES:
                    record.write(b"\n[the log ends here: the step wrote more than it may keep]\n")
