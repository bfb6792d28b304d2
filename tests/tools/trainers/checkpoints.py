"""Checkpoints of a few bytes, whose headers say what those of real ones do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.tools.trainers.safetensors_files import write_safetensors

SDXL_WEIGHTS: Mapping[str, list[int]] = {
    "model.diffusion_model.input_blocks.0.0.weight": [320, 4, 3, 3],
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": [640, 2048],
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": [49408, 768],
    "conditioner.embedders.1.model.ln_final.weight": [1280],
    "first_stage_model.decoder.conv_in.weight": [512, 4, 3, 3],
}
"""Name and shape of some weights of an SDXL checkpoint."""


def write_checkpoint(path: Path, *, without: str = "no such part") -> Path:
    return write_safetensors(path, {name: shape for name, shape in SDXL_WEIGHTS.items() if not name.startswith(without)})
