"""Trainings of tests by the general command, in this process, with the stand-in of a trainer: its processes and files are real."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifeos import cli
from tests.tools.dataset.sets import make_set
from tests.tools.trainers.standins import Standin
from tools import retrain_lora
from tools.trainers.lora_header import read_lora_header
from tools.trainers.trainer import find_row

PATIENCE_SECONDS = 60


class Bench:
    """A training set, model files and an output folder, and the command with a stand-in."""

    def __init__(self, standin: Standin, folder: Path) -> None:
        self.standin, self.trainer = standin, find_row(standin.trainer).load()
        self.set = make_set(folder / "set" / "2_amiranoor woman", 3, size=(256, 256)).parent
        self.output, self._model_flags = folder / "out", standin.arguments(folder)

    def run(self, *more: object) -> int:
        fixed = [*self._model_flags, "--train-data-dir", self.set, "--output-dir", self.output, "--output-name", "v3", "--resolution", 256]
        arguments = [str(item) for item in (*fixed, "--max-train-steps", 20, "--save-every-n-steps", 5, *more)]
        return cli.run(lambda: retrain_lora.main(arguments))

    def run_and_stop(self) -> int:
        """Ctrl-C once the checkpoint of step 10 is there."""
        threading.Thread(target=self._stop, daemon=True).start()
        return self.run()

    def _stop(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and not (10 in self.steps() and " 12/" in self.log):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.output / "training_record.json").read_text(encoding="utf-8"))
        return found

    @property
    def log(self) -> str:
        log = self.output / "training_log.txt"
        return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""

    def loras(self) -> dict[str, int | None]:
        """The run's LoRA files: their names, and the steps that the names tell (None: the final one)."""
        found = {}
        for path in sorted(self.output.glob("*.safetensors")):
            if named := self.trainer.read_checkpoint_name(path.name, "v3"):
                found[path.name] = None if named.is_final else named.step
        return found

    def steps(self) -> list[int | None]:
        return sorted(self.loras().values(), key=lambda step: (step is None, step)) if self.output.is_dir() else []

    def names(self, pattern: str = "*.safetensors") -> list[str]:
        return sorted(path.name for path in self.output.glob(pattern))

    def metadata(self, name: str) -> Mapping[str, str]:
        return read_lora_header(self.output / name).metadata

    def steps_with_loss(self) -> list[int]:
        rows = (self.output / "loss.csv").read_text(encoding="utf-8").splitlines()[1:]
        return [int(row.partition(",")[0]) for row in rows]
