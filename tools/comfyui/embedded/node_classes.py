"""The node classes that the embedded server knows: their inputs, outputs and `/object_info` documents.

Names, types, ranges and defaults are those of ComfyUI's own nodes, so that a workflow exported there validates here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    output: tuple[str, ...] = ()
    optional: dict[str, InputSpec] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)
    output_name: tuple[str, ...] | None = None
    output_node: bool = False

    def inputs(self) -> dict[str, InputSpec]:
        return {**self.required, **self.optional}


def _integer(default: int, low: int, high: int, **more: Any) -> InputSpec:
    return InputSpec("INT", {"default": default, "min": low, "max": high, **more})


def _number(default: float, low: float, high: float, **more: Any) -> InputSpec:
    return InputSpec("FLOAT", {"default": default, "min": low, "max": high, **more})


def _text() -> InputSpec:
    return InputSpec("STRING", {"multiline": True, "dynamicPrompts": True})


def _link(kind: str) -> InputSpec:
    return InputSpec(kind)


MODEL, CLIP, VAE, IMAGE = _link("MODEL"), _link("CLIP"), _link("VAE"), _link("IMAGE")
LATENT, CONDITIONING = _link("LATENT"), _link("CONDITIONING")
SIDE = _integer(512, 16, MAX_SIZE, step=8)
BATCH = _integer(1, 1, 4096)
STRENGTH = _number(1.0, -100.0, 100.0, step=0.01)
SEED = _integer(0, 0, MAX_SEED, control_after_generate=True)
STEPS = _integer(20, 1, 10000)
CFG = _number(8.0, 0.0, 100.0, step=0.1, round=0.01)
DENOISE = _number(1.0, 0.0, 1.0, step=0.01)
SAMPLER, SCHEDULER = InputSpec(SAMPLERS), InputSpec(SCHEDULERS)
LORA, CHECKPOINT = InputSpec(ModelChoice("loras")), InputSpec(ModelChoice("checkpoints"))
WEIGHT_TYPE = InputSpec(["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"])
SAVE_HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}

_LOADERS = [
    NodeClass(
        "CheckpointLoaderSimple", "Load Checkpoint", "loaders", {"ckpt_name": CHECKPOINT}, ("MODEL", "CLIP", "VAE"),
    ),
    NodeClass(
        "LoraLoader", "Load LoRA", "loaders",
        {"model": MODEL, "clip": CLIP, "lora_name": LORA, "strength_model": STRENGTH, "strength_clip": STRENGTH}, ("MODEL", "CLIP"),
    ),
    NodeClass(
        "LoraLoaderModelOnly", "LoraLoaderModelOnly", "loaders", {"model": MODEL, "lora_name": LORA, "strength_model": STRENGTH}, ("MODEL",),
    ),
    NodeClass("VAELoader", "Load VAE", "loaders", {"vae_name": InputSpec(ModelChoice("vae"))}, ("VAE",)),
    NodeClass(
        "UNETLoader", "Load Diffusion Model", "advanced/loaders",
        {"unet_name": InputSpec(ModelChoice("diffusion_models")), "weight_dtype": WEIGHT_TYPE}, ("MODEL",),
    ),
    NodeClass(
        "CLIPLoader", "Load CLIP", "advanced/loaders",
        {"clip_name": InputSpec(ModelChoice("text_encoders")), "type": InputSpec(["stable_diffusion", "sdxl", "sd3", "flux"])}, ("CLIP",),
    ),
    NodeClass(
        "DualCLIPLoader", "DualCLIPLoader", "advanced/loaders",
        {
            "clip_name1": InputSpec(ModelChoice("text_encoders")),
            "clip_name2": InputSpec(ModelChoice("text_encoders")),
            "type": InputSpec(["sdxl", "sd3", "flux"]),
        },
        ("CLIP",),
    ),
]  # fmt: skip

_TEXT = [
    NodeClass("CLIPTextEncode", "CLIP Text Encode (Prompt)", "conditioning", {"text": _text(), "clip": CLIP}, ("CONDITIONING",)),
    NodeClass(
        "CLIPTextEncodeSDXL", "CLIPTextEncodeSDXL", "advanced/conditioning",
        {
            "clip": CLIP,
            **{name: _integer(1024, 0, MAX_SIZE) for name in ("width", "height")},
            **{name: _integer(0, 0, MAX_SIZE) for name in ("crop_w", "crop_h")},
            **{name: _integer(1024, 0, MAX_SIZE) for name in ("target_width", "target_height")},
            "text_g": _text(),
            "text_l": _text(),
        },
        ("CONDITIONING",),
    ),
    NodeClass("CLIPSetLastLayer", "CLIP Set Last Layer", "conditioning", {"clip": CLIP, "stop_at_clip_layer": _integer(-1, -24, -1)}, ("CLIP",)),
    NodeClass(
        "ConditioningCombine", "Conditioning (Combine)", "conditioning",
        {"conditioning_1": CONDITIONING, "conditioning_2": CONDITIONING}, ("CONDITIONING",),
    ),
    NodeClass(
        "ConditioningConcat", "Conditioning (Concat)", "conditioning",
        {"conditioning_to": CONDITIONING, "conditioning_from": CONDITIONING}, ("CONDITIONING",),
    ),
    NodeClass("ConditioningZeroOut", "ConditioningZeroOut", "advanced/conditioning", {"conditioning": CONDITIONING}, ("CONDITIONING",)),
    NodeClass(
        "FluxGuidance", "FluxGuidance", "advanced/conditioning/flux",
        {"conditioning": CONDITIONING, "guidance": _number(3.5, 0.0, 100.0, step=0.1)}, ("CONDITIONING",),
    ),
    NodeClass("PrimitiveString", "String", "utils/primitive", {"value": InputSpec("STRING", {})}, ("STRING",)),
    NodeClass("PrimitiveStringMultiline", "String (Multiline)", "utils/primitive", {"value": InputSpec("STRING", {"multiline": True})}, ("STRING",)),
    NodeClass("PrimitiveInt", "Int", "utils/primitive", {"value": _integer(0, -(2**63 - 1), 2**63 - 1, control_after_generate=True)}, ("INT",)),
    NodeClass("PrimitiveFloat", "Float", "utils/primitive", {"value": InputSpec("FLOAT", {})}, ("FLOAT",)),
]  # fmt: skip

_SAMPLING = [
    NodeClass("EmptyLatentImage", "Empty Latent Image", "latent", {"width": SIDE, "height": SIDE, "batch_size": BATCH}, ("LATENT",)),
    NodeClass("EmptySD3LatentImage", "EmptySD3LatentImage", "latent/sd3", {"width": SIDE, "height": SIDE, "batch_size": BATCH}, ("LATENT",)),
    NodeClass(
        "KSampler", "KSampler", "sampling",
        {
            "model": MODEL, "seed": SEED, "steps": STEPS, "cfg": CFG, "sampler_name": SAMPLER, "scheduler": SCHEDULER,
            "positive": CONDITIONING, "negative": CONDITIONING, "latent_image": LATENT, "denoise": DENOISE,
        },
        ("LATENT",),
    ),
    NodeClass(
        "KSamplerAdvanced", "KSampler (Advanced)", "sampling",
        {
            "model": MODEL, "add_noise": InputSpec(["enable", "disable"]), "noise_seed": SEED, "steps": STEPS, "cfg": CFG,
            "sampler_name": SAMPLER, "scheduler": SCHEDULER, "positive": CONDITIONING, "negative": CONDITIONING, "latent_image": LATENT,
            "start_at_step": _integer(0, 0, 10000), "end_at_step": _integer(10000, 0, 10000),
            "return_with_leftover_noise": InputSpec(["disable", "enable"]),
        },
        ("LATENT",),
    ),
    NodeClass("RandomNoise", "RandomNoise", "sampling/custom_sampling/noise", {"noise_seed": SEED}, ("NOISE",)),
    NodeClass("KSamplerSelect", "KSamplerSelect", "sampling/custom_sampling/samplers", {"sampler_name": SAMPLER}, ("SAMPLER",)),
    NodeClass(
        "BasicScheduler", "BasicScheduler", "sampling/custom_sampling/schedulers",
        {"model": MODEL, "scheduler": SCHEDULER, "steps": STEPS, "denoise": DENOISE}, ("SIGMAS",),
    ),
    NodeClass("BasicGuider", "BasicGuider", "sampling/custom_sampling/guiders", {"model": MODEL, "conditioning": CONDITIONING}, ("GUIDER",)),
    NodeClass(
        "CFGGuider", "CFGGuider", "sampling/custom_sampling/guiders",
        {"model": MODEL, "positive": CONDITIONING, "negative": CONDITIONING, "cfg": CFG}, ("GUIDER",),
    ),
    NodeClass(
        "SamplerCustomAdvanced", "SamplerCustomAdvanced", "sampling/custom_sampling",
        {
            "noise": _link("NOISE"), "guider": _link("GUIDER"), "sampler": _link("SAMPLER"), "sigmas": _link("SIGMAS"), "latent_image": LATENT,
        },
        ("LATENT", "LATENT"), output_name=("output", "denoised_output"),
    ),
]  # fmt: skip

_IMAGES = [
    NodeClass("VAEDecode", "VAE Decode", "latent", {"samples": LATENT, "vae": VAE}, ("IMAGE",)),
    NodeClass("VAEEncode", "VAE Encode", "latent", {"pixels": IMAGE, "vae": VAE}, ("LATENT",)),
    NodeClass(
        "EmptyImage", "EmptyImage", "image",
        {
            "width": _integer(512, 1, MAX_SIZE), "height": _integer(512, 1, MAX_SIZE), "batch_size": BATCH,
            "color": _integer(0, 0, 0xFFFFFF, step=1, display="color"),
        },
        ("IMAGE",),
    ),
    NodeClass("LoadImage", "Load Image", "image", {"image": InputSpec(ModelChoice("input"), {"image_upload": True})}, ("IMAGE", "MASK")),
    NodeClass(
        "ImageScale", "Upscale Image", "image/upscaling",
        {
            "image": IMAGE, "upscale_method": InputSpec(["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]),
            "width": _integer(512, 0, MAX_SIZE), "height": _integer(512, 0, MAX_SIZE), "crop": InputSpec(["disabled", "center"]),
        },
        ("IMAGE",),
    ),
    NodeClass(
        "SaveImage", "Save Image", "image", {"images": IMAGE, "filename_prefix": InputSpec("STRING", {"default": "ComfyUI"})},
        hidden=SAVE_HIDDEN, output_node=True,
    ),
    NodeClass("PreviewImage", "Preview Image", "image", {"images": IMAGE}, hidden=SAVE_HIDDEN, output_node=True),
]  # fmt: skip

NODE_CLASSES: dict[str, NodeClass] = {node.name: node for node in [*_LOADERS, *_TEXT, *_SAMPLING, *_IMAGES]}

ListModels = Callable[[str], list[str]]
"""The file names of a model folder, now: new files are seen without a restart."""


def input_type(spec: InputSpec, list_models: ListModels) -> str | list[str]:
    """A type name such as `INT`, or the list of values to choose from."""
    if isinstance(spec.kind, ModelChoice):
        return list_models(spec.kind.folder)
    return spec.kind if isinstance(spec.kind, str) else list(spec.kind)


def object_info(node: NodeClass, list_models: ListModels) -> dict[str, Any]:
    """The document of `GET /object_info/{Class}`."""
    groups = {"required": node.required, "optional": node.optional}
    described: dict[str, Any] = {
        group: {name: [input_type(spec, list_models), dict(spec.options)] for name, spec in inputs.items()}
        for group, inputs in groups.items()
        if inputs or group == "required"
    }
    if node.hidden:
        described["hidden"] = dict(node.hidden)
    return {
        "input": described,
        "input_order": {group: list(inputs) for group, inputs in described.items()},
        "output": list(node.output),
        "output_is_list": [False] * len(node.output),
        "output_name": list(node.output_name or node.output),
        "name": node.name,
        "display_name": node.display_name,
        "description": "",
        "python_module": "nodes",
        "category": node.category,
        "output_node": node.output_node,
    }
