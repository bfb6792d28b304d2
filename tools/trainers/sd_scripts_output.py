"""Read what the trainer prints: its step counter, its loss, the files it saves, and why it failed.

The counter is tqdm on stderr, its refreshes separated by carriage returns. Formats as observed on sd-scripts v0.10.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

STEPS = re.compile(r"steps:\s+\d+%\|[^|]*\|\s*(\d+)/(\d+) \[([\d:]+)<([\d:?]+),\s*([\d.]+|\?)(s/it|it/s)(?:,\s*(.*))?\]")
LOSS = re.compile(r"\b(?:avr_loss|avg_loss|loss)=([-\w.+]+)")
SAVING = re.compile(r"saving checkpoint: (.+)$")
TRACEBACK = "Traceback (most recent call last):"
LAUNCHER_FAILURE = re.compile(r"(?:\w+\.)*CalledProcessError: ")
"""What accelerate says whenever the trainer ends with anything but 0: the cause is the traceback before."""

MAX_PENDING = 1 << 16
"""A line longer than this is taken as it comes."""

MAX_KEPT_LINES = 400


@dataclass(frozen=True, slots=True)
class StepReport:
    """One refresh of the step counter. `loss` is the moving average; None before the first step, NaN if it has diverged."""

    step: int
    total: int
    seconds_per_step: float | None
    loss: float | None


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


def read_step(line: str) -> StepReport | None:
    """The step counter's refresh in a line, or None: other bars of the trainer are no steps."""
    match = STEPS.match(line.lstrip())
    if not match:
        return None
    done, total, _, _, rate, unit, extra = match.groups()
    per_step = None
    if rate != "?" and float(rate) > 0:
        per_step = float(rate) if unit == "s/it" else 1 / float(rate)
    found = LOSS.search(extra or "")
    return StepReport(int(done), int(total), per_step, _read_loss(found[1]) if found else None)


def _read_loss(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else math.nan


def read_saved(line: str) -> str | None:
    """The path of a checkpoint that is being saved, or None."""
    match = SAVING.search(line)
    return match[1].strip() if match else None


class FailureWatch:
    """Remembers the end of what the trainer printed, to say afterwards why it failed."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def see(self, line: str) -> None:
        if line.endswith(TRACEBACK):
            line = TRACEBACK  # it follows the unfinished line of the step counter
        if read_step(line) is None:
            self._lines.append(line)
            del self._lines[:-MAX_KEPT_LINES]

    def cause(self) -> str:
        """The last line of the last traceback that is not the launcher's own; else the last line there is; else empty."""
        cause, inside = "", False
        for line in self._lines:
            if line.strip() == TRACEBACK:
                inside = True
            elif inside and line and not line[0].isspace():
                inside = False
                if not LAUNCHER_FAILURE.match(line):
                    cause = line.strip()
        if cause:
            return cause
        said = [line.strip() for line in self._lines if line.strip() and not LAUNCHER_FAILURE.match(line)]
        errors = [line for line in said if re.search(r"\berror\b", line, re.IGNORECASE)]
        return (errors or said or [""])[-1]
