"""Graphs as well-known packs of custom nodes build them, without a server: pipes, loaders that hold everything, stylers, detailers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tools.workflows.built_graphs import NEW, changed, declare, fill, new_loaders, node, refusal, sampler, sampling, simple
from tools.workflows.graph import Graph
from tools.workflows.workflow import NodeOverrides

EASY: Graph = {
    "1": node(
        "easy fullLoader",
        ckpt_name="a.safetensors",
        vae_name="Baked VAE",
        lora_name="None",
        lora_model_strength=1.0,
        lora_clip_strength=1.0,
        resolution="width x height (custom)",
        empty_latent_width=512,
        empty_latent_height=512,
        positive="good",
        negative="bad",
        batch_size=2,
    ),
    "2": sampling("easy preSampling", pipe=["1", 0]),
    "3": node("easy kSampler", pipe=["2", 0], image_output="Preview", link_id=0, save_prefix="ComfyUI"),
    "4": node("SaveImage", filename_prefix="x", images=["3", 1]),
}
ALL: dict[str, Any] = {
    "positive": "P",
    "negative": "N",
    "seed": 7,
    "steps": 30,
    "cfg": 4.5,
    "sampler": "heun",
    "scheduler": "beta",
    "width": 832,
    "height": 1216,
    "checkpoint": "b.safetensors",
    "lora": NEW,
    "lora_strength": 0.5,
}


def test_everything_through_a_pipe_line() -> None:
    assert changed(EASY, **ALL) == {
        "1.positive": "P",
        "1.negative": "N",
        "2.seed": 7,
        "2.steps": 30,
        "2.cfg": 4.5,
        "2.sampler_name": "heun",
        "2.scheduler": "beta",
        "1.empty_latent_width": 832,
        "1.empty_latent_height": 1216,
        "1.ckpt_name": "b.safetensors",
        "1.lora_name": NEW,
        "1.lora_model_strength": 0.5,
        "1.lora_clip_strength": 0.5,
        "1.batch_size": 1,
    }


def test_a_list_of_sizes_that_wins_over_the_sides() -> None:
    graph = EASY | {"1": node("easy fullLoader", **{**EASY["1"]["inputs"], "resolution": "1024 x 1024"})}
    assert "--set 1.resolution=VALUE" in refusal(graph, width=640)
    picker = node("SDXL Empty Latent Image (rgthree)", dimensions="1024 x 1024  (square)", clip_scale=2.0, batch_size=1)
    assert "with --set 5.dimensions=VALUE" in refusal(simple(n5=picker), width=640)


def test_pieces_out_of_a_pipe_line() -> None:
    graph = {
        **{key: EASY[key] for key in ("1",)},
        "5": node("easy pipeOut", pipe=["1", 0]),
        "6": sampler(model=["5", 1], positive=["5", 2], negative=["5", 3], latent_image=["5", 4]),
        "7": node("VAEDecode", samples=["6", 0], vae=["5", 5]),
        "8": node("SaveImage", filename_prefix="x", images=["7", 0]),
    }
    found = changed(graph, positive="P", negative="N", seed=7, width=640)
    assert found == {"1.positive": "P", "1.negative": "N", "6.seed": 7, "1.empty_latent_width": 640, "1.batch_size": 1}


def test_the_efficient_pair() -> None:
    loader = {
        "ckpt_name": "a",
        "lora_name": "None",
        "lora_model_strength": 1.0,
        "lora_clip_strength": 1.0,
        "positive": "good",
        "negative": "bad",
    }
    graph = {
        "1": node("Efficient Loader", **loader, empty_latent_width=512, empty_latent_height=512, batch_size=1, lora_stack=["4", 0]),
        "2": sampling(
            "KSampler (Efficient)",
            preview_method="auto",
            vae_decode="true",
            model=["1", 0],
            positive=["1", 1],
            negative=["1", 2],
            latent_image=["1", 3],
        ),
        "3": node("SaveImage", filename_prefix="x", images=["2", 5]),
        "4": node(
            "LoRA Stacker",
            input_mode="simple",
            lora_count=2,
            lora_name_1="lcm.safetensors",
            lora_wt_1=1.0,
            lora_name_2="amiranoor_v1.safetensors",
            lora_wt_2=0.9,
        ),
    }
    assert changed(graph, positive="P", negative="N", seed=7, steps=30, height=640, lora=NEW) == {
        "1.positive": "P",
        "1.negative": "N",
        "2.seed": 7,
        "2.steps": 30,
        "1.empty_latent_height": 640,
        "4.lora_name_2": NEW,
    }
    assert "kept: lcm.safetensors in node 4 (LoRA Stacker)" in fill(graph, lora=NEW).lines()


@pytest.mark.parametrize("class_type", ["SDXLPromptStyler", "Nobody Knows This Styler"])
def test_a_styler_of_both_prompts(class_type: str) -> None:
    graph = simple(
        n6=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]),
        n7=node("CLIPTextEncode", text=["40", 1], clip=["4", 1]),
        n40=node(class_type, text_positive="good", text_negative="bad", style="base", log_prompt=False),
    )
    assert changed(graph, positive="P", negative="N") == {"40.text_positive": "P", "40.text_negative": "N"}


def test_a_detailer_by_its_own_pipe() -> None:
    graph = simple(
        n30=node("ToDetailerPipe", model=["4", 0], clip=["4", 1], vae=["4", 2], positive=["6", 0], negative=["7", 0], wildcard=""),
        n31=sampling(
            "FaceDetailerPipe",
            image=["8", 0],
            detailer_pipe=["30", 0],
            guide_size=512.0,
            max_size=1024.0,
            seed=5,
            cfg=8.0,
            denoise=0.4,
        ),
        n9=node("SaveImage", filename_prefix="x", images=["31", 0]),
    )
    assert changed(graph, positive="P", seed=7, cfg=3.0) == {"6.text": "P", "3.seed": 7, "31.seed": 7, "3.cfg": 3.0}


def test_an_upscaler_by_tiles_keeps_its_tiles() -> None:
    tiles = {"tile_width": 512, "tile_height": 512, "seam_fix_width": 64, "upscale_by": 2.0}
    upscaler = sampling(
        "UltimateSDUpscale",
        image=["8", 0],
        model=["4", 0],
        positive=["6", 0],
        negative=["7", 0],
        vae=["4", 2],
        seed=3,
        steps=12,
        denoise=0.2,
        **tiles,
    )
    graph = simple(n30=upscaler, n9=node("SaveImage", filename_prefix="x", images=["30", 0]))
    assert changed(graph, seed=7, steps=30, width=640, cfg=5.0) == {
        "3.seed": 7,
        "30.seed": 7,
        "3.steps": 30,
        "5.width": 640,
        "3.cfg": 5.0,
        "30.cfg": 5.0,
    }


def test_a_wildcard_encoder_with_its_lists() -> None:
    encoder = node(
        "ImpactWildcardEncode",
        wildcard_text="a",
        populated_text="a",
        mode="populate",
        model=["4", 0],
        clip=["4", 1],
        seed=7,
        **{"Select to add LoRA": "Select the LoRA to add to the text", "Select to add Wildcard": "Select the Wildcard to add to the text"},
    )
    graph = simple(n3=sampler(model=["40", 0], positive=["40", 2]), n40=encoder)
    assert changed(graph, positive="P") == {"40.wildcard_text": "P", "40.populated_text": "P"}
    (new,) = new_loaders(graph, lora=NEW)
    assert new["model"] == ["4", 0]


def test_a_map_that_is_saved_beside_the_picture_is_no_picture_of_the_batch() -> None:
    graph = simple(
        n30=node("LoadImage", image="pose.png"),
        n31=node("Some Preprocessor", image=["30", 0], resolution=512),
        n32=node("SaveImage", filename_prefix="map", images=["31", 0]),
    )
    classes = {"Some Preprocessor": declare("image:IMAGE resolution:INT", ["IMAGE"])}
    assert set(graph) - set(fill(graph, classes, seed=1).graph) == {"32"}


def test_an_adapter_on_the_model_and_a_picture_to_start_from() -> None:
    graph = simple(
        n3=sampler(model=["30", 0], latent_image=["33", 0]),
        n30=node("IPAdapterAdvanced", model=["4", 0], ipadapter=["31", 0], image=["32", 0], weight=0.8),
        n31=node("IPAdapterModelLoader", ipadapter_file="ip.bin"),
        n32=node("LoadImage", image="face.png"),
        n33=node("VAEEncode", pixels=["34", 0], vae=["4", 2]),
        n34=node("ImageScale", image=["32", 0], upscale_method="lanczos", width=512, height=768, crop="center"),
    )
    assert changed(graph, width=640, height=960, checkpoint="c") == {"34.width": 640, "34.height": 960, "4.ckpt_name": "c"}
    (new,) = new_loaders(graph, lora=NEW)
    assert new["model"] == ["4", 0]


def test_a_sampler_of_a_world_of_its_own_is_named_by_hand() -> None:
    graph = {
        "1": node("WanVideoModelLoader", model="wan.safetensors"),
        "2": node("WanVideoTextEncode", positive_prompt="good", negative_prompt="bad"),
        "3": node("WanVideoSampler", model=["1", 0], text_embeds=["2", 0], steps=30, cfg=6.0, seed=1, scheduler="unipc"),
        "4": node("WanVideoDecode", samples=["3", 0]),
        "5": node("SaveImage", filename_prefix="x", images=["4", 0]),
    }
    assert "name it with --ksampler-node-id" in refusal(graph, seed=1)
    by_hand = NodeOverrides(sampler_node="3", positive_node="2", negative_node="2")
    found = changed(graph, None, by_hand, positive="P", negative="N", seed=7, steps=20, cfg=5.0)
    assert found == {"2.positive_prompt": "P", "2.negative_prompt": "N", "3.seed": 7, "3.steps": 20, "3.cfg": 5.0}


def test_ids_of_subgraphs_in_subgraphs() -> None:
    plain = simple(n5=node("EmptyLatentImage", width=512, height=512, batch_size=1))

    def renamed(value: Any) -> Any:
        return [f"12:{value[0]}:1", value[1]] if isinstance(value, list) else value

    graph = {
        f"12:{key}:1": {**each, "inputs": {name: renamed(value) for name, value in each["inputs"].items()}} for key, each in plain.items()
    }
    assert changed(graph, positive="P", seed=7) == {"12:6:1.text": "P", "12:3:1.seed": 7}
    assert changed(graph, None, NodeOverrides(assignments=("12:3:1.denoise=0.5",)), seed=7) == {"12:3:1.seed": 7, "12:3:1.denoise": 0.5}
    (new,) = new_loaders(graph, lora=NEW)
    assert new["model"] == ["12:4:1", 0]
