"""Whether a recorded trainer is still at work, and which LoRA files are a run's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.trainers.test_lora_header import write_lora
from tools.trainers import kohya_header
from tools.trainers.trainer_checkout import trainer_environment
from tools.training.checkpoints import is_lora_of
from tools.training.training_record import RecordedRun, is_running


def recorded(group: int | None, *, state: str = "running", host: str | None = None) -> RecordedRun:
    return RecordedRun("r", state, host=host or socket.gethostname(), process_group=group)


def test_a_group_that_lives_here_is_running() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as process:
        assert is_running(recorded(process.pid))
        assert not is_running(recorded(process.pid, state="finished"))
        assert not is_running(recorded(process.pid, host="elsewhere"))
        process.kill()
        process.wait()
        assert not is_running(recorded(process.pid))


@pytest.mark.parametrize("group", [None, 0, 1, -1, -(2**62), 2**31, 2**63])
def test_a_number_that_is_no_group_is_never_asked_for(group: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 and -1 would mean our own group and everybody."""
    monkeypatch.setattr(os, "killpg", lambda *args: pytest.fail(f"asked for {args}"))
    assert not is_running(recorded(group))


def test_a_lora_counts_if_it_is_whole_and_of_the_run(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", {"ss_training_comment": '{"run_id": "mine"}'})
    assert is_lora_of(path, "mine", kohya_header)
    assert not is_lora_of(path, "min", kohya_header)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_lora_of(path, "mine", kohya_header)
    assert not is_lora_of(tmp_path / "no.safetensors", "mine", kohya_header)


def test_nothing_of_our_python_reaches_the_trainer_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "ours")
    environment = trainer_environment()
    assert {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} & set(environment) == set()
    assert (environment["CUDA_VISIBLE_DEVICES"], environment["PYTHONUNBUFFERED"]) == ("ours", "1")
