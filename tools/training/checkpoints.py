"""The LoRA files of a run while it goes on: which are whole, and whether what is in them are numbers.

A trainer that has diverged goes on, saves NaN and ends with return code 0. Neither its loss tells it surely (its average stays NaN after
one bad step) nor its return code: only the weights do.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lifeos import files
from lifeos.errors import InputError
from tools.trainers.lora_header import read_lora_header
from tools.trainers.rewrite_metadata import rewrite_metadata
from tools.trainers.trainer import HeaderDialect, Trainer
from tools.trainers.weights_check import Stamp, check_weights, stamp_of

NOTHING_LEARNT = "it changes nothing: all its up matrices are zeros, as they were before the first step"

SETTLED_SECONDS = 1.0
"""A file that is whole and has not changed for so long is not being written any more."""

LOOK_SECONDS = 0.5
"""How often to look whether a checkpoint is whole by now."""


def is_lora_of(path: Path, run_id: str, dialect: HeaderDialect) -> bool:
    """Whether a file is a whole LoRA that this run wrote, by what it says of itself."""
    try:
        header = read_lora_header(path)
    except InputError:
        return False
    return header.is_whole and dialect.read_run_id(header.metadata) == run_id


class Checkpoints:
    """The LoRA files of one run in its output folder."""

    def __init__(self, trainer: Trainer, output_dir: Path, output_name: str, run_id: str, earlier: Mapping[str, str] | None = None) -> None:
        """`earlier`: the metadata of a file that the run saved before it was continued; None for a run that was not continued."""
        self._earlier = earlier
        self._trainer, self._output_dir, self._output_name, self._run_id = trainer, output_dir, output_name, run_id
        self._expected: dict[Path, tuple[Stamp | None, float]] = {}

    @property
    def is_awaited(self) -> bool:
        """Whether a file was named that has not been looked at yet."""
        return bool(self._expected)

    def expect(self, told: str) -> None:
        """The trainer says that it saves a file: look at it as soon as it is whole."""
        path = self._output_dir / Path(told).name
        if self._trainer.read_checkpoint_name(path.name, self._output_name):
            self._expected[path] = (None, 0.0)

    def look(self, now: float) -> str:
        """Look at the files that are whole by now (`now`: a monotonic clock). Returns which one holds no numbers; empty if none does."""
        for path, (seen, since) in list(self._expected.items()):
            try:
                stamp = stamp_of(path)
            except OSError:
                continue
            if stamp != seen:
                self._expected[path] = (stamp, now)
            if stamp == seen and now - since >= SETTLED_SECONDS and self.is_ours(path):
                self._expected.pop(path)
                self.correct(path)
                path = self.settle(path)
                if broken := self.find_no_numbers(path):
                    return f"{path.name}: {broken}"
        return ""

    def is_ours(self, path: Path) -> bool:
        named = self._trainer.read_checkpoint_name(path.name, self._output_name)
        return named is not None and is_lora_of(path, self._run_id, self._trainer.dialect)

    @property
    def final(self) -> Path:
        """The file that the trainer writes after the last step, whether it is there or not."""
        return self._output_dir / self._trainer.checkpoint_name(self._output_name)

    def is_final(self, path: Path) -> bool:
        return path.name == self.final.name

    def fault_of(self, path: Path, *, as_final: bool = False) -> str:
        """What is wrong with the weights of a file, in a few words; empty if they are sound. Those of the final one, or of one that is
        judged as if it were, must have learnt something."""
        try:
            verdict = check_weights(path)
        except InputError as error:
            return error.why
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        nothing = (as_final or self.is_final(path)) and verdict.changes_nothing
        return verdict.fault or (NOTHING_LEARNT if nothing else "")

    def find_no_numbers(self, path: Path) -> str:
        """In how many weights of a file NaN or infinity stands; empty if in none, or if it cannot be read: that is no divergence."""
        try:
            return check_weights(path).fault
        except (InputError, OSError):
            return ""

    def correct_all(self) -> str:
        """Make every file of a continued run tell the whole run, and be called what it is. Returns why one could not be made to; empty if
        all do."""
        faults = [self.correct(path) for path in self.find()]
        self.settle_all()
        return next(filter(None, faults), "")

    def settle_all(self) -> None:
        for path in self.find():
            self.settle(path)

    def settle(self, path: Path) -> Path:
        """Give a whole file the name that it is to have. Returns its place."""
        settled = path.with_name(self._trainer.settled_name(path.name, self._output_name))
        if settled != path:
            path.replace(settled)
        return settled

    def correct(self, path: Path) -> str:
        """Make a file of a continued run tell the whole run. Returns why it could not be made to; empty if it does."""
        if self._earlier is None:
            return ""
        try:
            metadata = read_lora_header(path).metadata
            if changed := self._trainer.correct_metadata(metadata, self._earlier):
                rewrite_metadata(path, {**metadata, **changed})
        except InputError as error:
            return f"{path.name}: {error.why}"
        except OSError as error:
            return f"{path.name}: {error.strerror}"
        return ""

    def read_steps(self, path: Path) -> int | None:
        """How many steps of the run a file holds, as it says, or would once it tells the whole run; None if it does not say."""
        metadata = read_lora_header(path).metadata
        corrected = {} if self._earlier is None else self._trainer.correct_metadata(metadata, self._earlier)
        steps: int | None = self._trainer.dialect.read_parameters({**metadata, **corrected}).get("steps")
        return steps

    def find(self) -> list[Path]:
        """The run's whole files, checkpoints in their order, the final one last."""
        found = [path for path in self._output_dir.iterdir() if self.is_ours(path)]
        return sorted(found, key=lambda path: (self.is_final(path), path.name))

    def list(self) -> list[dict[str, Any]]:
        """Name, size, hash and fault (None for a sound one) of each."""
        return [
            {
                "file": path.name,
                "size_bytes": path.stat().st_size,
                "sha256": files.sha256_file(path),
                "fault": self.fault_of(path) or None,
            }
            for path in self.find()
        ]

    def last_good(self) -> str | None:
        """The name of the latest sound file; None if there is none."""
        sound = [path for path in self.find() if not self.fault_of(path)]
        return max(sound, key=self._step_of).name if sound else None

    def _step_of(self, path: Path) -> tuple[float, str]:
        named = self._trainer.read_checkpoint_name(path.name, self._output_name)
        if named is None or named.is_final:
            return float("inf"), path.name
        return (-1.0 if named.step is None else named.step), path.name


class Lookout:
    """Looks at the files while the trainer is listened to, on a thread of its own: a large one takes seconds to read, and a trainer that
    nobody listens to waits."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints, self._next_look = checkpoints, 0.0
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._look: Future[str] | None = None

    def poll(self, now: float) -> str:
        """Begin a look if it is time for one (`now`: a monotonic clock). Returns at once: which file the last look found to hold no
        numbers; empty if none does, or it still goes on."""
        if self._look is None and now >= self._next_look and self._checkpoints.is_awaited:
            self._next_look = now + LOOK_SECONDS
            self._look = self._thread.submit(self._checkpoints.look, now)
        return self.settle() if self._look is not None and self._look.done() else ""

    def settle(self) -> str:
        """Wait for the look that goes on. Returns what it found."""
        look, self._look = self._look, None
        return look.result() if look is not None else ""

    def close(self) -> None:
        """Wait until nobody reads any more, whatever a look that goes on may find."""
        self._thread.shutdown()


def read_earlier(trainer: Trainer, output_dir: Path, output_name: str, run_id: str) -> dict[str, str]:
    """The metadata of the earliest LoRA file of a run that was continued; empty if none is there."""
    found = Checkpoints(trainer, output_dir, output_name, run_id).find()
    return dict(read_lora_header(found[0]).metadata) if found else {}
