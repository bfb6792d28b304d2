"""The LoRA files of a training in its output folder: which are whole, of which run, and of which step, as their headers say.

A file that is being written is waited for: it counts once it is whole and has not changed between two looks. What is no LoRA, or was cut
off and changes no more, is named once and left out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lifeos import files
from lifeos.counting import counted
from lifeos.errors import InputError, LifeosError
from tools.trainers.lora_header import LoraHeader, read_lora_header
from tools.trainers.weights_check import Stamp, check_weights, stamp_of
from tools.training.checkpoints import SETTLED_SECONDS
from tools.training.training_record import UNENDED, RecordedRun

CUT_OFF_SECONDS = 60.0
"""A file that is not whole and has not changed for so long is not being written any more."""
STEP_IN_NAME = (re.compile(r"step[-_]?0*(\d+)", re.IGNORECASE), re.compile(r"[-_]0*(\d{3,12})$"))
"""Where a name tells the step, or with trainers that number their files, the number of the file."""

SAVE_EVERY = "--save_every_n_steps"


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """A whole LoRA file. `run`: the run id of its header, else its name without the step. `is_named`: whether the header named the run."""

    path: Path
    step: int
    run: str
    sha256: str
    is_named: bool

    @property
    def file(self) -> str:
        return self.path.name


@dataclass(slots=True)
class CheckpointFolder:
    """The LoRA files of one run in a folder, looked at again and again. `note` is told what is left out, once."""

    folder: Path
    note: Callable[[str], None]
    run: str | None = None
    """The run that is wanted; None until one is known."""
    found: dict[str, FoundCheckpoint] = field(default_factory=dict)
    """By file name, those that are whole."""
    pending: set[str] = field(default_factory=set)
    """Files that are not whole yet, or have just changed."""
    _seen: dict[str, tuple[Stamp, float]] = field(default_factory=dict)
    _done: dict[str, Stamp] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def look(self, now: float, record: RecordedRun | None = None) -> list[FoundCheckpoint]:
        """The run's whole checkpoints that are there now, earliest step first, one of each step (`now`: a monotonic clock).

        Raises InputError where files of two runs lie here and none was named.
        """
        self.pending.clear()
        here = sorted(path for path in self.folder.glob("*.safetensors") if path.is_file()) if self.folder.is_dir() else []
        for path in here:
            self._look_at(path, now, record)
        self._refuse_two_runs(record)
        names = {path.name for path in here}
        ours = [each for name, each in self.found.items() if name in names and self.run in (None, each.run)]
        return self._one_of_each_step(sorted(ours, key=lambda each: (each.step, "step" not in each.file.lower(), each.file)))

    def _look_at(self, path: Path, now: float, record: RecordedRun | None) -> None:
        try:
            stamp = stamp_of(path)
        except OSError:  # gone since it was listed
            return
        if self._done.get(path.name) == stamp:
            return
        seen, since = self._seen.get(path.name, (None, now))
        if stamp != seen:
            self._seen[path.name] = (stamp, now)
            since = now
        if now - since < SETTLED_SECONDS and time.time() - stamp.mtime_ns / 1e9 < SETTLED_SECONDS:
            self.pending.add(path.name)
            return
        try:
            header = read_lora_header(path)
        except LifeosError as error:
            self._wait_or_leave_out(path, stamp, now - since, str(error))
            return
        if not header.is_whole:
            missing = f"{path}: {header.file.missing_bytes:,} bytes of its weights are missing"
            self._wait_or_leave_out(path, stamp, now - since, missing)
            return
        self._take(path, header, stamp, record)

    def _take(self, path: Path, header: LoraHeader, stamp: Stamp, record: RecordedRun | None) -> None:
        try:
            fault, sha256 = check_weights(path).fault, files.sha256_file(path)
        except (LifeosError, OSError):  # it changes or goes under our hands: the next look tells
            return
        self._done[path.name] = stamp
        step = step_of(header, record)
        if fault or step is None:
            why = f"its weights are no numbers ({fault})" if fault else "neither its header nor its name tells its step"
            self._say(f"{path.name} is left out: {why}")
            return
        self.found[path.name] = FoundCheckpoint(path, step, header.run_id or stem_of(path.stem), sha256, header.run_id is not None)

    def _wait_or_leave_out(self, path: Path, stamp: Stamp, unchanged_seconds: float, why: str) -> None:
        if unchanged_seconds < CUT_OFF_SECONDS:
            self.pending.add(path.name)
            return
        self._done[path.name] = stamp  # looked at again when it changes
        self._say(f"{path.name} is left out, and has not changed for {CUT_OFF_SECONDS:.0f} s: {why}")

    def _refuse_two_runs(self, record: RecordedRun | None) -> None:
        if self.run is not None:
            for each in self.found.values():
                if each.run != self.run:
                    self._say(f"{each.file} is left out: it is of run {each.run}, not {self.run}")
            return
        counts: dict[str, int] = {}
        for each in self.found.values():
            counts[each.run] = counts.get(each.run, 0) + 1
        if record is not None and record.state in UNENDED and any(each.is_named for each in self.found.values()):
            counts.setdefault(record.run_id, 0)  # the run that has begun here since
        if len(counts) > 1:
            told = ", ".join(f"{run} ({counted(count, 'file')})" for run, count in sorted(counts.items()))
            raise InputError(self.folder, f"holds checkpoints of {len(counts)} runs: {told}", "name one with --training-run")
        self.run = next(iter(counts), None)

    def _one_of_each_step(self, ordered: list[FoundCheckpoint]) -> list[FoundCheckpoint]:
        kept: dict[int, FoundCheckpoint] = {}
        for each in ordered:
            first = kept.setdefault(each.step, each)
            if first is not each:
                self._say(f"{each.file} is of step {each.step} too, as {first.file}: judged once")
        return list(kept.values())

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.note(text)


def step_of(header: LoraHeader, record: RecordedRun | None = None) -> int | None:
    """The step of a LoRA: as its header says, else its name; of the file that a recorded run ended with, the run's last step."""
    told = header.training_params.get("steps")
    if isinstance(told, int | float) and told > 0:
        return int(told)
    stem = header.path.stem
    for pattern in STEP_IN_NAME:
        if found := pattern.search(stem):
            return int(found[1])
    if record is not None and record.output_name == stem and record.steps > 0:
        return record.steps
    return None


def stem_of(stem: str) -> str:
    """A file's name without what tells the step: what the files of one run share where their headers name none."""
    for pattern in STEP_IN_NAME:
        stem = pattern.sub("", stem)
    return stem.rstrip("-_. ") or stem


def planned_checkpoints(record: RecordedRun | None) -> int | None:
    """How many checkpoints a recorded run will save, its final file among them; None where its options do not tell."""
    if record is None or not record.max_train_steps:
        return None
    words = [word for text in record.argv for word in text.split("=", 1)]
    saved = words[words.index(SAVE_EVERY) + 1] if SAVE_EVERY in words[:-1] else ""
    return -(-record.max_train_steps // int(saved)) if saved.isdigit() and int(saved) else None
