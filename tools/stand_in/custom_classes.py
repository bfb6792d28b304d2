"""Node classes that are not ComfyUI's own, as its users' graphs hold them: signatures as upstream has them, and what they do to a picture.

Inputs that upstream requires, and that older or shortened graphs leave out, are optional here, so that such graphs run.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tools.stand_in.by_type import empty_latent
from tools.stand_in.node_class import FileChoice, InputSpec, NodeClass, Run, Specs, read_spec
from tools.stand_in.node_values import Conditioning, Inputs, LoadedModel, NodeResult, NodeRun
from tools.stand_in.sampling_functions import refine
from tools.stand_in.saver_functions import FILE_FORMATS, saves
from tools.stand_in.text_functions import as_text, pass_on, with_lora

LORA_TAG = re.compile(r"<lora:([^:>]+)(?::([-0-9.]+))?(?::([-0-9.]+))?>")
ASPECT_RATIOS = {
    "custom": None, "1:1 square 1024x1024": (1024, 1024), "3:4 portrait 896x1152": (896, 1152), "5:8 portrait 832x1216": (832, 1216),
    "9:16 portrait 768x1344": (768, 1344), "9:21 portrait 640x1536": (640, 1536), "4:3 landscape 1152x896": (1152, 896),
    "3:2 landscape 1216x832": (1216, 832), "16:9 landscape 1344x768": (1344, 768), "21:9 landscape 1536x640": (1536, 640),
}  # fmt: skip
"""The choices of CR Aspect Ratio."""

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


MODEL, CLIP, VAE, IMAGE, CONDITIONING = ["MODEL"], ["CLIP"], ["VAE"], ["IMAGE"], ["CONDITIONING"]
TEXT = ["STRING", {"default": "", "multiline": True}]
PREFIX = ["STRING", {"default": "ComfyUI"}]
SEED = _integer(0, 0, 0xFFFFFFFFFFFFFFFF)
SIDE, STEPS, CFG, DENOISE = _integer(512, 16, 16384), _integer(20, 1, 10000), _number(8.0, 0.0, 100.0), _number(1.0, 0.0, 1.0)


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
    return NodeResult((*_apply(run, inputs["model"], inputs["clip"], inputs["lora_stack"]), ""))


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


def _face_detailer(run: NodeRun, inputs: Inputs) -> NodeResult:
    """Repaints with its own settings; a text of its own wins over the conditioning."""
    positive: Conditioning = inputs["positive"]
    if inputs.get("wildcard"):
        positive = replace(positive, text=inputs["wildcard"])
    pictures = refine(run, inputs, inputs["image"], positive)
    return NodeResult((pictures, pictures, pictures, None, None, pictures))


def _aspect_ratio(run: NodeRun, inputs: Inputs) -> NodeResult:
    width, height = ASPECT_RATIOS[inputs["aspect_ratio"]] or (inputs["width"], inputs["height"])
    if inputs["swap_dimensions"] == "On":
        width, height = height, width
    factor, batch = inputs["upscale_factor"], inputs["batch_size"]
    latent = empty_latent(run, {"width": width, "height": height, "batch_size": batch})
    return NodeResult((width, height, factor, batch, latent, ""))


def _show_anything(run: NodeRun, inputs: Inputs) -> NodeResult:
    """Shows and hands on what is linked to it; the text that it keeps is what it showed last, and counts for nothing."""
    value = inputs.get("anything")
    return NodeResult((value,), ui={"text": [as_text(value)]})


def _instant_id(run: NodeRun, inputs: Inputs) -> NodeResult:
    model: LoadedModel = inputs["model"]
    return NodeResult((replace(model, patches=(*model.patches, "ApplyInstantID")), inputs["positive"], inputs["negative"]))


def _load(folder: str, key: str) -> Run:
    return lambda run, inputs: NodeResult((LoadedModel(run.load(folder, inputs[key])),))


def _class(name: str, run: Run, outputs: str, required: Specs, optional: Specs | None = None, *, names: str = "", **more: Any) -> NodeClass:
    types = tuple(outputs.split())
    return NodeClass(name, required, optional or {}, types, tuple(names.split()) or types, run, module="custom_nodes", **more)


def _saver(name: str, key: str, endings: list[str], **more: Any) -> NodeClass:
    """One file a picture, in the format that the input `key` names."""
    run = saves(lambda inputs: FILE_FORMATS[inputs[key]])
    required = _specs(images=IMAGE, filename_prefix=PREFIX, **{key: [endings]})
    return _class(name, run, "IMAGE", required, _specs(**more), names="images", output_node=True)


LORA_CLASSES = [
    _class("Power Lora Loader (rgthree)", _power_loras, "MODEL CLIP", {}, _specs(model=MODEL, clip=CLIP), takes_anything=True),
    _class(
        "CR LoRA Stack", _stack_rows, "LORA_STACK STRING",
        _specs(switch_1=[["Off", "On"]], lora_name_1=LORA_OR_NONE, model_weight_1=_number(1.0), clip_weight_1=_number(1.0)),
        _specs(
            **{f"switch_{row}": [["Off", "On"]] for row in ROWS[1:]}, **{f"lora_name_{row}": LORA_OR_NONE for row in ROWS[1:]},
            **{f"{side}_weight_{row}": _number(1.0) for row in ROWS[1:] for side in ("model", "clip")}, lora_stack=["LORA_STACK"],
        ),
        names="LORA_STACK show_help",
    ),
    _class(
        "CR Apply LoRA Stack", _apply_stack, "MODEL CLIP STRING", _specs(model=MODEL, clip=CLIP, lora_stack=["LORA_STACK"]),
        names="MODEL CLIP show_help",
    ),
    _class(
        "ImpactWildcardEncode", _wildcard_encode, "MODEL CLIP CONDITIONING STRING",
        _specs(
            model=MODEL, clip=CLIP, wildcard_text=TEXT, populated_text=TEXT, mode=[["populate", "fixed", "reproduce"]], seed=SEED
        ),
        _specs(**{"Select to add LoRA": ["STRING"], "Select to add Wildcard": ["STRING"]}),
        names="model clip conditioning populated_text",
    ),
]  # fmt: skip
"""What loads LoRAs, by rows, by stacks, and by tags in a text."""

LOADERS = [
    _class(
        "Efficient Loader", _efficient_loader, "MODEL CONDITIONING CONDITIONING LATENT VAE CLIP DEPENDENCIES",
        _specs(
            ckpt_name=InputSpec(FileChoice("checkpoints")), vae_name=InputSpec(FileChoice("vae", ("Baked VAE",))),
            clip_skip=_integer(-1, -24, -1), lora_name=LORA_OR_NONE, lora_model_strength=_number(1.0), lora_clip_strength=_number(1.0),
            positive=TEXT, negative=TEXT, empty_latent_width=SIDE, empty_latent_height=SIDE, batch_size=_integer(1, 1, 262144),
        ),
        _specs(
            token_normalization=[["none", "mean", "length", "length+mean"]],
            weight_interpretation=[["comfy", "A1111", "compel", "comfy++", "down_weight"]], lora_stack=["LORA_STACK"],
            cnet_stack=["CONTROL_NET_STACK"],
        ),
        names="MODEL CONDITIONING+ CONDITIONING- LATENT VAE CLIP DEPENDENCIES",
    ),
    _class("LoaderGGUF", _load("unet_gguf", "gguf_name"), "MODEL", _specs(gguf_name=InputSpec(FileChoice("unet_gguf")))),
    _class("UnetLoaderGGUF", _load("unet_gguf", "unet_name"), "MODEL", _specs(unet_name=InputSpec(FileChoice("unet_gguf")))),
    _class(
        "NunchakuFluxDiTLoader", _load("diffusion_models", "model_path"), "MODEL",
        _specs(model_path=InputSpec(FileChoice("diffusion_models"))),
        _specs(
            cache_threshold=_number(0.0, 0.0, 1.0), attention=[["nunchaku-fp16", "flash-attention2"]],
            cpu_offload=[["auto", "enable", "disable"]], device_id=_integer(0, 0, 0), data_type=[["bfloat16", "float16"]],
            i2f_mode=[["enabled", "always"]],
        ),
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
    _class(
        "CR Aspect Ratio", _aspect_ratio, "INT INT FLOAT INT LATENT STRING",
        _specs(
            width=_integer(1024, 64, 8192), height=_integer(1024, 64, 8192), aspect_ratio=[list(ASPECT_RATIOS)],
            swap_dimensions=[["Off", "On"]], upscale_factor=_number(1.0, 0.1, 100.0), batch_size=_integer(1, 1, 64),
        ),
        names="width height upscale_factor batch_size empty_latent show_help",
    ),
    _class("easy showAnything", _show_anything, "*", {}, _specs(anything=["*"]), names="output", output_node=True),
    _class(
        "ApplyInstantID", _instant_id, "MODEL CONDITIONING CONDITIONING",
        _specs(model=MODEL, positive=CONDITIONING, negative=CONDITIONING, weight=_number(0.8, 0.0, 5.0)),
        _specs(
            instantid=["INSTANTID"], insightface=["FACEANALYSIS"], control_net=["CONTROL_NET"], image=IMAGE, image_kps=IMAGE,
            start_at=_number(0.0, 0.0, 1.0), end_at=_number(1.0, 0.0, 1.0), mask=["MASK"],
        ),
        names="MODEL positive negative",
    ),
]  # fmt: skip
"""Sizes, what is shown, and what only patches a model."""


def _sampling_classes(samplers: list[str], schedulers: list[str]) -> list[NodeClass]:
    """Those that offer or put out core's own lists."""
    return [
        _class(
            "FaceDetailer", _face_detailer, "IMAGE IMAGE IMAGE MASK DETAILER_PIPE IMAGE",
            _specs(
                image=IMAGE, model=MODEL, clip=CLIP, vae=VAE, seed=SEED, steps=STEPS, cfg=CFG, sampler_name=[samplers],
                scheduler=[schedulers], positive=CONDITIONING, negative=CONDITIONING, denoise=_number(0.5, 0.0001, 1.0), wildcard=TEXT,
            ),
            _specs(
                guide_size=_number(512.0, 64.0, 16384.0), guide_size_for=["BOOLEAN", {"default": True}],
                max_size=_number(1024.0, 64.0, 16384.0), feather=_integer(5, 0, 100), noise_mask=["BOOLEAN", {"default": True}],
                force_inpaint=["BOOLEAN", {"default": True}], bbox_threshold=_number(0.5, 0.0, 1.0), bbox_dilation=_integer(10, -512, 512),
                bbox_crop_factor=_number(3.0, 1.0, 10.0), drop_size=_integer(10, 1, 16384), bbox_detector=["BBOX_DETECTOR"],
                cycle=_integer(1, 1, 10), sam_model_opt=["SAM_MODEL"], segm_detector_opt=["SEGM_DETECTOR"], detailer_hook=["DETAILER_HOOK"],
            ),
            names="image cropped_refined cropped_enhanced_alpha mask detailer_pipe cnet_images",
        ),
        NodeClass(
            "Input Parameters (Image Saver)",
            _specs(seed=SEED, steps=STEPS, cfg=_number(7.0, 0.0, 100.0), sampler=[samplers], scheduler=[schedulers], denoise=DENOISE),
            {}, ("INT", "INT", "FLOAT", samplers, schedulers, "FLOAT"),
            ("seed", "steps", "cfg", "sampler_name", "scheduler_name", "denoise"), pass_on(*PARAMETERS), module="custom_nodes",
        ),
    ]  # fmt: skip


def custom_classes(samplers: list[str], schedulers: list[str]) -> list[NodeClass]:
    """The classes; `samplers` and `schedulers` are core's own lists, which some of them offer and put out."""
    return [*LOADERS, *LORA_CLASSES, *_sampling_classes(samplers, schedulers), *OTHERS, *SAVERS]
