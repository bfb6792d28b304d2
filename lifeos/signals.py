"""What Ctrl-C, SIGTERM and a closed terminal do while something runs, and while it is being ended."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP (a closed terminal) stop a run as Ctrl-C does. For the main thread of a script."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with _handling(stop, ("SIGTERM", "SIGHUP", "SIGBREAK")):
        yield


@contextlib.contextmanager
def deaf_to_signals() -> Iterator[None]:
    """While something is being ended (a group of processes, the meter), an impatient second Ctrl-C must not leave half of it."""
    with _handling(signal.SIG_IGN, ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")):
        yield


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """A signal that comes while the body runs takes effect right after it: what the body wrote and what it returned stay together."""
    caught: list[int] = []
    with _handling(lambda number, frame: caught.append(number), ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")):
        yield
    if caught:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handling(handler: Callable[[int, Any], None] | signal.Handlers, names: tuple[str, ...]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # one that is ignored (nohup) stays ignored
    before = {number: signal.signal(number, handler) for number in numbers if signal.getsignal(number) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
