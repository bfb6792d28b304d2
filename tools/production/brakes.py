"""What stops a batch that only fails: pictures that were not made, and tries that came to nothing, one after the other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from lifeos.errors import UnavailableError

FAILURES_IN_A_ROW, TRIES_IN_A_ROW = 3, 6
"""After so many failed pictures, or failed tries of any, and no picture, the next would fail as well: stop before more is paid for."""


@dataclass(slots=True)
class Brakes:
    """Counts since the last picture of any server. A failed try that is tried again costs as much as one that is not.

    `working`, of the caller: the servers that hold prompts. As long as one of them has not failed since the last picture, the others
    may be at fault, and the dispatcher leaves those alone: the batch goes on.
    """

    failures: int = 0
    tries: int = 0
    failed: set[str] = field(default_factory=set)

    def made_one(self) -> None:
        self.failures = self.tries = 0
        self.failed.clear()

    def failed_to_make(self, server: str, reason: str, working: Collection[str] = ()) -> None:
        """A picture was given up. Raises UnavailableError where it is one too many."""
        self.failures += 1
        self._failed(server, working, f"{self.failures} pictures in a row were not made; the last {reason}")

    def failed_to_try(self, server: str, reason: str, working: Collection[str] = ()) -> None:
        """A try failed, and the picture is tried again. Raises UnavailableError where it is one too many."""
        self._failed(server, working, f"{self.tries + 1} tries in a row made no picture; the last {reason}")

    def _failed(self, server: str, working: Collection[str], why: str) -> None:
        self.tries += 1
        self.failed.add(server)
        is_enough = self.failures >= FAILURES_IN_A_ROW or self.tries >= TRIES_IN_A_ROW
        if is_enough and self.failed.issuperset(working):
            raise UnavailableError(server, why, "fix it, then run the same command again")
