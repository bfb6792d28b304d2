"""musubi-tuner by the command: three processes, parts that it counts from 0, and what it does not have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.trainers.bench import Bench
from tests.tools.trainers.standins import standin_of
from tools.trainers.lora_header import read_lora_header
from tools.training import training_run


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(training_run, "draw_curve_of", lambda *_: None)  # tested elsewhere, and slow
    return Bench(standin_of("musubi-tuner"), tmp_path)


def test_a_run_in_parts(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STANDIN_FAIL_AT", "8")
    assert bench.run() == 1
    said = capsys.readouterr().err
    assert "1 of 3: caching the pictures" in said and "3 of 3: training" in said
    assert "CUDA out of memory" in said
    first = bench.record
    assert (first["trainer"], first["family"], first["state"], first["steps"]) == ("musubi-tuner", "z-image", "failed", 7)
    began = bench.metadata("v3-step00000005.safetensors")["ss_training_started_at"]

    monkeypatch.setenv("STANDIN_NO_RANDOM_STATES", "1")
    assert bench.run("--resume", "--lr-scheduler", "linear") == 2
    assert bench.run("--resume") == 1  # from 5, and out of memory in its own eighth step
    record = bench.record
    assert (record["run_id"], record["first_step"], record["steps"]) == (first["run_id"], 5, 12)
    assert any("could not load the random states" in remark for remark in record["remarks"])
    assert bench.names("*-state") == ["v3-from00000005-step00000005-state", "v3-step00000005-state"]
    assert bench.names() == ["v3-step00000005.safetensors", "v3-step00000010.safetensors"]

    monkeypatch.delenv("STANDIN_FAIL_AT")
    assert bench.run("--resume") == 0  # from a state whose LoRA file has got its own name
    argv = bench.record["argv"]
    assert argv[argv.index("--max_train_steps") + 1] == "10"
    assert argv[argv.index("--output_name") + 1] == "v3-from00000010"
    assert argv[argv.index("--lr_scheduler_args") + 1 :][:2] == ["num_warmup_steps=0", "num_training_steps=20"]
    assert (bench.record["state"], bench.record["first_step"], bench.record["steps"]) == ("finished", 10, 20)
    assert bench.names() == [*(f"v3-step{step:08d}.safetensors" for step in (5, 10, 15, 20)), "v3.safetensors"]
    assert bench.steps_with_loss() == list(range(1, 21))
    told = {name: [bench.metadata(name)[key] for key in ("ss_steps", "ss_max_train_steps", "ss_epoch")] for name in bench.names()}
    # 3 pictures twice are 6 batches an epoch, so 20 steps are 4 epochs; step 15 is in the third, which the trainer calls 2
    assert told["v3-step00000015.safetensors"] == ["15", "20", "2"]
    assert told["v3.safetensors"] == ["20", "20", "4"]
    assert bench.metadata("v3.safetensors")["ss_training_started_at"] == began
    assert bench.metadata("v3-step00000015.safetensors")["lifeos_part_began_at"] == "10"

    assert bench.run("--resume", "--max-train-steps", 25) == 0
    assert (bench.record["first_step"], bench.record["steps"]) == (20, 25)
    assert read_lora_header(bench.output / "v3.safetensors").training_params["steps"] == 25
    assert bench.names("v3-from*.safetensors") == []


def test_a_cache_that_fails_ends_the_run_before_the_training(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (bench.set / "2_amiranoor woman" / "img_000.png").rename(bench.set / "2_amiranoor woman" / "broken.png")
    (bench.set / "2_amiranoor woman" / "img_000.txt").rename(bench.set / "2_amiranoor woman" / "broken.txt")
    assert bench.run() == 1
    assert "cannot identify image file" in capsys.readouterr().err
    assert (bench.record["process"], bench.record["steps"], bench.names()) == ("caching the pictures", 0, [])


def test_what_the_trainer_does_not_have_is_refused(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    folder = bench.set / "2_amiranoor woman"
    (folder / "img_001.txt").unlink()
    (folder / "img_002.png").rename(folder / "img_000.jpg")
    more = ("--reg-data-dir", bench.set.parent / "reg", "--class-tokens", "woman", "--train-text-encoder", "--attention", "none")
    (bench.set.parent / "reg").mkdir()
    (bench.set.parent / "reg" / "a.png").write_bytes((folder / "img_000.png").read_bytes())
    more += ("--trainer-arg=--no_meta", "--trainer-arg=--output_name", "--trainer-arg=x")
    assert bench.run("--dry-run", "--json", *more, "--lr-scheduler", "constant", "--lr-warmup-steps", 5) == 2
    document = json.loads(capsys.readouterr().out)
    why = {conflict["flag"]: conflict["why"] for conflict in document["conflicts"]}
    wanted = {"--reg-data-dir", "--class-tokens", "--train-text-encoder", "--attention", "--lr_warmup_steps"}
    assert wanted | {"--no_metadata", "--output_name"} <= set(why)
    assert "1 picture of 2_amiranoor woman without a caption would be left out" in why["--caption-extension"]
    assert "1 picture of 2_amiranoor woman would lose its cache" in why["--train-data-dir"]
    assert not bench.output.exists()


def test_the_dry_run_shows_what_its_parsers_accepted(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("--dry-run", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    names = [f"the arguments for {name}" for name in ("caching the pictures", "caching the captions", "training")]
    assert document["trainer_check"] == {"checked": [*names, "the dataset"], "fault": ""}
    assert [process["argv"][2] for process in document["processes"]][:2] == [
        "musubi_tuner.zimage_cache_latents",
        "musubi_tuner.zimage_cache_text_encoder_outputs",
    ]
    assert {Path(process["cwd"]).name for process in document["processes"]} == {"src"}
    assert bench.run("--dry-run", "--trainer-arg=--nonsense") == 2
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().out
