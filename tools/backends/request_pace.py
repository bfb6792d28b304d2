"""How fast a service may be asked that says when it is too fast (status 429): one pace for all that is asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from tools.backends.backend import BusyError, StalledError

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
SLICE_SECONDS = 2.0
"""Of a pause, waited at a time, so that a prompt can go elsewhere and an end is noticed."""


class RequestPace:
    """Each refusal doubles the pause, or makes it as long as it says; each answer halves it.

    `complaint`, with `seconds`, and `fix` are said of one that gives no other answer for `patience_seconds`.
    """

    def __init__(self, url: str, patience_seconds: float, complaint: str, fix: str, *, first_pause: float = FIRST_PAUSE_SECONDS) -> None:
        self._url, self._patience, self._complaint, self._fix = url, patience_seconds, complaint, fix
        self._first_pause = first_pause
        self._pause = self._until = 0.0
        self._since: float | None = None

    @property
    def left(self) -> float:
        """Seconds until the next question may go out."""
        return max(0.0, self._until - time.monotonic())

    def slow(self, retry_after: float | None, *, has_work: bool = False) -> float:
        """It was too fast: returns the pause. Raises StalledError where that lasts too long, unless it `has_work` of ours all the while."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self._patience and not has_work:
            raise StalledError(self._url, self._complaint.format(seconds=now - self._since), self._fix)
        wanted = retry_after if retry_after is not None else max(self._first_pause, 2 * self._pause)
        self._pause = min(wanted, LONGEST_PAUSE_SECONDS)
        self._until = now + self._pause
        return self._pause

    def ease(self) -> None:
        """It answered."""
        self._since = None
        self._pause = self._pause / 2 if self._pause > self._first_pause / 2 else 0.0

    def wait(self, rest: Callable[[float], object]) -> None:
        """Before another prompt is queued. Raises BusyError where the pause is longer than a slice."""
        left = self.left
        if left > 0:
            rest(min(left, SLICE_SECONDS))
            if left > SLICE_SECONDS:
                raise BusyError(self._url, left)
