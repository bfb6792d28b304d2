"""Read what the trainer prints: its step counter, its loss, the files it saves, and why it failed.

The counter is tqdm on stderr, its refreshes separated by carriage returns. Formats as observed on sd-scripts v0.10.1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tools.trainers.endings import describe_returncode, describe_signal
from tools.trainers.trainer import Remark, SavedFile, StepReport, Stream

STEPS = re.compile(
    r"steps:\s+\d+%\|[^|]*\|\s*(\d{1,12})/(\d{1,12}) \[[\d:]+<[\d:?]+,\s*(\d{1,12}(?:\.\d{1,12})?|\?)(s/it|it/s)(?:,\s*(.*))?\]"
)
LOSS = re.compile(r"\b(?:avr_loss|avg_loss|loss)=([-\w.+]+)")
SAVING = re.compile(r"saving checkpoint: (.+)$")
TRACEBACK = "Traceback (most recent call last):"
LAUNCHER_FAILURE = re.compile(r"(?:\w+\.)*CalledProcessError: ")
"""What accelerate says whenever the trainer ends with anything but 0: the cause is the traceback before, or the signal that it names."""
KILLED = re.compile(r"died with <Signals\.(SIG\w+): \d+>\.?$")
EXITED = re.compile(r"returned non-zero exit status (\d{1,3})\.?$")
ERROR_LINE = re.compile(r"\b\w*(?:Error|Exception)\b|\bERROR\b|\berror:|\bNo data found\b")
"""A line that says what went wrong. Every run with buckets prints `mean ar error (without repeats): 0.18`, which is none."""

REMARKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"Could not load random states"),
        "the trainer could not load the random states of the saved state: the noise of the further steps is another than in a run that was "
        "not interrupted",
    ),
    (
        re.compile(r"NaN found in latents, replacing with zeros"),
        "the trainer found NaN in the latents of a picture and replaced them with zeros: the VAE does not work in this precision",
    ),
)
"""What a person should know of and the trainer says in passing."""

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
        self._lines: list[tuple[Stream, str]] = []

    def see(self, line: str, stream: Stream) -> None:
        if line.endswith(TRACEBACK):
            line = TRACEBACK  # it follows the unfinished line of the step counter
        if read_counter(line) is None:
            self._lines.append((stream, line))
            del self._lines[:-MAX_KEPT_LINES]

    def cause(self) -> str:
        """The signal that killed the trainer; else the last line of the last traceback that is not the launcher's own; else a line that
        says that something is wrong; else its last words; else empty."""
        said = [line.strip() for _, line in self._lines if line.strip() and not LAUNCHER_FAILURE.match(line)]
        raised = self._find_raised()
        if killed := self._find_signal():
            return f"{killed}. It had said before: {raised}" if raised else killed
        if raised:
            return raised
        errors = [line for line in said if ERROR_LINE.search(line)]
        return errors[-1] if errors else f"it gave no reason; its last words: {said[-1]}" if said else ""

    def _find_raised(self) -> str:
        cause, inside = "", set[Stream]()  # what comes by the other pipe may be read in the middle of a traceback
        for stream, line in self._lines:
            if line.strip() == TRACEBACK:
                inside.add(stream)
            elif stream in inside and line and not line[0].isspace():
                inside.remove(stream)
                if not LAUNCHER_FAILURE.match(line):
                    cause = line.strip()
        return cause

    def _find_signal(self) -> str:
        for _, line in reversed(self._lines):
            if LAUNCHER_FAILURE.match(line):
                killed, exited = KILLED.search(line), EXITED.search(line)
                return describe_signal(killed[1]) if killed else describe_returncode(int(exited[1])) if exited else ""
        return ""


class KohyaOutput:
    """Reads a training of `max_steps` in all, whose counter shows what is left of them."""

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps
        self._failure = FailureWatch()

    def read(self, line: str, stream: Stream) -> StepReport | SavedFile | Remark | None:
        self._failure.see(line, stream)
        counter = read_counter(line) if stream == "stderr" else None
        if counter:  # after a resume the counter's total is what was left
            return StepReport(self._max_steps - counter.total + counter.step, counter.seconds_per_step, counter.loss)
        for pattern, text in REMARKS:
            if pattern.search(line):
                return Remark(text)
        saved = read_saved(line)
        return None if saved is None else SavedFile(saved)

    def cause(self) -> str:
        return self._failure.cause()
