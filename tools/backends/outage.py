"""A server that is gone for a while, such as one that restarts: waited out up to a limit."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from lifeos.errors import UnavailableError
from tools.backends.bounded_connection import RefusedReplyError

T = TypeVar("T")

PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""A server that asks to be left alone for longer (Retry-After) is asked after this."""


class Outage:
    """Of one server: `seconds` is how long it may be gone, `closing` ends every wait."""

    def __init__(self, url: str, seconds: float, closing: threading.Event) -> None:
        self._url, self.seconds, self._closing = url, seconds, closing
        self._since: float | None = None

    def bear(self, error: UnavailableError, tell: Callable[[UnavailableError | None], None]) -> None:
        """Wait a moment; `tell` hears of it where the outage begins. Raises UnavailableError when it has been too long."""
        now = time.monotonic()
        begins = self._since is None
        self._since = now if self._since is None else self._since
        gone = now - self._since
        if gone >= self.seconds or self._closing.is_set():
            raise UnavailableError(self._url, f"gone for {gone:.0f} s: {error.why}", error.fix) from None
        if begins:
            tell(error)
        pause = min(PAUSE_SECONDS, self.seconds / 4, 0.1 + gone)
        wanted = getattr(error, "retry_after", None) or 0.0
        self._closing.wait(max(pause, min(wanted, LONGEST_PAUSE_SECONDS, self.seconds - gone)))

    @contextlib.contextmanager
    def borne(
        self, has_ends: Callable[[], bool], final: tuple[type[UnavailableError], ...], tell: Callable[[UnavailableError | None], None]
    ) -> Iterator[None]:
        """Ask within it: an outage is borne, what is `final` raised. Ends that were found on the way are handed out before either."""
        try:
            yield
        except final:
            if not has_ends():
                raise
        except UnavailableError as error:
            if not has_ends():
                self.bear(error, tell)

    def outlast(self, ask: Callable[[], T], tell: Callable[[UnavailableError | None], None]) -> T:
        """What `ask` gets, as soon as the server is there. Raises what it refuses, and as `bear` does."""
        while True:
            try:
                return ask()
            except RefusedReplyError:
                raise
            except UnavailableError as error:
                self.bear(error, tell)

    def forget(self) -> None:
        """The server was reached anew."""
        self._since = None

    def is_over(self) -> bool:
        """The server has answered: whether it was gone before."""
        was_gone, self._since = self._since is not None, None
        return was_gone
