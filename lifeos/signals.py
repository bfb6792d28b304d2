"""What Ctrl-C, SIGTERM and a closed terminal do while something runs, and while it is being ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

Handler = Callable[[int, Any], None] | signal.Handlers

ENDINGS = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""What ends a run from outside: a pod that stops, a closed terminal, on Windows Ctrl-Break, a closed console or a user who logs off."""

EVERY_STOP = ("SIGINT", *ENDINGS)


def take(handler: Handler, names: tuple[str, ...] = EVERY_STOP) -> dict[int, Any]:
    """Handle those signals that this system has, and return what handled each before. One that is ignored (nohup) stays ignored."""
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return {number: signal.signal(number, handler) for number in numbers if signal.getsignal(number) is not signal.SIG_IGN}


def write_to_stderr(text: str) -> None:
    """From a signal handler: past Python's own buffers, and whether or not the terminal is still there."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """What ends a run from outside stops it as Ctrl-C does. For the main thread of a script."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with _handling(stop, ENDINGS):
        yield


@contextlib.contextmanager
def deaf_to_signals() -> Iterator[None]:
    """While something is being ended (a group of processes, the meter), an impatient second Ctrl-C must not leave half of it."""
    with _handling(signal.SIG_IGN, EVERY_STOP):
        yield


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """A signal that comes while the body runs takes effect right after it: what the body wrote and what it returned stay together."""
    caught: list[int] = []
    with _handling(lambda number, frame: caught.append(number), EVERY_STOP):
        yield
    if caught:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handling(handler: Handler, names: tuple[str, ...]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = take(handler, names)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
