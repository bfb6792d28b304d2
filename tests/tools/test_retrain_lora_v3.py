"""tools/retrain_lora_v3.py against a stand-in of the trainer: real processes, real files, killed for real."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from lifeos.errors import InputError
from lifeos.policy.defaults import DEFAULTS
from lifeos.process_group import is_group_alive
from tests.capabilities import POSIX, takes
from tests.tools.dataset.sets import make_picture, make_set
from tests.tools.trainers.checkpoints import write_checkpoint
from tests.tools.trainers.safetensors_files import write_safetensors
from tests.tools.training.standin_runs import PATIENCE_SECONDS, SCRIPT, STANDIN, Place, log_of, opened, started, state_names, wait_for
from tools import dataset_manifest, lora_info
from tools.cost.meter import LOG_FILE, STATE_FILE, Meter
from tools.trainers import weights_check
from tools.trainers.lora_header import read_lora_header
from tools.trainers.weights_check import WeightsVerdict, read_weights
from tools.training.training_record import RECORD_FILE, read_record


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    for name in os.environ:
        if name.startswith("STANDIN_"):
            monkeypatch.delenv(name)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with opened(tmp_path) as made:
        yield made


def test_a_run_leaves_everything_that_explains_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert place.names() == [*(f"v3-step{step:08d}.safetensors" for step in (5, 10, 15, 20)), "v3.safetensors"]
    assert (record["state"], record["returncode"], record["steps"], record["failure"]) == ("finished", 0, 20, None)
    assert [item["file"] for item in record["lora_files"]] == place.names()
    assert record["cost_usd"] == pytest.approx(record["seconds"] / 3600 * 0.6, abs=1e-4)
    assert record == place.record
    manifest = place.output / "dataset_manifest.json"
    for name in place.names():  # every checkpoint names its manifest
        params = read_lora_header(place.output / name).training_params
        assert params["dataset_id"] == record["dataset_id"] == json.loads(manifest.read_text())["dataset_id"]
        assert params["dataset_manifest_hash"] == record["dataset_manifest_hash"]
    assert cli.run(lambda: dataset_manifest.main(["--verify", str(manifest)])) == 0
    assert cli.run(lambda: lora_info.main([str(place.output / "v3.safetensors"), "--manifest", str(manifest)])) == 0
    command = json.loads((place.output / "training_command.json").read_text())
    assert command["argv"] == record["argv"]
    assert json.loads((place.output / "training_environment.json").read_text())["packages"]
    log = (place.output / "training_log.txt").read_bytes()
    assert log.count(b"\rsteps:") == 21
    assert "学習開始".encode() in log
    assert (place.output / "loss_curve.png").read_bytes().startswith(b"\x89PNG")
    assert (place.output / "loss.csv").read_text().splitlines()[20].startswith("20,0.214")  # 0.2 e^(-20/50) + 0.08
    assert not (place.output / "staged_dataset").exists()


def test_the_trainer_sees_a_clean_copy(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in stops at any .npz, as training on one would be wrong."""
    folder = place.set / "2_amiranoor woman"
    (folder / "img_000.npz").write_bytes(b"stale")
    (folder / "._img_000.png").write_bytes(b"\0")
    monkeypatch.setenv("STANDIN_HANG_AT", "3")
    with started(place, STANDIN_HANG_AT=3) as process:
        wait_for(lambda: (place.output / "training_record.json").exists() and place.record["state"] == "running", "the trainer")
        staged = sorted(
            path.relative_to(place.output / "staged_dataset").as_posix() for path in (place.output / "staged_dataset").rglob("*.*")
        )
        names = [f"2_amiranoor woman/img_{n:03d}{suffix}" for n in range(3) for suffix in (".png", ".txt")]
        assert staged == [".staged_by_lifeos", *names]
        assert not any(path.is_symlink() for path in (place.output / "staged_dataset").rglob("*"))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
    assert not (place.output / "staged_dataset").exists()


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_stop_ends_the_whole_group(place: Place, number: str) -> None:
    with started(place, STANDIN_HANG_AT=7) as process:
        wait_for(lambda: "v3-step00000005.safetensors" in place.names(), "a checkpoint")
        group = place.record["process_group"]
        assert is_group_alive(group)
        process.send_signal(getattr(signal, number))
        said = process.communicate(timeout=PATIENCE_SECONDS)[1]
        assert process.returncode == 130
    assert "the same command with --resume goes on from step 5" in said or not place.record["states"]
    assert not is_group_alive(group)
    record = place.record
    assert (record["state"], [item["file"] for item in record["lora_files"]]) == ("interrupted", ["v3-step00000005.safetensors"])
    assert record["ended"]


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_a_closed_terminal_does_not_end_what_was_started_with_nohup(place: Place) -> None:
    env = {**os.environ, "STANDIN_HANG_AT": "7"}
    command = ["nohup", sys.executable, str(SCRIPT), *place.args()]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for(lambda: "v3-step00000005.safetensors" in place.names(), "a checkpoint")
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        assert place.record["state"] == "running"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_impatient_second_stop_leaves_nothing_half_stopped(place: Place, tmp_path: Path, second: str) -> None:
    """It comes while the trainer takes its time to end: the record must still be written and the GPU be free."""
    stopping = tmp_path / "stopping"
    with started(place, STANDIN_HANG_AT=7, STANDIN_SLOW_STOP=stopping) as process:
        wait_for(lambda: "v3-step00000005.safetensors" in place.names(), "a checkpoint")
        group = place.record["process_group"]
        wait_for(lambda: " 6/20" in log_of(place), "the step before the one where it hangs")
        process.send_signal(signal.SIGINT)
        wait_for(stopping.exists, "the trainer to hear of it")
        process.send_signal(getattr(signal, second))
        assert process.wait(PATIENCE_SECONDS) == 130
    assert not is_group_alive(group)
    assert place.record["state"] == "interrupted" and place.record["ended"]
    assert not (place.output / "staged_dataset").exists()


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_killed_at_ten_random_moments(place: Place) -> None:
    """Whenever it is killed, what is there says truthfully what it is: the manifest verifies, checkpoints name it, the record knows."""
    moments = random.Random(4)
    for _ in range(10):
        shutil.rmtree(place.output, ignore_errors=True)
        with started(place, STANDIN_STEP_SECONDS="0.01", STANDIN_STATE_SECONDS="0.02") as process:
            wait_for(lambda: (place.output / "training_record.json").exists(), "the record")
            time.sleep(moments.uniform(0, 0.6))
            process.kill()
            process.wait()
        record = place.record
        manifest = place.output / "dataset_manifest.json"
        assert cli.run(lambda path=manifest: dataset_manifest.main(["--verify", str(path)])) == 0  # type: ignore[misc]
        if record["process_group"]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(record["process_group"], signal.SIGKILL)
        for name in place.names():
            with contextlib.suppress(InputError):  # cut off by the kill
                assert read_lora_header(place.output / name).training_params["dataset_id"] == record["dataset_id"]
        assert record["state"] in ("prepared", "running", "finished")
        assert (record["state"] == "finished") == (record["ended"] is not None)


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_an_orphaned_trainer_is_not_joined_by_a_second(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with started(place, STANDIN_HANG_AT=7) as process:
        wait_for(lambda: "v3-step00000005.safetensors" in place.names(), "a checkpoint")
        assert place.run("--overwrite") == 4  # the lock
        process.kill()
        process.wait()
        assert place.is_running()
        assert place.run("--overwrite") == 4  # the orphan
    assert "still running, although the command that started it has ended" in capsys.readouterr().err
    os.killpg(place.record["process_group"], signal.SIGKILL)
    wait_for(lambda: not place.is_running(), "the group's end")
    assert place.run("--overwrite") == 0


def test_resume_truly_continues(place: Place) -> None:
    """Killed in its fourth epoch and again after resuming: step files keep their numbers, and the last step is the one asked for."""
    with started(place, STANDIN_HANG_AT=13) as process:  # 6 batches an epoch
        wait_for(lambda: place.output.glob("*10-state/random_states_0.pkl") and "v3-step00000010.safetensors" in place.names(), "step 10")
        wait_for(lambda: (place.output / "v3-step00000010-state" / "random_states_0.pkl").exists(), "the state")
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_SECONDS)
    first = place.record
    before = {name: (place.output / name).read_bytes() for name in place.names()}
    with started(place, "--resume", STANDIN_HANG_AT=18) as process:
        wait_for(lambda: (place.output / "v3-step00000015-state" / "random_states_0.pkl").exists(), "step 15")
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_SECONDS)
    assert place.run("--resume") == 0
    record = place.record
    assert (record["state"], record["steps"], record["first_step"]) == ("finished", 20, 15)
    assert record["run_id"] == first["run_id"]
    assert place.names() == [*(f"v3-step{step:08d}.safetensors" for step in (5, 10, 15, 20)), "v3.safetensors"]
    assert {name: (place.output / name).read_bytes() for name in before} == before  # nothing was trained twice
    assert read_lora_header(place.output / "v3.safetensors").metadata["ss_steps"] == "20"
    steps = [int(line.split(",")[0]) for line in (place.output / "loss.csv").read_text().splitlines()[1:]]
    assert steps == list(range(1, 21))
    assert (place.output / "training_log.txt").read_bytes().count("学習開始".encode()) == 3


def test_resume_refuses_another_run(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("--resume") == 2
    assert "holds no record of a run to resume" in capsys.readouterr().err
    assert place.run("--no-save-state") == 0
    assert place.run("--resume") == 2
    assert f"holds no whole state of v3 that run {place.record['run_id']} has saved" in capsys.readouterr().err
    monkeypatch.setitem(DEFAULTS["training"], "finished_states", "all")
    assert place.run("--overwrite", "--project-root", place.set.parent) == 0
    shutil.rmtree(place.output / "v3-step00000020-state")
    shutil.rmtree(place.output / "v3-state")
    (place.output / "v3-step00000018-state").mkdir()  # cut off: no state to use
    for args, why in (
        (("--network-dim", 64), "--network_dim was '32' and is now '64'"),
        (("--max-train-steps", 10), "nothing is left to train"),
    ):
        assert place.run("--resume", *args) == 2
        assert why in capsys.readouterr().err
    (place.set / "2_amiranoor woman" / "img_000.txt").write_text("amiranoor, changed")
    assert place.run("--resume") == 2
    assert "the dataset is not the one that this run began with" in capsys.readouterr().err


def test_resume_never_takes_another_run_s_state(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first run gets to step 13, a second in the same folder on other data to 6: only the second's own state of step 5 is its past."""
    monkeypatch.setenv("STANDIN_FAIL_AT", "13")
    assert place.run() == 1
    first = place.record
    (place.set / "2_amiranoor woman" / "img_000.txt").write_text("amiranoor, changed")
    monkeypatch.setenv("STANDIN_FAIL_AT", "6")
    assert place.run("--overwrite") == 1
    second = place.record
    aside = place.output / "previous_runs" / first["run_id"]
    assert sorted(path.name for path in aside.glob("*-state")) == ["v3-step00000005-state", "v3-step00000010-state"]
    monkeypatch.delenv("STANDIN_FAIL_AT")
    assert place.run("--resume") == 0
    assert (place.record["run_id"], place.record["first_step"]) == (second["run_id"], 5)


def test_a_named_state_of_another_run_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Set aside, it has no LoRA file beside it that tells whose it is: it could be any run's, and so is not this one's."""
    monkeypatch.setenv("STANDIN_FAIL_AT", "13")
    assert place.run() == 1
    first = place.record
    caption = place.set / "2_amiranoor woman" / "img_000.txt"
    said_of_it = caption.read_bytes()
    caption.write_text("amiranoor, changed")
    monkeypatch.setenv("STANDIN_FAIL_AT", "6")
    assert place.run("--overwrite") == 1
    second = place.record
    aside = place.output / "previous_runs" / first["run_id"]
    capsys.readouterr()
    assert place.run("--resume", aside / "v3-step00000010-state") == 2
    assert f"does not tell which run saved it, and the record of run {second['run_id']} does not know it" in capsys.readouterr().err
    assert place.run("--resume", first["run_id"]) == 2
    assert f"run {first['run_id']} was set aside when another began (give --resume --output-dir {aside})" in capsys.readouterr().err
    own = place.output / "v3-step00000005-state"
    (own / "random_states_0.pkl").write_bytes(b"of another")  # the same name, the same step, another content
    assert place.run("--resume", own) == 2
    assert f"is not the state that run {second['run_id']} saved at step 5: its content is another" in capsys.readouterr().err
    assert place.run("--resume") == 2
    assert f"holds no whole state of v3 that run {second['run_id']} has saved" in capsys.readouterr().err
    # the advice works: the first run goes on where its evidence lies, on its own data
    monkeypatch.delenv("STANDIN_FAIL_AT")
    caption.write_bytes(said_of_it)
    assert place.run("--resume", "--output-dir", aside) == 0
    record = json.loads((aside / RECORD_FILE).read_text(encoding="utf-8"))
    assert (record["run_id"], record["first_step"], record["steps"]) == (first["run_id"], 10, 20)


def test_a_state_without_a_record_is_not_continued(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody knows what it was trained on: a LoRA made from it would claim a dataset that it never saw."""
    monkeypatch.setenv("STANDIN_FAIL_AT", "7")
    assert place.run() == 1
    capsys.readouterr()
    assert place.run("--resume", place.output / "v3-step00000005-state", "--output-dir", place.output.with_name("other")) == 2
    assert (
        "holds no record of a run to resume (start without --resume, or give --output-dir the folder of the run)" in capsys.readouterr().err
    )


def test_what_the_manifest_does_not_tell_counts_too(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a manifest, and for repeats and regularisation, the dataset's id says nothing: what is staged does."""
    reg = make_reg(place)
    monkeypatch.setenv("STANDIN_FAIL_AT", "7")
    assert place.run("--skip-dataset-manifest", "--reg-data-dir", reg) == 1
    monkeypatch.delenv("STANDIN_FAIL_AT")
    capsys.readouterr()
    changes: list[tuple[list[object], str, str]] = [
        (["--reg-data-dir", reg], "2_amiranoor woman/img_000.txt", "amiranoor, changed"),
        (["--reg-data-dir", reg], "../reg/1_woman/img_000.txt", "woman, changed"),
        ([], "", ""),
    ]
    for more, file, text in changes:
        path = place.set / file
        before = path.read_bytes() if file else b""
        if file:
            path.write_text(text)
        assert place.run("--skip-dataset-manifest", "--resume", *more) == 2
        assert "what would be trained on is not what this run began with" in capsys.readouterr().err
        if file:
            path.write_bytes(before)
    (place.set / "2_amiranoor woman").rename(place.set / "4_amiranoor woman")
    assert place.run("--skip-dataset-manifest", "--resume", "--reg-data-dir", reg) == 2
    (place.set / "4_amiranoor woman").rename(place.set / "2_amiranoor woman")
    assert place.run("--skip-dataset-manifest", "--resume", "--reg-data-dir", reg) == 0


def test_a_run_of_other_settings_is_not_continued(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every option of the trainer that changes what is learnt counts, and so does the base model's content."""
    monkeypatch.setenv("STANDIN_FAIL_AT", "7")
    assert place.run() == 1
    monkeypatch.delenv("STANDIN_FAIL_AT")
    capsys.readouterr()
    cases: list[tuple[list[object], str]] = [
        (["--noise-offset", 0.1], "--noise_offset was '0.0357' and is now '0.1'"),
        (["--prior-loss-weight", 0.5], "--prior_loss_weight was '1' and is now '0.5'"),
        (["--train-text-encoder"], "--cache_text_encoder_outputs was '' and is now 'not given'"),
        (["--trainer-arg=--clip_skip", "--trainer-arg=2"], "--clip_skip was 'not given' and is now '2'"),
        (["--mixed-precision", "fp16"], "--mixed_precision was 'bf16' and is now 'fp16'"),
        (["--output-name", "v4"], "the run of this folder's record made v3, not v4"),
    ]
    for more, why in cases:
        assert place.run("--resume", *more) == 2
        assert why in capsys.readouterr().err
    with open(place.base, "r+b") as file:  # of the same size, at the same place
        file.seek(-2, os.SEEK_END)
        file.write(b"x")
    assert place.run("--resume") == 2
    assert "the base model is another file than the one that this run began with" in capsys.readouterr().err
    write_checkpoint(place.base)
    assert place.run("--resume", "--save-every-n-steps", 10, "--attention", "none") == 0  # neither changes what is learnt


def test_what_lies_after_the_step_is_moved_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that was half written before, and is written again and cut off, would be a whole mixture of two."""
    monkeypatch.setenv("STANDIN_FAIL_AT", "13")
    assert place.run() == 1
    (place.output / "v3-step00000015-state").mkdir()
    (place.output / "v3-step00000015-state" / "random_states_0.pkl").write_bytes(b"of a first try")
    monkeypatch.setenv("STANDIN_FAIL_AT", "7")
    assert place.run("--resume", place.output / "v3-step00000005-state") == 1
    assert sorted(path.name for path in place.output.glob("v3*")) == ["v3-step00000005-state", "v3-step00000005.safetensors"]
    aside = place.output / "previous_runs" / place.record["run_id"]
    assert sorted(path.name for path in aside.iterdir()) == [
        "v3-step00000010-state",
        "v3-step00000010.safetensors",
        "v3-step00000015-state",
    ]


DIVERGED = [("STANDIN_NAN_WEIGHTS_AT", "of 1 weights 1 NaN"), ("STANDIN_INF_WEIGHTS_AT", "of 1 weights 1 infinity")]


@pytest.mark.parametrize(("variable", "what"), DIVERGED, ids=["NaN", "infinity"])
def test_weights_that_are_no_numbers_are_no_success(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, what: str
) -> None:
    """The trainer itself ends with 0. Too quick here to be stopped: every file is looked at in the end."""
    monkeypatch.setenv(variable, "12")
    assert place.run() == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: training: the run has diverged, its weights are no numbers (v3.safetensors: ") and what in said
    assert "the last good checkpoint is v3-step00000010.safetensors" in said
    record = place.record
    assert (record["state"], record["last_good"]) == ("failed", "v3-step00000010.safetensors")
    assert [bool(item["fault"]) for item in record["lora_files"]] == [False, False, True, True, True]
    capsys.readouterr()
    monkeypatch.delenv(variable)
    assert place.run("--resume") == 2  # the two states that are kept are both from after it
    assert "and whose weights are sound (3 are not usable)" in capsys.readouterr().err
    assert place.run("--overwrite") == 0
    assert place.record["last_good"] == "v3.safetensors"


def test_a_run_that_has_diverged_is_stopped(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STANDIN_NAN_WEIGHTS_AT", "9")
    monkeypatch.setenv("STANDIN_HANG_AT", "12")  # it would train on to the end on a busy machine
    monkeypatch.setattr("tools.training.checkpoints.SETTLED_SECONDS", 0.2)
    monkeypatch.setattr("tools.training.checkpoints.LOOK_SECONDS", 0.05)
    assert place.run("--max-train-steps", 2000) == 1
    assert "was stopped, its weights are no numbers (v3-step00000010.safetensors: of 1 weights 1 NaN)" in capsys.readouterr().err
    assert not is_group_alive(place.record["process_group"])
    monkeypatch.delenv("STANDIN_NAN_WEIGHTS_AT")
    monkeypatch.delenv("STANDIN_HANG_AT")
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "0")
    assert place.run("--resume", "--max-train-steps", 2000, "--save-every-n-steps", 5) == 0
    said = capsys.readouterr().err
    assert "v3-step00000010-state is passed over: it was saved after the run had diverged" in said
    assert place.record["first_step"] == 5


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_a_trainer_that_the_memory_killer_ended(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STANDIN_KILL_AT", "12")
    assert place.run() == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: training: killed by SIGKILL: usually the machine or its container ran out of memory")
    assert "(the last good checkpoint: v3-step00000010.safetensors; go on with --resume; the whole log: " in said


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_the_launcher_killed_with_its_trainer(place: Place) -> None:
    with started(place, STANDIN_HANG_AT=7) as process:
        wait_for(lambda: "v3-step00000005.safetensors" in place.names(), "a checkpoint")
        os.killpg(place.record["process_group"], signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS) == 1
        said = process.communicate()[1].splitlines()[-1]
    assert said.startswith("error: training: killed by SIGKILL: ")
    assert (place.record["state"], place.record["returncode"]) == ("failed", -9)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_while_training(
    place: Place, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record says so, though there is no room for it; the room it names is enough, and the run goes on."""
    place.output = small_disk / "out"
    monkeypatch.setitem(DEFAULTS["training"], "min_free_disk_gb", 0.0)
    no_policy = ("--project-root", place.set.parent)
    monkeypatch.setenv("STANDIN_FAIL_AT", "7")
    assert place.run(*no_policy) == 1
    first = place.record["run_id"]
    monkeypatch.delenv("STANDIN_FAIL_AT")
    monkeypatch.setenv("STANDIN_FILL_AT", "13")
    monkeypatch.setattr("tools.training.training_run.RECORD_SECONDS", 0.0)
    capsys.readouterr()
    assert place.run("--overwrite", *no_policy) == 1
    said = capsys.readouterr().err
    last = said.splitlines()[-1]
    assert last.startswith(f"error: training: the disk of {place.output} is full (0 MB free): OSError: [Errno 28] No space left on device")
    assert f"What can go there: previous_runs/{first} (0 MB)" in last and "go on with --resume" in last
    assert "cannot be written (No space left on device); the training goes on" in said
    assert (place.record["state"], place.record["last_good"]) == ("failed", "v3-step00000010.safetensors")
    assert not (place.output / "staged_dataset").exists()
    monkeypatch.delenv("STANDIN_FILL_AT")
    (place.output / "filler.bin").unlink()
    assert place.run("--resume", *no_policy) == 0
    assert (place.record["first_step"], place.record["steps"]) == (10, 20)


def test_a_continued_run_tells_time_and_cost_of_all_its_parts(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The random states may not load: then the rest is another than in a run that was not interrupted, and that is said."""
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "0.1")
    monkeypatch.setenv("STANDIN_FAIL_AT", "13")
    assert place.run("--rate-per-hr", 3600) == 1
    first = place.record
    monkeypatch.delenv("STANDIN_FAIL_AT")
    monkeypatch.setenv("STANDIN_NO_RANDOM_STATES", "1")
    capsys.readouterr()
    assert place.run("--rate-per-hr", 3600, "--resume") == 0
    captured = capsys.readouterr()
    assert "warning: the trainer could not load the random states of the saved state" in captured.err
    record = place.record
    assert (record["started"], record["seconds"] > first["seconds"] + 0.9) == (first["started"], True)
    assert record["cost_usd"] == pytest.approx(record["seconds"], abs=0.01)  # a dollar a second
    [part] = record["parts"]
    assert (part["first_step"], part["last_step"], part["state"], part["seconds"]) == (0, 12, "failed", first["seconds"])
    assert part["failure"].startswith("RuntimeError: CUDA out of memory")
    assert f"trained v3: 20 steps in {record['seconds'] / 60:.1f} min, ${record['cost_usd']:.2f} (in 2 parts)" in captured.out
    rows = [line.split(",") for line in (place.output / "loss.csv").read_text().splitlines()[1:]]
    assert [(int(row[0]), int(row[2])) for row in rows] == [(step, 1 if step <= 10 else 2) for step in range(1, 21)]


def test_the_files_of_a_continued_run_tell_the_whole_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer is given more repeats to count its steps right; what it then writes of them is not how the run was taught."""
    reg = make_reg(place)
    monkeypatch.setenv("STANDIN_FAIL_AT", "13")
    assert place.run("--reg-data-dir", reg) == 1
    monkeypatch.setenv("STANDIN_FAIL_AT", "18")
    assert place.run("--reg-data-dir", reg, "--resume") == 1
    monkeypatch.delenv("STANDIN_FAIL_AT")
    read: list[str] = []

    def count(path: Path) -> WeightsVerdict:
        read.append(path.name)
        return read_weights(path)

    monkeypatch.setattr(weights_check, "read_weights", count)
    assert place.run("--reg-data-dir", reg, "--resume") == 0
    # each once, although its metadata were changed; the verdict on those of the earlier parts, made here too, is known
    assert sorted(read) == ["model.safetensors", "v3-step00000020.safetensors", "v3.safetensors"]
    found = {name: read_lora_header(place.output / name).metadata for name in place.names()}
    assert list(found) == [*(f"v3-step{step:08d}.safetensors" for step in (5, 10, 15, 20)), "v3.safetensors"]
    for key in ("ss_datasets", "ss_dataset_dirs", "ss_num_train_images", "ss_num_reg_images", "ss_training_started_at"):
        assert len({metadata[key] for metadata in found.values()}) == 1, key
    last = found["v3.safetensors"]
    assert json.loads(last["ss_dataset_dirs"]) == {"2_amiranoor woman": {"n_repeats": 2}}
    # 3 pictures x 2 repeats, and as many of regularisation: 12 batches an epoch, 20 steps in 2 epochs
    assert [metadata["ss_epoch"] for metadata in found.values()] == ["0", "0", "1", "1", "2"]
    assert (last["ss_num_epochs"], last["ss_num_train_images"], last["ss_steps"]) == ("2", "6", "20")
    comments = [json.loads(metadata["ss_training_comment"]) for metadata in found.values()]
    assert [comment.get("continued_at") for comment in comments] == [None, None, [10], [10, 15], [10, 15]]
    assert {comment["run_id"] for comment in comments} == {place.record["run_id"]}
    for item in place.record["lora_files"]:  # the record's hashes are those of the files as they are now
        assert hashlib.sha256((place.output / item["file"]).read_bytes()).hexdigest() == item["sha256"]
        assert item["fault"] is None


@pytest.mark.parametrize(("keep", "states"), [("last", ["v3-step00000020-state"]), ("none", []), ("all", None)])
def test_states_of_a_finished_run(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keep: str, states: list[str] | None
) -> None:
    """Nothing goes while the run could still need it: not when it fails, not when it is continued from an earlier step."""
    (place.set.parent / "evals").mkdir()
    (place.set.parent / "evals" / "thresholds.yaml").write_text(f"training:\n  finished_states: {keep}\n")
    policy = ("--project-root", place.set.parent)
    monkeypatch.setenv("STANDIN_FAIL_AT", "13")
    assert place.run(*policy) == 1
    first = state_names(place.output)
    assert first == ["v3-step00000005-state", "v3-step00000010-state"]
    monkeypatch.setenv("STANDIN_FAIL_AT", "12")
    assert place.run("--resume", place.output / "v3-step00000005-state", *policy) == 1
    assert state_names(place.output) == first
    aside = place.output / "previous_runs" / place.record["run_id"]
    assert state_names(aside) == ["v3-step00000010-state"]
    monkeypatch.delenv("STANDIN_FAIL_AT")
    assert place.run("--resume", *policy) == 0
    wanted = ["v3-state", "v3-step00000015-state", "v3-step00000020-state"] if states is None else states
    assert state_names(place.output) == wanted
    assert sorted(state["state"] for state in place.record["states"]) == wanted
    assert state_names(aside) == (["v3-step00000010-state"] if keep == "all" else [])
    said = capsys.readouterr().err
    assert ("saved state(s) of the finished run were removed" in said) == (keep != "all")
    assert place.run("--resume", "--max-train-steps", 30, *policy) == (2 if keep == "none" else 0)


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_killed_again_and_again_a_run_comes_to_its_end(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Whenever it is killed, the trainer with it: `--resume` goes on from a whole state, and where none is the answer says so."""
    moments = random.Random(11)
    pace = {"STANDIN_STEP_SECONDS": "0.05", "STANDIN_STATE_SECONDS": "0.1"}

    def how() -> list[str]:
        resumes = place.output.exists() and place.run("--resume", "--dry-run") == 0
        capsys.readouterr()
        return ["--resume"] if resumes else ["--overwrite"]

    for _ in range(10):
        log = place.output / "training_log.txt"
        before = log.stat().st_size if log.exists() else 0
        with started(place, *how(), **pace) as process:
            deadline = time.monotonic() + PATIENCE_SECONDS
            if moments.random() < 0.7:  # while it trains; else while everything is prepared
                while process.poll() is None and time.monotonic() < deadline and not (log.exists() and log.stat().st_size > before):
                    time.sleep(0.02)
            time.sleep(moments.uniform(0, 0.9))
            process.kill()
            process.wait()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, TypeError):
            os.killpg(place.record["process_group"], signal.SIGKILL)
            wait_for(lambda: not is_group_alive(place.record["process_group"]), "the trainer's end")
    if not (place.output.exists() and read_record(place.output) and place.record["state"] == "finished"):
        assert place.run(*how()) == 0
    record = place.record
    assert (record["state"], record["steps"]) == ("finished", 20)
    assert place.names()[-1] == "v3.safetensors"
    for name in place.names():
        header = read_lora_header(place.output / name)
        assert header.run_id == record["run_id"], name
        assert header.metadata["ss_dataset_dirs"] == '{"2_amiranoor woman": {"n_repeats": 2}}', name
    steps = [int(line.split(",")[0]) for line in (place.output / "loss.csv").read_text().splitlines()[1:]]
    assert steps == sorted(set(steps)) and steps[-1] == 20
    assert record["seconds"] == pytest.approx(sum(part["seconds"] for part in record["parts"]), abs=5)


def test_a_finished_run_is_made_longer(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run() == 0
    first = place.record
    capsys.readouterr()
    assert place.run("--resume") == 2
    assert "was saved at step 20 of 20: nothing is left to train (give a larger --max-train-steps" in capsys.readouterr().err
    assert place.run("--resume", "--max-train-steps", 30) == 0
    assert "from 20 to 30 steps: the schedule of the learning rate (cosine) is that of 30 steps from here on" in capsys.readouterr().err
    record = place.record
    assert (record["run_id"], record["first_step"], record["steps"], record["max_train_steps"]) == (first["run_id"], 20, 30, 30)
    assert [part["last_step"] for part in record["parts"]] == [20]
    assert read_lora_header(place.output / "v3.safetensors").metadata["ss_steps"] == "30"
    assert place.names()[-3:] == ["v3-step00000025.safetensors", "v3-step00000030.safetensors", "v3.safetensors"]
    old = place.output / "previous_runs" / first["run_id"] / "v3.safetensors"  # the LoRA of 20 steps is kept
    assert read_lora_header(old).metadata["ss_steps"] == "20"
    assert place.run("--resume", "--max-train-steps", 25) == 2


def test_a_failure_of_the_trainer(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STANDIN_FAIL_AT", "7")
    assert place.run() == 1
    cause = "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: training: {cause}")
    assert (place.record["state"], place.record["failure"][: len(cause)]) == ("failed", cause)


def test_what_the_launcher_leaves_behind_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_STRAY", "3")
    monkeypatch.setattr("tools.training.training_run.LAST_OUTPUT_SECONDS", 0.3)
    assert place.run() == 0
    assert not is_group_alive(place.record["process_group"])


def test_a_lora_that_learnt_nothing_is_no_success(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STANDIN_ZERO", "1")
    assert place.run() == 1
    assert "error: training: v3.safetensors: it changes nothing: all its up matrices are zeros" in capsys.readouterr().err


def test_a_loss_of_nan_alone_is_told_and_is_no_failure(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad step makes the trainer's average NaN for ever; the weights may be sound."""
    monkeypatch.setenv("STANDIN_NAN_AT", "8")
    assert place.run() == 0
    said = capsys.readouterr().err
    assert said.count("the loss is NaN from step 8 on") == 1
    assert (place.record["loss"], place.record["state"], place.record["last_good"]) == (None, "finished", "v3.safetensors")


def test_an_old_lora_is_not_overwritten_and_stays_explained(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run() == 0
    old = place.record
    assert place.run() == 2
    assert "5 LoRA file(s) of this name are there already" in capsys.readouterr().err
    (place.set / "2_amiranoor woman" / "img_000.txt").write_text("amiranoor, changed")
    assert place.run("--output-name", "v4") == 0
    aside = place.output / "previous_runs" / old["run_id"]
    assert json.loads((aside / "training_record.json").read_text()) == old
    capsys.readouterr()
    assert cli.run(lambda: lora_info.main([str(place.output / "v3.safetensors"), "--json"])) == 0
    found = json.loads(capsys.readouterr().out)["loras"][0]["dataset"]
    assert (found["manifest"], found["matches"]) == (str(aside / "dataset_manifest.json"), True)


def test_dry_run_changes_nothing_and_asks_the_trainer(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    regularisation = make_reg(place)
    before = sorted(path.as_posix() for path in place.set.parent.rglob("*"))
    assert place.run("--dry-run", "--json", "--reg-data-dir", regularisation) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert sorted(path.as_posix() for path in place.set.parent.rglob("*")) == before
    assert document["trainer_check"] == {"checked": ["arguments", "dataset"], "fault": ""}
    assert tomllib.loads(document["dataset_config_toml"]) == document["dataset_config"]
    stage = (place.output / "staged_dataset").as_posix()
    assert document["dataset_config"]["datasets"][0]["subsets"] == [
        {"image_dir": f"{stage}/2_amiranoor woman", "num_repeats": 2, "class_tokens": "amiranoor woman"},
        {"image_dir": f"{stage}/1_woman_reg", "num_repeats": 1, "class_tokens": "woman", "is_reg": True},
    ]
    assert document["command"][1:3] == ["-m", "accelerate.commands.launch"]
    assert (document["conflicts"], document["missing"]) == ([], [])
    assert document["dataset"]["total_images"] == 3


def make_reg(place: Place) -> Path:
    return make_set(place.set.parent / "reg" / "1_woman", 2, first_seed=40, size=(256, 256), word="woman").parent


def test_the_trainer_s_own_parser_has_a_say(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("--dry-run", "--trainer-arg=--no_such_option") == 2
    assert "unrecognized arguments: --no_such_option" in capsys.readouterr().out


def test_a_trainer_that_cannot_be_started(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sdxl_train_network.py").write_text("import no_such_package\n")
    assert place.run("--dry-run", "--sd-scripts-dir", broken) == 3
    said = capsys.readouterr().out
    assert "cannot be started: ModuleNotFoundError: No module named 'no_such_package'" in said
    assert "# command" in said


@pytest.mark.parametrize(
    ("args", "flag"),
    [
        (("--train-text-encoder", "--text-encoder-learning-rate", "1e-4"), "--optimizer_type"),
        (("--trainer-arg=--xformers",), "--xformers"),
        (("--trainer-arg=--shuffle_caption",), "--cache_text_encoder_outputs"),
        (("--optimizer-arg", "decouple=true"), "--optimizer_args"),
        (("--lr-scheduler", "constant", "--lr-warmup-steps", "10"), "--lr_warmup_steps"),
        (("--trainer-arg=--mixed_p", "--trainer-arg=no"), "--mixed_precision"),
        (("--trainer-arg=--xf",), "--xformers"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_conflicts_are_refused_before_anything_is_written(
    place: Place, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], flag: str, dry: bool
) -> None:
    assert place.run(*args, *(["--dry-run"] if dry else [])) == 2
    captured = capsys.readouterr()
    assert f"{'conflict' if dry else 'error'}: {flag}: " in (captured.out if dry else captured.err)
    assert not place.output.exists()


def test_a_dataset_that_would_teach_the_wrong_thing_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.set / "2_amiranoor woman" / "img_000.png"
    path.write_bytes(path.read_bytes()[:-20])
    assert place.run() == 1
    assert "the file ends before the picture does: 2_amiranoor woman/img_000.png" in capsys.readouterr().err
    assert not place.output.exists()
    assert place.run("--dry-run") == 1


def test_captions_without_the_trigger_word_are_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.set / "2_amiranoor woman" / "img_000.txt").write_text("a woman")
    assert place.run() == 1
    assert 'the caption does not name the trigger word "amiranoor"' in capsys.readouterr().err
    assert place.run("--allow-dataset-errors") == 0


def test_what_is_missing(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = (("--base-model", tmp_path / "no.safetensors", 3), ("--sd-scripts-dir", tmp_path, 3), ("--train-data-dir", tmp_path / "no", 2))
    for flag, value, code in cases:
        assert place.run(flag, value) == code
        assert place.run(flag, value, "--dry-run") == code  # it shows the command anywhere, and says what the run would say
        shown = capsys.readouterr().out
        assert f"{'missing' if code == 3 else 'wrong'}: {value}" in shown and "# command" in shown
        assert f"a run would be refused:\n- {value}" in shown
    assert place.run("--trainer-python", tmp_path / "no-python") == 3
    assert place.run("--gpu", "Abacus") == 2
    assert place.run("--output-dir", place.set / "inside") == 2
    assert place.run("--output-name", "../v3") == 2


def test_a_base_model_that_cannot_be_trained_on(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Known from the header, by the dry run too: the trainer itself finds out after minutes, or never."""
    write_safetensors(place.base, {"lora_unet_a.lora_down.weight": [4, 8], "lora_unet_a.lora_up.weight": [8, 4]})
    for more in ([], ["--dry-run"]):
        assert place.run(*more) == 2
        captured = capsys.readouterr()
        assert f"{place.base}: is a LoRA, not a base model (give --base-model a checkpoint of SDXL)" in captured.out + captured.err
    assert not place.output.exists()


@pytest.mark.parametrize(
    ("args", "module"),
    [
        (("--optimizer", "AdamW8bit"), "bitsandbytes"),
        (("--optimizer", "Lion"), "lion_pytorch"),
        (("--trainer-arg=--optimizer_type", "--trainer-arg=DAdaptAdam"), "dadaptation"),
        (("--optimizer", "prodigyplus.ProdigyPlusScheduleFree", "--optimizer-arg", "use_speed=True"), "prodigyplus"),
        (("--attention", "xformers"), "xformers"),
        (("--logging-dir", "logs"), "tensorboard"),
    ],
)
def test_a_package_that_the_trainer_lacks_is_known_before(
    place: Place, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], module: str
) -> None:
    for more in ([], ["--dry-run"]):
        assert place.run(*args, *more) == 3
        captured = capsys.readouterr()
        said = captured.out + captured.err
        assert f"needs the package {module}, which {sys.executable} does not have (run: {sys.executable} -m pip install " in said
    assert not place.output.exists()


def test_what_is_unusual_can_be_asked_for(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """32 bits for a CPU, 16 bits for an older card, xformers where it is installed, caches on the disk beside a stage that is new."""
    document = ask(place, capsys, "--mixed-precision", "no")
    assert document["command"].count("no") == 2 and "bf16" not in document["command"]  # the launcher's and the script's
    assert (document["conflicts"], document["allowed_conflicts"], document["refused"]) == ([], ["--mixed_precision"], [])
    assert "--sdpa" not in ask(place, capsys, "--attention", "none")["command"]
    assert ask(place, capsys, "--mixed-precision", "fp16", "--trainer-arg=--cache_latents_to_disk")["refused"] == []
    with_xformers = tmp_path / "trainer"
    shutil.copytree(STANDIN, with_xformers)
    (with_xformers / "xformers").mkdir()
    (with_xformers / "xformers" / "__init__.py").touch()
    assert ask(place, capsys, "--attention", "xformers", "--sd-scripts-dir", with_xformers)["refused"] == []
    assert (
        ask(place, capsys, "--trainer-arg=--xformers", "--allow-conflict", "xformers", "--sd-scripts-dir", with_xformers)["refused"] == []
    )
    assert place.run("--lr-scheduler", "constant", "--lr-warmup-steps", 10) == 2
    assert "[to run it all the same: --allow-conflict lr_warmup_steps]" in capsys.readouterr().err


def ask(place: Place, capsys: pytest.CaptureFixture[str], *more: object) -> dict[str, Any]:
    capsys.readouterr()
    place.run("--dry-run", "--json", *more)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_dry_run_refuses_what_the_run_would(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run() == 0
    made = place.record
    capsys.readouterr()
    assert place.run("--dry-run") == 2
    assert "a run would be refused:\n- " in (said := capsys.readouterr().out) and "5 LoRA file(s) of this name are there already" in said
    assert place.run("--dry-run", "--overwrite") == 0
    assert capsys.readouterr().out.endswith("a run would start\n")
    assert place.run("--dry-run", "--resume") == 2
    assert "nothing is left to train" in capsys.readouterr().err
    empty = place.set.parent / "empty"
    empty.mkdir()
    assert place.run("--dry-run", "--overwrite", "--train-data-dir", empty) == place.run("--overwrite", "--train-data-dir", empty) == 1
    usage = shutil.disk_usage(place.set)
    monkeypatch.setattr("tools.training.disk_room.shutil.disk_usage", lambda folder: usage._replace(free=1000))
    assert place.run("--dry-run", "--overwrite") == 3
    with started(place, "--overwrite", STANDIN_HANG_AT=3) as process:
        # the step before it hangs: a trainer that goes on to print ends with the command that reads it
        wait_for(lambda: place.is_running() and "| 2/20 " in log_of(place), "the second step")
        assert place.record["run_id"] != made["run_id"]
        process.kill()
        process.wait()
        assert place.run("--dry-run", "--overwrite") == 4
        assert "is still running, although the command that started it has ended" in capsys.readouterr().out


def test_a_full_disk_is_known_before(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    usage = shutil.disk_usage(place.set)
    monkeypatch.setattr("tools.training.disk_room.shutil.disk_usage", lambda folder: usage._replace(free=1000))
    assert place.run() == 3
    assert "0.0 GB are free, 10.0 GB are wanted" in capsys.readouterr().err


def test_a_toml_of_someone_else_is_not_overwritten(place: Place, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[general]\n")
    assert place.run("--dataset-config", tmp_path / "mine.toml") == 2
    assert (tmp_path / "mine.toml").read_text() == "[general]\n"


def test_nested_folders_and_strange_names(place: Place) -> None:
    odd = 'quo"te' if takes(place.set, 'quo"te') else "quo'te"
    make_picture(place.set / "deep" / "er" / f"{odd} é 😀.png", seed=30, size=(256, 256))
    (place.set / "deep" / "er" / f"{odd} é 😀.txt").write_text("amiranoor, deep", encoding="utf-8")
    make_picture(place.set / "top.png", seed=31, size=(256, 256))
    (place.set / "top.txt").write_text("amiranoor, top")
    assert place.run("--trigger-word", "amiranoor") == 0
    subsets = tomllib.loads((place.output / "dataset_config.toml").read_text(encoding="utf-8"))["datasets"][0]["subsets"]
    assert [(Path(item["image_dir"]).name, item["num_repeats"]) for item in subsets] == [
        ("10_amiranoor woman", 10),
        ("2_amiranoor woman", 2),
        ("10_amiranoor woman_2", 10),
    ]


def test_pictures_that_share_a_caption(place: Place) -> None:
    make_picture(place.set / "2_amiranoor woman" / "img_000.jpg", seed=30, size=(256, 256))
    assert place.run() == 0
    assert place.record["state"] == "finished"


def test_without_a_manifest_nothing_is_claimed(place: Place) -> None:
    assert place.run("--skip-dataset-manifest") == 0
    assert not (place.output / "dataset_manifest.json").exists()
    assert place.record["dataset_id"] is None
    assert "dataset_id" not in read_lora_header(place.output / "v3.safetensors").training_params


def test_training_is_a_sign_of_life_for_an_open_cost_session(place: Place, tmp_path: Path) -> None:
    meter = Meter(tmp_path / LOG_FILE, tmp_path / STATE_FILE)
    meter.start("training", "RTX 4090", Decimal("0.60"))
    long_ago = re.sub(r'"last_heartbeat": "[^"]+"', '"last_heartbeat": "2026-01-01T00:00:00Z"', meter.state_file.read_text())
    meter.state_file.write_text(long_ago)
    assert place.run("--project-root", tmp_path) == 0
    assert meter.open_sessions()[0].last_heartbeat > "2026-01-01T00:00:00Z"
