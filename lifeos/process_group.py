"""A program and all that it starts, as one thing to be stopped.

`accelerate launch` starts the trainer as its child and, ended by SIGTERM, leaves it behind with the GPU busy; an agent starts
whatever it likes. So the first process gets a session of its own, and signals go to the whole group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

KILL_SECONDS = 5.0
POLL_SECONDS = 0.05
ASKED = ["ppid"] if sys.platform == "win32" else ["status"]
"""What tells whether a process belongs to a group, of each process of the machine."""

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the one that started it dies."""

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ProcessGroup:
    """A started command. Its stdout is a pipe, and so is stderr unless `stderr` says otherwise (`subprocess.STDOUT` merges them).

    With `ends_with_parent` (Linux) the first process gets SIGTERM when the one that started it dies, even by SIGKILL.
    Raises OSError if the command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        *,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stderr: int = subprocess.PIPE,
        ends_with_parent: bool = False,
    ) -> None:
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        elif ends_with_parent and LIBC is not None:
            options["preexec_fn"] = _end_with_parent
        program = [find_program(command[0], env), *command[1:]]
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            program, cwd=cwd, env=dict(env), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, bufsize=0, **options
        )

    @property
    def id(self) -> int:
        """The process id of the first process, which is the group's id."""
        return self.process.pid

    def stop(self, *signals: tuple[int, float]) -> None:
        """Send each (signal, seconds to wait for it), then insist. Returns when none is left, or none can be reached."""
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                self.process.send_signal(signal.CTRL_BREAK_EVENT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(signals[0][1] if signals else KILL_SECONDS)
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(self.id)], capture_output=True, check=False)
        else:
            for number, seconds in (*signals, (signal.SIGKILL, KILL_SECONDS)):
                if not _send(self.id, number) or self._wait_until_empty(seconds):
                    break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(KILL_SECONDS)

    def is_alive(self) -> bool:
        """Whether any process of the group still runs."""
        return self.process.poll() is None or is_group_alive(self.id)

    def _wait_until_empty(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.is_alive():
                return True
            time.sleep(POLL_SECONDS)
        return False


def find_program(name: str, env: Mapping[str, str]) -> str:
    """What a bare name starts: the program on PATH, with its whole name, since Windows by itself looks for `.exe` alone and not `.cmd`."""
    return name if Path(name).name != name else shutil.which(name, path=env.get("PATH")) or name


def is_group_alive(group: int) -> bool:
    """Whether a process group has a process that is no zombie. Windows has no groups: the process itself, or one that it started."""
    import psutil

    return _send(group, 0) and any(_belongs(process, group) for process in psutil.process_iter(ASKED))


def _belongs(process: psutil.Process, group: int) -> bool:
    if sys.platform == "win32":
        return group in (process.pid, process.info["ppid"])
    else:  # noqa: RET505 - mypy reads it for each platform
        try:
            return process.info["status"] != "zombie" and os.getpgid(process.pid) == group
        except (ProcessLookupError, PermissionError):
            return False


def _send(group: int, number: int) -> bool:
    """Send a signal (0 only asks) to a group of processes. False if there is no such group."""
    if sys.platform != "win32":
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # macOS says so of a zombie too
            return True
    return True


def _end_with_parent() -> None:
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
