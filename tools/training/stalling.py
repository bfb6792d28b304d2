"""Whether a trainer still says or saves something new. One that hangs lives on, with a busy GPU perhaps, and costs.

New is a line that it has not printed lately, but for clock times, elapsed times and rates, which also a bar that stands still counts on;
and files in its output folder that are more, or larger, than before, since some trainers say nothing while they cache or save.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from lifeos import times
from tools.cost.guard_rules import in_minutes
from tools.training.evidence import LOG_FILE
from tools.training.loss_curve import CSV_FILE, PNG_FILE
from tools.training.training_record import RECORD_FILE

TIMES = re.compile(r"\d{4}-\d\d-\d\d|\d{1,4}(?::\d\d){1,2}(?:[.,]\d+)?|\?|[\d.]+ ?(?:s/it|it/s|s/step|ms)\b")
REMEMBERED_LINES = 500
OURS = frozenset({LOG_FILE, RECORD_FILE, CSV_FILE, PNG_FILE})
FILES_SECONDS = 30.0
"""How often the files are looked at while nothing is said: the folder may lie on a slow volume."""


@dataclass(frozen=True, slots=True)
class StallLimit:
    """After how many seconds without anything new a trainer is called stalled (0: never), and whether it is stopped then."""

    seconds: float = 0.0
    stops: bool = False


class Hearing:
    """What a run's trainer said and saved last. Times are of a clock that only runs forward."""

    def __init__(self, output_dir: Path, limit: StallLimit, now: float) -> None:
        self._output_dir, self._limit = output_dir, limit
        self._recent: deque[str] = deque(maxlen=REMEMBERED_LINES)
        self._known: set[str] = set()
        self._files: tuple[int, int] | None = None
        self._next_files = now + self._files_seconds
        self._heard, self._is_new = now, True
        self.is_stalled, self.last_progress = False, times.stamp()

    @property
    def _files_seconds(self) -> float:
        return min(FILES_SECONDS, self._limit.seconds / 4) if self._limit.seconds else FILES_SECONDS

    def hear(self, line: str, now: float) -> None:
        """A line that it printed."""
        text = TIMES.sub("", line).strip()
        if not text or text in self._known:
            return
        if len(self._recent) == REMEMBERED_LINES:
            self._known.discard(self._recent[0])
        self._recent.append(text)
        self._known.add(text)
        self.moved(now)

    def look(self, now: float) -> str:
        """The sentence that a person should read now; empty without one. Called often."""
        if now >= self._next_files:
            self._next_files = now + self._files_seconds
            files = measure_files(self._output_dir)
            if self._files is not None and files != self._files:
                self.moved(now)
            self._files = files
        silent = now - self._heard
        if self._limit.seconds and silent >= self._limit.seconds and not self.is_stalled:
            self.is_stalled = True
            return f"the trainer has said and saved nothing new for {in_minutes(silent)}, since {self.last_progress}"
        return ""

    @property
    def must_stop(self) -> bool:
        return self.is_stalled and self._limit.stops

    def take_progress(self) -> bool:
        """Whether anything new came since this was asked before."""
        new, self._is_new = self._is_new, False
        return new

    def moved(self, now: float) -> None:
        """Something new happened."""
        self._heard, self._is_new, self.is_stalled = now, True, False
        self.last_progress = times.stamp()


def measure_files(folder: Path) -> tuple[int, int]:
    """How many files lie in a folder and those below it, and their bytes together; without those that we write ourselves."""
    count = size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            if name in OURS or name.startswith("."):
                continue
            with contextlib.suppress(OSError):
                size += Path(place, name).lstat().st_size
                count += 1
    return count, size
