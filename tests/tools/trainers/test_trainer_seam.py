"""What a new trainer touches, and a toy one that is planned, trained, stopped and continued by the command."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from lifeos.guardrails.checkout import Checkout
from tests.checkouts import ROOT
from tests.tools.dataset.sets import make_set
from tests.tools.trainers.checkpoints import write_checkpoint
from tests.tools.trainers.safetensors_files import write_safetensors
from tools import lora_info, retrain_lora
from tools.families import families
from tools.families.families import SDXL, TrainedBy
from tools.trainers import trainer
from tools.trainers.lora_header import read_lora_header
from tools.trainers.rewrite_metadata import rewrite_metadata
from tools.trainers.trainer import TrainerRow, find_row
from tools.training.training_command import recognise_family

A_NEW_TRAINER_TOUCHES = (
    "tools/trainers/NAME.py",  # its Trainer, or a package of that name
    "tools/trainers/trainer.py",  # its row
)
OWN_FOLDER = "tools/trainers/sd_scripts/"
NAMED_FOR_ANOTHER_REASON = {
    "tools/families/stable_diffusion.py",  # which families it trains: a family's row
    "tools/families/flux_rows.py",
    "evals/regressions/flag_cases.py",  # its own regressions
    "evals/regressions/training.py",
    "lifeos/policy/defaults.py",  # where it lies on the pod
    "evals/thresholds.schema.json",
}
TOY = TrainerRow("toy", "tests.tools.trainers.toy_trainer", "toy_dir", "nobody/toy", ("toy_train.py",))
CHECKOUT = Path(__file__).with_name("toy_checkout")


class ToyPlace:
    """A training set and an output folder, and the command with the toy."""

    def __init__(self, folder: Path) -> None:
        self.set = make_set(folder / "set" / "2_amiranoor woman", 3, size=(256, 256)).parent
        self.output, self.base = folder / "out", folder / "base.safetensors"
        write_checkpoint(self.base)

    def run(self, *more: object) -> int:
        fixed = ["--toy-dir", CHECKOUT, "--trainer-python", sys.executable, "--base-model", self.base, "--output-dir", self.output]
        fixed += ["--train-data-dir", self.set, "--output-name", "v3", "--resolution", 256, "--max-train-steps", 20]
        arguments = [str(item) for item in (*fixed, "--save-every-n-steps", 5, *more)]
        return cli.run(lambda: retrain_lora.main(["--trainer", "toy", *arguments]))

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.output / "training_record.json").read_text(encoding="utf-8"))
        return found

    def names(self, suffix: str = "safetensors") -> list[str]:
        return sorted(path.name for path in self.output.glob(f"*.{suffix}"))

    def losses(self) -> list[tuple[int, float]]:
        rows = (self.output / "loss.csv").read_text(encoding="utf-8").splitlines()[1:]
        return [(int(row.split(",")[0]), float(row.split(",")[1])) for row in rows]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ToyPlace:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(trainer, "TRAINERS", (*trainer.TRAINERS, TOY))
    monkeypatch.setattr(families, "FAMILIES", (replace(SDXL, trained_by=(*SDXL.trained_by, TrainedBy("toy", "x", "y"))),))
    return ToyPlace(tmp_path)


def test_no_other_file_names_a_trainer() -> None:
    """What would have to change for a new trainer names the old one."""
    code = [path for path in Checkout(ROOT).files if re.fullmatch(r"(?:lifeos|evals|tools)/.*\.(?:py|json|j2)", path)]
    quoted = re.compile(r"""["']--?sd[-_]scripts|["']sd[-_]scripts|\bsd_scripts\.""")
    naming = {path for path in code if quoted.search((ROOT / path).read_text(encoding="utf-8"))}
    assert {path for path in naming if not path.startswith(OWN_FOLDER)} - set(A_NEW_TRAINER_TOUCHES) == NAMED_FOR_ANOTHER_REASON
    assert "tools/trainers/trainer.py" in naming, "the pattern finds what it should"


def test_the_neutral_modules_know_no_trainer() -> None:
    """Neither do trainers know what drives them: the way of the imports is one."""
    for path in sorted((ROOT / "tools" / "training").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"sd.scripts|kohya_header|accelerate\.", text.partition("from __future__")[2]) == [], path.name
    for path in sorted((ROOT / "tools" / "trainers").rglob("*.py")):
        assert "tools.training." not in path.read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize("row", trainer.TRAINERS, ids=lambda row: row.name)
def test_every_row_leads_to_its_trainer(row: TrainerRow) -> None:
    assert row.load().name == row.name
    assert any(each.trainer == row.name for family in families.FAMILIES for each in family.trained_by)


def test_a_toy_trainer_is_stopped_and_continued(toy: ToyPlace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TOY_FAIL_AT", "13")
    assert toy.run() == 1
    said = capsys.readouterr().err
    assert "1 of 2: caching pictures" in said and "2 of 2: training" in said
    assert "error: training: toy: out of memory" in said
    first = toy.record
    assert (first["trainer"], first["family"], first["process"], first["state"]) == ("toy", "sdxl", "training", "failed")
    assert (first["steps"], first["returncode"], first["failure"]) == (12, 9, "toy: out of memory")
    assert [item["file"] for item in first["lora_files"]] == ["v3.10.safetensors", "v3.5.safetensors"]
    assert json.loads((toy.output / "toy_cache.json").read_text(encoding="utf-8"))[:2] == ["img_000.png", "img_000.txt"]
    assert [step for step, _ in toy.losses()] == list(range(1, 13))  # not the counter of the caching
    command = json.loads((toy.output / "training_command.json").read_text(encoding="utf-8"))
    assert [process["name"] for process in command["processes"]] == ["caching pictures", "training"]

    monkeypatch.delenv("TOY_FAIL_AT")
    assert toy.run("--resume") == 0
    record = toy.record
    assert record["run_id"] == first["run_id"]
    assert (record["state"], record["first_step"], record["steps"], record["returncode"]) == ("finished", 10, 20, 0)
    assert Path(record["resumed_from"]).name == "v3.10.state"
    assert toy.names() == ["v3.10.safetensors", "v3.15.safetensors", "v3.20.safetensors", "v3.5.safetensors", "v3.last.safetensors"]
    assert record["lora_files"][-1]["file"] == "v3.last.safetensors"
    assert toy.losses() == [(step, pytest.approx(1 / step, rel=1e-5)) for step in range(1, 21)]
    assert (toy.output / "loss_curve.png").exists()
    assert not (toy.output / "staged_dataset").exists()
    header = read_lora_header(toy.output / "v3.last.safetensors")
    assert (header.run_id, header.training_params) == (record["run_id"], {"steps": 20, "trained": "unet"})
    capsys.readouterr()
    assert cli.run(lambda: lora_info.main([str(toy.output / "v3.last.safetensors"), "--json"])) == 0
    assert json.loads(capsys.readouterr().out)["loras"][0]["run_id"] == record["run_id"]


def test_killed_before_a_part_s_files_have_their_names(toy: ToyPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The final file of a continued part is there under the name of its part, and tells the part's steps: the run is brought to its end."""
    monkeypatch.setenv("TOY_FAIL_AT", "13")
    assert toy.run() == 1
    monkeypatch.delenv("TOY_FAIL_AT")
    assert toy.run("--resume") == 0
    names, record = toy.names(), toy.record
    final = toy.output / "v3.last.safetensors"
    metadata = {**read_lora_header(final).metadata, "toy_steps": "10", "toy_first": "10"}
    rewrite_metadata(final, metadata)
    final.rename(toy.output / "v3-from10.last.safetensors")
    (toy.output / "training_record.json").write_text(json.dumps({**record, "state": "running", "ended": None}), encoding="utf-8")
    assert toy.run("--resume") == 0
    assert (toy.names(), toy.record["state"], toy.record["steps"]) == (names, "finished", 20)
    assert read_lora_header(final).training_params["steps"] == 20


def test_a_process_that_fails_ends_the_run(toy: ToyPlace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TOY_BAD_PICTURE", "1")
    assert toy.run() == 1
    assert "error: training: toy: a picture cannot be cached" in capsys.readouterr().err
    record = toy.record
    assert (record["process"], record["returncode"], record["steps"], toy.names()) == ("caching pictures", 3, 0, [])


def test_a_state_of_another_run_is_no_state_of_this_one(
    toy: ToyPlace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_FAIL_AT", "13")
    assert toy.run() == 1
    old = toy.record["run_id"]
    monkeypatch.setenv("TOY_FAIL_AT", "6")
    assert toy.run("--overwrite") == 1
    assert toy.names("state") == ["v3.5.state"]
    assert sorted(path.name for path in (toy.output / "previous_runs" / old).glob("*.state")) == ["v3.10.state", "v3.5.state"]
    capsys.readouterr()
    assert toy.run("--resume", toy.output / "previous_runs" / old / "v3.10.state") == 2
    assert f"is of run {old}, not of {toy.record['run_id']}, which this folder's record is of" in capsys.readouterr().err
    assert toy.run("--resume", "--optimizer", "AdamW") == 2
    assert "--optimizer was '--optimizer=Prodigy' and is now '--optimizer=AdamW'" in capsys.readouterr().err


def test_a_dry_run_shows_all_processes_and_files(toy: ToyPlace, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.run("--dry-run") == 0
    shown = capsys.readouterr().out
    assert "# command 1 of 2: caching pictures" in shown and "# command 2 of 2: training" in shown
    assert f"# {toy.output / 'toy.json'}" in shown
    assert toy.run("--dry-run", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [Path(process["argv"][1]).name for process in document["processes"]] == ["toy_cache.py", "toy_train.py"]
    assert (document["command"], document["dataset_config"]) == (document["processes"][1]["argv"], None)
    assert toy.run("--optimizer", "Lion") == 2
    assert "error: --optimizer: a toy has no Lion (give another)" in capsys.readouterr().err
    assert toy.run("--reg-data-dir", make_set(toy.set.parent / "reg" / "1_woman", 1, word="woman").parent) == 2
    assert "error: --reg-data-dir: a toy knows no regularisation (leave it out)" in capsys.readouterr().err
    assert not toy.output.exists()


def test_a_file_of_somebody_else_is_not_overwritten(toy: ToyPlace) -> None:
    toy.output.mkdir()
    (toy.output / "toy.json").write_text("{}", encoding="utf-8")
    assert toy.run() == 2
    assert (toy.output / "toy.json").read_text(encoding="utf-8") == "{}"


def test_a_pair_that_is_not_in_the_table(toy: ToyPlace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused with the trainers that have the family, and the families that the trainer has."""
    other = families.Family("other", "Other", "checkpoints", "sdxl.json", "LoraLoader", {}, 75, trained_by=(TrainedBy("toy", "x", "y"),))
    monkeypatch.setattr(families, "FAMILIES", (SDXL, other, replace(other, id="untrained", trained_by=())))

    def refused(*arguments: str) -> str:
        assert cli.run(lambda: retrain_lora.main(["--dry-run", *arguments])) == 2
        return capsys.readouterr().err.splitlines()[-1]

    said = "error: family other: sd-scripts does not train it here (use --trainer toy; sd-scripts trains sdxl)"
    assert refused("--family", "other", "--trainer", "sd-scripts") == said
    said = "error: family sdxl: toy does not train it here (use --trainer sd-scripts; toy trains other)"
    assert refused("--family", "sdxl", "--trainer", "toy") == said
    said = "error: family untrained: no trainer here trains it (choose another: sdxl, other)"
    assert refused("--family", "untrained") == refused("--family", "untrained", "--trainer", "toy") == said
    assert refused("--family", "other") == "error: --base-model: is not given (give the model of Other to train on)"


def test_the_family_of_a_training_is_that_of_its_base_model(tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    assert recognise_family(None) == recognise_family(str(path)) == "sdxl"
    flux = {"double_blocks.0.img_attn.qkv.weight": [9216, 3072], "single_blocks.0.linear1.weight": [21504, 3072]}
    for weights, family in ((flux, "flux"), ({"some.thing": [4]}, "sdxl")):
        assert recognise_family(str(write_safetensors(path, weights))) == family
    path.write_bytes(b"<!DOCTYPE html>")
    assert recognise_family(str(path)) == "sdxl"
    write_safetensors(path, {"layers.0.attention.qkv.weight": [11520, 3840], "noise_refiner.0.attention.qkv.weight": [11520, 3840]})
    with pytest.raises(cli.LifeosError, match=r"may be of several families: z-image, z-image-turbo \(say which\)"):
        recognise_family(str(path))


def test_a_trainer_that_is_not_in_the_registry() -> None:
    with pytest.raises(cli.LifeosError, match=r"trainer sd-script: is not known \(did you mean sd-scripts\?\)"):
        find_row("sd-script")
