"""What it means when a process ends as it did not choose to: the signal that killed it, and what that usually comes from."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

USUALLY: dict[str, str] = {
    "SIGKILL": "usually the machine or its container ran out of memory (RAM, not the GPU's), or the pod was stopped; "
    "give it more memory, or train with fewer loader workers",
    "SIGTERM": "something asked it to end: a shutdown, the pod's scheduler, or a person",
    "SIGINT": "somebody pressed Ctrl-C",
    "SIGHUP": "its terminal was closed: start it with nohup or in tmux",
    "SIGSEGV": "a crash in a driver or a compiled package: look at the versions of PyTorch and the driver",
    "SIGBUS": "usually /dev/shm is too small for the data loader's workers, or a disk is full",
    "SIGILL": "a package that was built for another processor",
    "SIGABRT": "a compiled package gave up: the lines before it in the log say why",
}
SHELL_OFFSET = 128
"""A shell, and what imitates it, gives 128 + n for a process that signal n ended."""

MEMORY_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Where Linux counts what its out-of-memory killer ended in this container (cgroup 2, and 1)."""


def describe_returncode(returncode: int) -> str:
    """A return code that stands for a signal, in words; empty for any other. Negative: as subprocess gives it."""
    number = -returncode if returncode < 0 else returncode - SHELL_OFFSET
    try:
        name = signal.Signals(number).name
    except ValueError:
        return ""
    return describe_signal(name) if returncode < 0 or name in USUALLY else ""


def describe_signal(name: str) -> str:
    """`killed by SIGKILL: …`."""
    return f"killed by {name}" + (f": {USUALLY[name]}" if name in USUALLY else "")


def count_memory_kills() -> int | None:
    """How many processes the kernel's out-of-memory killer has ended in this container so far; None where it does not say."""
    for path in MEMORY_EVENTS:
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text(encoding="ascii").splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return None
