"""Read what ai-toolkit prints: its bar, its loss, the files it saved, and why it ended.

The bar is tqdm's on stderr, with the learning rate and the loss behind it. The trainer sets the loss of a step before it counts the step,
and draws the bar again once it has counted, so that a line with a new loss is of the step after the one that it shows. Formats as
observed on 0.12.26.
"""

from __future__ import annotations

import math
import re

from tools.trainers.kohya_output import FailureWatch
from tools.trainers.trainer import Remark, SavedFile, StepReport, Stream

BAR = re.compile(
    r"\s*[^|]{0,300}:\s+\d{1,3}%\|[^|]*\|\s*(\d{1,12})/(\d{1,12}) "
    r"\[[\d:]+<[\d:?]+,\s*(\d{1,12}(?:\.\d{1,12})?|\?)\s*(s/it|it/s)(?:,\s*(.*))?\]"
)
LOSS = re.compile(r"\bloss: (-?[\w.+-]{1,30})")
RATE = re.compile(r"\blr: ")
SAVED = re.compile(r"Saved checkpoint to (.+)$")
LOADED = "Loading optimizer state from"
NOT_LOADED = "Failed to load optimizer state"
STOPPED = "Job stopped"

WITHOUT_MEMORY = (
    "the optimizer began anew: there was no file of its state that belongs to the LoRA, or it could not be loaded, so the steps after are "
    "not those of a run that was not interrupted"
)
REMARKS: tuple[tuple[str, str], ...] = (
    (
        "loss is nan",
        "the loss was NaN in a step: ai-toolkit counts such a step as 0 and goes on, so its loss does not tell that a run diverges",
    ),
    ("OOM during training step", "a step did not fit into the GPU's memory: ai-toolkit leaves its pictures out and goes on"),
    (NOT_LOADED, WITHOUT_MEMORY),
)


class ToolkitOutput:
    """Reads a training of `max_steps` in all; `goes_on`: it is continued."""

    def __init__(self, max_steps: int, *, goes_on: bool) -> None:
        self._max_steps, self._awaits_optimizer = max_steps, goes_on
        self._failure, self._shown, self._counted, self._was_stopped = FailureWatch(), "", 0, False

    def read(self, line: str, stream: Stream) -> StepReport | SavedFile | Remark | None:
        if bar := BAR.match(line):
            return self._read_bar(bar) if stream == "stderr" else None
        self._failure.see(line, stream)
        self._was_stopped = self._was_stopped or line.strip() == STOPPED
        self._awaits_optimizer = self._awaits_optimizer and LOADED not in line
        for mark, text in REMARKS:
            if mark in line:
                return Remark(text)
        saved = SAVED.search(line)
        return SavedFile(saved[1].strip()) if saved else None

    def _read_bar(self, bar: re.Match[str]) -> StepReport | Remark | None:
        step, total, rate, unit, after = bar.groups()
        found = LOSS.search(after or "")
        if int(total) != self._max_steps or not RATE.search(after or ""):
            return None  # a bar of the caching
        done = int(step)
        if after != self._shown:
            self._shown, self._counted = after, done
        trained = max(done, self._counted + 1)  # a line may be drawn again, with nothing new in it
        if self._awaits_optimizer:
            self._awaits_optimizer = False
            return Remark(WITHOUT_MEMORY)
        per_step = None if rate == "?" or float(rate) <= 0 else float(rate) if unit == "s/it" else 1 / float(rate)
        return StepReport(min(trained, self._max_steps), per_step, _number(found[1]) if found else None)

    def cause(self) -> str:
        if self._was_stopped:
            return "somebody stopped it (Ctrl-C): ai-toolkit ends with return code 0 then"
        return self._failure.cause()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else math.nan
