"""The embedded server runs graphs as people build them: what its history tells of each picture is what reached the sampler."""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from tests.allowed_skips import NO_CASES
from tests.tools.stand_in.embedded_graphs import (
    CHECKPOINT,
    LORA,
    MODELS,
    STYLE,
    TURBO,
    Graph,
    base_graph,
    changed,
    connect,
    get,
    models_of,
    passes,
    post,
    queue,
    read_until_idle,
    run,
    wait_for,
)
from tests.tools.workflows.built_graphs import node
from tools.stand_in import start_embedded_server
from tools.stand_in.node_class import read_spec, types_match
from tools.stand_in.node_classes import NODE_CLASSES
from tools.stand_in.server import EmbeddedServer


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with start_embedded_server(models=MODELS) as started:
        yield started


def loras(scene: dict[str, Any], key: str = "loras") -> list[tuple[str, float]]:
    return [(use["file"], use["strength"]) for use in scene[key]]


# What reaches the sampler


def test_history_and_picture_tell_what_reached_the_sampler(server: EmbeddedServer) -> None:
    entry = run(server, base_graph())
    (told,) = entry["meta"]["saver"]["sampled"][0]
    expected = {
        "positive": "wanted", "negative": "unwanted", "seed": 11, "steps": 3, "cfg": 4.0, "sampler": "euler", "scheduler": "normal",
        "width": 64, "height": 64, "denoise": 1.0, "model": CHECKPOINT, "loras": [], "clip_loras": [], "guidance": None,
    }  # fmt: skip
    assert {key: told[key] for key in expected} == expected
    picture = entry["outputs"]["saver"]["images"][0]
    with Image.open(io.BytesIO(get(server, "/view", **picture).content)) as image:
        assert json.loads(image.info["sampled"]) == [told]


def with_loras(*, clip: bool) -> Graph:
    if clip:
        lora = node("LoraLoader", lora_name=LORA, strength_model=0.7, strength_clip=0.6, model=["loader", 0], clip=["loader", 1])
        return changed(changed(base_graph(lora=lora), "sampler", model=["lora", 0]), "positive", clip=["lora", 1])
    lora = node("LoraLoaderModelOnly", lora_name=LORA, strength_model=0.7, model=["loader", 0])
    return changed(base_graph(lora=lora), "sampler", model=["lora", 0])


def test_lora_that_misses_the_text_encoder_shows(server: EmbeddedServer) -> None:
    (only_model,) = passes(server, with_loras(clip=False))
    (both,) = passes(server, with_loras(clip=True))
    assert (loras(only_model), loras(only_model, "clip_loras")) == ([(LORA, 0.7)], [])
    assert (loras(both), loras(both, "clip_loras")) == ([(LORA, 0.7)], [(LORA, 0.6)])


def power_rows(**rows: Any) -> Graph:
    loader = node("Power Lora Loader (rgthree)", model=["loader", 0], clip=["loader", 1], **rows)
    return changed(changed(base_graph(rows=loader), "sampler", model=["rows", 0]), "positive", clip=["rows", 1])


def test_rows_that_stand_in_no_signature_are_read(server: EmbeddedServer) -> None:
    rows = {
        "PowerLoraLoaderHeaderWidget": {"type": "PowerLoraLoaderHeaderWidget"},
        "lora_1": {"on": True, "lora": STYLE, "strength": 0.5},
        "lora_2": {"on": False, "lora": TURBO, "strength": 1},
        "lora_3": {"on": True, "lora": LORA, "strength": 0.9, "strengthTwo": 0.4},
        "➕ Add Lora": "",
    }
    (told,) = passes(server, power_rows(**rows))
    assert loras(told) == [(STYLE, 0.5), (LORA, 0.9)]
    assert loras(told, "clip_loras") == [(STYLE, 0.5), (LORA, 0.4)]


def test_stack_of_loras_is_applied_in_order(server: EmbeddedServer) -> None:
    below = node("CR LoRA Stack", switch_1="On", lora_name_1=STYLE, model_weight_1=0.3, clip_weight_1=0.2)
    above = node(
        "CR LoRA Stack", switch_1="Off", lora_name_1=TURBO, model_weight_1=1.0, clip_weight_1=1.0, lora_stack=["below", 0], switch_2="On",
        lora_name_2=LORA, model_weight_2=0.8, clip_weight_2=0.7,
    )  # fmt: skip
    apply = node("CR Apply LoRA Stack", model=["loader", 0], clip=["loader", 1], lora_stack=["above", 0])
    graph = changed(base_graph(below=below, above=above, apply=apply), "sampler", model=["apply", 0])
    (told,) = passes(server, graph)
    assert (loras(told), loras(told, "clip_loras")) == ([(STYLE, 0.3), (LORA, 0.8)], [])


@pytest.mark.parametrize(("mode", "text", "file"), [("populate", "first", LORA), ("fixed", "second", STYLE)])
def test_wildcard_node_takes_the_text_of_its_mode(server: EmbeddedServer, mode: str, text: str, file: str) -> None:
    encode = node(
        "ImpactWildcardEncode", model=["loader", 0], clip=["loader", 1], mode=mode, seed=1, wildcard_text="first <lora:person:0.7>",
        populated_text="second <lora:style:0.2:0.1>",
    )  # fmt: skip
    graph = changed(base_graph(encode=encode), "sampler", model=["encode", 0], positive=["encode", 2])
    (told,) = passes(server, graph)
    assert (told["positive"], loras(told)[0][0]) == (text, file)


@pytest.mark.parametrize("is_on", [False, True])
def test_switch_runs_only_the_branch_that_it_selects(server: EmbeddedServer, is_on: bool) -> None:
    """The other branch names a LoRA that cannot be loaded: a real server never tries."""
    broken = node("LoraLoaderModelOnly", lora_name=TURBO, strength_model=1.0, model=["loader", 0])
    good = node("LoraLoaderModelOnly", lora_name=LORA, strength_model=0.8, model=["loader", 0])
    on, off = ("good", "broken") if is_on else ("broken", "good")
    switch = node("ComfySwitchNode", switch=["flag", 0], on_false=[off, 0], on_true=[on, 0])
    steps = node("ComfySwitchNode", switch=["flag", 0], on_false=["few", 0], on_true=["many", 0])
    extra = {"flag": node("PrimitiveBoolean", value=is_on), "few": node("PrimitiveInt", value=2), "many": node("PrimitiveInt", value=5)}
    graph = base_graph(broken=broken, good=good, switch=switch, steps=steps, **extra)
    changed(graph, "sampler", model=["switch", 0], steps=["steps", 0])
    server.faults.broken_models = frozenset({TURBO})
    try:
        (told,) = passes(server, graph)
    finally:
        server.faults.broken_models = frozenset()
    assert (loras(told), told["steps"]) == ([(LORA, 0.8)], 5 if is_on else 2)


def test_display_node_hands_on_what_is_linked_not_what_it_showed(server: EmbeddedServer) -> None:
    show = node("easy showAnything", text="what it showed last", anything=["words", 0])
    preview = node("PreviewAny", source=["show", 0])
    graph = base_graph(words=node("PrimitiveStringMultiline", value="asked for"), show=show, preview=preview)
    entry = run(server, changed(graph, "positive", text=["preview", 0]))
    assert entry["meta"]["saver"]["sampled"][0][0]["positive"] == "asked for"
    assert entry["outputs"]["show"] == entry["outputs"]["preview"] == {"text": ["asked for"]}


def test_choices_can_come_out_of_a_node(server: EmbeddedServer) -> None:
    values = {"seed": 3, "steps": 6, "cfg": 2.5, "sampler": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0}
    graph = base_graph(values=node("Input Parameters (Image Saver)", **values), show=node("easy showAnything", anything=["values", 3]))
    names = ("seed", "steps", "cfg", "scheduler", "denoise")
    links = {name: ["values", {"scheduler": 4, "denoise": 5}.get(name, index)] for index, name in enumerate(names)}
    (told,) = passes(server, changed(graph, "sampler", **links, sampler_name=["show", 0]))
    assert {key: told[key] for key in values} == values


def test_texts_are_joined_replaced_and_concatenated(server: EmbeddedServer) -> None:
    graph = base_graph(
        joined=node("StringConcatenate", string_a="a {colour} rose", string_b=["count", 0], delimiter=", "),
        count=node("PreviewAny", source=1024),
        replaced=node("StringReplace", string=["joined", 0], find="{colour}", replace="red"),
        more=node("CLIPTextEncode", text="film grain", clip=["loader", 1]),
        both=node("ConditioningConcat", conditioning_to=["positive", 0], conditioning_from=["more", 0]),
    )
    changed(changed(graph, "positive", text=["replaced", 0]), "sampler", positive=["both", 0])
    assert passes(server, graph)[0]["positive"] == "a red rose, 1024, film grain"


def test_named_outputs_keep_positive_and_negative_apart(server: EmbeddedServer) -> None:
    apply = node("ApplyInstantID", model=["loader", 0], positive=["positive", 0], negative=["negative", 0], weight=0.8)
    graph = changed(base_graph(apply=apply), "sampler", model=["apply", 0], positive=["apply", 1], negative=["apply", 2])
    (told,) = passes(server, graph)
    assert (told["positive"], told["negative"], told["patches"]) == ("wanted", "unwanted", ["ApplyInstantID"])


def flux_graph(scheduler: dict[str, Any]) -> Graph:
    graph = base_graph(
        guidance=node("FluxGuidance", conditioning=["positive", 0], guidance=3.5),
        noise=node("RandomNoise", noise_seed=12),
        guider=node("BasicGuider", model=["patched", 0], conditioning=["guidance", 0]),
        patched=node("ModelSamplingFlux", model=["loader", 0], max_shift=1.15, base_shift=0.5, width=64, height=64),
        kind=node("KSamplerSelect", sampler_name="heun"),
        sigmas=scheduler,
    )
    wires = {"noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["kind", 0], "sigmas": ["sigmas", 0]}
    graph["sampler"] = node("SamplerCustomAdvanced", latent_image=["latent", 0], **wires)
    return graph


@pytest.mark.parametrize(
    ("scheduler", "size", "kind"),
    [
        pytest.param(node("Flux2Scheduler", steps=4, width=640, height=480), [640, 480], "Flux2", id="a schedule with sizes"),
        pytest.param(node("BasicScheduler", model=["loader", 0], scheduler="beta", steps=4, denoise=1.0), None, "beta", id="plain"),
    ],
)
def test_custom_sampling(server: EmbeddedServer, scheduler: dict[str, Any], size: list[int] | None, kind: str) -> None:
    (told,) = passes(server, flux_graph(scheduler))
    expected = {"positive": "wanted", "guidance": 3.5, "seed": 12, "steps": 4, "sampler": "heun", "scheduler": kind, "schedule_size": size}
    assert {key: told[key] for key in expected} == expected
    assert told["patches"] == ["ModelSamplingFlux"]


def handed_over(step: int, seed: int = 11) -> Graph:
    """Two samplers of 10 steps; the second goes on at `step`, with another model and text."""
    common = {"steps": 10, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "negative": ["negative", 0]}
    graph = base_graph(
        step=node("PrimitiveInt", value=step),
        refiner=node("UNETLoader", unet_name="unet.safetensors", weight_dtype="default"),
        other=node("CLIPTextEncode", text="refined", clip=["loader", 1]),
    )
    graph["sampler"] = node(
        "KSamplerAdvanced", model=["loader", 0], positive=["positive", 0], latent_image=["latent", 0], add_noise="enable", noise_seed=seed,
        start_at_step=0, end_at_step=["step", 0], return_with_leftover_noise="enable", **common,
    )  # fmt: skip
    graph["second"] = node(
        "KSamplerAdvanced", model=["refiner", 0], positive=["other", 0], latent_image=["sampler", 0], add_noise="disable", noise_seed=0,
        start_at_step=["step", 0], end_at_step=10000, return_with_leftover_noise="disable", **common,
    )  # fmt: skip
    return changed(graph, "decoder", samples=["second", 0])


def test_second_pass_goes_on_where_the_first_ended(server: EmbeddedServer) -> None:
    told = passes(server, handed_over(7))
    assert [(one["positive"], one["model"], one["start_step"], one["end_step"]) for one in told] == [
        ("wanted", CHECKPOINT, 0, 7),
        ("refined", "unet.safetensors", 7, None),
    ]


def test_second_pass_that_begins_behind_the_last_step_does_nothing(server: EmbeddedServer) -> None:
    """A hand-over step that was not scaled with the steps: the refiner idles."""
    assert [one["positive"] for one in passes(server, handed_over(20, seed=13))] == ["wanted"]


def test_second_pass_at_another_size(server: EmbeddedServer) -> None:
    larger = node("LatentUpscale", samples=["sampler", 0], upscale_method="nearest-exact", width=96, height=0, crop="disabled")
    second = copy.deepcopy(base_graph()["sampler"])
    graph = base_graph(larger=larger, second=second)
    changed(changed(graph, "second", latent_image=["larger", 0], denoise=0.5), "decoder", samples=["second", 0])
    entry = run(server, graph)
    told = entry["meta"]["saver"]["sampled"][0]
    assert [(one["width"], one["height"], one["denoise"]) for one in told] == [(64, 64, 1.0), (96, 96, 0.5)]
    with Image.open(server.output_dir / "graphs" / entry["outputs"]["saver"]["images"][0]["filename"]) as image:
        assert image.size == (96, 96)


def test_detailer_paints_with_its_own_settings(server: EmbeddedServer) -> None:
    detailer = node(
        "FaceDetailer", image=["decoder", 0], model=["loader", 0], clip=["loader", 1], vae=["loader", 2], seed=5, steps=8, cfg=2.0,
        sampler_name="euler", scheduler="normal", positive=["positive", 0], negative=["negative", 0], denoise=0.4, wildcard="a face",
    )  # fmt: skip
    graph = changed(base_graph(detailer=detailer), "saver", images=["detailer", 0])
    told = passes(server, graph)
    assert [(one["positive"], one["seed"], one["steps"], one["denoise"]) for one in told] == [("wanted", 11, 3, 1.0), ("a face", 5, 8, 0.4)]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        pytest.param({"latent": node("EmptyLatentImage", width=64, height=64, batch_size=2)}, 2, id="latent batch"),
        pytest.param({"again": node("RepeatLatentBatch", samples=["latent", 0], amount=3)}, 3, id="repeated latent"),
    ],
)
def test_batch_is_many_pictures_of_one_seed(server: EmbeddedServer, changes: Graph, count: int) -> None:
    graph = base_graph(**changes)
    if "again" in changes:
        changed(graph, "sampler", latent_image=["again", 0])
    entry = run(server, graph)
    assert len(entry["outputs"]["saver"]["images"]) == count
    assert [(one["seed"], one["index"]) for (one,) in entry["meta"]["saver"]["sampled"]] == [(11, index) for index in range(count)]


def test_efficient_loader_is_a_whole_graph(server: EmbeddedServer) -> None:
    loader = node(
        "Efficient Loader", ckpt_name=CHECKPOINT, vae_name="Baked VAE", clip_skip=-1, lora_name=LORA, lora_model_strength=0.8,
        lora_clip_strength=0.5, positive=["words", 0], negative="typed", empty_latent_width=72, empty_latent_height=80, batch_size=1,
    )  # fmt: skip
    graph = base_graph(loader=loader, words=node("PrimitiveStringMultiline", value="linked"))
    wires = {"model": ["loader", 0], "positive": ["loader", 1], "negative": ["loader", 2], "latent_image": ["loader", 3]}
    changed(changed(graph, "sampler", **wires), "decoder", vae=["loader", 4])
    for unused in ("positive", "negative", "latent"):
        del graph[unused]
    (told,) = passes(server, graph)
    assert (told["positive"], told["negative"], told["width"], told["height"]) == ("linked", "typed", 72, 80)
    assert (loras(told), loras(told, "clip_loras")) == ([(LORA, 0.8)], [(LORA, 0.5)])


@pytest.mark.parametrize(
    ("class_type", "latent", "choice", "more", "size"),
    [
        ("CR Aspect Ratio", 5, "custom", {}, (96, 64)),
        ("CR Aspect Ratio", 5, "custom", {"swap_dimensions": "On"}, (64, 96)),
        ("CR Aspect Ratio", 5, "custom", {"prescale_factor": 0.5}, (48, 32)),
        ("CR Aspect Ratio", 5, "SDXL - 9:16 portrait 768x1344", {}, (768, 1344)),
        ("CR SDXL Aspect Ratio", 4, "9:16 portrait 768x1344", {"swap_dimensions": "On"}, (1344, 768)),
    ],
)
def test_aspect_ratio_node_gives_the_size(
    server: EmbeddedServer, class_type: str, latent: int, choice: str, more: dict[str, Any], size: tuple[int, int]
) -> None:
    """Sides are the first two outputs of both classes; the latent stands elsewhere in each."""
    values = {"swap_dimensions": "Off", "upscale_factor": 1.0, "batch_size": 1, **more}
    ratio = node(class_type, width=96, height=64, aspect_ratio=choice, **values)
    (told,) = passes(server, changed(base_graph(ratio=ratio), "latent", width=["ratio", 0], height=["ratio", 1]))
    assert (told["width"], told["height"]) == size
    (told,) = passes(server, changed(base_graph(ratio=ratio), "sampler", latent_image=["ratio", latent]))
    assert (told["width"], told["height"]) == size


def test_resolution_of_megapixels(server: EmbeddedServer) -> None:
    """0.1 megapixels at 2:3: √(0.1 · 1048576 / 6) = 132.2, so 264 and 397, to multiples of 8: 264 x 400 (396.6 / 8 = 49.57)."""
    chosen = node("ResolutionSelector", aspect_ratio="2:3 (Portrait Photo)", megapixels=0.1, multiple=8)
    graph = changed(base_graph(chosen=chosen), "latent", width=["chosen", 0], height=["chosen", 1])
    (told,) = passes(server, graph)
    assert (told["width"], told["height"]) == (264, 400)


@pytest.mark.parametrize("loader", [node("LoaderGGUF", gguf_name="q4.gguf"), node("NunchakuFluxDiTLoader", model_path="unet.safetensors")])
def test_other_loaders_give_a_model(server: EmbeddedServer, loader: dict[str, Any]) -> None:
    (told,) = passes(server, changed(base_graph(other=loader), "sampler", model=["other", 0]))
    assert told["model"] == next(iter(loader["inputs"].values()))


# Arithmetic


def calculate(server: EmbeddedServer, expression: str, **values: Any) -> Any:
    graph = {
        "1": node("ComfyMathExpression", expression=expression, **{f"values.{name}": value for name, value in values.items()}),
        "2": node("PreviewAny", source=["1", 1]),
    }
    entry = wait_for(server, queue(server, graph))
    last, data = entry["status"]["messages"][-1]
    return entry["outputs"]["2"]["text"][0] if last == "execution_success" else data["exception_type"]


@pytest.mark.parametrize(
    ("expression", "values", "result"),
    [
        ("a & -8", {"a": 1449}, "1448"),
        ("floor(a * b) + 1", {"a": 5.0, "b": 16.0}, "81"),
        ("a if a > b else b", {"a": 2, "b": 3}, "3"),
        ("max(a, b) ** 2 // 3", {"a": 2, "b": 4}, "5"),
        ("sqrt(a)", {"a": 81}, "9"),
    ],
)
def test_expressions_are_calculated(server: EmbeddedServer, expression: str, values: dict[str, Any], result: str) -> None:
    assert calculate(server, expression, **values) == result


@pytest.mark.parametrize(
    "expression",
    ["__import__('os').getpid()", "a.real", "a ** 9999", "(lambda: 1)()", "[a][0]", "b", "'x' * 3", "1 / (a - a)", "1e308 * 10"],
)
def test_nothing_but_arithmetic_is_calculated(server: EmbeddedServer, expression: str) -> None:
    assert calculate(server, expression, a=2) in ("ValueError", "ZeroDivisionError")


# Savers


def dressed(saver: dict[str, Any]) -> Graph:
    return base_graph(saver=saver)


FORMATS = [
    pytest.param(
        node("SaveImageAdvanced", format="png", **{"format.bit_depth": "8-bit", "format.input_color_space": "sRGB"}), "PNG", "png"
    ),
    pytest.param(
        node("SaveImageAdvanced", format="png", **{"format.bit_depth": "16-bit", "format.input_color_space": "sRGB"}), "PNG", "png"
    ),
    pytest.param(node("SaveImageAdvanced", format="avif"), "AVIF", "avif"),
    pytest.param(node("SaveAnimatedWEBP", fps=6.0, lossless=True, quality=80, method="default"), "WEBP", "webp"),
    pytest.param(node("SaveWEBP", format="webp"), "WEBP", "webp"),
    pytest.param(node("Image Save", extension="tiff"), "TIFF", "tiff"),
    pytest.param(node("Image Save", extension="jpg"), "JPEG", "jpg"),
    pytest.param(node("Image Save", extension="gif"), "GIF", "gif"),
    pytest.param(node("Image Save", extension="bmp"), "BMP", "bmp"),
    pytest.param(node("Save Image AVIF", format="avif"), "AVIF", "avif"),
]


@pytest.mark.parametrize(("saver", "format", "ending"), FORMATS)
def test_savers_write_their_formats(server: EmbeddedServer, saver: dict[str, Any], format: str, ending: str) -> None:
    saver = node(saver["class_type"], images=["decoder", 0], filename_prefix="formats/f", **saver["inputs"])
    entry = run(server, dressed(saver))
    (saved,) = entry["outputs"]["saver"]["images"]
    assert saved["filename"].endswith(f"_.{ending}")
    with Image.open(io.BytesIO(get(server, "/view", **saved).content)) as image:
        assert (image.format, image.size) == (format, (64, 64))
        image.load()
        texts = " ".join(str(value) for value in image.getexif().values())
    assert ending in ("png", "bmp", "gif") or "prompt:" in texts


@pytest.mark.parametrize(
    ("saver", "head"),
    [
        pytest.param(node("Save Image JXL", format="jxl"), b"\0\0\0\x0cJXL ", id="JPEG XL"),
        pytest.param(
            node(
                "SaveImageAdvanced", format="exr", **{"format.bit_depth": "32-bit float", "format.input_color_space": "linear"}
            ),
            b"\x76\x2f\x31\x01",
            id="OpenEXR",
        ),
    ],
)  # fmt: skip
def test_some_savers_write_what_nobody_here_reads(server: EmbeddedServer, saver: dict[str, Any], head: bytes) -> None:
    saver = node(saver["class_type"], images=["decoder", 0], filename_prefix="formats/u", **saver["inputs"])
    (saved,) = run(server, dressed(saver))["outputs"]["saver"]["images"]
    data = get(server, "/view", **saved).content
    assert data.startswith(head)
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(data))


def test_film_is_saved_as_one_file(server: EmbeddedServer) -> None:
    graph = base_graph(
        latent=node("EmptyHunyuanLatentVideo", width=64, height=64, length=5, batch_size=1),
        film=node("CreateVideo", images=["decoder", 0], fps=16.0),
        saver=node("SaveVideo", video=["film", 0], filename_prefix="films/f", format="auto", **{"format.codec": "auto"}),
    )
    (saved,) = run(server, graph)["outputs"]["saver"]["images"]
    assert saved["filename"] == "f_00001_.mp4"
    assert b"ftyp" in (server.output_dir / "films" / "f_00001_.mp4").read_bytes()[:12]


def test_saver_that_only_sends_its_picture(server: EmbeddedServer) -> None:
    socket = connect(server, "someone")
    entry_id = queue(server, dressed(node("SaveImageWebsocket", images=["decoder", 0])), client_id="someone")
    sent = [message for message in read_until_idle(socket, entry_id) if isinstance(message, bytes)]
    socket.close()
    assert wait_for(server, entry_id)["outputs"] == {}
    pictures = [message[8:] for message in sent if message[:8] == b"\0\0\0\x01\0\0\0\x02"]
    assert [Image.open(io.BytesIO(data)).format for data in pictures] == ["PNG"]


# Signatures and refusals


def test_signatures_are_told_as_comfyui_tells_them(server: EmbeddedServer) -> None:
    told = get(server, "/object_info").json()
    advanced = told["SaveImageAdvanced"]["input"]["required"]["format"]
    assert advanced[0] == "COMFY_DYNAMICCOMBO_V3"
    assert [option["key"] for option in advanced[1]["options"]] == ["png", "exr", "avif"]
    assert told["ComfySwitchNode"]["output_matchtypes"] == ["switch"]
    assert told["BasicScheduler"]["input"]["required"]["scheduler"][0] == "COMBO"
    assert told["KSampler"]["input"]["required"]["scheduler"][0][0] == "simple"
    assert told["Efficient Loader"]["input"]["required"]["vae_name"] == [["Baked VAE", "vae.safetensors"], {}]
    assert told["Efficient Loader"]["output_name"][1:3] == ["CONDITIONING+", "CONDITIONING-"]
    assert told["Input Parameters (Image Saver)"]["output"][3][0] == "euler"
    assert told["Power Lora Loader (rgthree)"]["input"]["optional"].keys() == {"model", "clip"}
    for name, signature in told.items():
        assert len(signature["output"]) == len(signature["output_name"]), name


def first_fault(server: EmbeddedServer, graph: Graph, name: str) -> dict[str, Any]:
    body = post(server, graph).json()
    fault: dict[str, Any] = body["node_errors"][name]["errors"][0]
    return fault


def test_refusals_of_dynamic_and_optional_inputs(server: EmbeddedServer) -> None:
    missing = dressed(node("SaveImageAdvanced", images=["decoder", 0], filename_prefix="x", format="png", **{"format.bit_depth": "8-bit"}))
    fault = first_fault(server, missing, "saver")
    assert (fault["type"], fault["details"], fault["extra_info"]["input_name"]) == (
        "required_input_missing", "input_color_space", "format.input_color_space",
    )  # fmt: skip
    odd = changed(copy.deepcopy(missing), "saver", **{"format.bit_depth": "9-bit", "format.input_color_space": "sRGB"})
    fault = first_fault(server, odd, "saver")
    assert (fault["type"], fault["details"]) == ("value_not_in_list", "format.bit_depth: '9-bit' not in ['8-bit', '16-bit']")
    assert fault["extra_info"]["input_config"][0] == "COMBO"
    optional = base_graph(other=node("CLIPLoader", clip_name="clip.safetensors", type="flux2", device="tpu"))
    assert (
        first_fault(server, changed(optional, "positive", clip=["other", 0]), "other")["details"]
        == "device: 'tpu' not in ['default', 'cpu']"
    )
    row = {"1": node("ComfyMathExpression", expression="a"), "2": node("PreviewAny", source=["1", 1])}
    assert first_fault(server, row, "1")["extra_info"]["input_name"] == "values.a"


def test_dynamic_choice_that_is_none_fails_when_it_runs(server: EmbeddedServer) -> None:
    """As on a real server: the choice is not checked, and then its node lacks it."""
    graph = dressed(node("SaveImageAdvanced", images=["decoder", 0], filename_prefix="x", format="tga"))
    assert wait_for(server, queue(server, graph))["status"]["messages"][-1][0] == "execution_error"


def test_picture_that_was_not_uploaded_is_named(server: EmbeddedServer) -> None:
    graph = {"1": node("LoadImage", image="nope.png"), "2": node("PreviewImage", images=["1", 0])}
    fault = first_fault(server, graph, "1")
    assert (fault["type"], fault["details"]) == ("custom_validation_failed", "image - Invalid image file: nope.png")


@pytest.mark.parametrize(
    ("received", "wanted", "fits"),
    [
        ("MODEL", "MODEL", True), ("MODEL", "CLIP", False), ("*", "MODEL", True), ("INT", "*", True), ("INT", "FLOAT,INT,BOOLEAN", True),
        ("INT", "FLOAT", False), ("COMFY_MATCHTYPE_V3", "MODEL", True), (["a"], "COMBO", True), (["a"], ["a"], True), (["a"], ["b"], False),
    ],
)  # fmt: skip
def test_types_fit_as_on_a_server(received: Any, wanted: Any, fits: bool) -> None:
    assert types_match(received, wanted) is fits


def test_combo_is_read_in_both_spellings() -> None:
    assert read_spec(["COMBO", {"options": ["a", "b"], "default": "b"}]).told(lambda folder: []) == (
        "COMBO",
        {"default": "b", "options": ["a", "b"]},
    )
    assert read_spec([["a", "b"], {"default": "b"}]).told(lambda folder: []) == (["a", "b"], {"default": "b"})


# Other people's graphs


def test_every_case_runs(embedded_server: Callable[..., EmbeddedServer], cases_root: Path) -> None:
    """The sampler gets what the graph asks for: seed 11 (or a seed that stands there), euler, a text that stands in the graph."""
    files = sorted((cases_root / "workflows").glob("*.json"))
    assert files
    for file in files:
        graph = json.loads(file.read_text(encoding="utf-8"))
        server = embedded_server(models=models_of(graph))
        entry = run(server, graph)
        told = [one for output in entry["meta"].values() for picture in output.get("sampled", ()) for one in picture]
        assert told or any(node["class_type"] == "SaveImageWebsocket" for node in graph.values()), file.name
        for one in told:
            assert (one["sampler"], one["seed"] in (5, 11)) == ("euler", True), file.name
            assert math.isfinite(one["cfg"])
        server.stop()


def test_official_templates_run(embedded_server: Callable[..., EmbeddedServer], cases_root: Path) -> None:
    """All but those with a node that the page which exported them did not know: no server runs them."""
    folder = cases_root.parent / "comfyui" / "templates"
    if not folder.is_dir():
        pytest.skip(NO_CASES)
    ran, refused = [], []
    for file in sorted(folder.glob("*.json")):
        graph = json.loads(file.read_text(encoding="utf-8"))
        has_unknown = any(node["class_type"] not in NODE_CLASSES for node in graph.values())
        server = embedded_server(models=models_of(graph))
        for name in {str(each["inputs"]["image"]) for each in graph.values() if each["class_type"] == "LoadImage"}:
            upload(server, name)
        (refused if has_unknown else ran).append(file.name)
        if has_unknown:
            assert post(server, graph).json()["error"]["type"] == "missing_node_type", file.name
        else:
            run(server, graph)
        server.stop()
    assert (len(ran), len(refused)) == (27, 2)
    assert all(node["class_type"] is None for name in refused for node in unknown_nodes(folder / name))


def unknown_nodes(file: Path) -> list[dict[str, Any]]:
    graph = json.loads(file.read_text(encoding="utf-8"))
    return [node for node in graph.values() if node["class_type"] not in NODE_CLASSES]


def upload(server: EmbeddedServer, name: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 80, 70)).save(buffer, "JPEG")
    requests.post(f"{server.url}/upload/image", files={"image": (name, buffer.getvalue())}, timeout=10).raise_for_status()
