"""Workflows as the editor saves them, put into API format. The expected graphs were compared with what ComfyUI's own page exports."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from tools.backends.backend import NodeDeclaration, NodeInput
from tools.workflows.graph import is_ui_format
from tools.workflows.signatures import stored_signatures
from tools.workflows.ui_format import to_api_format
from tools.workflows.ui_widgets import read_widgets
from tools.workflows.workflow import Settings, Workflow

Node = dict[str, Any]


def node(number: int, type_: str, inputs: dict[str, Any] | None = None, values: Any = None, **more: Any) -> Node:
    """`inputs`: name -> (type, link); a third member makes it a widget that takes a link."""
    slots = [
        {"name": name, "type": given[0], "link": given[1]} | ({"widget": {"name": name}} if len(given) > 2 else {})
        for name, given in (inputs or {}).items()
    ]
    outputs = [{"name": name, "type": name, "links": []} for name in more.pop("outputs", "").split()]
    return {"id": number, "type": type_, "mode": 0, "inputs": slots, "outputs": outputs, "widgets_values": values or [], **more}


def convert(nodes: list[Node], links: list[Any], **more: Any) -> dict[str, dict[str, Any]]:
    """`{node id: inputs}`."""
    document = {"nodes": nodes, "links": links, "version": 0.4, **more}
    assert is_ui_format(document)
    before = copy.deepcopy(document)
    graph = to_api_format(document, stored_signatures().of, "mine.json", "export it")
    assert document == before
    return {node_id: each["inputs"] for node_id, each in graph.items()}


def refusal(nodes: list[Node], links: list[Any], **more: Any) -> str:
    with pytest.raises(InputError) as caught:
        convert(nodes, links, **more)
    return str(caught.value)


LOADER = node(1, "CheckpointLoaderSimple", values=["a.safetensors"], outputs="MODEL CLIP VAE")
SAMPLER_INPUTS = {
    "model": ("MODEL", 1),
    "positive": ("CONDITIONING", None),
    "negative": ("CONDITIONING", None),
    "latent_image": ("LATENT", 2),
}
SAMPLER_VALUES = [7, "randomize", 20, 6.5, "euler", "normal", 0.8]
LATENT = node(2, "EmptyLatentImage", values=[512, 768, 1], outputs="LATENT")
SAMPLED = {
    "model": ["1", 0],
    "latent_image": ["2", 0],
    "seed": 7,
    "steps": 20,
    "cfg": 6.5,
    "sampler_name": "euler",
    "scheduler": "normal",
    "denoise": 0.8,
}


def test_saved_values_go_to_the_widgets_of_the_class_in_its_order() -> None:
    sampler = node(3, "KSampler", SAMPLER_INPUTS, SAMPLER_VALUES)
    found = convert([sampler, LOADER, LATENT], [[1, 1, 0, 3, 0, "MODEL"], [2, 2, 0, 3, 3, "LATENT"]])
    assert found == {
        "3": SAMPLED,
        "1": {"ckpt_name": "a.safetensors"},
        "2": {"width": 512, "height": 768, "batch_size": 1},
    }


def test_links_may_be_objects_and_a_widget_may_take_one() -> None:
    inputs = {**SAMPLER_INPUTS, "steps": ("INT", 3, "widget")}
    steps = node(9, "PrimitiveInt", values=[12, "fixed"], outputs="INT")
    links = [
        {"id": number, "origin_id": start, "origin_slot": 0, "target_id": 3, "target_slot": 0} for number, start in ((1, 1), (2, 2), (3, 9))
    ]
    found = convert([node(3, "KSampler", inputs, SAMPLER_VALUES), LOADER, LATENT, steps], links)
    assert found["3"] == {**SAMPLED, "steps": ["9", 0]}
    assert found["9"] == {"value": 12}


def test_a_primitive_gives_its_value_and_is_gone() -> None:
    inputs = {**SAMPLER_INPUTS, "seed": ("INT", 3, "widget")}
    nodes = [node(3, "KSampler", inputs, SAMPLER_VALUES), LOADER, LATENT, node(9, "PrimitiveNode", values=[4242, "fixed"], outputs="INT")]
    found = convert(nodes, [[1, 1, 0, 3, 0, "MODEL"], [2, 2, 0, 3, 3, "LATENT"], [3, 9, 0, 3, 4, "INT"]])
    assert found["3"] == {**SAMPLED, "seed": 4242}
    assert "9" not in found


def test_a_bypassed_node_passes_on_what_has_its_type_and_a_muted_one_nothing() -> None:
    lora_inputs = {"model": ("MODEL", 3), "clip": ("CLIP", 4)}
    lora = node(5, "LoraLoader", lora_inputs, ["b.safetensors", 1.0, 0.5], outputs="MODEL CLIP")
    text = node(6, "CLIPTextEncode", {"clip": ("CLIP", 5)}, ["words"], outputs="CONDITIONING")
    sampler = node(3, "KSampler", {**SAMPLER_INPUTS, "positive": ("CONDITIONING", 6)}, SAMPLER_VALUES)
    links = [
        *([1, 5, 0, 3, 0, "MODEL"], [2, 2, 0, 3, 3, "LATENT"], [3, 1, 0, 5, 0, "MODEL"]),
        *([4, 1, 1, 5, 1, "CLIP"], [5, 5, 1, 6, 0, "CLIP"], [6, 6, 0, 3, 1, "CONDITIONING"]),
    ]
    nodes = [sampler, LOADER, LATENT, lora, text]
    at_work = convert(nodes, links)
    assert at_work["5"] == {"lora_name": "b.safetensors", "strength_model": 1.0, "strength_clip": 0.5, "model": ["1", 0], "clip": ["1", 1]}
    assert (at_work["3"]["model"], at_work["6"]["clip"]) == (["5", 0], ["5", 1])
    bypassed = convert([*nodes[:3], {**lora, "mode": 4}, text], links)
    assert "5" not in bypassed
    assert (bypassed["3"]["model"], bypassed["6"]["clip"]) == (["1", 0], ["1", 1])
    muted = convert([*nodes[:3], {**lora, "mode": 2}, text], links)
    assert "5" not in muted
    assert "model" not in muted["3"] and "clip" not in muted["6"]


def test_reroutes_notes_and_named_lines_are_of_the_editor_alone() -> None:
    nodes = [
        *(node(3, "KSampler", SAMPLER_INPUTS, SAMPLER_VALUES), LOADER, LATENT),
        node(4, "Reroute", {"": ("*", 3)}, outputs="MODEL"),
        node(5, "SetNode", {"MODEL": ("MODEL", 4)}, ["the model"], outputs="MODEL"),
        node(6, "GetNode", {}, ["the model"], outputs="MODEL"),
        *(node(7, "Note", values=["remember"]), node(8, "MarkdownNote", values=["# remember"])),
    ]
    found = convert(nodes, [[1, 6, 0, 3, 0, "MODEL"], [2, 2, 0, 3, 3, "LATENT"], [3, 1, 0, 4, 0, "*"], [4, 4, 0, 5, 0, "MODEL"]])
    assert found["3"] == SAMPLED
    assert set(found) == {"1", "2", "3"}


SUBGRAPH = {
    "id": "aaaa-bbbb",
    "nodes": [
        node(3, "KSampler", {"model": ("MODEL", 1), "latent_image": ("LATENT", 2), "steps": ("INT", 3, "widget")}, SAMPLER_VALUES),
        node(4, "VAEDecode", {"samples": ("LATENT", 4), "vae": ("VAE", 5)}, outputs="IMAGE"),
    ],
    "links": [
        {"id": number, "origin_id": start, "origin_slot": output, "target_id": end, "target_slot": place}
        for number, start, output, end, place in (
            *((1, -10, 0, 3, 0), (2, -10, 1, 3, 1), (3, -10, 2, 3, 2)),
            *((4, 3, 0, 4, 0), (5, -10, 3, 4, 1), (6, 4, 0, -20, 0)),
        )
    ],
    "inputs": [
        {"name": name, "type": type_} for name, type_ in (("model", "MODEL"), ("latent", "LATENT"), ("steps", "INT"), ("vae", "VAE"))
    ],
    "outputs": [{"name": "IMAGE", "type": "IMAGE"}],
}
INSTANCE_INPUTS = {"model": ("MODEL", 1), "latent": ("LATENT", 2), "steps": ("INT", None, "widget"), "vae": ("VAE", 3)}
SAVE = node(60, "SaveImage", {"images": ("IMAGE", 4)}, ["p"])
AROUND = [[1, 1, 0, 57, 0, "MODEL"], [2, 2, 0, 57, 1, "LATENT"], [3, 1, 2, 57, 3, "VAE"], [4, 57, 0, 60, 0, "IMAGE"]]


@pytest.mark.parametrize(
    ("values", "properties", "steps"),
    [
        pytest.param([], {}, 20, id="the value within"),
        pytest.param([8], {}, 8, id="the value of the instance"),
        pytest.param([9], {"proxyWidgets": [["3", "steps"]]}, 9, id="the value of a widget that the instance shows"),
        pytest.param([], {"proxyWidgets": [["3", "steps"]]}, 20, id="shown, with the value within"),
    ],
)
def test_a_subgraph_is_unfolded_under_the_ids_of_its_instance(values: list[Any], properties: dict[str, Any], steps: int) -> None:
    instance = node(57, "aaaa-bbbb", INSTANCE_INPUTS, values, outputs="IMAGE", properties=properties)
    found = convert([LOADER, LATENT, instance, SAVE], AROUND, definitions={"subgraphs": [SUBGRAPH]})
    assert set(found) == {"1", "2", "57:3", "57:4", "60"}
    assert found["57:3"] == {**SAMPLED, "steps": steps}
    assert found["57:4"] == {"samples": ["57:3", 0], "vae": ["1", 2]}
    assert found["60"] == {"filename_prefix": "p", "images": ["57:4", 0]}


def test_an_instance_may_show_a_widget_that_is_none_of_its_inputs() -> None:
    shown = {"proxyWidgets": [["3", "cfg"], ["3", "steps"]]}
    instance = node(57, "aaaa-bbbb", INSTANCE_INPUTS, [2.5, None], outputs="IMAGE", properties=shown)
    found = convert([LOADER, LATENT, instance, SAVE], AROUND, definitions={"subgraphs": [SUBGRAPH]})
    assert found["57:3"] == {**SAMPLED, "cfg": 2.5}


def test_what_is_linked_to_an_instance_wins_over_its_value() -> None:
    instance = node(57, "aaaa-bbbb", {**INSTANCE_INPUTS, "steps": ("INT", 5, "widget")}, [8], outputs="IMAGE")
    steps = node(9, "PrimitiveInt", values=[12, "fixed"], outputs="INT")
    found = convert([LOADER, LATENT, instance, SAVE, steps], [*AROUND, [5, 9, 0, 57, 2, "INT"]], definitions={"subgraphs": [SUBGRAPH]})
    assert found["57:3"] == {**SAMPLED, "steps": ["9", 0]}


def test_a_muted_instance_takes_its_nodes_with_it() -> None:
    instance = node(57, "aaaa-bbbb", INSTANCE_INPUTS, [], outputs="IMAGE", mode=2)
    assert set(convert([LOADER, LATENT, instance, SAVE], AROUND, definitions={"subgraphs": [SUBGRAPH]})) == {"1", "2", "60"}


def test_values_by_name_are_taken_by_name() -> None:
    by_name = {
        "seed": 7,
        "control_after_generate": "fixed",
        "steps": 20,
        "cfg": 6.5,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 0.8,
    }
    links = [[1, 1, 0, 3, 0, "MODEL"], [2, 2, 0, 3, 3, "LATENT"]]
    assert convert([node(3, "KSampler", SAMPLER_INPUTS, by_name), LOADER, LATENT], links)["3"] == SAMPLED
    named = node(3, "KSampler", SAMPLER_INPUTS, ["moved"], widgets_values_named=by_name)
    assert convert([named, LOADER, LATENT], links)["3"] == SAMPLED
    unknown = node(3, "Somebody's Sampler", {"model": ("MODEL", 1)}, {"strength": 3})
    assert convert([unknown, LOADER], links)["3"] == {"strength": 3, "model": ["1", 0]}


def test_a_choice_brings_inputs_of_its_own() -> None:
    resize = node(3, "ResizeImageMaskNode", {"input": ("IMAGE", None)}, ["scale longer dimension", 640, "lanczos"])
    wider = node(4, "ResizeImageMaskNode", {"input": ("IMAGE", None)}, ["scale dimensions", 640, 480, "disabled", "area"])
    found = convert([resize, wider], [])
    assert found["3"] == {"resize_type": "scale longer dimension", "resize_type.longer_size": 640, "scale_method": "lanczos"}
    assert found["4"]["resize_type.height"] == 480
    assert (found["4"]["resize_type.crop"], found["4"]["scale_method"]) == ("disabled", "area")


def test_a_value_that_was_saved_for_a_link_is_left_out() -> None:
    declared = NodeDeclaration(
        {"words": NodeInput("STRING", is_socket=True), "seed": NodeInput("INT", is_seed=True), "size": NodeInput("INT")}, ("IMAGE",)
    )
    assert read_widgets("Mine", declared, ["old", 7, "fixed", 64]) == {"seed": 7, "size": 64}
    assert read_widgets("Mine", declared, [7, "fixed", 64]) == {"seed": 7, "size": 64}


def test_the_options_of_a_choice_that_a_user_typed_are_kept() -> None:
    found = convert([node(3, "CustomCombo", {}, ["wide", 1, "tall", "wide", ""])], [])
    assert found["3"] == {"choice": "wide", "index": 1, "option1": "tall", "option2": "wide", "option3": ""}


def test_inputs_of_a_custom_node_have_the_names_of_its_source() -> None:
    """ImpactWildcardEncode, as its pack declares it: two of its names hold spaces, and a server refuses a graph without them."""
    values = ["a {b|c}", "a b", "populate", "Select the LoRA to add to the text", "Select the Wildcard to add to the text", 7, "fixed"]
    assert convert([node(1, "ImpactWildcardEncode", values=values)], [])["1"] == {
        "wildcard_text": "a {b|c}",
        "populated_text": "a b",
        "mode": "populate",
        "Select to add LoRA": "Select the LoRA to add to the text",
        "Select to add Wildcard": "Select the Wildcard to add to the text",
        "seed": 7,
    }


def test_what_an_older_version_did_not_save_has_its_default() -> None:
    assert convert([node(3, "KSampler", {}, [7, "fixed", 20, 6.5, "euler", "normal"])], [])["3"]["denoise"] == 1.0


@pytest.mark.parametrize(
    ("nodes", "links", "why"),
    [
        pytest.param(
            [LOADER, node(3, "Somebody's Sampler", values=[7])],
            [],
            "node 3 (Somebody's Sampler): its class is unknown here, so nobody can say what its saved values are for",
            id="unknown class",
        ),
        pytest.param(
            [node(3, "KSampler", {}, ["euler", "fixed", 20, 6.5, "euler", "normal", 1.0])],
            [],
            "node 3 (KSampler): seed: 'euler' is no INT; was it saved with another version of the node?",
            id="values that have moved",
        ),
        pytest.param(
            [node(3, "EmptyLatentImage", {}, [512, 512, 1, 99])],
            [],
            "node 3 (EmptyLatentImage): 4 values are saved, 1 is more than are known (width, height, batch_size)",
            id="values of another version",
        ),
        pytest.param(
            [LOADER, node(3, "Anything Everywhere", {"anything": ("MODEL", 1)})],
            [[1, 1, 0, 3, 0, "MODEL"]],
            "node 3 (Anything Everywhere): it links to others by rules of its own",
            id="links that are not drawn",
        ),
        pytest.param(
            [LOADER, node(3, "workflow>my group", values=[1, 2])],
            [],
            "node 3 (workflow>my group): it is a group of an old editor, or a subgraph that the file does not hold",
            id="group node",
        ),
        pytest.param([node(7, "Note", values=["words"])], [], "without a node that runs", id="only notes"),
        pytest.param(
            [node(3, "KSampler", SAMPLER_INPUTS, SAMPLER_VALUES), node(4, "Reroute", {"": ("*", 2)}), node(5, "Reroute", {"": ("*", 3)})],
            [[1, 4, 0, 3, 0, "MODEL"], [2, 5, 0, 4, 0, "*"], [3, 4, 0, 5, 0, "*"]],
            "form a loop",
            id="reroutes in a circle",
        ),
        pytest.param([LOADER], [[1, 2]], "a link is [1, 2]: five values are wanted", id="half a link"),
    ],
)
def test_what_cannot_be_converted_is_named(nodes: list[Node], links: list[Any], why: str) -> None:
    told = refusal(nodes, links)
    assert told.startswith("mine.json: ") and why in told and told.endswith("(export it)")
    assert "\n" not in told


def test_subgraphs_within_themselves_end() -> None:
    endless = {"id": "x", "nodes": [node(1, "x")], "links": [], "inputs": [], "outputs": []}
    assert "subgraphs within one another" in refusal([node(1, "x")], [], definitions={"subgraphs": [endless]})


def test_a_saved_workflow_is_loaded_and_filled_like_an_exported_one(tmp_path: Path) -> None:
    nodes = [
        LOADER,
        LATENT,
        node(3, "KSampler", {**SAMPLER_INPUTS, "positive": ("CONDITIONING", 6)}, SAMPLER_VALUES, outputs="LATENT"),
        node(6, "CLIPTextEncode", {"clip": ("CLIP", 5)}, ["old words"], outputs="CONDITIONING", title="Positive"),
        node(8, "VAEDecode", {"samples": ("LATENT", 7), "vae": ("VAE", 8)}, outputs="IMAGE"),
        node(9, "SaveImage", {"images": ("IMAGE", 9)}, ["p"]),
    ]
    links = [
        *([1, 1, 0, 3, 0, "MODEL"], [2, 2, 0, 3, 3, "LATENT"], [5, 1, 1, 6, 0, "CLIP"], [6, 6, 0, 3, 1, "CONDITIONING"]),
        *([7, 3, 0, 8, 0, "LATENT"], [8, 1, 2, 8, 1, "VAE"], [9, 8, 0, 9, 0, "IMAGE"]),
    ]
    path = tmp_path / "saved.json"
    path.write_text(json.dumps({"nodes": nodes, "links": links, "version": 0.4}), encoding="utf-8")
    placed = Workflow.load(path).fill(Settings(positive="new words", seed=5))
    assert placed.graph["6"]["inputs"] == {"text": "new words", "clip": ["1", 1]}
    assert placed.graph["3"]["inputs"]["seed"] == 5
    assert placed.lines()[0] == 'positive: new words → text of node 6 (CLIPTextEncode "Positive")'
    assert any(line.startswith("converted: the file is in the editor's own format") for line in placed.lines())
