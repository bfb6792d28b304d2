"""Kinds of graphs that people build, each in a few variants of our own: other classes, another order of inputs and outputs, no titles.

Classes that no stored signature knows are declared here in the shape of `/object_info`, or not at all where the walk must do without.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.tools.workflows.built_graphs import (
    CUSTOM_ADVANCED,
    FLUX,
    HIRES,
    changed,
    concatenated,
    declare,
    fill,
    node,
    refusal,
    sampler,
    sampling,
    simple,
)
from tools.workflows.graph import Graph
from tools.workflows.workflow import NodeOverrides

TEXTS = {"positive": "P", "negative": "N"}

# Positive and negative as outputs of other nodes


@pytest.mark.parametrize(
    ("declared", "positive", "negative"),
    [
        pytest.param(
            declare(
                "model:MODEL positive:CONDITIONING negative:CONDITIONING",
                ["MODEL", "CONDITIONING", "CONDITIONING"],
                ["model", "positive", "negative"],
            ),
            1,
            2,
            id="model first",
        ),
        pytest.param(
            declare(
                "model:MODEL positive:CONDITIONING negative:CONDITIONING",
                ["CONDITIONING", "CONDITIONING", "MODEL"],
                ["NEGATIVE", "POSITIVE", "MODEL"],
            ),
            1,
            0,
            id="the negative first, by name",
        ),
        pytest.param(
            declare("negative:CONDITIONING positive:CONDITIONING model:MODEL", ["CONDITIONING", "CONDITIONING"]),
            1,
            0,
            id="by place, without names",
        ),
        pytest.param(
            declare("neg:CONDITIONING pos:CONDITIONING", ["CONDITIONING", "CONDITIONING"], ["pos", "neg"]), 0, 1, id="short names"
        ),
        pytest.param(
            declare(
                "cond_positive:CONDITIONING cond_negative:CONDITIONING",
                ["CONDITIONING", "CONDITIONING"],
                ["CONDITIONING+", "CONDITIONING-"],
            ),
            0,
            1,
            id="plus and minus",
        ),
    ],
)
def test_a_node_between_that_gives_both(declared: dict[str, Any], positive: int, negative: int) -> None:
    names = {
        "positive": ["6", 0],
        "negative": ["7", 0],
        "pos": ["6", 0],
        "neg": ["7", 0],
        "cond_positive": ["6", 0],
        "cond_negative": ["7", 0],
    }
    inputs = {key: names[key] for key in declared["input"]["required"] if key in names}
    graph = simple(n3=sampler(positive=["50", positive], negative=["50", negative]), n50=node("Between", **inputs))
    assert changed(graph, {"Between": declared}, **TEXTS) == {"6.text": "P", "7.text": "N"}


def test_a_node_between_that_nobody_knows_is_followed_by_the_names_of_its_inputs() -> None:
    graph = simple(
        n3=sampler(model=["50", 0], positive=["50", 1], negative=["50", 2]),
        n50=node("Unheard Of", weight=0.5, negative=["7", 0], positive=["6", 0], model=["4", 0]),
    )
    assert changed(graph, **TEXTS, checkpoint="c") == {"6.text": "P", "7.text": "N", "4.ckpt_name": "c"}


def test_outputs_that_are_used_the_other_way_round_are_not_guessed() -> None:
    declared = declare("positive:CONDITIONING negative:CONDITIONING", ["CONDITIONING", "CONDITIONING"])
    graph = simple(n3=sampler(positive=["50", 1], negative=["50", 0]), n50=node("Between", positive=["6", 0], negative=["7", 0]))
    assert "name its node with --positive-node-id" in refusal(graph, {"Between": declared}, positive="P")
    assert changed(graph, {"Between": declared}, NodeOverrides(positive_node="7"), positive="P") == {"7.text": "P"}


LOADER_OUT = ["MODEL", "CONDITIONING", "CONDITIONING", "LATENT", "VAE", "CLIP"]


@pytest.mark.parametrize(
    ("declared", "texts", "found"),
    [
        pytest.param(
            declare("ckpt_name:COMBO positive:TEXT negative:TEXT width:INT height:INT batch_size:INT", LOADER_OUT),
            {"positive": "p", "negative": "n"},
            {"4.positive": "P", "4.negative": "N"},
            id="typed",
        ),
        pytest.param(
            declare(
                "ckpt_name:COMBO neg_prompt:TEXT prompt:TEXT width:INT height:INT batch_size:INT",
                LOADER_OUT,
                ["m", "positive", "negative", "l", "v", "c"],
            ),
            {"neg_prompt": "n", "prompt": "p"},
            {"4.prompt": "P", "4.neg_prompt": "N"},
            id="a plain prompt beside a negative one",
        ),
        pytest.param(
            declare("ckpt_name:COMBO positive:STRING negative:STRING width:INT height:INT batch_size:INT", LOADER_OUT),
            {"positive": ["40", 0], "negative": ["41", 0]},
            {"40.value": "P", "41.string": "N"},
            id="linked",
        ),
    ],
)
def test_a_loader_that_holds_texts_size_and_batch(declared: dict[str, Any], texts: dict[str, Any], found: dict[str, Any]) -> None:
    graph: Graph = {
        "3": sampler(model=["4", 0], positive=["4", 1], negative=["4", 2], latent_image=["4", 3]),
        "4": node("Whole Loader", ckpt_name="a", width=512, height=512, batch_size=3, **texts),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 4]),
        "9": node("SaveImage", filename_prefix="x", images=["8", 0]),
        "40": node("PrimitiveStringMultiline", value="p"),
        "41": node("String Literal", string="n"),
    }
    classes = {"Whole Loader": declared, "String Literal": declare("string:TEXT", ["STRING"])}
    placed = changed(graph, classes, **TEXTS, width=640, height=768)
    assert placed == {**found, "4.width": 640, "4.height": 768, "4.batch_size": 1}


# Displays, reroutes and values in nodes of their own


@pytest.mark.parametrize(
    "class_type", ["easy showAnything", "Display Any (rgthree)", "PreviewAny", "ShowText|pysssss", "Nobody Knows This Display"]
)
def test_what_a_display_remembers_is_never_written(class_type: str) -> None:
    key = {"easy showAnything": "anything", "Display Any (rgthree)": "source", "PreviewAny": "source"}.get(class_type, "text")
    declared = {"Display Any (rgthree)": declare("source:*", ["*"])}
    shown = node(class_type, **{key: ["41", 0]})
    if class_type != "PreviewAny":
        shown["inputs"] |= {"text_0": "old words"} if key == "text" else {"text": "old words"}
    graph = simple(n6=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]), n40=shown, n41=node("PrimitiveString", value="good"))
    if class_type == "Nobody Knows This Display":
        assert "--positive-node-id" in refusal(graph, declared, positive="P")
    else:
        assert changed(graph, declared, positive="P") == {"41.value": "P"}


def test_two_displays_and_a_reroute_in_a_row() -> None:
    graph = simple(
        n3=sampler(sampler_name=["40", 0], steps=["42", 0]),
        n40=node("easy showAnything", anything=["41", 0], text="euler"),
        n41=node("Reroute", **{"": ["43", 3]}),
        n42=node("easy showAnything", anything=["43", 1], text="20"),
        n43=node("Input Parameters (Image Saver)", seed=1, steps=20, cfg=7.0, sampler="euler", scheduler="normal", denoise=1.0),
    )
    assert changed(graph, sampler="heun", steps=30) == {"43.sampler": "heun", "43.steps": 30}


def test_a_display_on_the_way_of_model_and_conditioning() -> None:
    graph = simple(
        n3=sampler(model=["40", 0], positive=["41", 0]),
        n40=node("Any Pipe", anything=["4", 0]),
        n41=node("Any Pipe", anything=["6", 0]),
    )
    assert changed(graph, {"Any Pipe": declare("anything:*", ["*"])}, positive="P", checkpoint="c") == {"6.text": "P", "4.ckpt_name": "c"}


def test_one_number_for_two_things_is_parted() -> None:
    graph = simple(n5=node("EmptyLatentImage", width=["43", 0], height=["43", 0], batch_size=1), n43=node("PrimitiveInt", value=512))
    assert changed(graph, width=832, height=1216) == {"5.width": 832, "5.height": 1216}
    assert changed(graph, width=832) == {"5.width": 832}


def test_one_seed_for_everything_stays_one() -> None:
    graph = simple(
        n3=sampler(seed=["43", 0]),
        n43=node("PrimitiveInt", value=5),
        n44=node(
            "ImpactWildcardEncode", wildcard_text="a", populated_text="a", mode="fixed", model=["4", 0], clip=["4", 1], seed=["43", 0]
        ),
    )
    graph["3"]["inputs"]["positive"] = ["44", 2]
    assert changed(graph, seed=7, positive="P") == {"43.value": 7, "44.wildcard_text": "P", "44.populated_text": "P"}


def test_a_computed_number_is_written_over_at_the_sampler() -> None:
    graph = simple(n3=sampler(steps=["13", 0]), n13=node("MathExpression", a=4, b=5, expression="a*b"))
    assert changed(graph, steps=30) == {"3.steps": 30}
    assert "no longer from node 13 (MathExpression)" in fill(graph, steps=30).lines()[0]


# Switches


def switch(selector: Any, false: Any, true: Any) -> dict[str, Any]:
    return node("ComfySwitchNode", switch=selector, on_false=false, on_true=true)


@pytest.mark.parametrize(("state", "encoder"), [(False, "6"), (True, "30")])
def test_a_switch_of_conditioning(state: bool, encoder: str) -> None:
    graph = simple(
        n3=sampler(positive=["31", 0]),
        n30=node("CLIPTextEncode", text="other", clip=["4", 1]),
        n31=switch(["32", 0], ["6", 0], ["30", 0]),
        n32=node("PrimitiveBoolean", value=state),
    )
    assert changed(graph, positive="P") == {f"{encoder}.text": "P"}


def test_switches_in_switches_and_a_literal_in_a_branch() -> None:
    graph = simple(
        n6=node("CLIPTextEncode", text=["31", 0], clip=["4", 1]),
        n31=switch(["32", 0], "off", ["33", 0]),
        n32=switch(True, False, ["34", 0]),
        n33=switch(False, "here", "there"),
        n34=node("PrimitiveBoolean", value=True),
    )
    assert changed(graph, positive="P") == {"33.on_false": "P"}


def test_a_switch_by_number_and_the_first_that_is_there() -> None:
    numbered = node("CR Conditioning Input Switch", Input=2, conditioning1=["30", 0], conditioning2=["6", 0])
    graph = simple(n3=sampler(positive=["31", 0]), n30=node("CLIPTextEncode", text="other", clip=["4", 1]), n31=numbered)
    assert changed(graph, positive="P") == {"6.text": "P"}
    graph["31"] = node("Any Switch (rgthree)", any_03=["30", 0], any_02=["6", 0])  # 01 was muted
    assert changed(graph, positive="P") == {"6.text": "P"}


def test_a_switch_that_a_computation_decides_is_not_guessed() -> None:
    graph = simple(
        n3=sampler(positive=["31", 0]),
        n30=node("CLIPTextEncode", text="other", clip=["4", 1]),
        n31=switch(["32", 0], ["6", 0], ["30", 0]),
        n32=node("ComfyMathExpression", **{"expression": "a > 1", "values.a": 3}),
    )
    assert "choose with --positive-node-id" in refusal(graph, positive="P")


# Pipes


def test_basic_pipe_carries_everything_by_name() -> None:
    graph = simple(
        n3=sampler(model=["51", 0], positive=["51", 3], negative=["51", 4]),
        n50=node("ToBasicPipe", model=["4", 0], clip=["4", 1], vae=["4", 2], positive=["6", 0], negative=["7", 0]),
        n51=node("FromBasicPipe", basic_pipe=["50", 0]),
    )
    assert changed(graph, **TEXTS, checkpoint="c") == {"6.text": "P", "7.text": "N", "4.ckpt_name": "c"}


def test_contexts_in_a_row_the_later_wins() -> None:
    context = "Context (rgthree)"
    graph = simple(
        n3=sampler(model=["52", 1], positive=["52", 4], negative=["52", 5], latent_image=["52", 6], seed=["52", 8]),
        n50=node(context, model=["4", 0], clip=["4", 1], positive=["30", 0], negative=["7", 0], latent=["5", 0], seed=["53", 0]),
        n51=node(context, base_ctx=["50", 0], positive=["6", 0]),
        n52=node(context, base_ctx=["51", 0]),
        n30=node("CLIPTextEncode", text="replaced later", clip=["4", 1]),
        n53=node("Seed (rgthree)", seed=4),
    )
    wanted = {"6.text": "P", "7.text": "N", "53.seed": 7, "5.width": 640, "4.ckpt_name": "c"}
    assert changed(graph, **TEXTS, seed=7, width=640, checkpoint="c") == wanted


# Texts that are put together


def test_the_part_that_is_called_prompt_varies() -> None:
    assert changed(concatenated("Trigger word", "My words"), positive="P") == {"42.value": "P"}
    assert changed(concatenated("Prompt", "Camera"), positive="P") == {"41.value": "P"}
    assert changed(concatenated("System prompt", "User prompt"), positive="P") == {"42.value": "P"}


def test_a_long_description_beside_the_prompt_is_not_left_behind_in_silence() -> None:
    graph = concatenated("Caption", "User prompt")
    graph["41"]["inputs"]["value"] = "An extremely detailed illustration of a young girl " * 8
    told = refusal(graph, positive="P")
    assert "value of node 41" in told and "value of node 42" in told and "--positive-node-id" in told


def test_parts_that_nothing_tells_apart_are_refused_with_the_flags_that_choose() -> None:
    told = refusal(concatenated("A", "B"), positive="P")
    assert "choose with --positive-node-id 42 --positive-key value" in told
    assert changed(concatenated("A", "B"), None, NodeOverrides(positive_node="42"), positive="P") == {"42.value": "P"}
    assert changed(concatenated("A", "B"), None, NodeOverrides(positive_node="40", positive_key="string_a"), positive="P") == {
        "41.value": "P"
    }
    assert changed(concatenated("A", "B"), None, NodeOverrides(positive_node="6", positive_key="text"), positive="P") == {"6.text": "P"}


def test_a_text_read_from_a_picture_is_no_prompt() -> None:
    graph = simple(
        n6=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]),
        n40=node("Caption", image=["41", 0], instruction="describe"),
        n41=node("LoadImage", image="a.png"),
    )
    classes = {"Caption": declare("image:IMAGE instruction:TEXT", ["STRING"])}
    assert "--positive-node-id 6 --positive-key text" in refusal(graph, classes, positive="P")
    assert changed(graph, classes, NodeOverrides(positive_node="6", positive_key="text"), positive="P") == {"6.text": "P"}


def test_a_prompt_that_a_language_model_writes_anew_is_told() -> None:
    graph = simple(
        n6=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]),
        n40=node("TextGenerate", clip=["4", 1], prompt=["41", 0], system_prompt="You are", max_length=100),
        n41=node("PrimitiveStringMultiline", value="a cat"),
    )
    assert changed(graph, positive="P") == {"41.value": "P"}
    assert "node 40 (TextGenerate) writes it anew" in fill(graph, positive="P").lines()[0]


# Several passes


def test_high_resolution_through_pixels_is_scaled_alike() -> None:
    graph = simple(
        n20=node("ImageUpscaleWithModel", upscale_model=["25", 0], image=["8", 0]),
        n21=node("ImageScale", image=["20", 0], upscale_method="lanczos", width=1024, height=768, crop="disabled"),
        n22=node("VAEEncode", pixels=["21", 0], vae=["4", 2]),
        n23=sampler(denoise=0.4, steps=8, latent_image=["22", 0]),
        n24=node("VAEDecode", samples=["23", 0], vae=["4", 2]),
        n25=node("UpscaleModelLoader", model_name="x4.pth"),
        n26=node("SaveImage", filename_prefix="last", images=["24", 0]),
    )
    placed = fill(graph, width=768, steps=30, seed=7)
    assert changed(graph, width=768) == {"5.width": 768, "21.width": 1536}  # 1024 of 512
    assert changed(graph, seed=7, steps=30) == {"3.seed": 7, "23.seed": 7, "3.steps": 30}
    assert "9" not in placed.graph, "the draft is no picture of the batch"
    assert placed.lines()[-1] == "pictures: those of node 26 (SaveImage); taken out: node 9 (SaveImage)"


def test_the_picture_that_counts_is_chosen_by_flag() -> None:
    graph = HIRES | {
        "30": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "31": node("SaveImage", filename_prefix="d", images=["30", 0]),
    }
    assert set(graph) - set(fill(graph, seed=1).graph) == {"31"}
    assert set(graph) - set(fill(graph, None, NodeOverrides(output_node="31"), seed=1).graph) == {"9"}


def test_two_pictures_of_equal_rank_must_be_chosen_between() -> None:
    second = {"30": sampler(seed=3), "31": node("VAEDecode", samples=["30", 0], vae=["4", 2])}
    graph = simple() | second | {"32": node("SaveImage", filename_prefix="b", images=["31", 0])}
    assert "choose one with --output-node-id" in refusal(graph, seed=1)
    assert changed(graph, None, NodeOverrides(output_node="32"), seed=7) == {"30.seed": 7}


def test_one_picture_that_is_saved_twice_is_saved_once() -> None:
    placed = fill(simple() | {"30": node("SaveImage", filename_prefix="again", images=["8", 0])}, seed=1)
    assert "30" not in placed.graph
    assert "9" in placed.graph


def test_a_sampler_of_the_picture_of_a_pose_is_no_pass() -> None:
    """What is sampled for a control net conditions the picture; it is not what the picture is made of."""
    graph = simple(
        n3=sampler(positive=["30", 0], negative=["30", 1]),
        n30=node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["31", 0], image=["33", 0], strength=1.0),
        n31=node("ControlNetLoader", control_net_name="depth.safetensors"),
        n32=sampler(seed=3, steps=4, positive=["34", 0], latent_image=["35", 0]),
        n33=node("VAEDecode", samples=["32", 0], vae=["4", 2]),
        n34=node("CLIPTextEncode", text="a sketch of a pose", clip=["4", 1]),
        n35=node("EmptyLatentImage", width=256, height=256, batch_size=1),
    )
    assert changed(graph, positive="P", steps=30, width=640) == {"6.text": "P", "3.steps": 30, "5.width": 640}


def test_sigmas_that_are_split_are_split_in_proportion() -> None:
    graph = CUSTOM_ADVANCED | {
        "24": node("SplitSigmas", sigmas=["23", 0], step=5),
        "25": node("SamplerCustomAdvanced", noise=["26", 0], guider=["21", 0], sampler=["22", 0], sigmas=["24", 1], latent_image=["3", 0]),
        "26": node("DisableNoise"),
        "8": node("VAEDecode", samples=["25", 0], vae=["4", 2]),
    }
    graph["3"] = node("SamplerCustomAdvanced", **{**graph["3"]["inputs"], "sigmas": ["24", 0]})
    assert changed(graph, steps=40, seed=7) == {"23.steps": 40, "24.step": 10, "20.noise_seed": 7}  # 5 of 20


def test_a_detailer_with_words_of_its_own_is_not_overwritten() -> None:
    graph = simple(
        n30=node("CLIPTextEncode", text="detailed eyes", clip=["4", 1]),
        n31=sampling(
            "FaceDetailer",
            image=["8", 0],
            model=["4", 0],
            clip=["4", 1],
            vae=["4", 2],
            positive=["30", 0],
            negative=["7", 0],
            seed=5,
            cfg=8.0,
            denoise=0.5,
        ),
        n9=node("SaveImage", filename_prefix="x", images=["31", 0]),
    )
    assert "--positive-node-id" in refusal(graph, positive="P")
    assert changed(graph, None, NodeOverrides(positive_node="6"), positive="P") == {"6.text": "P"}


# Guidance


def test_guidance_from_a_number_of_its_own() -> None:
    graph = FLUX | {"26": node("FluxGuidance", guidance=["40", 0], conditioning=["6", 0]), "40": node("PrimitiveFloat", value=3.5)}
    assert changed(graph, guidance=2.0) == {"40.value": 2.0}
    assert "give --guidance" in refusal(graph, cfg=4.0)


def test_guidance_beside_a_real_cfg() -> None:
    graph = simple(n3=sampler(positive=["26", 0], cfg=4.0), n26=node("FluxGuidance", guidance=3.5, conditioning=["6", 0]))
    assert changed(graph, guidance=2.0, cfg=6.0) == {"26.guidance": 2.0, "3.cfg": 6.0}


def test_no_guidance_is_refused_with_the_flag_that_is_meant() -> None:
    assert "give --cfg" in refusal(simple(), guidance=3.0)


# Sizes and batches


def test_a_size_that_a_list_decides_is_freed_at_the_latent() -> None:
    ratio = node("ResolutionSelector", aspect_ratio="1:1 (Square)", megapixels=1.0, multiple=8)
    graph = simple(n5=node("EmptyLatentImage", width=["40", 0], height=["40", 1], batch_size=1), n40=ratio)
    assert changed(graph, width=832, height=1216) == {"5.width": 832, "5.height": 1216}


def test_sides_that_a_list_overrules_are_refused() -> None:
    graph = simple(n5=node("CR Aspect Ratio", width=512, height=512, aspect_ratio="SDXL - 1:1", swap_dimensions="Off", batch_size=1))
    graph["3"]["inputs"]["latent_image"] = ["5", 5]
    assert "--set 5.aspect_ratio=" in refusal(graph, width=640)
    overrides = NodeOverrides(assignments=("5.aspect_ratio=custom",))
    assert changed(graph, None, overrides, steps=30) == {"5.aspect_ratio": "custom", "3.steps": 30}


@pytest.mark.parametrize(
    "repeat", [node("RepeatLatentBatch", samples=["5", 0], amount=4), node("RepeatLatentBatch", samples=["5", 0], amount=["41", 0])]
)
def test_one_picture_a_prompt(repeat: dict[str, Any]) -> None:
    graph = simple(n3=sampler(latent_image=["40", 0]), n40=repeat, n41=node("PrimitiveInt", value=4))
    assert changed(graph, seed=7) == {"3.seed": 7, "40.amount": 1}


def test_two_latents_in_one_list_are_two_pictures() -> None:
    graph = simple(
        n3=sampler(latent_image=["40", 0]),
        n40=node("LatentBatch", samples1=["5", 0], samples2=["41", 0]),
        n41=node("EmptyLatentImage", width=512, height=512, batch_size=1),
    )
    assert "puts several pictures of one prompt together: choose one that comes before it, such as --output-node-id" in refusal(
        graph, seed=7
    )


@pytest.mark.parametrize(
    ("class_type", "keys"),
    [
        ("CLIPTextEncodeHiDream", ("clip_l", "clip_g", "t5xxl", "llama")),
        ("CLIPTextEncodeHunyuanDiT", ("bert", "mt5xl")),
        ("CLIPTextEncodeKandinsky5", ("clip_l", "qwen25_7b")),
        ("CLIPTextEncodeFlux", ("clip_l", "t5xxl")),
        ("CLIPTextEncodeLumina2", ("user_prompt",)),
        ("TextEncodeQwenImageEdit", ("prompt",)),
    ],
)
def test_encoders_with_texts_for_several_models(class_type: str, keys: tuple[str, ...]) -> None:
    graph = simple(n6=node(class_type, clip=["4", 1], **dict.fromkeys(keys, "good")))
    assert changed(graph, positive="P") == {f"6.{key}": "P" for key in keys}


def test_an_encoder_with_texts_that_nothing_tells_apart() -> None:
    graph = simple(n6=node("TextEncodeAceStepAudio", clip=["4", 1], tags="a", lyrics="b", lyrics_strength=1.0))
    assert "--positive-node-id 6 and --positive-key" in refusal(graph, positive="P")
    assert changed(graph, None, NodeOverrides(positive_key="tags"), positive="P") == {"6.tags": "P"}


# Passes that are joined by conditioning, zeroed texts, choices of unknown classes


def cascade() -> Graph:
    """Stage C (3) is handed to stage B (30) as a part of its conditioning, as Stable Cascade does."""
    return simple(
        n30=node(
            *("KSampler",),
            model=["31", 0],
            positive=["32", 0],
            negative=["33", 0],
            latent_image=["34", 0],
            seed=1,
            steps=10,
            cfg=1.1,
            sampler_name="euler",
            scheduler="simple",
            denoise=1.0,
        ),
        n31=node("UNETLoader", unet_name="stage_b.safetensors", weight_dtype="default"),
        n32=node("StableCascade_StageB_Conditioning", conditioning=["33", 0], stage_c=["3", 0]),
        n33=node("ConditioningZeroOut", conditioning=["6", 0]),
        n34=node("EmptyLatentImage", width=256, height=256, batch_size=1),
        n8=node("VAEDecode", samples=["30", 0], vae=["4", 2]),
    )


def test_a_latent_in_the_conditioning_makes_its_sampler_the_first_pass() -> None:
    assert changed(cascade(), positive="P", steps=33, cfg=3.5) == {"6.text": "P", "3.steps": 33, "3.cfg": 3.5}


def test_a_negative_that_only_a_later_pass_has_is_refused_by_name() -> None:
    graph = cascade()
    graph["3"]["inputs"]["negative"] = ["33", 0]
    graph["30"]["inputs"]["negative"] = ["7", 0]
    told = refusal(graph, negative="N")
    assert "node 33 (ConditioningZeroOut) leaves nothing of it in the first pass" in told
    assert "--negative-node-id 7" in told


def test_a_text_never_lands_in_a_choice_of_an_unknown_class() -> None:
    graph = simple(
        n6=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]),
        n40=node("Somebody's Prompt Writer", device="auto", prompt_text=["41", 0], max_tokens=512),
        n41=node("PrimitiveString", value=""),
    )
    told = refusal(graph, positive="P")
    assert "--positive-node-id 6 --positive-key text" in told


def test_both_texts_in_a_node_that_nobody_knows_go_by_their_names() -> None:
    graph = simple(
        n6=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]),
        n7=node("CLIPTextEncode", text=["40", 1], clip=["4", 1]),
        n40=node("Somebody's Styler", text_positive="old", text_negative="older", style="base"),
    )
    assert changed(graph, **TEXTS) == {"40.text_positive": "P", "40.text_negative": "N"}


def test_an_encoder_whose_text_model_nobody_can_type_is_an_encoder() -> None:
    graph = simple(
        n6=node("Somebody's Encode", text="old", language_model=["40", 0]),
        n7=node("Somebody's Encode", text="", language_model=["40", 0]),
        n40=node("Somebody's Loader", checkpoint="a.safetensors"),
    )
    assert changed(graph, **TEXTS) == {"6.text": "P", "7.text": "N"}


def test_a_depth_model_before_the_first_pass_is_no_pass() -> None:
    """Its sampler makes a picture that the first pass begins with, but no words lead to it."""
    graph = simple(
        n3=sampler(latent_image=["39", 0]),
        n30=node("SamplerCustomAdvanced", noise=["31", 0], guider=["32", 0], sampler=["33", 0], sigmas=["34", 0], latent_image=["35", 0]),
        n31=node("DisableNoise"),
        n32=node("BasicGuider", model=["36", 0], conditioning=["37", 0]),
        n33=node("KSamplerSelect", sampler_name="euler"),
        n34=node("BasicScheduler", model=["36", 0], scheduler="normal", steps=1, denoise=1.0),
        n35=node("EmptyLatentImage", width=512, height=512, batch_size=1),
        n36=node("UNETLoader", unet_name="depth.safetensors", weight_dtype="default"),
        n37=node("LotusConditioning"),
        n38=node("VAEDecode", samples=["30", 0], vae=["4", 2]),
        n39=node("VAEEncode", pixels=["38", 0], vae=["4", 2]),
    )
    wanted = {"3.seed": 7, "3.steps": 30, "3.sampler_name": "heun", "6.text": "P", "4.ckpt_name": "c", "35.width": 640}
    assert changed(graph, seed=7, steps=30, sampler="heun", positive="P", checkpoint="c", width=640) == wanted


def test_texts_that_are_doubled_again_and_again_take_no_time() -> None:
    nodes = {
        str(at): node("StringConcatenate", string_a=[str(at - 1), 0], string_b=[str(at - 1), 0], delimiter="") for at in range(1001, 1060)
    }
    graph = simple(n6=node("CLIPTextEncode", text=["1059", 0], clip=["4", 1])) | nodes
    graph["1000"] = node("StringConcatenate", string_a="a", string_b="b", delimiter="")
    assert "choose with --positive-node-id 1000" in refusal(graph, positive="P")


def test_switches_that_switch_switches_take_no_time() -> None:
    nodes = {str(at): switch([str(at - 1), 0], [str(at - 1), 0], [str(at - 1), 0]) for at in range(1001, 1040)}
    graph = simple(n3=sampler(positive=["50", 0]), n50=switch(["1039", 0], ["7", 0], ["6", 0])) | nodes
    graph["1000"] = node("PrimitiveBoolean", value=True)
    assert changed(graph, positive="P") == {"6.text": "P"}


def test_one_text_node_for_both_roles_is_parted_at_the_encoders() -> None:
    graph = simple(
        n6=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]),
        n7=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]),
        n40=node("PrimitiveString", value="words"),
    )
    assert changed(graph, positive="P") == {"6.text": "P"}, "the prompt never lands in the negative"
    assert changed(graph, positive="P", negative="N") == {"6.text": "P", "7.text": "N"}


def test_drafts_that_are_saved_one_behind_the_other_are_all_taken_out() -> None:
    """ComfyUI's SaveImage passes its picture on since 0.33."""
    graph = simple(
        n91=node("SaveImage", images=["90", 0], filename_prefix="draft b"),
        n90=node("SaveImage", images=["8", 0], filename_prefix="draft a"),
        n20=node("VAEEncode", pixels=["8", 0], vae=["4", 2]),
        n21=node("KSampler", **{**simple()["3"]["inputs"], "latent_image": ["20", 0], "denoise": 0.5}),
        n22=node("VAEDecode", samples=["21", 0], vae=["4", 2]),
        n9=node("SaveImage", images=["22", 0], filename_prefix="final"),
    )
    placed = fill(graph, positive="P").graph
    assert "90" not in placed and "91" not in placed
    assert placed["9"]["inputs"]["images"] == ["22", 0]
