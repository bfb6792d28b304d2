"""A stand-in training is watched on the embedded server: its curve is known, the right checkpoint is named, and the training is stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifeos import cli
from tests.tools.training.standin_runs import Place, log_of, opened, started, wait_for
from tools.parameter_sweep import main
from tools.stand_in import render_references, start_embedded_server
from tools.stand_in.server import EmbeddedServer
from tools.training.stop_request import STOP_FILE, stop_training
from tools.training.training_record import read_record

PROMPTS = (
    "amiranoor, close up portrait",
    "amiranoor, park bench",
    "amiranoor, cafe",
    "amiranoor, beach",
    "amiranoor, garden",
    "amiranoor, rooftop",
)
SMALL = ("--width", "256", "--height", "320", "--steps", "20", "--skip-health-check", "--base-seed", "5", "--strengths", "0.8")
QUICK = "checkpoints: {patience: 2}\n"
EIGHT = ("--output-name", "amiranoor_v3", "--max-train-steps", "8000", "--save-every-n-steps", "1000", "--no-save-state")
GOES_ON = {"STANDIN_HANG_AT": 4500}
"""The training saves four checkpoints, and then takes its time."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with start_embedded_server() as running:
        running.model_dirs["loras"] = tmp_path_factory.mktemp("loras")
        yield running


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    render_references(folder, 2)
    return folder


def watch(place: Place, server: EmbeddedServer, references: Path, *flags: object) -> int:
    folder = place.output.parent
    (folder / "evals").mkdir(exist_ok=True)
    (folder / "evals" / "thresholds.yaml").write_text(QUICK, encoding="utf-8")
    (folder / "tools").mkdir(exist_ok=True)
    paths = ["--checkpoints", place.output, "--output-dir", folder / "sw", "--reference-dir", references, "--project-root", folder]
    prompts = [part for prompt in PROMPTS for part in ("--prompt", prompt)]
    argv = [*paths, *prompts, *SMALL, "--comfy-url", server.url, "--json", *flags]
    return cli.run(lambda: main([str(item) for item in argv]))


def test_a_watch_draws_the_curve_stops_the_training_and_names_the_right_checkpoint(
    tmp_path: Path, server: EmbeddedServer, references: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `tools/stand_in/quality.py` step 2000 drifts least, 1000 and 3000 by 0.18 and 0.09 more, 4000 by 0.20: with a patience of
    two, the last two are shown to gain nothing over the first two."""
    loras = server.model_dirs["loras"]
    with opened(tmp_path) as place, started(place, *EIGHT, **GOES_ON) as training:
        assert watch(place, server, references, "--watch", "--stop-training", "--comfy-lora-dir", loras) == 0
        told = capsys.readouterr()
        document = json.loads(told.out)
        assert training.wait(30) == 130, "ended as by Ctrl-C"
        record = place.record
        assert record["state"] == "interrupted" and record["remarks"][0].startswith("stopped on request: Stop: the last 2 checkpoints")
        assert not (place.output / STOP_FILE).exists()
        assert document["settings"] == {"lora": "amiranoor_v3-step00002000.safetensors", "lora_strength": 0.8}
        assert document["advice"] == "stop" and document["ended"] == "complete"
        judged = [each for each in document["checkpoints"] if each["ended"]]
        assert [each["step"] for each in judged] == [1000, 2000, 3000, 4000]
        scores = [point["values"]["overall"]["mean"] for point in document["curve"]["points"]]
        assert scores[1] == max(scores) and scores[1] > scores[2] > scores[3]
        assert document["curve"]["choice"]["sure_within_minimum_effect"] > 0.9
        # each went there under a name with its hash, and none is left
        assert all(each["served_as"] == f"amiranoor_v3-step{each['step']:08d}.{each['sha256'][:12]}.safetensors" for each in judged)
        assert list(loras.iterdir()) == []
        report = (tmp_path / "sw" / "sweep_report.md").read_text(encoding="utf-8")
        assert "## The training: stop" in report and "train each with at least two seeds and compare the runs" in report
        rows = [json.loads(line) for line in (tmp_path / "evals" / "eval_history.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [row["run_id"] for row in rows] == [f"sw_step{step}_str0.80" for step in (1000, 2000, 3000, 4000)]
        assert rows[1]["lora_version"] == "amiranoor_v3-step00002000"

        # killed before the end of the last checkpoint was written down: the same command makes nothing again. The demo's pictures make no
        # champion. The graph's own pictures, taken for samples of the trainer, differ from them in nothing
        made, samples = len(server.executed), tmp_path / "sample"
        samples.mkdir()
        for number, picture in enumerate((tmp_path / "sw" / "step_00002000").glob("*ed/step2000*.png")):
            shutil.copyfile(picture, samples / f"amiranoor_v3_002000_{number:02d}_20260101120000_42.png")
        state = json.loads((tmp_path / "sw" / "sweep.json").read_text(encoding="utf-8"))
        state["checkpoints"][3]["ended"] = None
        (tmp_path / "sw" / "sweep.json").write_text(json.dumps(state), encoding="utf-8")
        more = ("--comfy-lora-dir", loras, "--promote", "--trainer-samples", samples)
        assert watch(place, server, references, "--watch", *more) == 1
        again = json.loads(capsys.readouterr().out)
        gap = again["curve"].pop("trainer_samples")
        assert (gap["samples"], gap["pictures"], gap["strength"]) == (6, 6, 0.8) and gap["difference"]["overall"]["difference"] == 0
        assert any("strength is 0.8 in the graph and 1 in the trainer's samples" in line for line in gap["caveats"])
        assert document["curve"].pop("trainer_samples") is None
        assert len(server.executed) == made and again["curve"] == document["curve"]
        assert "may not be promoted" in again["promotion"] and not (tmp_path / "evals" / "champion.json").exists()


def test_without_the_folder_one_line_says_where_a_checkpoint_belongs(
    tmp_path: Path, server: EmbeddedServer, references: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path)
    assert place.run("--output-name", "her") == 0
    capsys.readouterr()
    assert watch(place, server, references) == 3
    file = place.output / "her-step00000005.safetensors"
    said = json.loads(capsys.readouterr().out)["error"]
    assert (said["what"], said["why"]) == (server.url, f"has no {file.name}")
    assert said["fix"] == f"give --comfy-lora-dir the folder that it loads LoRAs from, or copy {file} into it; the same command goes on"

    state = tmp_path / "sw" / "sweep.json"
    begun = json.loads(state.read_text())
    begun["design"]["folder"] = "/another"
    state.write_text(json.dumps(begun))
    assert watch(place, server, references) == 2
    assert "holds another sweep: folder differs" in capsys.readouterr().out
    state.write_text(json.dumps(begun | {"checkpoints": []}))
    assert watch(place, server, references) == 3, "what was refused before its first checkpoint binds nothing"


def test_a_trainer_whose_command_is_gone_is_interrupted_by_its_record(tmp_path: Path) -> None:
    with opened(tmp_path) as place, started(place, *EIGHT, **GOES_ON) as training:
        wait_for(lambda: place.names(), "a checkpoint")
        wait_for(lambda: "4499/8000" in log_of(place), "the step from which it is silent, and misses nobody who listens")
        run_id = place.record["run_id"]
        assert "is not of run" in stop_training(place.output, "another", "no reason") and place.is_running()
        os.kill(training.pid, signal.SIGKILL)
        training.wait()
        assert stop_training(place.output, run_id, "it gains no more") == ""
        assert not place.is_running() and read_record(place.output) is not None
        assert stop_training(place.output, run_id, "again") == "it goes on no longer"
