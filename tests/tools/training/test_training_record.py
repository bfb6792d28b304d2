"""Whether a recorded trainer is still at work, and which LoRA files are a run's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifeos.liveness import boot_id
from tests.capabilities import POSIX
from tests.tools.trainers.safetensors_files import write_lora
from tools.trainers import kohya_header
from tools.trainers.trainer_checkout import trainer_environment
from tools.training import process_identity
from tools.training.checkpoints import is_lora_of
from tools.training.process_identity import start_time
from tools.training.training_record import RecordedRun, TrainingRecord, is_running


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


def test_a_process_of_another_start_of_the_machine_is_never_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as process:
        now, boot = start_time(process.pid), boot_id()
        assert now is not None
        here = replace(recorded(process.pid), boot_id=boot, process_started=now)
        assert is_running(here)
        assert not is_running(replace(here, process_started=now - 3))  # the id was given again
        assert not is_running(replace(here, boot_id="of another day"))
        old = replace(recorded(process.pid), started="2026-11-29T10:00:00Z")  # version 3.0.0 wrote neither
        monkeypatch.setattr("psutil.boot_time", lambda: datetime(2026, 11, 29, 9, tzinfo=UTC).timestamp())
        assert is_running(old)
        monkeypatch.setattr("psutil.boot_time", lambda: datetime(2026, 11, 29, 11, tzinfo=UTC).timestamp())
        assert not is_running(old)
        process.kill()
        process.wait()


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_a_group_whose_leader_is_gone_is_known_by_its_run() -> None:
    """`accelerate launch` killed, the trainer lives on: a start time cannot be asked for any more."""
    leave = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    environment = {**os.environ, process_identity.RUN_VARIABLE: "r"}
    with subprocess.Popen([sys.executable, "-c", leave], start_new_session=True, env=environment) as process:
        started = start_time(process.pid)
        process.wait()
        record = replace(recorded(process.pid), boot_id=boot_id(), process_started=started or 1.0)
        try:
            assert is_running(record)
            assert not is_running(replace(record, run_id="another"))
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_time_and_cost_of_all_parts(tmp_path: Path) -> None:
    before = RecordedRun("r", "interrupted", seconds=100.0, cost_usd=0.5, first_step=10, steps=17, parts=[{"seconds": 40, "cost_usd": 0.2}])
    parts = before.all_parts()
    assert [(part["seconds"], part["cost_usd"]) for part in parts] == [(40, 0.2), (60.0, 0.3)]
    assert (parts[1]["first_step"], parts[1]["last_step"], parts[1]["state"]) == (10, 17, "interrupted")
    record = TrainingRecord(
        *("r", "running", "2026-11-29T10:00:00Z", "v3", str(tmp_path), "toy", "sdxl", None, None, None, 20, 3.6, "GPU", [], None),
        parts=parts,
    )
    record.account(10.0)  # at 3.60 USD an hour 0.01 USD
    assert (record.seconds, record.cost_usd) == (110.0, 0.51)
