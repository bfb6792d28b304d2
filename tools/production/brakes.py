"""What stops a batch that only fails: pictures that were not made, and tries that came to nothing, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from lifeos.errors import UnavailableError

FAILURES_IN_A_ROW, TRIES_IN_A_ROW = 3, 6
"""After so many failed pictures, or failed tries of any, and no picture, the next would fail as well: stop before more is paid for."""


@dataclass(slots=True)
class Brakes:
    """Counts since the last picture. A failed try that is tried again costs as much as one that is not."""

    failures: int = 0
    tries: int = 0

    def made_one(self) -> None:
        self.failures = self.tries = 0

    def failed_to_make(self, server: str, reason: str) -> None:
        """A picture was given up. Raises UnavailableError where it is one too many."""
        self.failures += 1
        self.tries += 1
        if self.failures >= FAILURES_IN_A_ROW:
            self._stop(server, f"{self.failures} pictures in a row were not made; the last {reason}")

    def failed_to_try(self, server: str, reason: str) -> None:
        """A try failed, and the picture is tried again. Raises UnavailableError where it is one too many."""
        self.tries += 1
        if self.tries >= TRIES_IN_A_ROW:
            self._stop(server, f"{self.tries} tries in a row made no picture; the last {reason}")

    def _stop(self, server: str, why: str) -> None:
        raise UnavailableError(server, why, "fix it, then run the same command again")
