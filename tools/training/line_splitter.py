"""From the bytes that a process prints to lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_PENDING = 1 << 16
"""A line longer than this is taken as it comes."""


class LineSplitter:
    """Bytes in, lines out: split at line ends and carriage returns, decoded as UTF-8 with replacement, whatever the chunks."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> Iterator[str]:
        *whole, self._pending = re.split(rb"[\r\n]", self._pending + data)
        if len(self._pending) > MAX_PENDING:
            whole, self._pending = [*whole, self._pending], b""
        for line in whole:
            if line:
                yield line.decode("utf-8", "replace")

    def flush(self) -> Iterator[str]:
        """What stands after the last line end."""
        last, self._pending = self._pending, b""
        if last:
            yield last.decode("utf-8", "replace")
