"""LoRA keys that a server did not load, as far as its log says: then the LoRA has less effect in the graph than it had in the training."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from lifeos.counting import counted
from lifeos.errors import UnavailableError
from tools.backends.backend import Backend

NOT_LOADED = re.compile(r"lora key not loaded: (\S+)")


@runtime_checkable
class LogTeller(Protocol):
    """A back end whose server hands out its log."""

    def log_text(self) -> str | None:
        """The last lines; None where it does not tell."""


def find_unloaded(servers: Sequence[Backend], keys: Collection[str]) -> tuple[str, ...]:
    """Which of a LoRA's weights (`keys`) a server says that it did not load; empty where none says so, or there is no log to be had."""
    found: set[str] = set()
    for server in servers:
        try:
            text = server.log_text() if isinstance(server, LogTeller) else None
        except UnavailableError:  # a log is no reason to stop a sweep
            text = None
        found |= set(NOT_LOADED.findall(text or "")) & set(keys)
    return tuple(sorted(found))


def describe_unloaded(keys: Sequence[str], total: int) -> str:
    """What it means, as a sentence without its end; empty for none."""
    if not keys:
        return ""
    return f"{counted(len(keys), 'LoRA key')} of {total} were not loaded, as the server's log says (such as {keys[0]})"
