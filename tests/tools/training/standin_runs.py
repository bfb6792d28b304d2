"""Trainings of tests by the command, with a stand-in of the trainer: real processes, real files, killed for real."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lifeos import cli
from lifeos.process_group import is_group_alive
from tests.tools.dataset.sets import make_set
from tests.tools.trainers.checkpoints import write_checkpoint
from tools import retrain_lora_v3
from tools.training.training_record import RECORD_FILE, is_running, read_record

ROOT = Path(__file__).resolve().parents[3]
STANDIN = ROOT / "tests" / "trainer_standin"
SCRIPT = ROOT / "tools" / "retrain_lora_v3.py"
PATIENCE_SECONDS = 60


class Place:
    """A training set, a base model and an output folder."""

    def __init__(self, folder: Path) -> None:
        self.set = make_set(folder / "set" / "2_amiranoor woman", 3, size=(256, 256)).parent
        self.base, self.output = folder / "base.safetensors", folder / "out"
        write_checkpoint(self.base)

    def args(self, *more: object) -> list[str]:
        fixed = ["--sd-scripts-dir", STANDIN, "--trainer-python", sys.executable, "--base-model", self.base, "--output-dir", self.output]
        fixed += ["--train-data-dir", self.set, "--output-name", "v3", "--resolution", 256, "--train-batch-size", 1]
        return [str(item) for item in (*fixed, "--max-train-steps", 20, "--save-every-n-steps", 5, *more)]

    def run(self, *more: object) -> int:
        return cli.run(lambda: retrain_lora_v3.main(self.args(*more)))

    def start(self, *more: object, **environment: object) -> subprocess.Popen[str]:
        env = {**os.environ, **{name: str(value) for name, value in environment.items()}}
        command = [sys.executable, str(SCRIPT), *self.args(*more)]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.output / RECORD_FILE).read_text(encoding="utf-8"))
        return record

    def is_running(self) -> bool:
        record = read_record(self.output)
        return record is not None and is_running(record)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.output.glob("*.safetensors"))


def wait_for(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Place]:
    """A place, and the end of whatever still trains there."""
    made = Place(folder)
    yield made
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        group = made.record["process_group"]
        if sys.platform != "win32" and group and is_group_alive(group):
            os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def started(place: Place, *more: object, **environment: object) -> Iterator[subprocess.Popen[str]]:
    process = place.start(*more, **environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def log_of(place: Place) -> str:
    return (place.output / "training_log.txt").read_text(encoding="utf-8", errors="replace")


def state_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith("-state"))
