"""Model files that several families load: text encoders and VAEs, by the names under which they are published."""

from __future__ import annotations

from tools.families.family import FamilyFile

TEXT_ENCODERS = "text_encoders"
MODELS = "diffusion_models"


def clip_l(node: str, key: str) -> FamilyFile:
    return FamilyFile("clip_l", "CLIP-L", TEXT_ENCODERS, node, key, "clip_l.safetensors", r"clip[-_ ]?l")


def clip_g(node: str, key: str) -> FamilyFile:
    return FamilyFile("clip_g", "CLIP-G", TEXT_ENCODERS, node, key, "clip_g.safetensors", r"clip[-_ ]?g")


def t5xxl(node: str, key: str) -> FamilyFile:
    return FamilyFile("t5xxl", "T5-XXL", TEXT_ENCODERS, node, key, "t5xxl_fp16.safetensors", r"(?<!um)t5[-_ ]?(?:v1_1[-_ ]?)?xxl")


def text_encoder(title: str, file: str, fits: str, node: str = "2") -> FamilyFile:
    """The only text encoder of a family, which a `CLIPLoader` loads."""
    return FamilyFile("text_encoder", title, TEXT_ENCODERS, node, "clip_name", file, fits)


def qwen3_4b(node: str = "2") -> FamilyFile:
    return text_encoder("Qwen3 4B", "qwen_3_4b.safetensors", r"qwen[-_ ]?3[-_ ]?4b", node)


def vae(file: str, fits: str, node: str = "3") -> FamilyFile:
    return FamilyFile("vae", "VAE", "vae", node, "vae_name", file, fits)


def flux_vae(node: str = "3") -> FamilyFile:
    """Of Flux.1, Z-Image and Chroma."""
    return vae("ae.safetensors", r"^(?:.*[/\\])?(?:.*[-_ ])?ae(?:[-_ .].*)?$|flux(?![-_. ]?2).*vae", node)


def model(title: str, file: str, fits: str, name: str = "model", node: str = "1") -> FamilyFile:
    """The diffusion model alone."""
    return FamilyFile(name, title, MODELS, node, "unet_name", file, fits)


def checkpoint(file: str, fits: str) -> FamilyFile:
    """A model with its text encoders and its VAE, or with some of them."""
    return FamilyFile("model", "checkpoint", "checkpoints", "1", "ckpt_name", file, fits)
