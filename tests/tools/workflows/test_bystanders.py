"""Graphs in which something that stands beside the pictures or texts that count must not be taken for them."""

from __future__ import annotations

import pytest

from tests.tools.workflows.built_graphs import changed, declare, fill, node, refusal, sampler, sampling, simple
from tools.workflows.graph import Graph
from tools.workflows.workflow import NodeOverrides

SIDE_BY_SIDE = ["ImageStitch", "ImageConcanate", "Make Image Grid"]


def compared(class_type: str, **more: object) -> Graph:
    """The picture beside a loaded one."""
    return simple(n20=node(class_type, image1=["8", 0], image2=["21", 0]), n21=node("LoadImage", image="face.png"), **more)


@pytest.mark.parametrize("class_type", SIDE_BY_SIDE)
def test_a_comparison_that_is_saved_too_is_not_the_picture(class_type: str) -> None:
    graph = compared(class_type, n22=node("SaveImage", filename_prefix="beside", images=["20", 0]))
    placed = fill(graph, positive="P")
    assert "22" not in placed.graph and "9" in placed.graph
    assert "pictures: those of node 9 (SaveImage); taken out: node 22 (SaveImage)" in placed.lines()


@pytest.mark.parametrize("class_type", SIDE_BY_SIDE)
def test_a_comparison_alone_is_refused_and_the_flag_that_is_named_mends_it(class_type: str) -> None:
    graph = compared(class_type, n9=node("SaveImage", filename_prefix="mine", images=["20", 0]))
    assert "such as --output-node-id 8" in refusal(graph, positive="P")
    placed = fill(graph, None, NodeOverrides(output_node="8"), positive="P")
    assert placed.graph["9"]["inputs"]["images"] == ["8", 0]  # a node that only makes pictures gets the saver
    assert "pictures: those of node 8 (VAEDecode), saved by node 9 (SaveImage)" in placed.lines()


def test_pictures_put_side_by_side_before_the_sampler_are_no_comparison() -> None:
    graph = simple(
        n5=node("VAEEncode", pixels=["20", 0], vae=["4", 2]),
        n20=node("ImageStitch", image1=["21", 0], image2=["22", 0], direction="right"),
        n21=node("LoadImage", image="a.png"),
        n22=node("LoadImage", image="b.png"),
    )
    assert changed(graph, positive="P", seed=5) == {"6.text": "P", "3.seed": 5}


@pytest.mark.parametrize("known_first", [True, False])
def test_a_text_of_an_unknown_class_in_a_counted_list_is_seen(known_first: bool) -> None:
    """One is a style: which, only its owner knows."""
    links = {"string_1": ["21", 0], "string_2": ["22", 0]} if known_first else {"string_1": ["22", 0], "string_2": ["21", 0]}
    graph = simple(
        n6=node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
        n20=node("My Join", inputcount=2, delimiter=", ", **links),
        n21=node("StringConstantMultiline", string="film grain", strip_newlines=True),
        n22=node("My Words", string="a woman"),
    )
    told = refusal(graph, positive="P")
    assert "string of node 21" in told and "string of node 22" in told


def test_a_node_that_only_weighs_loras_of_its_own_is_no_place_for_another() -> None:
    loader = declare("model:MODEL preset:COMBO lora_strength:FLOAT", ["MODEL"])
    graph = simple(n20=node("My FaceID", model=["4", 0], preset="v2", lora_strength=0.6), n3=sampler(model=["20", 0]))
    placed = fill(graph, {"My FaceID": loader}, lora="amiranoor_v3.safetensors")
    assert placed.graph["20"]["inputs"]["lora_strength"] == 0.6
    assert any("inserted behind node 4" in line for line in placed.lines())


def test_a_loader_between_unknown_nodes_takes_another_behind_it_as_the_refusal_says() -> None:
    graph = simple(
        n20=node("My Lora Machine", model=["4", 0], recipe="x"), n21=node("My Sharpener", model=["20", 0]), n3=sampler(model=["21", 0])
    )
    assert "--lora-node-id 20" in refusal(graph, lora="amiranoor_v3.safetensors")
    placed = fill(graph, None, NodeOverrides(lora_node="20"), lora="amiranoor_v3.safetensors").graph
    new = next(node_id for node_id in placed if node_id not in graph)
    assert placed[new]["inputs"]["model"] == ["20", 0] and placed["21"]["inputs"]["model"] == [new, 0]


def test_a_lora_within_the_old_prompt_is_not_lost_without_a_word() -> None:
    graph = simple(n6=node("CLIPTextEncode", text="good <lora:film:0.5> <lora:amiranoor_v2:0.8>", clip=["4", 1]))
    told = "no longer there: <lora:film> in text of node 6 (CLIPTextEncode): write it into the prompt to keep it"
    lines = fill(graph, positive="P <lora:amiranoor_v2:1>").lines()
    assert told in lines and not any("<lora:amiranoor_v2>" in line for line in lines)


def test_areas_of_a_prompt_keep_their_share_of_the_picture() -> None:
    graph = simple(
        n3=sampler(positive=["20", 0]),
        n20=node("ConditioningSetArea", width=256, height=512, x=256, y=0, strength=1.0, conditioning=["6", 0]),
    )
    expected = {"5.width": 1024, "5.height": 768, "20.width": 512, "20.height": 768, "20.x": 512}  # half of 1024, from its middle
    assert changed(graph, width=1024, height=768) == expected


def test_the_text_that_is_put_into_others_is_not_the_advice() -> None:
    graph = simple(
        n6=node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
        n20=node("RegexReplace", string=["21", 0], regex_pattern="umm", replace="hm"),
        n21=node("PrimitiveStringMultiline", value="a woman umm"),
    )
    assert "--positive-node-id 21 --positive-key value" in refusal(graph, positive="P")


def test_samplers_that_take_a_pipe_alone() -> None:
    graph = simple(
        n3=None,
        n20=node("ToBasicPipe", model=["4", 0], clip=["4", 1], vae=["4", 2], positive=["6", 0], negative=["7", 0]),
        n21=sampling("ImpactKSamplerBasicPipe", basic_pipe=["20", 0], latent_image=["5", 0]),
        n8=node("VAEDecode", samples=["21", 1], vae=["21", 2]),
    )
    wanted = {"6.text": "P", "7.text": "N", "21.seed": 9, "21.steps": 30}
    assert changed(graph, positive="P", negative="N", seed=9, steps=30) == wanted


PIPED = simple(
    n3=sampler(model=["21", 0], positive=["21", 3], negative=["21", 4]),
    n20=node("ToBasicPipe", model=["4", 0], clip=["4", 1], vae=["4", 2], positive=["6", 0], negative=["7", 0]),
    n21=node("FromBasicPipe", basic_pipe=["20", 0]),
)


def test_a_loader_comes_before_the_texts_that_a_pipe_carries() -> None:
    """Behind the pipe it would need what is made with its own text encoder."""
    placed = fill(PIPED, lora="amiranoor_v3.safetensors").graph
    assert placed["22"]["inputs"]["model"] == ["4", 0] and placed["22"]["inputs"]["clip"] == ["4", 1]
    carried = {key: placed["20"]["inputs"][key] for key in ("model", "clip", "vae")}
    assert carried == {"model": ["22", 0], "clip": ["22", 1], "vae": ["4", 2]}
    assert placed["6"]["inputs"]["clip"] == ["22", 1] and placed["21"] == PIPED["21"]


def test_a_loader_that_is_wanted_where_it_forms_a_loop_is_refused() -> None:
    told = refusal(PIPED, None, NodeOverrides(lora_node="21"), lora="amiranoor_v3.safetensors")
    assert "would form a loop" in told and "name the node that loads the model with --lora-node-id" in told
    assert fill(PIPED, None, NodeOverrides(lora_node="4"), lora="amiranoor_v3.safetensors").graph["22"]["inputs"]["model"] == ["4", 0]


@pytest.mark.parametrize("texts_from", ["4", "50"])
def test_a_loader_behind_one_that_takes_the_text_encoder_too(texts_from: str) -> None:
    """Whether the texts use the text encoder of the node before, or pass it by."""
    graph = simple(
        n3=sampler(model=["50", 0]),
        n50=node("LoRA Tag Hub", text="<lora:film:1>", model=["4", 0], clip=["4", 1]),
        n6=node("CLIPTextEncode", text="good", clip=[texts_from, 1]),
    )
    placed = fill(graph, None, NodeOverrides(lora_node="50"), lora="amiranoor_v3.safetensors").graph
    new = next(node_id for node_id in placed if node_id not in graph)
    assert placed[new]["inputs"]["model"] == ["50", 0] and placed[new]["inputs"]["clip"] == [texts_from, 1]
    assert placed["6"]["inputs"]["clip"] == [new, 1] and placed["50"]["inputs"]["clip"] == ["4", 1]
