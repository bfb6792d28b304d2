"""Show a training run to a person: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from lifeos.progress import Progress
from tools.trainers.trainer import StepReport
from tools.training.training_record import TrainingRecord

LINE_SECONDS = 60.0
"""Off a terminal: one line a minute is enough for a log."""


class ConsoleWatcher:
    """Steps, rate, average loss, time and money left, and checkpoints as they appear, on stderr."""

    def __init__(self, max_steps: int, first_step: int, rate_per_hr: float) -> None:
        self._rate_per_hr = rate_per_hr
        self._bar = Progress(max_steps, "training", unit="step", initial=first_step)
        self._shown, self._next_line = first_step, 0.0
        self._on_terminal = sys.stderr.isatty()

    def __enter__(self) -> ConsoleWatcher:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(None, None, None)

    def on_step(self, report: StepReport, record: TrainingRecord) -> None:
        step = report.step
        loss = "-" if report.loss is None else f"{report.loss:.4f}"
        left = remaining_seconds(report, record.max_train_steps)
        money = None if left is None else left / 3600 * self._rate_per_hr
        to_go = "-" if money is None else f"${money:.2f}"
        self._bar.advance(max(0, step - self._shown), loss=loss, left=to_go)
        self._shown = max(step, self._shown)
        if not self._on_terminal and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            pace = "-" if report.seconds_per_step is None else f"{report.seconds_per_step:.2f} s/step"
            time_left = "-" if left is None else f"{left / 60:.0f} min"
            self.note(
                f"step {step}/{record.max_train_steps}  loss {loss}  {pace}  {time_left} and {to_go} left, ${record.cost_usd:.2f} spent"
            )

    def on_checkpoint(self, path: str, record: TrainingRecord) -> None:
        self.note(f"saved {Path(path).name}, ${record.cost_usd:.2f} spent")

    def note(self, message: str) -> None:
        self._bar.note(message)


def remaining_seconds(report: StepReport, max_steps: int) -> float | None:
    """Time left at the trainer's own pace."""
    return None if report.seconds_per_step is None else report.seconds_per_step * max(0, max_steps - report.step)
