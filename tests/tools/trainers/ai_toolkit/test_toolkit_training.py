"""ai-toolkit by the command: one YAML, and only a file of this run at this step to go on from."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
import yaml

from lifeos.errors import InputError
from tests.tools.trainers.bench import Bench
from tests.tools.trainers.safetensors_files import write_lora
from tests.tools.trainers.standins import standin_of
from tools.trainers.ai_toolkit.toolkit_files import find_states, read_checkpoint_name, read_state
from tools.trainers.trainer import CheckpointName
from tools.training import training_run


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(training_run, "draw_curve_of", lambda *_: None)  # tested elsewhere, and slow
    made = Bench(standin_of("ai-toolkit"), tmp_path)
    made.output = tmp_path / "v3"  # as the LoRA: the name by which the trainer looks for the newest file
    return made


def process_of(bench: Bench) -> dict[str, object]:
    config = yaml.safe_load((bench.output / "ai_toolkit_job.yaml").read_text(encoding="utf-8"))
    found: dict[str, object] = config["config"]["process"][0]
    return found


def test_it_goes_on_only_as_it_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STANDIN_FAIL_AT", "13")
    monkeypatch.setenv("TOOLKIT_NAN_LOSS_AT", "3")
    assert bench.run() == 1
    old = bench.record
    assert any("loss was NaN" in remark for remark in old["remarks"])
    assert bench.names() == ["v3_000000005.safetensors", "v3_000000010.safetensors"]
    assert (bench.output / "config.yaml").is_file(), "what the trainer writes lies beside the LoRA"

    monkeypatch.setenv("STANDIN_FAIL_AT", "8")
    assert bench.run("--overwrite") == 1  # with newer files of the old run in the folder
    assert "IMPORTANT RESUMING" not in bench.log
    assert bench.record["steps"] == 7
    assert "v3_000000010.safetensors" in [path.name for path in (bench.output / "previous_runs" / old["run_id"]).iterdir()]

    monkeypatch.delenv("STANDIN_FAIL_AT")
    capsys.readouterr()
    assert bench.run("--resume", "--network-dim", 8) == 2
    assert "network.linear was '32' and is now '8'" in capsys.readouterr().err
    (bench.output / "optimizer.pt").write_bytes(b"half")
    assert bench.run("--resume") == 2
    assert "no whole optimizer.pt belongs to v3_000000005.safetensors" in capsys.readouterr().err
    assert bench.run("--resume", "--allow-conflict", "resume") == 0
    assert process_of(bench)["train"]["start_step"] == 5  # type: ignore[index]
    assert any("the optimizer began anew" in remark for remark in bench.record["remarks"])
    assert (bench.record["first_step"], bench.record["steps"]) == (5, 20)
    assert bench.metadata("v3.safetensors")["training_info"] == '{"step": 20, "epoch": 0}'


def test_the_optimizer_belongs_to_the_file_before_it(tmp_path: Path) -> None:
    for number, step in enumerate((5, 10, 15)):
        path = tmp_path / f"v3_{step:09d}.safetensors"
        write_lora(path, {"training_info": json.dumps({"step": step}), "ss_training_comment": '{"run_id": "mine"}'})
        os.utime(path, ns=(0, (number + 1) * 10**9))
    assert [(state.step, state.run_id, state.beside) for state in find_states(tmp_path, "v3")] == [
        (step, "mine", ()) for step in (5, 10, 15)
    ]
    optimizer = tmp_path / "optimizer.pt"
    with zipfile.ZipFile(optimizer, "w") as archive:
        archive.writestr("data.pkl", "x")
    os.utime(optimizer, ns=(0, 2 * 10**9 + 1))  # killed after the LoRA of step 15, before its optimizer was written
    (state,) = find_states(tmp_path, "v3")
    assert (state.step, state.beside) == (10, (optimizer,))
    assert read_state(tmp_path / "v3_000000010.safetensors").beside == (optimizer,)
    assert read_state(tmp_path / "v3_000000015.safetensors").beside == ()
    with pytest.raises(InputError, match="no whole LoRA file of ai-toolkit"):
        read_state(optimizer)
    assert read_checkpoint_name("v3_000000010.safetensors", "v3") == CheckpointName(10, is_final=False)
    assert read_checkpoint_name("v3_10.safetensors", "v3") is None


def test_what_it_does_not_have_is_refused(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--train-text-encoder", "--no-save-state", "--min-snr-gamma", 5, "--lr-scheduler", "linear", "--lr-warmup-steps", 10]
    more += ["--optimizer", "ProdigyPlusScheduleFree", "--trainer-arg=save.push_to_hub=true", "--trainer-arg=train.steps=5"]
    more += ["--trainer-arg=nonsense", "--attention", "xformers"]
    folder = bench.set / "2_amiranoor woman"
    (folder / "img_000.png").rename(folder / "img_000.bmp")
    (bench.output / "v3").mkdir(parents=True)
    assert bench.run("--dry-run", "--json", *more) == 2
    why = {conflict["flag"]: conflict["why"] for conflict in json.loads(capsys.readouterr().out)["conflicts"]}
    wanted = {
        "--train-text-encoder",
        "--no-save-state",
        "--min-snr-gamma",
        "--lr-scheduler",
        "--lr-warmup-steps",
        "--optimizer",
        "nonsense",
    }
    assert wanted | {"save.push_to_hub", "train.steps", "--attention", "--train-data-dir", "--output-dir"} <= set(why)
    assert "pictures that end in .bmp would be passed over" in why["--train-data-dir"]
    assert why["--optimizer"] == "ai-toolkit takes it for Prodigy"


def test_its_loader_is_asked(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("--dry-run", "--json", "--trainer-arg=train.timestep_type=linear") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["trainer_check"] == {"checked": ["the configuration", "its classes"], "fault": ""}
    (text,) = document["files"].values()
    config = yaml.safe_load(text)
    process = config["config"]["process"][0]
    assert (process["name"], process["train"]["timestep_type"], config["config"]["name"]) == ("v3/.", "linear", "v3")
    assert json.loads(config["meta"]["ss_training_comment"])["run_id"]
    assert bench.run("--dry-run", "--trainer-arg=train.timestep_tpye=linear") == 2
    assert "train knows no timestep_tpye: it would be ignored" in capsys.readouterr().out
