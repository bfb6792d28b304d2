"""What a new model family touches, and a toy one that is planned and produced by two scripts and prepared for training."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from lifeos import cli
from lifeos.errors import InputError
from lifeos.guardrails.checkout import Checkout
from lifeos.policy.defaults import DEFAULTS
from tests.checkouts import ROOT
from tests.tools.dataset.sets import make_set
from tools import generate_batch, parameter_sweep, pod_health_check, production_pipeline, retrain_lora
from tools.dataset.build import BuildRequest, bucket_settings
from tools.families import families
from tools.families.families import SDXL, Family, FamilyFile, ResolutionRule, TrainedBy, find_family, picture_settings
from tools.stand_in import render_references
from tools.trainers.sd_scripts.conflicts import find_conflicts
from tools.workflows.workflow import Workflow

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

    StartServer = Callable[..., EmbeddedServer]

A_NEW_FAMILY_TOUCHES = (
    "tools/families/stable_diffusion.py",  # its row, in the module of its kin
    "tools/families/ID.json",  # its workflow in API format
)
NAMED_FOR_ANOTHER_REASON = {
    "tools/workflows/core_signatures.json",  # the names of ComfyUI's own choices
    "tools/trainers/trainer.py",  # what a command line holds when any script of that trainer is at work
}
TOY = Family(
    id="toy",
    title="Toy",
    model_folder="diffusion_models",
    workflow=str(Path(__file__).with_name("toy_family.json")),
    lora_node="LoraLoaderModelOnly",
    settings=MappingProxyType({"steps": 3, "cfg": 1.0, "sampler": "euler", "scheduler": "simple", "width": 96, "height": 160}),
    token_limit=512,
    resolution=ResolutionRule(picture_multiple=16, training_side=128, bucket_step=16, bucket_multiple=16),
    trained_by=(TrainedBy("sd-scripts", "toy_train_network.py", "networks.lora_toy", refuses=("no_half_vae",)),),
    lora_parts=MappingProxyType({"lora_toy_": "transformer"}),
    files=(FamilyFile("model", "diffusion model", "diffusion_models", "1", "unet_name", "toy.safetensors", "toy"),),
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Family:
    monkeypatch.setattr(families, "FAMILIES", (SDXL, TOY))
    return TOY


def run(script: Any, *arguments: object) -> int:
    return cli.run(lambda: script.main([str(argument) for argument in arguments]))


def test_no_other_file_names_a_family() -> None:
    """What would have to change for a new family names the old one."""
    code = [path for path in Checkout(ROOT).files if re.fullmatch(r"(?:lifeos|evals|tools)/.*\.(?:py|json|j2)", path)]
    naming = {path for path in code if re.search(r"""["']sdxl["'_.]|networks\.lora["']""", (ROOT / path).read_text(encoding="utf-8"))}
    assert naming - set(A_NEW_FAMILY_TOUCHES) == NAMED_FOR_ANOTHER_REASON
    assert "tools/families/stable_diffusion.py" in naming, "the pattern finds what it should"
    assert [path for path in code if "sdxl_train_network" in (ROOT / path).read_text(encoding="utf-8")] == [
        "tools/families/stable_diffusion.py"
    ]


@pytest.mark.parametrize("row", families.FAMILIES, ids=lambda row: row.id)
def test_every_row_has_a_workflow_that_takes_its_settings(row: Family) -> None:
    from tools.workflows.workflow import Settings

    names = {name: value for name, value in row.settings.items() if name not in ("negative_prompt", "lora_strength")}
    placed = Workflow.built_in(row).place(Settings(**names, lora="a.safetensors", lora_strength=1.0, positive="a", seed=1))
    assert {node["class_type"] for node in placed.values()} == set(row.node_classes)


def test_the_row_of_the_default_family_is_what_the_policy_says_by_default() -> None:
    assert dict(SDXL.settings) == {name: DEFAULTS["production"][name] for name in SDXL.settings}
    assert SDXL.token_limit == DEFAULTS["dataset"]["clip_tokens"]
    assert SDXL.resolution.training_side == DEFAULTS["training"]["resolution"]


def test_the_policy_wins_over_the_row_of_the_family_that_it_speaks_of(toy: Family) -> None:
    policy = {**DEFAULTS, "production": {**DEFAULTS["production"], "steps": 50}}
    assert picture_settings(SDXL, policy)["steps"] == 50
    assert picture_settings(toy, policy) == dict(toy.settings)


def test_a_family_that_is_not_in_the_table(toy: Family) -> None:
    with pytest.raises(InputError) as caught:
        find_family("toi")
    assert str(caught.value) == "model family toi: is not known (did you mean toy?)"


def test_a_toy_family_is_generated(toy: Family, tmp_path: Path, embedded_server: StartServer) -> None:
    server = embedded_server(models=models())
    out = tmp_path / "out"
    command = ["--comfy-url", server.url, "--prompt", "toy, a house", "--output-dir", out, "--base-seed", 5, "--family", "toy"]
    assert run(generate_batch, *command, "--lora", "amiranoor_v3.safetensors") == 0
    (picture,) = out.glob("*.png")
    with Image.open(picture) as image:
        assert image.size == (96, 160)
        graph = json.loads(image.info["prompt"])
    kinds = {node["class_type"]: node["inputs"] for node in graph.values()}
    assert set(kinds) == set(toy.node_classes)
    assert kinds["UNETLoader"]["unet_name"] == "embedded_demo_unet.safetensors", "the only one in the family's folder"
    assert (kinds["KSampler"]["steps"], kinds["KSampler"]["cfg"], kinds["KSampler"]["sampler_name"]) == (3, 1.0, "euler")
    assert kinds["LoraLoaderModelOnly"]["lora_name"] == "amiranoor_v3.safetensors"


def models() -> dict[str, list[str]]:
    return {
        "checkpoints": ["embedded_demo_sdxl.safetensors", "another.safetensors"],
        "loras": ["amiranoor_v3.safetensors"],
        "vae": ["embedded_demo_vae.safetensors"],
        "diffusion_models": ["embedded_demo_unet.safetensors"],
        "text_encoders": ["embedded_demo_clip_g.safetensors", "embedded_demo_clip_l.safetensors"],
    }


def test_a_toy_family_goes_through_the_production_pipeline(
    toy: Family, tmp_path: Path, embedded_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    references = tmp_path / "references"
    references.mkdir()
    render_references(references, 2)
    server = embedded_server(models=models())
    batch = ["--output-dir", tmp_path / "batch", "--history-file", tmp_path / "history.jsonl"]
    command = [*batch, "--comfy-url", server.url, "--prompt", "toy, close up portrait", "--reference-dir", references, "--engine", "dlib"]
    assert run(production_pipeline, *command, "--family", "toy", "--width", 384, "--height", 560, "--json") in (0, 1)
    document = json.loads(capsys.readouterr().out)
    assert document["counts"]["generated"] == 1
    assert (document["settings"]["workflow"], document["settings"]["steps"]) == ("built-in, toy", 3)
    assert document["settings"]["checkpoint"] == "embedded_demo_unet.safetensors"
    plan = json.loads((tmp_path / "batch" / "batch.json").read_text(encoding="utf-8"))
    assert plan["command"]["family"] == "toy", "--resume alone goes on with it"


def test_sizes_are_multiples_of_the_family_s(toy: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--comfy-url", "embedded", "--prompt", "a", "--output-dir", tmp_path / "out", "--width", 72]
    assert run(generate_batch, *command, "--family", "toy") == 2
    assert "width 72: a multiple of 16 is wanted, such as 64 or 80" in capsys.readouterr().err


def test_every_parser_offers_it(toy: Family) -> None:
    for script in (generate_batch, parameter_sweep, production_pipeline):
        (action,) = [action for action in script.build_parser()._actions if "--family" in action.option_strings]
        assert list(action.choices or ()) == ["sdxl", "toy"], script.__name__


def test_datasets_are_checked_by_the_rules_of_the_family(toy: Family, tmp_path: Path) -> None:
    request = BuildRequest.from_policy(DEFAULTS, family=toy, dataset_dir=tmp_path)
    assert (request.check.clip_tokens, request.check.bucket) == (512, bucket_settings(128, toy.resolution))
    assert (request.check.bucket.step, request.check.bucket.min_size, request.check.bucket.max_size) == (16, 32, 256)
    assert BuildRequest.from_policy(DEFAULTS, dataset_dir=tmp_path).check.clip_tokens == 75


def test_a_toy_family_is_prepared_for_training(toy: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = make_set(tmp_path / "set" / "2_amiranoor woman", 2, size=(128, 128)).parent
    command = ["--train-data-dir", pictures, "--output-dir", tmp_path / "out", "--base-model", tmp_path / "no.safetensors"]
    assert run(retrain_lora, "--family", "toy", *command, "--sd-scripts-dir", tmp_path / "no", "--dry-run", "--json") == 2
    document = json.loads(capsys.readouterr().out)
    script = document["command"].index("toy_train_network.py")
    options = document["command"][script:]
    assert options[options.index("--network_module") + 1] == "networks.lora_toy"
    assert options[options.index("--resolution") + 1] == "128,128"
    assert document["dataset_config"]["datasets"][0]["bucket_reso_steps"] == 16
    assert [(item["flag"], item["why"]) for item in document["conflicts"]] == [("--no_half_vae", "is not for Toy: the trainer stops")]
    assert document["missing"][-1].endswith("no.safetensors: no such file (give --base-model a checkpoint of Toy)")
    config = {**document["dataset_config"], "datasets": [{**document["dataset_config"]["datasets"][0], "bucket_reso_steps": 24}]}
    assert ("bucket_reso_steps", "24 is not a multiple of 16: AssertionError") in [
        (finding.rule, finding.message) for finding in find_conflicts(document["command"], config)
    ]


def test_the_health_check_asks_for_the_nodes_of_the_built_in_workflow() -> None:
    nodes = ("CLIPTextEncode", "CheckpointLoaderSimple", "EmptyLatentImage", "KSampler", "LoraLoader", "SaveImage", "VAEDecode")
    assert nodes == pod_health_check.BUILT_IN_NODES


def test_the_guide_names_every_family_and_its_files() -> None:
    guide = (ROOT / "docs" / "guides" / "model-families.md").read_text(encoding="utf-8")
    tried = (ROOT / "docs" / "families-tried.md").read_text(encoding="utf-8")
    for row in families.FAMILIES:
        assert f"| `{row.id}` | {row.title} |" in guide
        assert f"| `{row.id}` |" in tried
        for each in row.files:
            assert f"| `{row.id}` | {each.title} | `{each.folder}` | `{each.file}` |" in guide
