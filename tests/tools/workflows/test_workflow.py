"""Settings reach the right nodes of workflows as people really export them, or the run stops and says which cannot."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from tests.tools.workflows.built_graphs import CUSTOM_ADVANCED, FLUX, HIRES, node, sampler, simple
from tools.backends.comfyui import ComfyServer
from tools.stand_in.server import DEFAULT_MODELS
from tools.workflows.graph import Graph, is_link, read_graph, rename_outputs
from tools.workflows.server_fit import check_models
from tools.workflows.workflow import ModelUse, NodeOverrides, Settings, Workflow, find_models

EXPORT = "in ComfyUI choose Workflow > Export (API), or with older versions switch on Dev Mode and choose Save (API Format)"


def place(graph: Graph, overrides: NodeOverrides | None = None, /, **settings: Any) -> Graph:
    return Workflow(read_graph(graph, "mine.json"), "mine.json", overrides).place(Settings(**settings))


def at(graph: Graph, path: str) -> Any:
    node_id, key = path.split(".")
    return graph[node_id]["inputs"][key]


ALL: dict[str, Any] = {
    "positive": "P", "negative": "N", "seed": 7, "steps": 30, "cfg": 4.5, "sampler": "dpmpp_2m", "scheduler": "karras",
    "width": 832, "height": 1216, "checkpoint": "xl.safetensors", "filename_prefix": "lifeos/x",
}  # fmt: skip
PLACED = {
    "6.text": "P", "7.text": "N", "3.seed": 7, "3.steps": 30, "3.cfg": 4.5, "3.sampler_name": "dpmpp_2m", "3.scheduler": "karras",
    "5.width": 832, "5.height": 1216, "4.ckpt_name": "xl.safetensors", "9.filename_prefix": "lifeos/x", "5.batch_size": 1,
}  # fmt: skip


def test_every_setting_reaches_the_built_in_workflow() -> None:
    graph = Workflow.built_in().place(Settings(**ALL, lora="mine.safetensors", lora_strength=0.7))
    found = {path for path in _paths(graph) if at(graph, path) in [*ALL.values(), "mine.safetensors", 0.7]}
    assert {path: at(graph, path) for path in found} == {
        "1.ckpt_name": "xl.safetensors", "2.text": "P", "3.text": "N", "4.width": 832, "4.height": 1216, "5.seed": 7, "5.steps": 30,
        "5.cfg": 4.5, "5.sampler_name": "dpmpp_2m", "5.scheduler": "karras", "7.filename_prefix": "lifeos/x",
        "8.lora_name": "mine.safetensors", "8.strength_model": 0.7, "8.strength_clip": 0.7,
    }  # fmt: skip
    assert read_graph(graph, "placed") == graph


def _paths(graph: Graph) -> list[str]:
    return [f"{node_id}.{key}" for node_id, each in graph.items() for key in each["inputs"]]


@pytest.mark.parametrize(
    ("graph", "moved"),
    [
        pytest.param(simple(), {}, id="ComfyUI's default"),
        pytest.param(
            simple(n3=node("KSamplerAdvanced", **{**sampler()["inputs"], "noise_seed": 1, "add_noise": "enable"})),
            {"3.seed": "3.seed"},
            id="advanced sampler",
        ),
        pytest.param(
            CUSTOM_ADVANCED,
            {
                "3.seed": "20.noise_seed",
                "3.cfg": "21.cfg",
                "3.sampler_name": "22.sampler_name",
                "3.scheduler": "23.scheduler",
                "3.steps": "23.steps",
            },
            id="noise, guider, sampler and sigmas apart",
        ),
        pytest.param(
            simple(
                n3=node(
                    "SamplerCustom",
                    noise_seed=1,
                    cfg=7.0,
                    model=["4", 0],
                    positive=["6", 0],
                    negative=["7", 0],
                    sampler=["22", 0],
                    sigmas=["23", 0],
                    latent_image=["5", 0],
                ),
                n22=node("KSamplerSelect", sampler_name="euler"),
                n23=node("BasicScheduler", model=["4", 0], scheduler="normal", steps=20, denoise=1.0),
            ),
            {"3.seed": "3.noise_seed", "3.sampler_name": "22.sampler_name", "3.scheduler": "23.scheduler", "3.steps": "23.steps"},
            id="custom sampler",
        ),
        pytest.param(
            simple(
                n3=sampler(positive=["30", 0], negative=["30", 1]),
                n30=node(
                    "ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["31", 0], image=["32", 0], strength=1.0
                ),
                n31=node("ControlNetLoader", control_net_name="depth.safetensors"),
                n32=node("LoadImage", image="pose.png"),
            ),
            {},
            id="control net between: its second output is the negative",
        ),
        pytest.param(
            simple(n6=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]), n40=node("PrimitiveStringMultiline", value="good")),
            {"6.text": "40.value"},
            id="words in a node of their own",
        ),
        pytest.param(
            simple(n3=sampler(seed=["41", 0], steps=["42", 0]), n41=node("Seed (rgthree)", seed=1), n42=node("PrimitiveInt", value=20)),
            {"3.seed": "41.seed", "3.steps": "42.value"},
            id="seed and steps in nodes of their own",
        ),
        pytest.param(
            simple(
                n5=node("EmptyLatentImage", width=["43", 0], height=["44", 0], batch_size=4),
                n43=node("PrimitiveInt", value=512),
                n44=node("INTConstant", value=512),
            ),
            {"5.width": "43.value", "5.height": "44.value"},
            id="size in nodes of its own",
        ),
        pytest.param(
            simple(n3=sampler(positive=["45", 0]), n45=node("Reroute", **{"": ["6", 0]})),
            {},
            id="reroute",
        ),
        pytest.param(
            simple(n3=sampler(positive=["46", 0]), n46=node("ConditioningSetTimestepRange", conditioning=["6", 0], start=0.0, end=1.0)),
            {},
            id="conditioning changed on the way",
        ),
        pytest.param(
            simple(n6=node("CLIPTextEncodeSDXL", text_g="good", text_l="good", width=1024, height=1024, clip=["4", 1])),
            {"6.text": "6.text_g"},
            id="SDXL encoder with two texts",
        ),
        pytest.param(
            simple(n8=node("VAEDecodeTiled", samples=["3", 0], vae=["4", 2], tile_size=512), n50=node("PreviewImage", images=["8", 0])),
            {},
            id="a preview beside the saved picture",
        ),
        pytest.param(
            simple(n60=sampler(seed=99, positive=["61", 0]), n61=node("CLIPTextEncode", text="not used", clip=["4", 1])),
            {},
            id="a sampler that leads nowhere",
        ),
    ],
)
def test_settings_find_their_nodes(graph: Graph, moved: dict[str, str]) -> None:
    before = copy.deepcopy(graph)
    placed = place(graph, **ALL)
    assert {path: at(placed, moved.get(path, path)) for path in PLACED} == PLACED
    assert graph == before, "the workflow itself must not change"
    ours = {*PLACED, *moved.values()}
    others = [path for path in _paths(before) if path not in ours and path != "6.text_l"]
    assert [at(placed, path) for path in others] == [at(before, path) for path in others], "nothing else may change"


def test_sdxl_encoder_gets_both_texts() -> None:
    placed = place(simple(n6=node("CLIPTextEncodeSDXL", text_g="good", text_l="good", clip=["4", 1])), positive="P")
    assert (at(placed, "6.text_g"), at(placed, "6.text_l")) == ("P", "P")


def test_sdxl_encoder_is_told_the_new_size_where_it_was_told_the_old() -> None:
    encoder = node(
        "CLIPTextEncodeSDXL", text_g="g", text_l="g", width=4096, height=4096, target_width=512, target_height=512, clip=["4", 1]
    )
    placed = place(simple(n6=encoder), width=832, height=1216)
    assert [at(placed, f"6.{key}") for key in ("width", "height", "target_width", "target_height")] == [4096, 4096, 832, 1216]


def test_flux_takes_what_it_has() -> None:
    placed = place(
        FLUX, positive="P", seed=7, steps=30, sampler="heun", scheduler="beta", width=832, height=1216, checkpoint="f.safetensors"
    )
    paths = ("6.text", "20.noise_seed", "23.steps", "22.sampler_name", "23.scheduler", "5.width", "5.height", "4.unet_name")
    assert [at(placed, path) for path in paths] == ["P", 7, 30, "heun", "beta", 832, 1216, "f.safetensors"]


@pytest.mark.parametrize(
    ("graph", "settings", "told"),
    [
        pytest.param(
            FLUX,
            {"negative": "N", "cfg": 5.0},
            "no place for negative: no negative text leads to node 3 (SamplerCustomAdvanced): name its node with --negative-node-id; "
            "cfg: node 3 (SamplerCustomAdvanced) has no CFG, this model is led by the guidance of node 26 (FluxGuidance): give --guidance",
            id="flux has neither CFG nor a negative",
        ),
        pytest.param(
            simple(n3=sampler(negative=["10", 0]), n7=None, n10=node("ConditioningZeroOut", conditioning=["6", 0])),
            {"negative": "N"},
            "no place for negative: no negative text leads to node 3 (KSampler), node 10 (ConditioningZeroOut) leaves nothing of it: "
            "name its node with --negative-node-id",
            id="a negative of zeros made from the positive",
        ),
        pytest.param(
            simple(n3=sampler(negative=["6", 0]), n7=None),
            {"negative": "N"},
            "no place for negative: node 6 (CLIPTextEncode) is the positive text as well: name another with --negative-node-id",
            id="one text for both",
        ),
        pytest.param(
            simple(
                n3=sampler(positive=["10", 0]),
                n10=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["11", 0]),
                n11=node("CLIPTextEncode", text="style", clip=["4", 1]),
            ),
            {"positive": "P"},
            "no place for positive: several texts lead to it: node 6 (CLIPTextEncode), node 11 (CLIPTextEncode): "
            "choose with --positive-node-id (and --positive-key)",
            id="two texts combined",
        ),
        pytest.param(
            simple(n5=node("VAEEncode", pixels=["12", 0], vae=["4", 2]), n12=node("LoadImage", image="a.png")),
            {"width": 512},
            "no place for width: the picture that node 3 (KSampler) starts from has no size of its own (made from another picture?): "
            "if a node decides it, write there with --set NODE.INPUT=VALUE",
            id="image to image has no size",
        ),
        pytest.param(
            simple(
                n3=sampler(model=["14", 0]),
                n14=node("ModelMergeSimple", model1=["4", 0], model2=["15", 0], ratio=0.5),
                n15=node("CheckpointLoaderSimple", ckpt_name="b.safetensors"),
            ),
            {"checkpoint": "c.safetensors"},
            "no place for checkpoint: several models are merged for node 3 (KSampler): "
            "node 4 (CheckpointLoaderSimple), node 15 (CheckpointLoaderSimple): write each with --set 4.ckpt_name=VALUE",
            id="merged checkpoints",
        ),
        pytest.param(
            simple(), {"lora_strength": 0.5}, "no place for lora strength: the workflow has no LoRA loader", id="strength without a LoRA"
        ),
    ],
)
def test_what_has_no_place_stops_the_run(graph: Graph, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        place(graph, **settings)
    assert str(caught.value) == f"mine.json: {told} (leave that setting out, or write a value into any input with --set NODE.INPUT=VALUE)"


def test_settings_that_are_not_given_need_no_place() -> None:
    assert at(place(FLUX, seed=7), "20.noise_seed") == 7


# LoRA


def test_lora_goes_into_the_one_loader() -> None:
    graph = simple(
        n3=sampler(model=["10", 0]),
        n10=node("LoraLoader", lora_name="old.safetensors", strength_model=1.0, strength_clip=0.5, model=["4", 0], clip=["4", 1]),
    )
    placed = place(graph, lora="new.safetensors", lora_strength=0.0)
    assert [at(placed, f"10.{key}") for key in ("lora_name", "strength_model", "strength_clip")] == ["new.safetensors", 0.0, 0.0]
    assert set(placed) == set(graph)


def test_lora_without_a_loader_is_inserted_behind_the_checkpoint() -> None:
    placed = place(simple(), lora="new.safetensors", lora_strength=0.8)
    assert placed["10"]["class_type"] == "LoraLoader"
    assert placed["10"]["inputs"] == {
        "lora_name": "new.safetensors", "strength_model": 0.8, "strength_clip": 0.8, "model": ["4", 0], "clip": ["4", 1],
    }  # fmt: skip
    users = {path: at(placed, path) for path in _paths(placed) if is_link(at(placed, path)) and path != "10.model" and path != "10.clip"}
    assert [users[path] for path in ("3.model", "6.clip", "7.clip", "8.vae")] == [["10", 0], ["10", 1], ["10", 1], ["4", 2]]


def test_lora_between_model_and_text_encoder_from_loaders_of_their_own() -> None:
    placed = place(FLUX, lora="new.safetensors", lora_strength=0.8)
    assert placed["27"]["class_type"] == "LoraLoader"
    assert placed["27"]["inputs"] == {
        "lora_name": "new.safetensors", "strength_model": 0.8, "strength_clip": 0.8, "model": ["4", 0], "clip": ["24", 0],
    }  # fmt: skip
    assert (at(placed, "21.model"), at(placed, "23.model"), at(placed, "6.clip")) == (["27", 0], ["27", 0], ["27", 1])


def test_lora_whose_file_has_no_text_encoder_goes_into_the_model_alone() -> None:
    workflow = Workflow(read_graph(FLUX, "mine.json"), "mine.json", lora_with_clip=False)
    placed = workflow.place(Settings(lora="new.safetensors", lora_strength=0.8))
    assert placed["27"]["class_type"] == "LoraLoaderModelOnly"
    assert placed["27"]["inputs"] == {"lora_name": "new.safetensors", "strength_model": 0.8, "model": ["4", 0]}
    assert at(placed, "6.clip") == ["24", 0]


STACKED = simple(
    n3=sampler(model=["11", 0]),
    n10=node("LoraLoader", lora_name="style.safetensors", strength_model=0.5, strength_clip=0.5, model=["4", 0], clip=["4", 1]),
    n11=node("LoraLoader", lora_name="mine.safetensors", strength_model=1.0, strength_clip=1.0, model=["10", 0], clip=["10", 1]),
)


def test_of_several_loras_the_one_of_that_name_is_set() -> None:
    placed = place(STACKED, lora="mine.safetensors", lora_strength=0.3)
    assert (at(placed, "11.strength_model"), at(placed, "10.strength_model")) == (0.3, 0.5)


def test_of_several_loras_one_must_be_chosen() -> None:
    with pytest.raises(InputError, match="several LoRA loaders lead to the sampler: choose with --lora-node-id"):
        place(STACKED, lora="new.safetensors")
    placed = place(STACKED, NodeOverrides(lora_node="10"), lora="new.safetensors")
    assert (at(placed, "10.lora_name"), at(placed, "11.lora_name")) == ("new.safetensors", "mine.safetensors")


# Several samplers


def test_second_pass_gets_the_seed_and_keeps_what_it_set_itself() -> None:
    placed = place(HIRES, seed=7, steps=30, cfg=4.0, sampler="heun", width=768)
    assert [at(placed, path) for path in ("3.seed", "21.seed")] == [7, 7]
    assert [at(placed, path) for path in ("3.steps", "21.steps")] == [30, 12]  # 20 and 12 before
    assert [at(placed, path) for path in ("3.cfg", "21.cfg", "3.sampler_name", "21.sampler_name")] == [4.0, 4.0, "heun", "heun"]
    assert [at(placed, path) for path in ("5.width", "20.width")] == [768, 1536]


def test_base_and_refiner_share_the_steps_as_before() -> None:
    def pass_of(start: int, end: int, latent: str) -> dict[str, Any]:
        inputs = {
            **sampler()["inputs"],
            "noise_seed": 1,
            "steps": 25,
            "start_at_step": start,
            "end_at_step": end,
            "latent_image": [latent, 0],
        }
        return node("KSamplerAdvanced", **inputs)

    graph = simple(n3=pass_of(0, 20, "5"), n21=pass_of(20, 10000, "3"), n8=node("VAEDecode", samples=["21", 0], vae=["4", 2]))
    placed = place(graph, steps=50)
    # 20 of 25 is 40 of 50; 10000 means "to the end"
    assert [at(placed, path) for path in ("3.steps", "21.steps", "3.end_at_step", "21.start_at_step", "21.end_at_step")] == [
        50,
        50,
        40,
        40,
        10000,
    ]


@pytest.mark.parametrize(("second", "both"), [("good", True), ("sharper", False)])
def test_text_of_a_second_encoder(second: str, both: bool) -> None:
    """The same words in both are the same prompt; other words are another one, and which is meant must be said."""
    graph = copy.deepcopy(HIRES) | {"30": node("CLIPTextEncode", text=second, clip=["4", 1])}
    graph["21"]["inputs"]["positive"] = ["30", 0]
    if both:
        placed = place(graph, positive="P")
        assert (at(placed, "6.text"), at(placed, "30.text")) == ("P", "P")
    else:
        with pytest.raises(InputError, match="several texts lead to it"):
            place(graph, positive="P")
        placed = place(graph, NodeOverrides(positive_node="6"), positive="P")
        assert (at(placed, "6.text"), at(placed, "30.text")) == ("P", "sharper")


# Nodes named by hand


def test_named_nodes_and_keys_win() -> None:
    graph = simple(n40=node("My Sampler", my_seed=1, my_steps=2, positive=["6", 0]), n41=node("My Text", words="w"))
    graph["8"]["inputs"]["samples"] = ["40", 0]
    overrides = NodeOverrides(sampler_node="40", seed_key="my_seed", steps_key="my_steps", positive_node="41", positive_key="words")
    placed = place(graph, overrides, seed=7, steps=30, positive="P")
    assert [at(placed, path) for path in ("40.my_seed", "40.my_steps", "41.words", "6.text")] == [7, 30, "P", "good"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (NodeOverrides(sampler_node="33"), "--ksampler-node-id 33: mine.json has no such node (did you mean 3?)"),
        (
            NodeOverrides(positive_node="6", positive_key="txet"),
            "--positive-key txet: node 6 (CLIPTextEncode) has no such input (did you mean text?)",
        ),
    ],
    ids=["node", "key"],
)
def test_named_node_that_is_not_there(overrides: NodeOverrides, told: str) -> None:
    with pytest.raises(InputError) as caught:
        place(simple(), overrides, positive="P")
    assert str(caught.value) == told


# Files


@pytest.mark.parametrize(
    ("document", "told"),
    [
        pytest.param(
            {"nodes": [], "links": []},
            f"a workflow in UI format without a node that runs ({EXPORT})",
            id="UI format",
        ),
        pytest.param([], f"not a workflow: an object of nodes is wanted ({EXPORT})", id="a list"),
        pytest.param({}, f"not a workflow: an object of nodes is wanted ({EXPORT})", id="empty"),
        pytest.param({"3": {"class_type": "KSampler"}}, f'"3" is not a node in API format (class_type, inputs) ({EXPORT})', id="no inputs"),
        pytest.param(
            simple(n5=None), f"node 3 (KSampler): latent_image comes from node 5, which is not there ({EXPORT})", id="dangling link"
        ),
        pytest.param(
            simple(n5=node("LatentUpscale", samples=["3", 0], width=64, height=64)),
            "the nodes 3 → 5 → 3 form a loop (break it in ComfyUI, then export again)",
            id="loop",
        ),
        pytest.param(
            {"1": node("LoadImage", image="a.png"), "2": node("SaveImage", images=["1", 0], filename_prefix="x")},
            "no sampler leads to a picture that is saved (name it with --ksampler-node-id, or export another workflow in API format)",
            id="no sampler",
        ),
    ],
)
def test_files_that_are_no_use(tmp_path: Path, document: Any, told: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        Workflow.load(path)
    assert str(caught.value) == f"{path}: {told}"


def test_file_with_a_byte_order_mark_or_wrapped_as_a_request(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"prompt": simple(), "client_id": "x"}), encoding="utf-8-sig")
    assert at(Workflow.load(path).place(Settings(seed=7)), "3.seed") == 7


def test_long_chain_of_nodes_is_no_recursion() -> None:
    graph = simple(n3=sampler(model=["1000", 0]), n1000=node("ModelSamplingDiscrete", model=["4", 0]))
    for number in range(1001, 4000):
        graph[str(number)] = node("ModelSamplingDiscrete", model=[str(number - 1), 0])
    graph["3"]["inputs"]["model"] = ["3999", 0]
    assert at(place(graph, checkpoint="c.safetensors"), "4.ckpt_name") == "c.safetensors"


def test_a_list_of_two_numbers_is_no_link() -> None:
    graph = simple(n70=node("Crop", box=[1, 2], images=["8", 0]))
    assert at(read_graph(graph, "x"), "70.box") == [1, 2]


# Values


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"width": 100}, "width 100: a multiple of 8 is wanted, such as 96 or 104"),
        ({"height": 8}, "height 8: a whole number from 16 to 16384 is wanted"),
        ({"steps": 0}, "steps 0: a whole number from 1 to 10000 is wanted"),
        ({"steps": 20.5}, "steps 20.5: a whole number from 1 to 10000 is wanted"),
        ({"steps": True}, "steps True: a whole number from 1 to 10000 is wanted"),
        ({"seed": -1}, "seed -1: a whole number from 0 to 18446744073709551615 is wanted"),
        ({"seed": 2**64}, "seed 18446744073709551616: a whole number from 0 to 18446744073709551615 is wanted"),
        ({"cfg": float("nan")}, "cfg nan: a number from 0 to 100 is wanted"),
        ({"lora": "a", "lora_strength": 101}, "lora strength 101: a number from -100 to 100 is wanted"),
        ({"sampler": " "}, "sampler ' ': a name is wanted"),
        ({"positive": 3}, "positive 3: text is wanted"),
        (
            {"filename_prefix": "a/"},
            "filename prefix 'a/': a relative name that does not end in a slash is wanted: ComfyUI would overwrite or refuse it",
        ),
        (
            {"filename_prefix": "../a"},
            "filename prefix '../a': a relative name that does not end in a slash is wanted: ComfyUI would overwrite or refuse it",
        ),
    ],
    ids=str,
)
def test_values_that_the_server_would_change_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        place(simple(), **settings)
    assert str(caught.value) == told


@pytest.mark.parametrize("text", ["", "ünï 🎉", "a" * 10_000, '"quotes" {braces} [0]', "<b>`x`</b>\n| a |"])
def test_prompts_are_data(text: str) -> None:
    assert at(place(simple(), positive=text), "6.text") == text


def test_current_values_and_where_settings_go() -> None:
    workflow = Workflow(read_graph(STACKED | {"5": node("EmptyLatentImage", width=640, height=512, batch_size=1)}, "x"), "x")
    assert workflow.current() == Settings("good", "bad", 1, 20, 7.0, "euler", "normal", 640, 512, "base.safetensors")
    assert workflow.fill(Settings(seed=7, lora="mine.safetensors", lora_strength=0.3)).lines() == [
        "seed: 7 → seed of node 3 (KSampler)",
        "lora: mine.safetensors → lora_name of node 11 (LoraLoader)",
        "lora strength: 0.3 → strength_model of node 11 (LoraLoader), strength_clip of node 11 (LoraLoader)",
        "kept: style.safetensors in node 10 (LoraLoader)",
    ]
    assert Workflow.built_in().fill(Settings(lora="l")).lines() == [
        'lora: l → lora_name of node 8 (LoraLoader "LoRA") (inserted behind node 1 (CheckpointLoaderSimple "Checkpoint"))',
        'lora strength: 1.0 → strength_model of node 8 (LoraLoader "LoRA"), strength_clip of node 8 (LoraLoader "LoRA")',
    ]


def test_pictures_of_a_batch_share_the_search_and_nothing_else() -> None:
    graph = simple(n6=node("ImpactWildcardEncode", wildcard_text="good <lora:glow:1>", populated_text="", mode="populate"))
    workflow = Workflow(read_graph(graph, "x"), "x", NodeOverrides(positive_node="6", positive_key="wildcard_text"))
    first = workflow.fill(Settings(positive="<lora:glow:1> P", seed=1, steps=9, filename_prefix="a"))
    first.graph["3"]["inputs"]["steps"] = 99  # nobody else's business
    second = workflow.fill(Settings(positive="Q", seed=2, steps=9, filename_prefix="b"))
    assert [at(second.graph, place) for place in ("6.wildcard_text", "3.seed", "3.steps", "9.filename_prefix")] == ["Q", 2, 9, "b"]
    assert (at(first.graph, "6.wildcard_text"), at(first.graph, "3.seed")) == ("<lora:glow:1> P", 1)
    assert [each["value"] for each in second.places()][:3] == ["Q", 2, 9]
    assert [any("no longer there: <lora:glow>" in line for line in each.lines()) for each in (first, second)] == [False, True]
    assert at(workflow.place(Settings(positive="Q", seed=2, steps=8)), "3.steps") == 8


def test_models_of_a_graph() -> None:
    assert find_models(STACKED) == [
        ModelUse("checkpoints", "base.safetensors", "4"),
        ModelUse("loras", "style.safetensors", "10"),
        ModelUse("loras", "mine.safetensors", "11"),
    ]


def test_renamed_outputs_change_nothing_else() -> None:
    renamed = rename_outputs(simple(), "_2")
    assert at(renamed, "9.filename_prefix") == "mine_2"
    assert {path for path in _paths(renamed) if at(renamed, path) != at(simple(), path)} == {"9.filename_prefix"}


def test_everything_missing_on_the_server_is_named_at_once(embedded_server: Any) -> None:
    graph = simple(
        n3=sampler(sampler_name="dpmpp2m", model=["10", 0]),
        n10=node("LoraLoader", lora_name="amiranoor_v4.safetensors", strength_model=1.0, strength_clip=1.0, model=["4", 0], clip=["4", 1]),
        n9=node("SaveImages", filename_prefix="x", images=["8", 0]),
    )
    embedded = embedded_server(models={**DEFAULT_MODELS, "checkpoints": ["embedded_demo_sdxl.safetensors"]})
    with ComfyServer(embedded.url) as server, pytest.raises(InputError) as caught:
        check_models(server, graph, graph)
    asked = embedded.counters["GET /object_info/{id}"], embedded.counters["GET /object_info"]
    assert asked == (len({each["class_type"] for each in graph.values()}), 1), "each class once, and all names once"
    told = str(caught.value)
    assert told.count("is not there") == 4
    for part in (
        "sampler_name 'dpmpp2m' of node 3 (KSampler) is not there: did you mean dpmpp_2m,",
        "ckpt_name 'base.safetensors' of node 4 (CheckpointLoaderSimple) is not there: there is embedded_demo_sdxl.safetensors",
        "lora_name 'amiranoor_v4.safetensors' of node 10 (LoraLoader) is not there: did you mean amiranoor_v3.safetensors,",
        "node class SaveImages of node 9 (SaveImages) is not there: did you mean SaveImage,",
    ):
        assert part in told
