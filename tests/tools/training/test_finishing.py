"""A training whose end nobody could write down: killed for real before its final file, after it, and between any two steps of its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import EXIT_LOCKED
from tests.capabilities import POSIX
from tests.tools.training.standin_runs import PATIENCE_SECONDS, Place, log_of, opened, started, state_names, wait_for
from tools.trainers.lora_header import read_lora_header
from tools.training.training_record import RECORD_FILE, read_record, tell_state

pytestmark = pytest.mark.skipif(not POSIX, reason="signals are POSIX")

KILLER = """
import os, signal, sys
from importlib import import_module
from lifeos import cli
from tools import retrain_lora_v3
module, name = sys.argv[1].split(":")
holder, _, name = ("." + name).rpartition(".")
target = import_module(module)
for part in filter(None, holder.split(".")):
    target = getattr(target, part)
real, count = getattr(target, name), [int(sys.argv[2])]
def die(*args, **more):
    count[0] -= 1
    if count[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **more)
setattr(target, name, die)
raise SystemExit(cli.run(lambda: retrain_lora_v3.main(sys.argv[3:])))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with opened(tmp_path) as made:
        yield made


def run_killed_at(place: Place, what: str, after: int, *more: object) -> None:
    """Run the command, killed by SIGKILL as it calls `what` (module:name) once it has done so `after` times."""
    command = [sys.executable, "-c", KILLER, what, str(after), *place.args(*more)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def kill_at_lora(place: Place, moment: str, *more: object) -> dict[str, Any]:
    """Train; kill the command and its trainer before, within or after the writing of the final file. Returns the record that is left."""
    with started(place, *more, STANDIN_HANG_AT_LORA=moment) as process:
        wait_for(lambda: place.output.is_dir() and (place.output / "training_log.txt").exists(), "the log")
        wait_for(lambda: f"stopped {moment} the final file" in log_of(place), "the end")
        process.kill()
        process.wait()
    group = place.record["process_group"]
    os.killpg(group, signal.SIGKILL)
    wait_for(lambda: not place.is_running(), "the trainer's end")
    return place.record


def told_state(place: Place) -> str:
    record = read_record(place.output)
    assert record is not None
    return tell_state(place.output, record)


def assert_finished(place: Place, before: dict[str, Any]) -> dict[str, Any]:
    record = place.record
    assert (record["run_id"], record["state"], record["steps"], record["failure"]) == (before["run_id"], "finished", 20, None)
    assert [item["file"] for item in record["lora_files"]] == place.names()
    assert [item["fault"] for item in record["lora_files"]] == [None] * len(place.names())
    assert record["last_good"] == "v3.safetensors" and record["ended"] >= record["started"]
    assert state_names(place.output) == [state["state"] for state in record["states"]] == ["v3-step00000020-state"]
    assert not (place.output / "staged_dataset").exists()
    assert not list(place.output.rglob(".removing-*"))
    assert (place.output / "loss_curve.png").exists()
    header = read_lora_header(place.output / "v3.safetensors")
    assert (header.run_id, header.training_params["steps"]) == (record["run_id"], 20)
    return record


def test_killed_after_the_final_file(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The dataset, the trainer and the base model may be gone with the pod: none of them is needed."""
    left = kill_at_lora(place, "after")
    assert (left["state"], told_state(place), (place.output / "staged_dataset").exists()) == ("running", "killed", True)
    written = (place.output / "v3.safetensors").read_bytes()
    place.set.rename(place.set.with_name("gone"))
    place.base.unlink()
    capsys.readouterr()
    assert place.run("--resume", "--dry-run") == 0
    trained = f"run {left['run_id']} is trained to its last step, 20"
    assert f"{trained}, and v3.safetensors is its LoRA: a run would only write down its end" in capsys.readouterr().out
    assert place.record == left
    assert place.run("--resume", "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)["finish"]
    assert told == {"run_id": left["run_id"], "lora": str(place.output / "v3.safetensors"), "step": 20}
    assert place.run("--resume", left["run_id"]) == 0
    captured = capsys.readouterr()
    assert f"{trained}: only its end was left" in captured.err
    assert captured.out.startswith("trained v3: 20 steps in ") and "v3.safetensors" in captured.out
    record = assert_finished(place, left)
    assert (place.output / "v3.safetensors").read_bytes() == written
    assert any(remark.startswith("nobody saw this run end (its record said: running)") for remark in record["remarks"])
    assert place.run("--resume") == 2  # nothing is left
    assert "nothing is left to train (give a larger --max-train-steps" in capsys.readouterr().err


def test_time_and_cost_run_to_the_moment_of_the_final_file(place: Place) -> None:
    """The record is at most five seconds old when the machine is taken away: what is known of the rest is when the file was written."""
    left = kill_at_lora(place, "after", "--rate-per-hr", 3600)
    written = (place.output / "v3.safetensors").stat().st_mtime
    os.utime(place.output / RECORD_FILE, (written - 100, written - 100))
    run_killed_at(place, "tools.training.finishing:take_stock", 0, "--resume")
    assert place.record["state"] == "running"
    os.utime(place.output / "v3.safetensors")  # as if it had been written anew
    assert place.run("--resume") == 0
    record = assert_finished(place, left)
    assert record["seconds"] == pytest.approx(left["seconds"] + 100, abs=0.01)  # once
    assert record["cost_usd"] == pytest.approx(record["seconds"], abs=0.01)  # a dollar a second


@pytest.mark.parametrize("moment", ["before", "within"])
def test_killed_before_the_final_file_was_whole(place: Place, moment: str) -> None:
    """The checkpoint of the last step holds the same weights."""
    left = kill_at_lora(place, moment)
    weights = read_lora_header(place.output / "v3-step00000020.safetensors").metadata["sshs_model_hash"]
    assert place.run("--resume") == 0
    record = assert_finished(place, left)
    assert read_lora_header(place.output / "v3.safetensors").metadata["sshs_model_hash"] == weights
    assert any("it is a copy of v3-step00000020.safetensors, of the same step" in remark for remark in record["remarks"])


@pytest.mark.parametrize("moment", ["before", "within"])
def test_where_no_checkpoint_is_of_the_last_step_the_last_steps_are_trained_again(place: Place, moment: str) -> None:
    left = kill_at_lora(place, moment, "--save-every-n-steps", 8)
    assert state_names(place.output)[0] == "v3-state"
    assert place.run("--resume", "--save-every-n-steps", 8) == 0
    assert_trained_again(place, left, "killed")


def assert_trained_again(place: Place, left: dict[str, Any], how: str) -> None:
    record = place.record
    assert (record["run_id"], record["state"], record["first_step"], record["steps"]) == (left["run_id"], "finished", 16, 20)
    assert [part["state"] for part in record["parts"]] == [how]
    assert read_lora_header(place.output / "v3.safetensors").training_params["steps"] == 20


def interrupt_at_lora(place: Place, *more: object) -> dict[str, Any]:
    """The same by Ctrl-C: the record knows the state of the last step."""
    with started(place, *more, STANDIN_HANG_AT_LORA="before") as process:
        wait_for(lambda: place.output.is_dir() and (place.output / "training_log.txt").exists(), "the log")
        wait_for(lambda: "stopped before the final file" in log_of(place), "the end")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
    return place.record


def test_interrupted_before_the_final_file(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    left = interrupt_at_lora(place, "--save-every-n-steps", 8)
    assert place.run("--resume", "--save-every-n-steps", 8) == 0
    assert "the trainer was ended before it wrote v3.safetensors: the steps from 16 to 20 are trained again" in capsys.readouterr().err
    assert_trained_again(place, left, "interrupted")


def test_where_nothing_else_is_left_one_step_more_writes_the_lora(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The only state is that of the last step, from which the trainer refuses to go on. What the refusal advises works."""
    left = interrupt_at_lora(place, "--save-every-n-steps", 100)
    assert state_names(place.output) == ["v3-state"] and place.names() == []
    assert place.run("--resume", "--save-every-n-steps", 100) == 2
    why = "was saved at the last step, 20, but the trainer was ended before it wrote the LoRA"
    assert f"{why} (give --max-train-steps 21: after one step more it writes the LoRA)" in capsys.readouterr().err
    assert place.run("--resume", "--save-every-n-steps", 100, "--max-train-steps", 21) == 0
    assert (place.record["run_id"], place.record["state"], place.record["steps"]) == (left["run_id"], "finished", 21)
    assert place.names() == ["v3.safetensors"]


AT_THE_END = [
    ("tools.training.training_run:_TrainerRun._end", 0),
    ("tools.training.training_run:take_stock", 0),
    ("tools.training.training_run:draw_curve_of", 0),
    ("tools.training.training_run:tidy_states", 0),
    ("tools.training.removal:_delete", 0),
    ("tools.training.removal:_delete", 1),
    ("tools.training.removal:_delete", 2),
    ("tools.training.training_run:remove_staged", 0),
]
"""Between which steps of its end a run is killed: a function, and how often it was called before."""


@pytest.mark.parametrize(("what", "after"), AT_THE_END)
def test_killed_between_the_final_file_and_the_end(place: Place, what: str, after: int) -> None:
    run_killed_at(place, what, after)
    left = place.record
    is_recorded = left["state"] == "finished"
    assert is_recorded == ("_end" not in what and "take_stock" not in what)
    assert told_state(place) == ("finished" if is_recorded else "killed")
    assert place.run("--resume") == 0
    assert_finished(place, left)
    assert place.run("--resume") == 2


def test_interrupted_while_it_is_cleaned_up(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C between the removal of two states."""

    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tools.training.tidying._remove", interrupt)
        assert place.run() == 130
    assert "the LoRA is there: the same command with --resume cleans up what is left" in capsys.readouterr().err
    left = place.record
    assert left["state"] == "finished" and len(state_names(place.output)) > 1
    assert place.run("--resume") == 0
    assert_finished(place, left)


IN_THE_FINISHING = [
    ("tools.training.finishing:_account_until", 0),
    ("tools.training.finishing:shutil.copyfile", 0),
    ("lifeos.files:replace", 0),  # the record with the time
    ("lifeos.files:replace", 1),  # the copy
    ("tools.training.finishing:take_stock", 0),
    ("lifeos.files:replace", 1),  # the record that says finished
    ("tools.training.finishing:draw_curve_of", 0),
    ("tools.training.finishing:tidy_states", 0),
    ("tools.training.removal:_delete", 1),
    ("tools.training.finishing:remove_staged", 0),
]


def test_killed_again_while_it_is_finished(place: Place) -> None:
    """Each time by the command that should finish it, a little later each time; the copy of the last checkpoint is told all the same."""
    left = kill_at_lora(place, "within")
    for what, after in IN_THE_FINISHING:
        run_killed_at(place, what, after, "--resume")
    assert place.run("--resume") == 0
    record = assert_finished(place, left)
    assert [remark.partition(":")[2] for remark in record["remarks"] if "copy" in remark] == [
        " it is a copy of v3-step00000020.safetensors, of the same step"
    ]
    assert record["seconds"] == pytest.approx(left["seconds"], abs=5)


def test_a_run_that_is_still_at_work_is_not_finished_by_another(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with started(place, STANDIN_HANG_AT_LORA="after") as process:
        wait_for(lambda: place.output.is_dir() and (place.output / "training_log.txt").exists(), "the log")
        wait_for(lambda: "stopped after the final file" in log_of(place), "the end")
        assert place.run("--resume") == EXIT_LOCKED  # the command
        assert told_state(place) == "running"
        process.kill()
        process.wait()
        for more in ([], ["--dry-run"]):
            assert place.run("--resume", *more) == EXIT_LOCKED  # its trainer
        assert told_state(place) == "running"
    assert "still running, although the command that started it has ended" in capsys.readouterr().err
    os.killpg(place.record["process_group"], signal.SIGKILL)
    wait_for(lambda: not place.is_running(), "the trainer's end")
    assert place.run("--resume") == 0


def spoil(place: Place, old: bytes, new: bytes) -> None:
    for path in [place.output / "v3.safetensors", place.output / "v3-step00000020.safetensors"]:
        data = path.read_bytes()
        assert old in data and len(old) == len(new)
        path.write_bytes(data.replace(old, new))


def test_a_final_file_that_is_not_the_end_of_this_run_finishes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another run, of another step, of weights that are no numbers, or of settings that were not asked for."""
    left = kill_at_lora(place, "after")
    run_id = left["run_id"].encode()
    for old, new in ((run_id, run_id[::-1]), (b'"ss_steps": "20"', b'"ss_steps": "19"')):
        spoil(place, old, new)
        assert place.run("--resume", "--dry-run", "--save-every-n-steps", 5) in (0, 2)
        assert "is its LoRA" not in capsys.readouterr().out
        spoil(place, new, old)
    data = {path: path.read_bytes() for path in place.output.glob("v3*.safetensors")}
    for path, content in data.items():
        path.write_bytes(content[:-2] + b"\x00\x7e")  # the last number is NaN
    assert place.run("--resume", "--dry-run") == 2
    assert "is its LoRA" not in capsys.readouterr().out
    for path, content in data.items():
        path.write_bytes(content)
        os.utime(path, (later := path.stat().st_mtime + 10, later))  # a volume may tell times apart by two seconds only
    assert place.run("--resume", "--network-dim", 64) == 2
    assert "--network_dim was '32' and is now '64' (give the flags of the first run" in capsys.readouterr().err
    assert place.record == left
    assert place.run("--resume", "--max-train-steps", 30) == 0  # longer: it is trained on
    assert (place.record["first_step"], place.record["steps"], place.record["parts"][0]["state"]) == (20, 30, "killed")


def test_a_trainer_that_fails_after_its_final_file(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that crashes as the process ends: the run failed, and its LoRA is whole."""
    with started(place, STANDIN_HANG_AT_LORA="after") as process:
        wait_for(lambda: place.output.is_dir() and (place.output / "training_log.txt").exists(), "the log")
        wait_for(lambda: "stopped after the final file" in log_of(place), "the end")
        os.killpg(place.record["process_group"], signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS) == 1
    left = place.record
    assert left["state"] == "failed"
    assert place.run("--resume") == 0
    record = assert_finished(place, left)
    assert (record["ended"], record["seconds"]) == (left["ended"], left["seconds"])
    assert any("its record said: failed, killed by SIGKILL" in remark for remark in record["remarks"])


def test_a_moved_folder_and_a_record_of_version_3_0_0(place: Place) -> None:
    """It wrote neither trainer nor family, and the folder lay elsewhere."""
    left = kill_at_lora(place, "after")
    old = {key: value for key, value in left.items() if key not in ("trainer", "family", "parts", "states", "remarks", "process", "schema")}
    (place.output / RECORD_FILE).write_text(json.dumps({**old, "output_dir": "/workspace/elsewhere"}))
    place.output = place.output.rename(place.output.with_name("moved"))
    assert place.run("--resume") == 0
    assert_finished(place, left)
    assert (place.record["trainer"], place.record["output_dir"]) == ("sd-scripts", str(place.output))
