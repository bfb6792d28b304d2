"""Ctrl-C, SIGTERM, a closed terminal: the first asks the batch to stop cleanly, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from lifeos.errors import EXIT_INTERRUPTED
from lifeos.signals import take, write_to_stderr


class StopSignal:
    """While the body runs, signals are caught. In a `graceful` stretch one only sets `requested`; elsewhere it interrupts.

    Outside the main thread, where Python allows no handlers, nothing is caught.
    """

    def __init__(self) -> None:
        self.graceful = False
        self._event = threading.Event()
        self._seen = 0
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        """Ask for a clean stop, as a signal would."""
        self._event.set()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = take(self._caught)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self._seen += 1
        self._event.set()
        if self._seen > 1:
            write_to_stderr("\nstopped at once; the same command continues\n")
            os._exit(EXIT_INTERRUPTED)
        if not self.graceful:
            raise KeyboardInterrupt
        write_to_stderr("\nstopping: what is done is kept (once more to stop at once)\n")


Note = Callable[[str], None]
"""Takes one line for a person."""
