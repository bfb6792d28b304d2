"""A program and all that it starts, as one thing to be stopped.

`accelerate launch` starts the trainer as its child and, ended by SIGTERM, leaves it behind with the GPU busy. So the launcher gets
a session of its own, and signals go to the whole group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

INTERRUPT_SECONDS, TERMINATE_SECONDS, KILL_SECONDS = 15.0, 5.0, 5.0
POLL_SECONDS = 0.05


class ProcessGroup:
    """A started command with its stdout and stderr as pipes."""

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        options: dict[str, object] = {"start_new_session": True}
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            **options,  # type: ignore[call-overload]
        )

    @property
    def id(self) -> int:
        """The process id of the first process, which is the group's id."""
        return self.process.pid

    def stop(self) -> None:
        """Ask all of them to end (as Ctrl-C does), then insist. Returns when none is left, or none can be reached."""
        steps = ((signal.SIGINT, INTERRUPT_SECONDS), (signal.SIGTERM, TERMINATE_SECONDS))
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                self.process.send_signal(signal.CTRL_BREAK_EVENT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(INTERRUPT_SECONDS)
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(self.id)], capture_output=True, check=False)
            return
        for number, seconds in (*steps, (signal.SIGKILL, KILL_SECONDS)):
            if not self._signal(number) or self._wait_until_empty(seconds):
                break
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(KILL_SECONDS)

    def is_alive(self) -> bool:
        """Whether any process of the group still runs."""
        if sys.platform == "win32":
            return self.process.poll() is None
        return self.process.poll() is None or is_group_alive(self.id)

    def _signal(self, number: int) -> bool:
        if sys.platform != "win32":
            try:
                os.killpg(self.id, number)
            except ProcessLookupError:
                return False
        return True

    def _wait_until_empty(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.is_alive():
                return True
            time.sleep(POLL_SECONDS)
        return False


def is_group_alive(group: int) -> bool:
    """Whether a process group has a process that is no zombie. Without /proc, zombies count as alive."""
    if sys.platform == "win32":
        return False
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():
        return True
    return any(_group_of(entry) == group for entry in proc.iterdir() if entry.name.isdecimal())


def _group_of(entry: Path) -> int | None:
    """The process group of a /proc entry; None if it is gone or a zombie."""
    try:
        # pid (name, which may hold spaces and parentheses) state ppid pgrp …
        state, _, group = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(group)
