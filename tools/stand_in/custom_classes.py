"""Node classes that are not ComfyUI's own, as its users' graphs hold them, and what they do to a picture.

Their signatures are those that the walk over a graph uses without a server (`tools/workflows/custom_signatures.py`), with the choices and
bounds that these leave out. Inputs that upstream requires, and that older or shortened graphs leave out, are optional here, so that such
graphs run.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from tools.stand_in.by_type import empty_latent
from tools.stand_in.node_class import FileChoice, InputSpec, NodeClass, Run, Specs, read_spec
from tools.stand_in.node_values import Conditioning, Inputs, LoadedModel, NodeResult, NodeRun
from tools.stand_in.sampling_functions import refine
from tools.stand_in.saver_functions import FILE_FORMATS, saves
from tools.stand_in.text_functions import as_text, pass_on, with_lora
from tools.workflows.custom_signatures import CUSTOM_CLASSES

LORA_TAG = re.compile(r"<lora:([^:>]+)(?::([-0-9.]+))?(?::([-0-9.]+))?>")
SDXL_RATIOS = (
    "1:1 square 1024x1024", "3:4 portrait 896x1152", "5:8 portrait 832x1216", "9:16 portrait 768x1344", "9:21 portrait 640x1536",
    "4:3 landscape 1152x896", "3:2 landscape 1216x832", "16:9 landscape 1344x768", "21:9 landscape 1536x640",
)  # fmt: skip
SD15_RATIOS = (
    "1:1 square 512x512", "2:3 portrait 512x768", "3:4 portrait 512x682", "3:2 landscape 768x512", "4:3 landscape 682x512",
    "16:9 cinema 910x512", "1.85:1 cinema 952x512", "2:1 cinema 1024x512",
)  # fmt: skip
"""The choices of the nodes for aspect ratios, whose ends are the sizes; `custom` takes the sides as they are."""

PARAMETERS = ("seed", "steps", "cfg", "sampler", "scheduler", "denoise")
ROWS = (1, 2, 3)
LORA_OR_NONE = InputSpec(FileChoice("loras", ("None",)))
Stack = tuple[tuple[str, float, float], ...]
"""LORA_STACK: file, strength for the model, strength for the text encoder."""


def _specs(**kinds: Any) -> Specs:
    return {name: kind if isinstance(kind, InputSpec) else read_spec(kind) for name, kind in kinds.items()}


def _number(default: float, low: float = -10.0, high: float = 10.0) -> list[Any]:
    return ["FLOAT", {"default": default, "min": low, "max": high, "step": 0.01}]


def _integer(default: int, low: int, high: int) -> list[Any]:
    return ["INT", {"default": default, "min": low, "max": high}]


SEED = _integer(0, 0, 0xFFFFFFFFFFFFFFFF)
SIDE, STEPS, CFG = _integer(512, 16, 16384), _integer(20, 1, 10000), _number(8.0, 0.0, 100.0)
YES = ["BOOLEAN", {"default": True}]


def _apply(run: NodeRun, model: LoadedModel | None, clip: LoadedModel | None, stack: Stack) -> tuple[Any, Any]:
    for name, for_model, for_clip in stack:
        run.load("loras", name)
        model, clip = with_lora(run, model, name, for_model), with_lora(run, clip, name, for_clip)
    return model, clip


def _efficient_loader(run: NodeRun, inputs: Inputs) -> NodeResult:
    loaded = LoadedModel(run.load("checkpoints", inputs["ckpt_name"]))
    vae = loaded if inputs["vae_name"] == "Baked VAE" else LoadedModel(run.load("vae", inputs["vae_name"]))
    own = ((inputs["lora_name"], inputs["lora_model_strength"], inputs["lora_clip_strength"]),) if inputs["lora_name"] != "None" else ()
    model, clip = _apply(run, loaded, loaded, (*own, *inputs.get("lora_stack", ())))
    latent = empty_latent(
        run, {"width": inputs["empty_latent_width"], "height": inputs["empty_latent_height"], "batch_size": inputs["batch_size"]}
    )
    texts = [Conditioning(inputs[side], clip.loras) for side in ("positive", "negative")]
    return NodeResult((model, *texts, latent, vae, clip, None))


def _power_loras(run: NodeRun, inputs: Inputs) -> NodeResult:
    """Rows are inputs `lora_…` that hold `{on, lora, strength, strengthTwo?}`; they stand in no signature."""
    stack: list[tuple[str, float, float]] = []
    for name, row in inputs.items():
        if name.lower().startswith("lora_") and isinstance(row, dict) and row.get("on") and row.get("lora") not in (None, "", "None"):
            strength = float(row["strength"])
            other = row.get("strengthTwo")
            if strength or other:
                stack.append((row["lora"], strength, strength if other is None else float(other)))
    return NodeResult(_apply(run, inputs.get("model"), inputs.get("clip"), tuple(stack)))


def _stack_rows(run: NodeRun, inputs: Inputs) -> NodeResult:
    rows = [
        (inputs[f"lora_name_{row}"], inputs[f"model_weight_{row}"], inputs[f"clip_weight_{row}"])
        for row in ROWS
        if inputs.get(f"switch_{row}") == "On" and inputs.get(f"lora_name_{row}", "None") != "None"
    ]
    return NodeResult(((*inputs.get("lora_stack", ()), *rows), ""))


def _apply_stack(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult((*_apply(run, inputs["model"], inputs["clip"], inputs.get("lora_stack", ())), ""))


def _wildcard_encode(run: NodeRun, inputs: Inputs) -> NodeResult:
    """In the mode `populate` the first text is filled in and counts, else the second; `<lora:name:strength>` in it loads a LoRA."""
    text = inputs["wildcard_text"] if inputs["mode"] in ("populate", True) else inputs["populated_text"]
    stack = []
    for name, for_model, for_clip in LORA_TAG.findall(text):
        file = name if name.endswith(".safetensors") else f"{name}.safetensors"
        strength = float(for_model or 1.0)
        stack.append((file, strength, float(for_clip or strength)))
    model, clip = _apply(run, inputs["model"], inputs["clip"], tuple(stack))
    return NodeResult((model, clip, Conditioning(LORA_TAG.sub("", text).strip(), clip.loras), text))


def _encode_both(run: NodeRun, inputs: Inputs) -> NodeResult:
    """Both prompts; the latent of a picture that is edited is none."""
    clip: LoadedModel = inputs["clip"]
    return NodeResult((*(Conditioning(inputs[key], clip.loras) for key in ("prompt", "negative_prompt")), None))


def _face_detailer(run: NodeRun, inputs: Inputs) -> NodeResult:
    """Repaints with its own settings; a text of its own wins over the conditioning."""
    positive: Conditioning = inputs["positive"]
    if inputs.get("wildcard"):
        positive = replace(positive, text=inputs["wildcard"])
    pictures = refine(run, inputs, inputs["image"], positive)
    return NodeResult((pictures, pictures, pictures, None, None, pictures))


def _aspect_ratio(class_type: str) -> Run:
    outputs = CUSTOM_CLASSES[class_type]["output_name"]

    def run(run: NodeRun, inputs: Inputs) -> NodeResult:
        size = re.search(r"(\d+)x(\d+)$", inputs["aspect_ratio"])
        width, height = (int(size[1]), int(size[2])) if size else (inputs["width"], inputs["height"])
        if inputs["swap_dimensions"] == "On":
            width, height = height, width
        scale = inputs.get("prescale_factor", 1.0)
        made = {**inputs, "prescale_factor": scale, "width": int(width * scale), "height": int(height * scale), "show_help": ""}
        made["empty_latent"] = empty_latent(run, made)
        return NodeResult(tuple(made[name] for name in outputs))

    return run


def _show_anything(run: NodeRun, inputs: Inputs) -> NodeResult:
    """Shows and hands on what is linked to it; the text that it keeps is what it showed last, and counts for nothing."""
    value = inputs.get("anything")
    return NodeResult((value,), ui={"text": [as_text(value)]})


def _instant_id(run: NodeRun, inputs: Inputs) -> NodeResult:
    model: LoadedModel = inputs["model"]
    return NodeResult((replace(model, patches=(*model.patches, "ApplyInstantID")), inputs["positive"], inputs["negative"]))


def _load(folder: str, key: str) -> Run:
    return lambda run, inputs: NodeResult((LoadedModel(run.load(folder, inputs[key])),))


def custom_class(
    name: str, run: Run, given: Specs | None = None, *, loose: Collection[str] = (), outputs: tuple[Any, ...] = (), **more: Any
) -> NodeClass:
    """A class as `custom_signatures.py` describes it. `given`: inputs of which more is known, or that stand there not at all; `loose`: the
    required ones that are optional here; `outputs`: their types where these are choices."""
    signature: Any = CUSTOM_CLASSES[name]
    given = given or {}
    inputs = {key: given.get(key) or _described(kind) for part in signature["input"].values() for key, kind in part.items()}
    required = {key: inputs[key] for key in signature["input"]["required"] if key not in loose}
    optional = {key: spec for key, spec in (inputs | given).items() if key not in required}
    names = tuple(signature["output_name"])
    return NodeClass(name, required, optional, outputs or tuple(signature["output"]), names, run, module="custom_nodes", **more)


def _described(kind: Any) -> InputSpec:
    """A choice whose words the signatures do not hold takes any."""
    return read_spec(["STRING"] if kind[0] == "COMBO" else kind)


def _saver(name: str, key: str, endings: list[str], **more: Any) -> NodeClass:
    """One file a picture, in the format that the input `key` names."""
    run = saves(lambda inputs: FILE_FORMATS[inputs[key]])
    required = _specs(images=["IMAGE"], filename_prefix=["STRING", {"default": "ComfyUI"}], **{key: [endings]})
    return NodeClass(name, required, _specs(**more), ("IMAGE",), ("images",), run, output_node=True, module="custom_nodes")


def _ratios(name: str, choices: list[str], **more: Any) -> NodeClass:
    side = _integer(1024, 64, 8192)
    given = _specs(
        width=side, height=side, aspect_ratio=[["custom", *choices]], swap_dimensions=[["Off", "On"]],
        upscale_factor=_number(1.0, 0.1, 100.0), batch_size=_integer(1, 1, 64), **more,
    )  # fmt: skip
    return custom_class(name, _aspect_ratio(name), given, loose=list(more))


LORA_CLASSES = [
    custom_class("Power Lora Loader (rgthree)", _power_loras, takes_anything=True),
    custom_class(
        "CR LoRA Stack", _stack_rows,
        _specs(
            **{f"switch_{row}": [["Off", "On"]] for row in ROWS}, **{f"lora_name_{row}": LORA_OR_NONE for row in ROWS},
            **{f"{side}_weight_{row}": _number(1.0) for row in ROWS for side in ("model", "clip")},
        ),
        loose=[f"{stem}_{row}" for row in ROWS[1:] for stem in ("switch", "lora_name", "model_weight", "clip_weight")],
    ),
    custom_class("CR Apply LoRA Stack", _apply_stack),
    custom_class(
        "ImpactWildcardEncode", _wildcard_encode, _specs(mode=[["populate", "fixed", "reproduce"]], seed=SEED),
        loose=("Select to add LoRA", "Select to add Wildcard"),
    ),
]  # fmt: skip
"""What loads LoRAs, by rows, by stacks, and by tags in a text."""

LOADERS = [
    custom_class(
        "Efficient Loader", _efficient_loader,
        _specs(
            ckpt_name=InputSpec(FileChoice("checkpoints")), vae_name=InputSpec(FileChoice("vae", ("Baked VAE",))),
            clip_skip=_integer(-1, -24, -1), lora_name=LORA_OR_NONE, lora_model_strength=_number(1.0), lora_clip_strength=_number(1.0),
            empty_latent_width=SIDE, empty_latent_height=SIDE, batch_size=_integer(1, 1, 262144),
            token_normalization=[["none", "mean", "length", "length+mean"]],
            weight_interpretation=[["comfy", "A1111", "compel", "comfy++", "down_weight"]],
        ),
        loose=("token_normalization", "weight_interpretation"),
    ),
    custom_class("LoaderGGUF", _load("unet_gguf", "gguf_name"), _specs(gguf_name=InputSpec(FileChoice("unet_gguf")))),
    custom_class("UnetLoaderGGUF", _load("unet_gguf", "unet_name"), _specs(unet_name=InputSpec(FileChoice("unet_gguf")))),
    custom_class(
        "NunchakuFluxDiTLoader", _load("diffusion_models", "model_path"),
        _specs(
            model_path=InputSpec(FileChoice("diffusion_models")), cache_threshold=_number(0.0, 0.0, 1.0),
            attention=[["nunchaku-fp16", "flash-attention2"]], cpu_offload=[["auto", "enable", "disable"]], device_id=_integer(0, 0, 0),
            data_type=[["bfloat16", "float16"]], i2f_mode=[["enabled", "always"]],
        ),
        loose=("cache_threshold", "attention", "cpu_offload", "device_id", "data_type"),
    ),
]  # fmt: skip
"""What loads models from files."""

SAVERS = [
    _saver(
        "Image Save", "extension", ["png", "jpg", "jpeg", "gif", "tiff", "webp", "bmp"], output_path=["STRING"],
        quality=_integer(100, 1, 100),
    ),
    _saver("SaveWEBP", "format", ["webp"], quality=_integer(80, 1, 100)),
    _saver("Save Image AVIF", "format", ["avif"]),
    _saver("Save Image JXL", "format", ["jxl"]),
]  # fmt: skip

OTHERS = [
    _ratios("CR SDXL Aspect Ratio", [*SDXL_RATIOS]),
    _ratios(
        "CR Aspect Ratio", [*(f"SD1.5 - {each}" for each in SD15_RATIOS), *(f"SDXL - {each}" for each in SDXL_RATIOS)],
        prescale_factor=_number(1.0, 0.1, 100.0),
    ),
    custom_class("TextEncodeQwenImage21", _encode_both, _specs(resolution=_integer(1024, 0, 16384))),
    custom_class("easy showAnything", _show_anything, output_node=True),
    custom_class(
        "ApplyInstantID", _instant_id,
        _specs(weight=_number(0.8, 0.0, 5.0), start_at=_number(0.0, 0.0, 1.0), end_at=_number(1.0, 0.0, 1.0)),
        loose=("instantid", "insightface", "control_net", "image", "start_at", "end_at"),
    ),
]  # fmt: skip
"""Sizes, what is shown, and what only patches a model."""


def _sampling_classes(samplers: list[str], schedulers: list[str]) -> list[NodeClass]:
    """Those that offer or put out core's own lists."""
    detailing = _specs(
        guide_size=_number(512.0, 64.0, 16384.0), guide_size_for=YES, max_size=_number(1024.0, 64.0, 16384.0),
        feather=_integer(5, 0, 100), noise_mask=YES, force_inpaint=YES, bbox_threshold=_number(0.5, 0.0, 1.0),
        bbox_dilation=_integer(10, -512, 512), bbox_crop_factor=_number(3.0, 1.0, 10.0), drop_size=_integer(10, 1, 16384),
        bbox_detector=["BBOX_DETECTOR"], cycle=_integer(1, 1, 10), sam_model_opt=["SAM_MODEL"], segm_detector_opt=["SEGM_DETECTOR"],
        detailer_hook=["DETAILER_HOOK"],
    )  # fmt: skip
    sampling = _specs(seed=SEED, steps=STEPS, cfg=CFG, sampler_name=[samplers], scheduler=[schedulers], denoise=_number(0.5, 0.0001, 1.0))
    parameters = _specs(seed=SEED, steps=STEPS, cfg=CFG, sampler=[samplers], scheduler=[schedulers], denoise=_number(1.0, 0.0, 1.0))
    return [
        custom_class("FaceDetailer", _face_detailer, sampling | detailing, loose=detailing),
        custom_class(
            "Input Parameters (Image Saver)",
            pass_on(*PARAMETERS),
            parameters,
            outputs=("INT", "INT", "FLOAT", samplers, schedulers, "FLOAT"),
        ),
    ]


def custom_classes(samplers: list[str], schedulers: list[str]) -> list[NodeClass]:
    """The classes; `samplers` and `schedulers` are core's own lists, which some of them offer and put out."""
    return [*LOADERS, *LORA_CLASSES, *_sampling_classes(samplers, schedulers), *OTHERS, *SAVERS]
