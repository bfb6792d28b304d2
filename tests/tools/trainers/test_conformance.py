"""What every trainer of the registry keeps, each tried with its stand-in by the command.

A run explains itself before its first step, can be stopped and continued as the same run, and is a success only with a readable LoRA of its
own whose weights are numbers.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lifeos import cli
from lifeos.process_group import is_group_alive
from tests.capabilities import POSIX
from tests.tools.trainers.bench import Bench
from tests.tools.trainers.standins import STANDINS
from tools import dataset_manifest
from tools.trainers.lora_header import read_lora_header
from tools.trainers.trainer import TRAINERS

EVIDENCE = ("dataset_manifest.json", "training_command.json", "training_environment.json")


@pytest.fixture(params=STANDINS, ids=lambda standin: standin.trainer)
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in os.environ:
        if name.startswith("STANDIN_"):
            monkeypatch.delenv(name)
    return Bench(request.param, tmp_path)


def test_every_trainer_has_its_stand_in() -> None:
    assert [standin.trainer for standin in STANDINS] == [row.name for row in TRAINERS]


def test_a_run_is_stopped_and_goes_on_as_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_HANG_AT" if POSIX else "STANDIN_FAIL_AT", "13")
    assert (bench.run_and_stop() if POSIX else bench.run()) == (130 if POSIX else 1)
    first = bench.record
    assert (first["state"], first["trainer"], first["steps"]) == ("interrupted" if POSIX else "failed", bench.trainer.name, 12)
    assert not is_group_alive(first["process_group"])
    assert bench.steps() == [5, 10]
    explained = [bench.output / name for name in EVIDENCE]
    earliest = min((bench.output / name).stat().st_mtime_ns for name in bench.loras())
    assert all(path.stat().st_mtime_ns < earliest for path in explained), "on the disk before the first step"
    command = json.loads(explained[1].read_text(encoding="utf-8"))
    assert command["argv"] == first["argv"] == command["processes"][-1]["argv"]
    assert json.loads(explained[2].read_text(encoding="utf-8"))["packages"]
    assert cli.run(lambda: dataset_manifest.main(["--verify", str(explained[0])])) == 0

    monkeypatch.delenv("STANDIN_HANG_AT" if POSIX else "STANDIN_FAIL_AT")
    assert bench.run("--resume") == 0
    record = bench.record
    assert (record["run_id"], record["state"], record["first_step"], record["steps"]) == (first["run_id"], "finished", 10, 20)
    wanted = [5, 10, 15, *([20] if bench.standin.saves_last_step else []), None]
    assert bench.steps() == wanted, "what the trainer counts from 0 is called what it is"
    assert [item["fault"] for item in record["lora_files"]] == [None] * len(wanted)
    assert record["lora_files"][-1]["file"] == bench.trainer.checkpoint_name("v3")
    for name, step in bench.loras().items():
        header = read_lora_header(bench.output / name)
        assert (header.run_id, header.training_params["steps"]) == (record["run_id"], step or 20), name
    assert bench.steps_with_loss() == list(range(1, 21))
    assert not (bench.output / "staged_dataset").exists()
    assert bench.run("--resume") == 2, "nothing is left to train"
    assert bench.run() == 2, "LoRA files of the name are there"


def test_no_success_without_a_sound_lora_of_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trainers themselves end with 0."""
    monkeypatch.setenv("STANDIN_NAN_WEIGHTS_AT", "12")
    assert bench.run() == 1
    assert "the run has diverged" in capsys.readouterr().err
    record = bench.record
    assert (record["state"], bench.loras()[record["last_good"]]) == ("failed", 10)
    monkeypatch.delenv("STANDIN_NAN_WEIGHTS_AT")
    monkeypatch.setenv("STANDIN_NO_LORA", "1")
    assert bench.run("--overwrite", "--save-every-n-steps", 50) == 1
    assert f"return code 0, but {bench.trainer.checkpoint_name('v3')} was not written" in capsys.readouterr().err
    assert (bench.record["state"], bench.record["lora_files"]) == ("failed", [])


def test_what_cannot_be_trained_is_refused_before_anything_is_written(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    base = bench.set.parent / "base.safetensors"
    base.write_bytes(b"<!DOCTYPE html><html><title>Login</title>")
    assert bench.run("--dry-run") == 2
    assert "is a web page (HTML), not a model file" in capsys.readouterr().out
    assert not bench.output.exists()
