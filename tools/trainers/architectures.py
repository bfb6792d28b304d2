"""Which base model a LoRA or checkpoint is made for, as the names and shapes of its weights tell, else its metadata.

Blocks are named and sized differently in each architecture. Widths are the inputs of a weight; shrunken test models have others, so a
width decides only between architectures whose names are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tools.trainers.adapter_weights import find_parts
from tools.trainers.safetensors_header import SafetensorsHeader, Weight

SAID_IN = ("modelspec.architecture", "ss_base_model_version", "ss_base_model_name", "ss_sd_model_name", "ot_config")
"""Metadata that name the base model, the most reliable first."""

SAID = (
    ("SDXL", r"stable[-_ ]?diffusion[-_ ]?xl|sd_?xl|pony|illustrious|noobai"),
    ("Flux.2", r"flux[-_. ]?2"),
    ("Chroma", r"chroma"),
    ("Flux.1", r"flux"),
    ("Qwen-Image 2.1", r"qwen[-_ ]?image[-_ ]?2[._]?1(?!\d)"),
    ("Qwen-Image", r"qwen[-_ ]?image"),
    ("Z-Image", r"z[-_ ]?image"),
    ("Wan", r"\bwan[-_ ]?\d|\bwan\b"),
    ("Hunyuan", r"hunyuan|\bhv\b"),
    ("Lumina 2", r"lumina"),
    ("Anima", r"anima"),
    ("SD3.5", r"stable[-_ ]?diffusion[-_ ]?3|sd_?3"),
    ("SD2", r"stable[-_ ]?diffusion[-_ ]?(?:v)?2|sd[-_ ]?(?:v)?2"),
    ("SD1.5", r"stable[-_ ]?diffusion[-_ ]?(?:v)?1|sd[-_ ]?(?:v)?1"),
)
"""Title -> what those texts hold, in small letters. The first that is found counts."""

NAMED_ALIKE = frozenset({("Flux.1", "Chroma"), ("SD1.5", "SD2"), ("Qwen-Image", "Qwen-Image 2.1")})
"""Of these the weights of a LoRA can have the same names: the second counts if the metadata say so."""


@dataclass(frozen=True, slots=True)
class NamedWeights:
    """Weights by names that are alike in all spellings: small letters, `_` for `.`."""

    weights: Mapping[str, Weight]
    parts: tuple[str, ...]

    def has(self, pattern: str) -> bool:
        return any(re.search(pattern, name) for name in self.weights)

    def only(self, pattern: str) -> NamedWeights:
        """Those whose names hold the pattern."""
        return NamedWeights({name: weight for name, weight in self.weights.items() if re.search(pattern, name)}, self.parts)

    def highest(self, blocks: str) -> int:
        """The highest number of blocks of that name; -1 for none."""
        found = (re.search(rf"(?:^|_){blocks}_(\d{{1,4}})_", name) for name in self.weights)
        return max((int(match[1]) for match in found if match), default=-1)

    def inputs(self, module: str) -> set[int]:
        """The widths of what goes into the modules of that name: the long side of the matrix that reads it."""
        return self._sides(module, r"(?:lora_down_weight|lora_a(?:_\w+)?_weight|hada_w1_b|lokr_w2_b|weight)", 1)

    def outputs(self, module: str) -> set[int]:
        """The widths of what comes out of them."""
        return self._sides(module, r"(?:lora_up_weight|lora_b(?:_\w+)?_weight|weight)", 0)

    def _sides(self, module: str, end: str, axis: int) -> set[int]:
        pattern = re.compile(rf"{module}_{end}")
        return {
            weight.shape[axis]
            for name, weight in self.weights.items()
            if len(weight.shape) >= 2 and re.search(rf"{pattern.pattern}$", name)
        }


NAMES_OF_KINDS = (
    r"(?:^|_)(?:input_blocks|output_blocks|down_blocks|up_blocks)_\d",
    r"(?:^|_)(?:double_blocks|single_blocks|single_transformer_blocks)_\d",
    r"(?:^|_)joint_blocks_\d",
    r"(?:^|_)transformer_blocks_\d+_(?:img|txt)_(?:mlp|mod)",
    r"(?:^|_)layers_\d+_attention_",
    r"(?:^|(?<!refiner)_)blocks_\d+_(?:self|cross)_attn_",
)
"""Names of which a model has one kind: a file with several was put together from LoRAs of several models."""

ATTENTION = r"(?:attn|attention)_(?:qkv|q|k|to_[qk]|to_qkv_mlp_proj|add_[qk]_proj)|single_blocks_\d+_linear1"
"""What the attention of a block reads the picture's tokens with."""

TEXT_WIDTHS = {2048: "SDXL", 768: "SD1.5", 1024: "SD2"}
"""The width of the text that the cross-attention of a U-Net reads -> the model."""


def find_architecture(header: SafetensorsHeader) -> str | None:
    """The title of the base model that a file looks made for: `SDXL`, `Flux.1`, `SD1.5` …; None if nothing tells."""
    return _find(_named(header), header.metadata)


def find_architectures(header: SafetensorsHeader) -> tuple[str, ...]:
    """All that it looks made for: one, none if nothing tells, or several in a file that was put together from several."""
    named = _named(header)
    kinds = [part for pattern in NAMES_OF_KINDS if (part := named.only(pattern)).weights]
    if len(kinds) > 1:
        found = [_find(part, {}) for part in kinds]
        return tuple(dict.fromkeys(title for title in found if title is not None))
    widths = [title for width, title in TEXT_WIDTHS.items() if kinds and width in named.inputs("attn2_to_[kv]")]
    if len(widths) > 1:
        return tuple(widths)
    found_one = _find(named, header.metadata)
    return (found_one,) if found_one is not None else ()


def find_widths(header: SafetensorsHeader) -> frozenset[int]:
    """The widths of what goes into the attention of a model's blocks, where its names tell."""
    return frozenset(_named(header).inputs(ATTENTION))


def _named(header: SafetensorsHeader) -> NamedWeights:
    return NamedWeights({re.sub(r"[.]", "_", name).lower(): weight for name, weight in header.weights.items()}, find_parts(header.weights))


def _find(named: NamedWeights, metadata: Mapping[str, str]) -> str | None:
    said = _said(metadata)
    for rule in (_unet, _flux_like, _joint, _single_stream, _wan_like):
        if title := rule(named):
            return said if said and (title, said) in NAMED_ALIKE else title
    return said


def _unet(named: NamedWeights) -> str | None:
    """SDXL, SD1.5 and SD2: by the width of the text that the cross-attention reads, else by what only one of them has."""
    if not named.has(
        r"(?:input_blocks|output_blocks|middle_block|down_blocks|up_blocks|mid_block|conditioner_embedders|cond_stage_model)_"
    ):
        return None
    for width, title in TEXT_WIDTHS.items():
        if width in named.inputs("attn2_to_[kv]"):
            return title
    if "text_encoder_2" in named.parts or named.has(r"conditioner_embedders_1_|transformer_blocks_[1-9]\d?_attn|add_embedding|label_emb_"):
        return "SDXL"
    if named.has(r"cond_stage_model_transformer_text_model"):
        return "SD1.5"
    if named.has(r"cond_stage_model_model_transformer"):
        return "SD2"
    return None


def _flux_like(named: NamedWeights) -> str | None:
    """Double and single blocks: Flux.1, Flux.2, Chroma, Hunyuan."""
    double, single = named.highest("double_blocks"), max(named.highest("single_blocks"), named.highest("single_transformer_blocks"))
    if double < 0 and single < 0:
        return None
    if named.has(r"distilled_guidance_layer"):
        return "Chroma"
    wide = named.inputs(r"single_blocks_\d+_linear1") | named.inputs(r"double_blocks_\d+_img_attn_qkv")
    gated = 27648 in named.outputs(r"single_blocks_\d+_linear1")  # Flux.1 has 21504 at the same width
    if named.has(r"to_qkv_mlp_proj|double_stream_modulation") or single >= 40 or wide & {4096, 6144} or gated:
        return "Flux.2"
    return "Hunyuan" if named.has(r"token_refiner") or double >= 19 or single >= 38 else "Flux.1"


def _joint(named: NamedWeights) -> str | None:
    """Two streams in every block: SD3.5 and Qwen-Image."""
    if named.has(r"(?:^|_)joint_blocks_\d+_"):
        return "SD3.5"
    if named.has(r"transformer_blocks_\d+_(?:img|txt)_(?:mlp|mod)"):
        return "Qwen-Image"
    if not named.has(r"(?:^|_)transformer_blocks_\d+_attn_(?:add_[qkv]_proj|to_add_out|to_[qkv]_)"):
        return None
    widths = named.inputs(r"attn_(?:add_k_proj|add_q_proj|to_k|to_q)")
    if widths & {3072} or named.highest("transformer_blocks") > 37:
        return "Qwen-Image"
    return "SD3.5" if widths & {1536, 2432} or named.has(r"attn2_to_q") else None


def _single_stream(named: NamedWeights) -> str | None:
    """Refiners before plain layers: Z-Image and Lumina 2."""
    if not named.has(r"(?:^|_)layers_\d+_attention_|(?:noise|context)_refiner_\d+_"):
        return None
    widths = named.inputs(r"attention_(?:qkv|to_q|to_k|q|k)")
    if 3840 in widths:
        return "Z-Image"
    return "Lumina 2" if 2304 in widths else None


def _wan_like(named: NamedWeights) -> str | None:
    if named.has(r"(?:^|_)blocks_\d+_(?:self|cross)_attn_[qkvo]_(?!proj)"):
        return "Wan"
    return (
        "Anima" if named.has(r"(?:^|_)blocks_\d+_(?:self|cross)_attn_[qkv]_proj") and named.has(r"adaln_modulation|llm_adapter") else None
    )


def _said(metadata: Mapping[str, str]) -> str | None:
    """What the metadata name, once the weights have not told."""
    for key in SAID_IN:
        text = metadata.get(key, "")[:100_000].lower()
        text = "".join(re.findall(r'"(?:model_type|base_model_name)"\s*:\s*"[^"]*"', text)) if key == "ot_config" else text
        for title, pattern in SAID:
            if text and re.search(pattern, text):
                return title
    return None
