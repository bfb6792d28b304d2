"""Read what the trainer prints: its step counter, its loss, the files it saves, and why it failed.

The counter is tqdm on stderr, its refreshes separated by carriage returns. Formats as observed on sd-scripts v0.10.1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tools.trainers.trainer import SavedFile, StepReport, Stream

STEPS = re.compile(
    r"steps:\s+\d+%\|[^|]*\|\s*(\d{1,12})/(\d{1,12}) \[[\d:]+<[\d:?]+,\s*(\d{1,12}(?:\.\d{1,12})?|\?)(s/it|it/s)(?:,\s*(.*))?\]"
)
LOSS = re.compile(r"\b(?:avr_loss|avg_loss|loss)=([-\w.+]+)")
SAVING = re.compile(r"saving checkpoint: (.+)$")
TRACEBACK = "Traceback (most recent call last):"
LAUNCHER_FAILURE = re.compile(r"(?:\w+\.)*CalledProcessError: ")
"""What accelerate says whenever the trainer ends with anything but 0: the cause is the traceback before."""

MAX_KEPT_LINES = 400


@dataclass(frozen=True, slots=True)
class StepCounter:
    """One refresh of the trainer's own counter. `loss` is the moving average; None before the first step, NaN if it has diverged."""

    step: int
    total: int
    seconds_per_step: float | None
    loss: float | None


def read_counter(line: str) -> StepCounter | None:
    """The step counter's refresh in a line, or None: other bars of the trainer are no steps."""
    match = STEPS.match(line.lstrip())
    if not match:
        return None
    done, total, rate, unit, extra = match.groups()
    per_step = None
    if rate != "?" and float(rate) > 0:
        per_step = float(rate) if unit == "s/it" else 1 / float(rate)
    found = LOSS.search(extra or "")
    return StepCounter(int(done), int(total), per_step, _read_loss(found[1]) if found else None)


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
        if read_counter(line) is None:
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


class SdScriptsOutput:
    """Reads a training of `max_steps` in all, whose counter shows what is left of them."""

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps
        self._failure = FailureWatch()

    def read(self, line: str, stream: Stream) -> StepReport | SavedFile | None:
        self._failure.see(line)
        counter = read_counter(line) if stream == "stderr" else None
        if counter:  # after a resume the counter's total is what was left
            return StepReport(self._max_steps - counter.total + counter.step, counter.seconds_per_step, counter.loss)
        saved = read_saved(line)
        return None if saved is None else SavedFile(saved)

    def cause(self) -> str:
        return self._failure.cause()
