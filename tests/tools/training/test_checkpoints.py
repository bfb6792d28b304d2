"""The files of a run while it goes on: what stops it, and how often each is read."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path

import pytest

from tests.tools.trainers.safetensors_files import lora_pair, write_safetensors
from tools.trainers.sd_scripts.member import TRAINER
from tools.trainers.weights_check import WeightsVerdict, read_weights
from tools.training import checkpoints
from tools.training.checkpoints import LOOK_SECONDS, SETTLED_SECONDS, Checkpoints, Lookout

OF_THE_RUN = {"ss_training_comment": json.dumps({"run_id": "r"})}


def save(path: Path, number: float | None = None) -> Path:
    numbers = None if number is None else {"alpha": number}
    return write_safetensors(path, lora_pair("lora_unet_a"), OF_THE_RUN, numbers=numbers)


@pytest.mark.parametrize(
    ("name", "number", "found"),
    [
        ("v3.safetensors", math.nan, "v3.safetensors: of 3 weights 1 NaN"),
        ("v3-step00000005.safetensors", math.inf, "v3-step00000005.safetensors: of 3 weights 1 infinity"),
        ("v3.safetensors", None, ""),  # all zeros: it has learnt nothing, and that is told when the run is over
    ],
)
def test_only_what_is_no_number_stops_a_run(tmp_path: Path, name: str, number: float | None, found: str) -> None:
    saved = Checkpoints(TRAINER, tmp_path, "v3", "r")
    path = save(tmp_path / name, number)
    saved.expect(str(path))
    assert saved.look(10.0) == ""  # it may still be written
    assert saved.look(10.0 + SETTLED_SECONDS) == found
    assert saved.fault_of(path) == (found.partition(": ")[2] or checkpoints.NOTHING_LEARNT)


def test_a_file_that_cannot_be_read_just_now_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    saved = Checkpoints(TRAINER, tmp_path, "v3", "r")
    path = save(tmp_path / "v3-step00000005.safetensors")
    monkeypatch.setattr(checkpoints, "check_weights", fail)
    saved.expect(str(path))
    assert (saved.look(10.0), saved.look(12.0)) == ("", "")
    assert saved.fault_of(path) == "cannot be read: Input/output error"


def test_a_large_file_is_read_while_the_trainer_is_listened_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop asks all the time, and is never made to wait; the file is read once, by whoever comes first."""
    may_end, read = threading.Event(), []

    def read_slowly(path: Path) -> WeightsVerdict:
        read.append(path.name)
        assert may_end.wait(30)
        return read_weights(path)

    monkeypatch.setattr("tools.trainers.weights_check.read_weights", read_slowly)
    monkeypatch.setattr(checkpoints, "SETTLED_SECONDS", 0.0)
    saved = Checkpoints(TRAINER, tmp_path, "v3", "r")
    lookout = Lookout(saved)
    path = save(tmp_path / "v3.safetensors", math.nan)
    saved.expect(str(path))
    now = 10.0
    while not read:
        assert lookout.poll(now := now + LOOK_SECONDS) == ""
        time.sleep(0.01)
    assert lookout.poll(now + LOOK_SECONDS) == ""  # it goes on
    may_end.set()
    assert lookout.settle() == "v3.safetensors: of 3 weights 1 NaN"
    assert saved.fault_of(path) == "of 3 weights 1 NaN"
    lookout.close()
    assert read == ["v3.safetensors"]
