"""The node classes that the embedded server knows: their inputs, outputs and `/object_info` documents.

Names, types, ranges and defaults are those of ComfyUI's own nodes, so that a workflow exported there validates here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.stand_in.dialects import Dialect

MAX_SIZE = 16384
MAX_SEED = 0xFFFFFFFFFFFFFFFF

SAMPLERS = [
    "euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "heunpp2", "exp_heun_2_x0", "exp_heun_2_x0_sde",
    "dpm_2", "dpm_2_ancestral", "lms", "dpm_fast", "dpm_adaptive", "dpmpp_2s_ancestral", "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde",
    "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_cfg_pp", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun",
    "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm", "lcm", "ipndm", "ipndm_v", "deis", "res_multistep",
    "res_multistep_cfg_pp", "res_multistep_ancestral", "res_multistep_ancestral_cfg_pp", "gradient_estimation",
    "gradient_estimation_cfg_pp", "er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece", "ddim", "uni_pc", "uni_pc_bh2",
]  # fmt: skip
SCHEDULERS = [
    "simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic", "kl_optimal",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """An input whose values are the files of a model folder."""

    folder: str


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input: a type name, a list of values, or a model folder; and its options (`min`, `max`, `default`, …)."""

    kind: str | Sequence[str] | ModelChoice
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeClass:
    name: str
    display_name: str
    category: str
    required: dict[str, InputSpec]
    output: tuple[str, ...]
    hidden: dict[str, str]
    output_node: bool


def _integer(default: int, low: int, high: int, **more: Any) -> InputSpec:
    return InputSpec("INT", {"default": default, "min": low, "max": high, **more})


def _number(default: float, low: float, high: float, **more: Any) -> InputSpec:
    return InputSpec("FLOAT", {"default": default, "min": low, "max": high, **more})


def _file(folder: str) -> InputSpec:
    return InputSpec(ModelChoice(folder))


def _link(kind: str) -> InputSpec:
    return InputSpec(kind)


MODEL, CLIP, VAE, IMAGE = _link("MODEL"), _link("CLIP"), _link("VAE"), _link("IMAGE")
LATENT, CONDITIONING = _link("LATENT"), _link("CONDITIONING")
SIDE = _integer(512, 16, MAX_SIZE, step=8)
SD3_SIDE = _integer(1024, 16, MAX_SIZE, step=16)
BATCH = _integer(1, 1, 4096)
STRENGTH = _number(1.0, -100.0, 100.0, step=0.01)
SEED = _integer(0, 0, MAX_SEED, control_after_generate=True)
STEPS = _integer(20, 1, 10000)
CFG = _number(8.0, 0.0, 100.0, step=0.1, round=0.01)
DENOISE = _number(1.0, 0.0, 1.0, step=0.01)
SAMPLER, SCHEDULER = InputSpec(SAMPLERS), InputSpec(SCHEDULERS)
LORA, CHECKPOINT = _file("loras"), _file("checkpoints")
TEXT = InputSpec("STRING", {"multiline": True, "dynamicPrompts": True})
CANVAS, CROP = _integer(1024, 0, MAX_SIZE), _integer(0, 0, MAX_SIZE)
CLIP_TYPE = InputSpec(["stable_diffusion", "sdxl", "sd3", "flux"])
WEIGHT_TYPE = InputSpec(["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"])
SAVE_HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}


def _node(name: str, display_name: str, category: str, output: str, **required: InputSpec) -> NodeClass:
    """A class whose inputs are all required. One without outputs ends a graph: it saves, and is told the prompt for that."""
    saves = not output
    return NodeClass(name, display_name, category, required, tuple(output.split()), SAVE_HIDDEN if saves else {}, output_node=saves)


_LOADERS = [
    _node("CheckpointLoaderSimple", "Load Checkpoint", "loaders", "MODEL CLIP VAE", ckpt_name=CHECKPOINT),
    _node(
        "LoraLoader", "Load LoRA", "loaders", "MODEL CLIP",
        model=MODEL, clip=CLIP, lora_name=LORA, strength_model=STRENGTH, strength_clip=STRENGTH,
    ),
    _node("LoraLoaderModelOnly", "LoraLoaderModelOnly", "loaders", "MODEL", model=MODEL, lora_name=LORA, strength_model=STRENGTH),
    _node("VAELoader", "Load VAE", "loaders", "VAE", vae_name=_file("vae")),
    _node("UNETLoader", "Load Diffusion Model", "advanced/loaders", "MODEL", unet_name=_file("diffusion_models"), weight_dtype=WEIGHT_TYPE),
    _node("CLIPLoader", "Load CLIP", "advanced/loaders", "CLIP", clip_name=_file("text_encoders"), type=CLIP_TYPE),
    _node(
        "DualCLIPLoader", "DualCLIPLoader", "advanced/loaders", "CLIP",
        clip_name1=_file("text_encoders"), clip_name2=_file("text_encoders"), type=CLIP_TYPE,
    ),
]  # fmt: skip

_TEXT = [
    _node("CLIPTextEncode", "CLIP Text Encode (Prompt)", "conditioning", "CONDITIONING", text=TEXT, clip=CLIP),
    _node(
        "CLIPTextEncodeSDXL", "CLIPTextEncodeSDXL", "advanced/conditioning", "CONDITIONING",
        clip=CLIP, width=CANVAS, height=CANVAS, crop_w=CROP, crop_h=CROP, target_width=CANVAS, target_height=CANVAS,
        text_g=TEXT, text_l=TEXT,
    ),
    _node("CLIPSetLastLayer", "CLIP Set Last Layer", "conditioning", "CLIP", clip=CLIP, stop_at_clip_layer=_integer(-1, -24, -1, step=1)),
    _node(
        "ConditioningCombine", "Conditioning (Combine)", "conditioning", "CONDITIONING",
        conditioning_1=CONDITIONING, conditioning_2=CONDITIONING,
    ),
    _node(
        "ConditioningConcat", "Conditioning (Concat)", "conditioning", "CONDITIONING",
        conditioning_to=CONDITIONING, conditioning_from=CONDITIONING,
    ),
    _node("ConditioningZeroOut", "ConditioningZeroOut", "advanced/conditioning", "CONDITIONING", conditioning=CONDITIONING),
    _node(
        "FluxGuidance", "FluxGuidance", "advanced/conditioning/flux", "CONDITIONING",
        conditioning=CONDITIONING, guidance=_number(3.5, 0.0, 100.0, step=0.1),
    ),
    _node("PrimitiveString", "String", "utils/primitive", "STRING", value=InputSpec("STRING", {})),
    _node("PrimitiveStringMultiline", "String (Multiline)", "utils/primitive", "STRING", value=InputSpec("STRING", {"multiline": True})),
    _node("PrimitiveInt", "Int", "utils/primitive", "INT", value=_integer(0, -(2**63 - 1), 2**63 - 1, control_after_generate=True)),
    _node("PrimitiveFloat", "Float", "utils/primitive", "FLOAT", value=InputSpec("FLOAT", {})),
]  # fmt: skip

_SAMPLING = [
    _node("EmptyLatentImage", "Empty Latent Image", "latent", "LATENT", width=SIDE, height=SIDE, batch_size=BATCH),
    _node("EmptySD3LatentImage", "EmptySD3LatentImage", "latent/sd3", "LATENT", width=SD3_SIDE, height=SD3_SIDE, batch_size=BATCH),
    _node(
        "KSampler", "KSampler", "sampling", "LATENT",
        model=MODEL, seed=SEED, steps=STEPS, cfg=CFG, sampler_name=SAMPLER, scheduler=SCHEDULER, positive=CONDITIONING,
        negative=CONDITIONING, latent_image=LATENT, denoise=DENOISE,
    ),
    _node(
        "KSamplerAdvanced", "KSampler (Advanced)", "sampling", "LATENT",
        model=MODEL, add_noise=InputSpec(["enable", "disable"]), noise_seed=SEED, steps=STEPS, cfg=CFG, sampler_name=SAMPLER,
        scheduler=SCHEDULER, positive=CONDITIONING, negative=CONDITIONING, latent_image=LATENT, start_at_step=_integer(0, 0, 10000),
        end_at_step=_integer(10000, 0, 10000), return_with_leftover_noise=InputSpec(["disable", "enable"]),
    ),
    _node("RandomNoise", "RandomNoise", "sampling/custom_sampling/noise", "NOISE", noise_seed=SEED),
    _node("KSamplerSelect", "KSamplerSelect", "sampling/custom_sampling/samplers", "SAMPLER", sampler_name=SAMPLER),
    _node(
        "BasicScheduler", "BasicScheduler", "sampling/custom_sampling/schedulers", "SIGMAS",
        model=MODEL, scheduler=SCHEDULER, steps=STEPS, denoise=DENOISE,
    ),
    _node("BasicGuider", "BasicGuider", "sampling/custom_sampling/guiders", "GUIDER", model=MODEL, conditioning=CONDITIONING),
    _node(
        "CFGGuider", "CFGGuider", "sampling/custom_sampling/guiders", "GUIDER",
        model=MODEL, positive=CONDITIONING, negative=CONDITIONING, cfg=CFG,
    ),
    _node(
        "SamplerCustomAdvanced", "SamplerCustomAdvanced", "sampling/custom_sampling", "LATENT LATENT",
        noise=_link("NOISE"), guider=_link("GUIDER"), sampler=_link("SAMPLER"), sigmas=_link("SIGMAS"), latent_image=LATENT,
    ),
]  # fmt: skip

_IMAGES = [
    _node("VAEDecode", "VAE Decode", "latent", "IMAGE", samples=LATENT, vae=VAE),
    _node("VAEEncode", "VAE Encode", "latent", "LATENT", pixels=IMAGE, vae=VAE),
    _node(
        "EmptyImage", "EmptyImage", "image", "IMAGE",
        width=_integer(512, 1, MAX_SIZE, step=1), height=_integer(512, 1, MAX_SIZE, step=1), batch_size=BATCH,
        color=_integer(0, 0, 0xFFFFFF, step=1, display="color"),
    ),
    _node("LoadImage", "Load Image", "image", "IMAGE MASK", image=InputSpec(ModelChoice("input"), {"image_upload": True})),
    _node(
        "ImageScale", "Upscale Image", "image/upscaling", "IMAGE",
        image=IMAGE, upscale_method=InputSpec(["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]),
        width=_integer(512, 0, MAX_SIZE, step=1), height=_integer(512, 0, MAX_SIZE, step=1), crop=InputSpec(["disabled", "center"]),
    ),
    _node("SaveImage", "Save Image", "image", "", images=IMAGE, filename_prefix=InputSpec("STRING", {"default": "ComfyUI"})),
    _node("PreviewImage", "Preview Image", "image", "", images=IMAGE),
]  # fmt: skip

NODE_CLASSES: dict[str, NodeClass] = {node.name: node for node in [*_LOADERS, *_TEXT, *_SAMPLING, *_IMAGES]}

ListModels = Callable[[str], list[str]]
"""The file names of a model folder, now: new files are seen without a restart."""


def input_type(spec: InputSpec, list_models: ListModels) -> str | list[str]:
    """A type name such as `INT`, or the list of values to choose from."""
    if isinstance(spec.kind, ModelChoice):
        return list_models(spec.kind.folder)
    return spec.kind if isinstance(spec.kind, str) else list(spec.kind)


def outputs_of(node: NodeClass, dialect: Dialect) -> tuple[str, ...]:
    """The types of a class's outputs; since 0.33 what saves a picture passes it on."""
    return ("IMAGE",) if node.output_node and dialect.savers_pass_pictures else node.output


def object_info(node: NodeClass, list_models: ListModels, dialect: Dialect) -> dict[str, Any]:
    """The document of `GET /object_info/{Class}`."""
    outputs = list(outputs_of(node, dialect))
    required = {name: [input_type(spec, list_models), dict(spec.options)] for name, spec in node.required.items()}
    described: dict[str, Any] = {"required": required}
    if node.hidden:
        described["hidden"] = dict(node.hidden)
    return {
        "input": described,
        "input_order": {group: list(inputs) for group, inputs in described.items()},
        "output": outputs,
        "output_is_list": [False] * len(outputs),
        "output_name": ["images"] if node.output_node and outputs else outputs,
        "name": node.name,
        "display_name": node.display_name,
        "description": "",
        "python_module": "nodes",
        "category": node.category,
        "output_node": node.output_node,
    }
