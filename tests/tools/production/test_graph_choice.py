"""The family of a run, and LoRAs that are made for another than the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lifeos.errors import InputError, UnavailableError
from lifeos.policy.defaults import DEFAULTS
from tests.tools.families.published_files import published_files
from tests.tools.trainers.safetensors_files import lora_pair, write_safetensors
from tools.families.families import FAMILIES, Family, find_family
from tools.production.graph_choice import check_loras, choose_graph
from tools.production.planning import plan_generation
from tools.production.request import Request
from tools.workflows.graph_family import find_graph_families
from tools.workflows.signatures import stored_signatures
from tools.workflows.workflow import Settings, Workflow

FLUX = lora_pair("lora_unet_double_blocks_0_img_attn_qkv", 4, 3072, 9216)
EVERYTHING = published_files()
SAID: dict[str, dict[str, str]] = {
    "flux.safetensors": {"ss_base_model_version": "flux1"},
    "sdxl.safetensors": {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"},
    "zimage.safetensors": {"ss_base_model_version": "zimage"},
    "lumina.safetensors": {"modelspec.architecture": "lumina-2/lora"},
    "both.safetensors": {},
    "silent.safetensors": {"title": "mine"},
}


def server(notice: str | None = None, **folders: list[str]) -> Any:
    """A server, as far as files and their headers are asked for."""
    listed = folders or EVERYTHING | {"checkpoints": ["sd_xl_base_1.0.safetensors"]}
    return SimpleNamespace(
        url="http://pod:8188", offers=SimpleNamespace(lists_models=True, lists_nodes=False), models=lambda folder: listed.get(folder, []),
        model_metadata=lambda folder, name: SAID.get(name), info=lambda: SimpleNamespace(notice=notice), node=stored_signatures().of,
    )  # fmt: skip


def choose(found: Any = None, begun: Settings | None = None, **flags: Any) -> Any:
    return choose_graph(Request(Path("out"), **flags), DEFAULTS, [found or server()], begun)


def refused(**flags: Any) -> str:
    with pytest.raises(InputError) as caught:
        choose(**flags)
    return str(caught.value)


def test_the_lora_tells_the_family() -> None:
    chosen = choose(lora="flux.safetensors")
    assert (chosen.request.family, chosen.settings.guidance, chosen.settings.checkpoint) == ("flux", 3.5, "flux1-dev.safetensors")
    assert chosen.workflow.graph["2"]["inputs"]["clip_name2"] == "t5xxl_fp16.safetensors"
    assert chosen.remarks[0].startswith("family flux, Flux.1 (flux.safetensors is made for it): model flux1-dev.safetensors")


def test_of_two_variants_the_one_whose_model_is_there() -> None:
    only_turbo = {**EVERYTHING, "diffusion_models": ["z_image_turbo_bf16.safetensors"]}
    assert choose(server(**only_turbo), lora="zimage.safetensors").request.family == "z-image-turbo"
    assert choose(lora="zimage.safetensors").request.family == "z-image"


@pytest.mark.parametrize(
    ("flags", "family"),
    [
        ({}, "sdxl"),
        ({"lora": "silent.safetensors"}, "sdxl"),
        ({"checkpoint": "flux1-dev.safetensors"}, "flux"),
        ({"checkpoint": "nobody.safetensors"}, "sdxl"),
        ({"family": "chroma", "lora": "silent.safetensors"}, "chroma"),
    ],
)
def test_what_else_tells_it(flags: dict[str, Any], family: str) -> None:
    assert choose(**flags).request.family == family


def test_a_lora_of_another_family_is_refused_with_both_names() -> None:
    fix = "(use a LoRA and a model of one family, or give --allow-family-mismatch)"
    why = "the server would run it without an effect"
    assert refused(family="flux", lora="sdxl.safetensors") == (
        f"--lora: sdxl.safetensors is made for SDXL, the graph is of Flux.1 (as named): {why} {fix}"
    )
    assert "is made for Lumina 2, the graph is of SDXL" in refused(lora="lumina.safetensors")
    chosen = choose(family="flux", lora="sdxl.safetensors", allow_family_mismatch=True)
    assert chosen.remarks[1] == "warning: sdxl.safetensors is made for SDXL, the graph is of Flux.1 (as named)"


def test_the_file_at_hand_is_asked_before_the_server(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a.safetensors", FLUX)
    assert choose(lora="sdxl.safetensors", lora_file=path).request.family == "flux"
    sd15 = lora_pair("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 4, 768, 320)
    merged = write_safetensors(tmp_path / "b.safetensors", FLUX | sd15)
    assert "x.safetensors holds weights for SD1.5 and Flux.1" in refused(lora="x.safetensors", lora_file=merged, family="flux")


def test_what_tells_nothing_is_a_warning() -> None:
    assert choose(lora="silent.safetensors").remarks == ("warning: the family of silent.safetensors cannot be told from its header",)
    assert choose(server("a demo", **EVERYTHING | {"checkpoints": ["a.safetensors"]}), lora="silent.safetensors").remarks == ()


def test_without_a_server_the_family_of_a_lora_is_not_known() -> None:
    found = choose_graph(Request(Path("out"), lora="flux.safetensors"), DEFAULTS)
    assert found.remarks == ("warning: no server was asked what flux.safetensors is made for: name its family with --family",)
    assert choose_graph(Request(Path("out"), lora="a.safetensors", family="sdxl"), DEFAULTS).remarks == ()


def test_a_server_that_cannot_tell_stops_nothing() -> None:
    found = server()

    def gone(folder: str, name: str) -> None:
        raise UnavailableError("http://pod:8188", "gone")

    found.model_metadata = gone
    assert choose(found, lora="flux.safetensors").request.family == "sdxl"


def own_workflow(tmp_path: Path, family: Family, **files: str) -> Path:
    path = tmp_path / f"{family.id}.json"
    path.write_text(json.dumps(Workflow.built_in(family, files=files).graph))
    return path


def test_a_workflow_of_the_user_s_is_known_by_its_nodes_and_models(tmp_path: Path) -> None:
    flux = own_workflow(tmp_path, find_family("flux"), model="mine.safetensors")
    assert "is made for SDXL, the graph is of Flux.1 (its text encoder is loaded by CLIPLoader flux)" in refused(
        workflow=flux, lora="sdxl.safetensors"
    )
    assert choose(workflow=flux, lora="flux.safetensors").remarks == ()
    odd = own_workflow(tmp_path, find_family("sdxl"), model="mine.safetensors")
    assert choose(workflow=odd, lora="flux.safetensors").remarks == (
        "warning: flux.safetensors is made for Flux.1; of which family the workflow is cannot be told",
    )
    assert "the graph is of SDXL (as --family says)" in refused(workflow=odd, lora="flux.safetensors", family="sdxl")
    SAID["mine.safetensors"] = {"modelspec.architecture": "stable-diffusion-xl-v1-base"}
    try:
        assert "the graph is of SDXL (mine.safetensors is one)" in refused(workflow=odd, lora="flux.safetensors")
    finally:
        del SAID["mine.safetensors"]
    assert "--component: names files of a built-in workflow" in refused(workflow=odd, components=("vae=a",))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda row: row.id)
def test_every_built_in_workflow_is_known_again(family: Family) -> None:
    assert family in find_graph_families(Workflow.built_in(family).graph).rows


def test_a_name_against_the_nodes_tells_nothing() -> None:
    graph = Workflow.built_in(find_family("z-image"), files={"model": "lumina_2_model.safetensors"}).graph
    assert find_graph_families(graph).rows == ()


def test_each_lora_of_a_sweep_is_looked_at() -> None:
    chosen = choose(lora="sdxl.safetensors")
    with pytest.raises(InputError, match=r"flux\.safetensors is made for Flux\.1, the graph is of SDXL"):
        check_loras(["sdxl.safetensors", "flux.safetensors"], chosen.request, chosen.workflow, server(), is_allowed=False)


def test_the_main_model_is_named_once() -> None:
    assert choose(family="flux", components=("model=a.safetensors",)).settings.checkpoint == "a.safetensors"
    said = refused(family="flux", components=("model=a.safetensors",), checkpoint="b.safetensors")
    assert said == "--checkpoint: b.safetensors is given, and --component model=a.safetensors (leave one of the two out)"


def test_two_loras_go_to_the_two_models_of_wan() -> None:
    chosen = choose(family="wan22", lora="a.safetensors", more_loras=("b.safetensors",))
    placed = chosen.workflow.place(chosen.settings)
    loaders = [node["inputs"] for node in placed.values() if node["class_type"] == "LoraLoaderModelOnly"]
    assert {each["model"][0]: each["lora_name"] for each in loaders} == {"1": "a.safetensors", "2": "b.safetensors"}


def test_a_batch_goes_on_with_the_family_that_it_began_with() -> None:
    """One of an older version named none, whatever its LoRA is made for."""
    assert choose(begun=Settings(), lora="flux.safetensors").request.family == "sdxl"
    saved = SimpleNamespace(variants=(SimpleNamespace(settings=Settings()),), command={"family": "flux"})
    found = plan_generation(Request(Path("out"), lora="silent.safetensors"), DEFAULTS, [server()], saved)  # type: ignore[arg-type]
    assert found.chosen["family"] == "flux"


def policy(**families: Any) -> dict[str, Any]:
    return {**DEFAULTS, "production": {**DEFAULTS["production"], "families": families}}


def test_the_policy_s_own_values_of_a_family() -> None:
    rules = policy(flux={"steps": 33, "lora_strength": 0.7, "checkpoint": "mine.safetensors", "components": {"vae": "my_vae.safetensors"}})
    request = Request(Path("out"), family="flux", lora="flux.safetensors", steps=12)
    for given, steps in ((request, 12), (replace(request, steps=None), 33)):
        chosen = choose_graph(given, rules, [server()])
        found = chosen.settings
        assert (found.steps, found.lora_strength, found.checkpoint, found.guidance) == (steps, 0.7, "mine.safetensors", 3.5)
        assert chosen.workflow.graph["3"]["inputs"]["vae_name"] == "my_vae.safetensors"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (policy(flx={"steps": 2}), "production.families.flx: is not a model family (did you mean flux"),
        (policy(flux={"cfg": 2.0}), "production.families.flux.cfg: Flux.1 has no place for it"),
        (policy(flux={"components": {"clip_x": "a"}}), "--component clip_x=a: Flux.1 has no clip_x"),
    ],
)
def test_what_the_policy_says_of_a_family_and_cannot_be(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_graph(Request(Path("out"), family="flux"), rules, [server()])
    assert said in str(caught.value)
