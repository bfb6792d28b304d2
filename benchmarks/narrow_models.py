"""Write a base directory for a real ComfyUI in which every family's built-in workflow can run on a CPU: narrow models with random weights.

Models are as narrow, and have as few blocks, as ComfyUI's own detection allows (Flux's width follows `img_in`; Z-Image, Qwen-Image and
Chroma have one width, so one or two blocks of full width). Text encoders have fixed sizes of several GB: but for those of SD1.5 and SDXL a
test node makes conditioning of the same shape out of the prompt. Nothing of it makes a picture of anything; what it shows is that a real
server loads, samples, decodes and saves, with a LoRA. Run it with ComfyUI's Python, start ComfyUI on the folder, run the families on it:

    .venv/bin/python benchmarks/narrow_models.py --comfyui ComfyUI --base-directory base
    .venv/bin/python ComfyUI/main.py --cpu --base-directory base
    python benchmarks/families_on_comfyui.py --comfy-url http://127.0.0.1:8188

About 12 GB of files, 6 GB of memory. Exit codes: 0 written.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.families.families import Family, find_family

NODE = '''"""Conditioning of any shape out of a text: stands in for text encoders that are too large for a test."""

import zlib

import torch


class NarrowConditioning:
    @classmethod
    def INPUT_TYPES(cls):
        sizes = {name: ("INT", {"default": 0, "max": 65536}) for name in ("width", "pooled")}
        return {"required": {"text": ("STRING", {"multiline": True}), **sizes}}

    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "encode"
    CATEGORY = "testing"

    def encode(self, text, width, pooled):
        made = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        more = {"pooled_output": torch.randn(1, pooled, generator=made)} if pooled else {}
        return ([[torch.randn(1, 32, width, generator=made), more]],)


NODE_CLASS_MAPPINGS = {"NarrowConditioning": NarrowConditioning}
'''

FLUX = {
    "image_model": "flux", "axes_dim": [16, 56, 56], "mlp_ratio": 4.0, "theta": 10000, "qkv_bias": True, "txt_ids_dims": [],
    "patch_size": 2, "in_channels": 16, "out_channels": 16, "hidden_size": 256, "num_heads": 2, "depth": 1, "depth_single_blocks": 1,
    "context_in_dim": 4096, "vec_in_dim": 768, "guidance_embed": True,
}  # fmt: skip
FLUX2 = {
    **FLUX, "image_model": "flux2", "axes_dim": [32] * 4, "mlp_ratio": 3.0, "theta": 2000, "qkv_bias": False, "txt_ids_dims": [3],
    "patch_size": 1, "in_channels": 128, "out_channels": 128, "vec_in_dim": None, "global_modulation": True, "mlp_silu_act": True,
    "ops_bias": False,
}  # fmt: skip
CHROMA = {
    **{name: value for name, value in FLUX.items() if name != "guidance_embed"}, "image_model": "chroma", "vec_in_dim": None,
    "in_channels": 64, "out_channels": 64, "hidden_size": 3072, "num_heads": 24, "in_dim": 64, "out_dim": 3072, "hidden_dim": 5120,
    "n_layers": 5,
}  # fmt: skip
SD35 = {
    "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 2, "input_size": None, "adm_in_channels": 2048, "qk_norm": "rms",
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 128}}, "num_patches": 36864,
    "pos_embed_max_size": 192, "pos_embed_scaling_factor": None,
}  # fmt: skip
Z_IMAGE = {
    "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 3840, "cap_feat_dim": 2560, "n_layers": 2, "qk_norm": True,
    "n_heads": 30, "n_kv_heads": 30, "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512], "rope_theta": 256.0,
    "ffn_dim_multiplier": 8.0 / 3.0, "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32,
}  # fmt: skip
WAN = {
    "model_type": "t2v", "dim": 256, "out_dim": 16, "in_dim": 16, "num_heads": 2, "ffn_dim": 512, "num_layers": 2, "patch_size": (1, 2, 2),
    "freq_dim": 256, "window_size": (-1, -1), "qk_norm": True, "cross_attn_norm": True, "eps": 1e-6,
}  # fmt: skip
UNET = {"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "use_spatial_transformer": True, "legacy": False}
SD15 = {
    **UNET, "num_res_blocks": [1, 1], "channel_mult": [1, 1], "num_heads": 8, "transformer_depth": [1, 1], "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1], "context_dim": 768, "use_linear_in_transformer": False,
}  # fmt: skip
SDXL = {
    **UNET, "num_res_blocks": [2, 2, 2], "channel_mult": [1, 1, 1], "num_head_channels": 64, "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_middle": 10, "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "context_dim": 2048,
    "use_linear_in_transformer": True, "num_classes": "sequential", "adm_in_channels": 2816,
}  # fmt: skip
TRANSFORMERS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "flux": ("comfy.ldm.flux.model", "Flux", FLUX),
    "flux2": ("comfy.ldm.flux.model", "Flux", {**FLUX2, "context_in_dim": 15360}),
    "flux2-klein": ("comfy.ldm.flux.model", "Flux", {**FLUX2, "context_in_dim": 7680, "guidance_embed": False}),
    "flux2-klein-9b": ("comfy.ldm.flux.model", "Flux", {**FLUX2, "context_in_dim": 12288, "guidance_embed": False}),
    "chroma": ("comfy.ldm.chroma.model", "Chroma", CHROMA),
    "qwen-image": ("comfy.ldm.qwen_image.model", "QwenImageTransformer2DModel", {"in_channels": 64, "num_layers": 2}),
    "z-image": ("comfy.ldm.lumina.model", "NextDiT", Z_IMAGE),
    "wan22": ("comfy.ldm.wan.model", "WanModel", WAN),
}
"""Family -> the class of its model in ComfyUI, and how narrow it is. Variants of one architecture get a link to the same file."""

VARIANTS = {"qwen-image-2512": "qwen-image", "z-image-turbo": "z-image"}
KL = {
    "double_z": True, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2,
    "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip
WAN_VAE = {
    "dim": 96,
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
}


class Workshop:
    """What makes random weights of ComfyUI's own model classes."""

    def __init__(self, base: Path) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.operations: Any = importlib.import_module("comfy.ops").manual_cast
        self.safetensors: Any = importlib.import_module("safetensors.torch")
        self.base = base

    def model(self, module: str, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The weights of a transformer or U-Net."""
        cls = getattr(importlib.import_module(module), name)
        return self.randomised(cls(**config, dtype=self.torch.float16, device="cpu", operations=self.operations).state_dict())

    def kl(self, channels: int, *, quantised: bool = False, normalised: bool = False) -> dict[str, Any]:
        """The weights of a VAE of the usual kind."""
        kinds = importlib.import_module("comfy.ldm.models.autoencoder")
        config = {**KL, "z_channels": channels, **({"batch_norm_latent": True} if normalised else {})}
        if quantised:
            return self.randomised(kinds.AutoencoderKL(ddconfig=config, embed_dim=channels).state_dict())
        parts = {
            f"{part}_config": {"target": f"comfy.ldm.modules.diffusionmodules.model.{part.title()}", "params": config}
            for part in ("encoder", "decoder")
        }
        regulariser = {"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"}
        return self.randomised(kinds.AutoencodingEngine(regularizer_config=regulariser, **parts).state_dict())

    def randomised(self, weights: Mapping[str, Any], spread: float = 0.02) -> dict[str, Any]:
        """Small random numbers in half precision; what scales stays one, what shifts stays nothing."""
        self.torch.manual_seed(0)
        made = {}
        for name, old in weights.items():
            new = self.torch.zeros(old.shape)
            if old.ndim > 1:
                new.normal_(0.0, spread)
            elif name.endswith(("weight", "scale", "gamma", "running_var")):
                new.fill_(1.0)
            made[name] = new.half().contiguous()
        return made

    def write(self, folder: str, name: str, weights: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
        path = self.base / "models" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.safetensors.save_file(dict(weights), str(path), metadata=dict(metadata) if metadata else None)
        print(f"{path}: {path.stat().st_size / 1e6:,.0f} MB", flush=True)

    def write_lora(self, family: Family, names: Iterable[str], weights: Mapping[str, Any]) -> None:
        """A LoRA of rank 4 on each of those weights, which says what it is made for."""
        made: dict[str, Any] = {}
        for name in names:
            rows, columns = weights[name].shape
            module = f"diffusion_model.{name.removesuffix('.weight')}"
            made[f"{module}.lora_A.weight"] = self.torch.randn(4, columns).half() * 0.5
            made[f"{module}.lora_B.weight"] = self.torch.randn(rows, 4).half() * 0.5
        self.write("loras", f"narrow_{family.id}.safetensors", made, {"modelspec.architecture": f"{family.made_for}/lora"})


def write_transformers(workshop: Workshop) -> None:
    for family_id, (module, name, config) in TRANSFORMERS.items():
        family = find_family(family_id)
        weights = workshop.model(module, name, config)
        for each in family.models:
            workshop.write(each.folder, each.file, weights)
        matrices = [name for name, weight in weights.items() if weight.ndim == 2 and name.endswith(".weight")]
        attention = [name for name in matrices if "attn" in name.replace("attention", "attn")]
        # the last layer too: between random blocks a change fades
        workshop.write_lora(family, [*attention[:4], matrices[-1]], weights)
    for variant, of in VARIANTS.items():
        for each, other in zip(find_family(variant).models, find_family(of).models, strict=True):
            path = workshop.base / "models" / each.folder / each.file
            path.unlink(missing_ok=True)
            path.hardlink_to(path.with_name(other.file))


def write_checkpoints(workshop: Workshop) -> None:
    """SD1.5 and SDXL with their text encoders, SD3.5 without."""
    clip = importlib.import_module("comfy.sd1_clip").SD1ClipModel(device="cpu", dtype=workshop.torch.float16).state_dict()
    clip_l = workshop.randomised(
        {name.removeprefix("clip_l."): each for name, each in clip.items() if name.startswith("clip_l.transformer.")}
    )
    unet = workshop.model("comfy.ldm.modules.diffusionmodules.openaimodel", "UNetModel", SD15)
    vae = workshop.kl(4, quantised=True)
    parts = {**_under("model.diffusion_model.", unet), **_under("first_stage_model.", vae), **_under("cond_stage_model.", clip_l)}
    workshop.write("checkpoints", find_family("sd15").files[0].file, parts)
    workshop.write_lora(find_family("sd15"), [name for name in unet if "attn2.to_q.weight" in name][:4], unet)

    both = importlib.import_module("comfy.sdxl_clip").SDXLClipModel(device="cpu", dtype=workshop.torch.float16).state_dict()
    kind = importlib.import_module("comfy.supported_models").SDXL
    encoders = kind.process_clip_state_dict_for_saving(kind, workshop.randomised(both))
    unet = workshop.model("comfy.ldm.modules.diffusionmodules.openaimodel", "UNetModel", SDXL)
    parts = {**_under("model.diffusion_model.", unet), **_under("first_stage_model.", vae), **encoders}
    workshop.write("checkpoints", find_family("sdxl").files[0].file, {name: each.contiguous() for name, each in parts.items()})
    workshop.write_lora(find_family("sdxl"), [name for name in unet if "attn2.to_k.weight" in name][:4], unet)

    mmdit = workshop.model("comfy.ldm.modules.diffusionmodules.mmdit", "OpenAISignatureMMDITWrapper", SD35)
    parts = {**_under("model.diffusion_model.", mmdit), **_under("first_stage_model.", workshop.kl(16))}
    for family_id in ("sd35", "sd35-medium"):
        workshop.write("checkpoints", find_family(family_id).files[0].file, parts)
        workshop.write_lora(find_family(family_id), [name for name in mmdit if name.endswith("attn.qkv.weight")][:4], mmdit)


def write_rest(workshop: Workshop) -> None:
    """VAEs; empty files in the place of text encoders; the test node."""
    wan = importlib.import_module("comfy.ldm.wan.vae").WanVAE(**WAN_VAE)
    vaes = {
        "flux": workshop.kl(16),
        "flux2": workshop.kl(32, quantised=True, normalised=True),
        "wan22": workshop.randomised(wan.state_dict(), spread=0.06),
    }
    vaes["qwen-image"] = vaes["wan22"]
    for family_id, weights in vaes.items():
        workshop.write("vae", next(each.file for each in find_family(family_id).files if each.folder == "vae"), weights)
    nodes = workshop.base / "custom_nodes" / "narrow_conditioning.py"
    nodes.parent.mkdir(parents=True, exist_ok=True)
    nodes.write_text(NODE, encoding="utf-8")


def _under(prefix: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: weight for name, weight in weights.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, required=True, metavar="DIR", help="a checkout of ComfyUI")
    parser.add_argument("--base-directory", type=Path, required=True, metavar="DIR", help="what is written")
    args = parser.parse_args()
    sys.path.insert(0, str(args.comfyui.resolve()))
    sys.argv = [sys.argv[0], "--cpu"]
    importlib.import_module("comfy.options").enable_args_parsing()
    workshop = Workshop(args.base_directory.resolve())
    write_rest(workshop)
    write_transformers(workshop)
    write_checkpoints(workshop)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
