"""LoRAs: one that is there is set, accelerators and styles stay, a new one gets a loader on every model, what is not known is refused."""

from __future__ import annotations

import pytest

from tests.tools.workflows.built_graphs import (
    NEW,
    chain,
    changed,
    declare,
    fill,
    new_loaders,
    node,
    power,
    refusal,
    row,
    sampler,
    simple,
    two_models,
)
from tools.workflows.lora_names import is_accelerator, is_indistinct, same_character, same_file
from tools.workflows.workflow import NodeOverrides

# Which of those that are there


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["amiranoor_v2.safetensors"], {"50.lora_name": NEW}),
        (["people/amiranoor-000010.safetensors"], {"50.lora_name": NEW}),
        (["my_lora.safetensors"], {"50.lora_name": NEW}),  # a placeholder
        (["LCM_LoRA_SDXL.safetensors", "amiranoor_v1.safetensors"], {"51.lora_name": NEW}),
        (["film_style.safetensors", "amiranoor_v1.safetensors"], {"51.lora_name": NEW}),
        ([NEW, "amiranoor_v1.safetensors"], {}),  # that very file
    ],
    ids=str,
)
def test_an_older_one_of_the_character_is_replaced(there: list[str], found: dict[str, str]) -> None:
    assert changed(chain(*there), lora=NEW) == found
    assert new_loaders(chain(*there), lora=NEW) == []


@pytest.mark.parametrize(
    "there",
    [
        "sdxl_lightning_4step_lora.safetensors",
        "Hyper-SD15-8steps.safetensors",
        "dmd2_sdxl.safetensors",
        "add_detail.safetensors",
        "other_person_v4.safetensors",
    ],
)
def test_an_accelerator_a_style_and_another_character_stay_and_are_named(there: str) -> None:
    graph = chain(there)
    (new,) = new_loaders(graph, lora=NEW, lora_strength=0.7)
    assert new == {"lora_name": NEW, "strength_model": 0.7, "strength_clip": 0.7, "model": ["4", 0], "clip": ["4", 1]}
    assert changed(graph, lora=NEW) == {}
    assert f"kept: {there} in node 50 (LoraLoader)" in fill(graph, lora=NEW).lines()


def test_a_windows_path_means_the_same_file() -> None:
    graph = chain("people\\amiranoor_v3.safetensors")
    assert changed(graph, lora="people/amiranoor_v3.safetensors", lora_strength=0.5) == {"50.strength_model": 0.5, "50.strength_clip": 0.5}


def test_two_of_one_character_must_be_chosen_between() -> None:
    graph = chain("amiranoor_v1.safetensors", "amiranoor_face.safetensors")
    assert "choose with --lora-node-id" in refusal(graph, lora=NEW)
    assert changed(graph, None, NodeOverrides(lora_node="51"), lora=NEW) == {"51.lora_name": NEW}


def test_a_name_that_tells_nothing_is_not_matched_by_guess() -> None:
    told = refusal(chain("other_person_v4.safetensors"), lora="v3-step1500.safetensors")
    assert "replace it with --lora-node-id 50" in told
    assert changed(chain("other_person_v4.safetensors"), None, NodeOverrides(lora_node="50"), lora="v3-step1500.safetensors") == {
        "50.lora_name": "v3-step1500.safetensors"
    }
    assert len(new_loaders(chain("other_person_v4.safetensors"), None, NodeOverrides(lora_node="4"), lora="v3.safetensors")) == 1


# Rows and stacks


def test_a_row_of_a_power_loader() -> None:
    graph = power(lora_1=row("style_x.safetensors"), lora_2=row("amiranoor_v2.safetensors", strengthTwo=0.8))
    assert changed(graph, lora=NEW, lora_strength=0.5) == {"50.lora_2": {"on": True, "lora": NEW, "strength": 0.5, "strengthTwo": 0.5}}
    assert (
        fill(graph, lora=NEW).lines()[0]
        == f"lora: {NEW} → lora_2.lora of node 50 (Power Lora Loader (rgthree)) (was amiranoor_v2.safetensors)"
    )


def test_a_row_that_is_off_is_not_there() -> None:
    (new,) = new_loaders(power(lora_1=row("amiranoor_v2.safetensors", on=False)), lora=NEW)
    assert new["lora_name"] == NEW
    assert changed(power(lora_1=row(NEW, on=False)), None, NodeOverrides(lora_node="50"), lora=NEW) == {"50.lora_1": row(NEW)}


def test_an_empty_power_loader_loads_nothing() -> None:
    assert len(new_loaders(power(PowerLoraLoaderHeaderWidget={"type": "x"}), lora=NEW)) == 1


def test_stacks_of_three_makers() -> None:
    stack = node(
        "CR LoRA Stack",
        switch_1="Off",
        lora_name_1="amiranoor_v1.safetensors",
        model_weight_1=1.0,
        clip_weight_1=1.0,
        switch_2="On",
        lora_name_2="amiranoor_v2.safetensors",
        model_weight_2=1.0,
        clip_weight_2=1.0,
    )
    graph = simple(
        n3=sampler(model=["51", 0]), n50=stack, n51=node("CR Apply LoRA Stack", model=["4", 0], clip=["4", 1], lora_stack=["50", 0])
    )
    assert changed(graph, lora=NEW, lora_strength=0.5) == {"50.lora_name_2": NEW, "50.model_weight_2": 0.5, "50.clip_weight_2": 0.5}
    graph["50"] = node(
        "LoRA Stacker",
        input_mode="simple",
        lora_count=1,
        lora_name_1="amiranoor_v2.safetensors",
        lora_wt_1=1.0,
        lora_name_2="style.safetensors",
        lora_wt_2=1.0,
    )
    assert changed(graph, lora=NEW, lora_strength=0.5) == {"50.lora_name_1": NEW, "50.lora_wt_1": 0.5}
    graph["50"] = node(
        "Lora Loader Stack (rgthree)",
        model=["4", 0],
        clip=["4", 1],
        lora_01="None",
        strength_01=1.0,
        lora_02="amiranoor_v2.safetensors",
        strength_02=1.0,
    )
    graph["3"]["inputs"]["model"] = ["50", 0]
    assert changed(graph, lora=NEW, lora_strength=0.5) == {"50.lora_02": NEW, "50.strength_02": 0.5}


def test_a_loader_class_that_is_declared_nowhere() -> None:
    graph = simple(
        n3=sampler(model=["50", 0]), n50=node("My Own Lora", lora_name="amiranoor_v2.safetensors", lora_strength=1.0, model=["4", 0])
    )
    assert changed(graph, lora=NEW, lora_strength=0.5) == {"50.lora_name": NEW, "50.lora_strength": 0.5}


def test_a_name_in_a_node_of_its_own() -> None:
    graph = chain("amiranoor_v2.safetensors")
    graph["50"]["inputs"]["lora_name"] = ["60", 0]
    graph["60"] = node("Lora Name", name="amiranoor_v2.safetensors")
    assert changed(graph, {"Lora Name": declare("name:COMBO", ["COMBO"])}, lora=NEW) == {"60.name": NEW}


def test_an_unknown_way_of_loading_is_refused_with_the_flags() -> None:
    graph = simple(n3=sampler(model=["50", 0]), n50=node("LoRA Tag Hub", text="<lora:amiranoor_v2:1>", model=["4", 0], clip=["4", 1]))
    told = refusal(graph, lora=NEW)
    assert "node 50 (LoRA Tag Hub) loads LoRAs in a way that is not known" in told
    assert "--set 50.INPUT=VALUE" in told
    assert "--lora-node-id 50" in told
    (new,) = new_loaders(graph, None, NodeOverrides(lora_node="50"), lora=NEW)
    assert new["model"] == ["50", 0]
    assert changed(graph, seed=7) == {"3.seed": 7}, "without --lora it is nobody's business"


# Models


def test_both_parts_of_one_model_get_the_lora() -> None:
    first, second = new_loaders(two_models(), lora=NEW, lora_strength=0.9)
    assert (first["model"], first["clip"], second["model"], "clip" in second) == (["50", 0], ["4", 1], ["51", 0], False)
    placed = fill(two_models(), lora=NEW).graph
    assert (placed["3"]["inputs"]["model"][0], placed["20"]["inputs"]["model"][0]) == ("52", "53")


def test_each_part_gets_the_lora_that_is_named_for_it() -> None:
    overrides = NodeOverrides(lora_node="50", more_lora_nodes=("51",))
    first, second = new_loaders(two_models(), None, overrides, lora="high.safetensors", more_loras=("low.safetensors",))
    assert [(each["lora_name"], each["model"]) for each in (first, second)] == [
        ("high.safetensors", ["50", 0]),
        ("low.safetensors", ["51", 0]),
    ]
    told = refusal(two_models(), lora="high.safetensors", more_loras=("low.safetensors",))
    assert "2 LoRAs are given: give --lora-node-id for each" in told


def test_a_pair_that_is_there_already_is_not_made_one() -> None:
    graph = two_models(
        n60=node("LoraLoaderModelOnly", lora_name="amiranoor_high.safetensors", strength_model=1.0, model=["50", 0]),
        n61=node("LoraLoaderModelOnly", lora_name="amiranoor_low.safetensors", strength_model=1.0, model=["51", 0]),
    )
    graph["3"]["inputs"]["model"], graph["20"]["inputs"]["model"] = ["60", 0], ["61", 0]
    assert "choose with --lora-node-id" in refusal(graph, lora=NEW)
    overrides = NodeOverrides(lora_node="60", more_lora_nodes=("61",))
    assert changed(graph, None, overrides, lora="a_high.safetensors", more_loras=("a_low.safetensors",)) == {
        "60.lora_name": "a_high.safetensors",
        "61.lora_name": "a_low.safetensors",
    }


def test_a_refiner_is_another_model_and_that_is_said() -> None:
    graph = two_models(
        n51=node("CheckpointLoaderSimple", ckpt_name="refiner.safetensors"),
        n60=node("CLIPTextEncode", text="good", clip=["51", 1]),
        n61=node("CLIPTextEncode", text="bad", clip=["51", 1]),
    )
    graph["20"]["inputs"] |= {"positive": ["60", 0], "negative": ["61", 0]}
    (new,) = new_loaders(graph, lora=NEW)
    assert new["model"] == ["50", 0]
    assert any(line.startswith("not put on node 51 (CheckpointLoaderSimple)") for line in fill(graph, lora=NEW).lines())


def test_a_model_is_patched_behind_a_merge() -> None:
    graph = simple(
        n3=sampler(model=["14", 0]),
        n14=node("ModelMergeSimple", model1=["4", 0], model2=["15", 0], ratio=0.5),
        n15=node("CheckpointLoaderSimple", ckpt_name="b.safetensors"),
    )
    (new,) = new_loaders(graph, lora=NEW)
    assert (new["model"], new["clip"]) == (["14", 0], ["4", 1])


def test_a_model_of_any_class_and_a_clip_that_is_changed_on_the_way() -> None:
    graph = simple(
        n3=sampler(model=["50", 0]),
        n50=node("Quantised Something", file="q4.gguf"),
        n51=node("CLIPSetLastLayer", clip=["4", 1], stop_at_clip_layer=-2),
        n6=node("CLIPTextEncode", text="good", clip=["51", 0]),
        n7=node("CLIPTextEncode", text="bad", clip=["51", 0]),
    )
    (new,) = new_loaders(graph, lora=NEW)
    assert (new["model"], new["clip"]) == (["50", 0], ["4", 1])
    assert fill(graph, lora=NEW).graph["51"]["inputs"]["clip"] == ["52", 1]


def test_a_branch_that_is_off_is_not_where_a_lora_is() -> None:
    graph = chain("amiranoor_v2.safetensors")
    graph["60"] = node("ComfySwitchNode", switch=False, on_false=["4", 0], on_true=["50", 0])
    graph["3"]["inputs"]["model"] = ["60", 0]
    (new,) = new_loaders(graph, lora=NEW)
    assert new["model"] == ["4", 0]


# Names


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("amiranoor_v2", "amiranoor_v3", True),
        ("amiranoor-000012", "people/Amiranoor_SDXL_v3", True),
        ("qwen_amiranoor", "amiranoor_flux", True),
        ("AmiraNoor_v1", "amiranoor_v2", False),  # two words here, one there: not sure, so it stays
        ("qwen-360-diffusion", "qwen_amiranoor", False),
        ("film_style_v3", "watercolour_style_v3", False),
        ("v2", "v3", False),
        ("amiranoor_turbo", "amiranoor", False),
    ],
)
def test_names_of_one_character(one: str, other: str, alike: bool) -> None:
    assert same_character(f"{one}.safetensors", f"{other}.safetensors") is alike


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Qwen-Image-Lightning-4steps-V1.0", True),
        ("wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise", True),
        ("dmd2_sdxl_4step_lora", True),
        ("lcm-lora-sdv1-5", True),
        ("Hyper-FLUX.1-dev-8steps", True),
        ("amiranoor_v3-step00001500", False),
        ("amiranoor_2000steps", False),
        ("filmcam", False),
        ("tcd_sdxl", True),
    ],
)
def test_names_of_accelerators(name: str, is_one: bool) -> None:
    assert is_accelerator(f"{name}.safetensors") is is_one


def test_names_that_tell_nobody() -> None:
    assert [is_indistinct(name) for name in ("v3-step1500", "my_lora", "amiranoor", "film_style", "lightning")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert same_file("a\\b.safetensors", "a/b")
