"""A text encoder or VAE is known from its header, and what it is instead is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lifeos.errors import InputError
from tests.tools.trainers.safetensors_files import write_safetensors
from tools.families.families import FAMILIES, PROOFS, SDXL, TrainedBy
from tools.trainers.components import COMPONENTS, assign_components, find_component, find_component_fault, find_component_faults

LAYER = "text_model.encoder.layers.0.self_attn.q_proj.weight"
CLIP_L = {"text_model.embeddings.token_embedding.weight": [49408, 768], LAYER: [768, 768]}
CLIP_G = {"text_model.embeddings.token_embedding.weight": [49408, 1280], LAYER: [1280, 1280], "text_projection.weight": [1280, 1280]}
T5 = {"shared.weight": [32128, 4096], "encoder.block.0.layer.0.SelfAttention.q.weight": [4096, 4096]}
UMT5 = {"shared.weight": [256384, 4096], "encoder.block.0.layer.0.SelfAttention.q.weight": [4096, 4096]}
AE = {"decoder.conv_in.weight": [512, 16, 3, 3], "decoder.mid.block_1.conv1.weight": [512, 512, 3, 3]}
VIDEO_VAE = {"decoder.conv1.weight": [384, 16, 3, 3, 3]}
QWEN3 = {"model.layers.0.self_attn.q_proj.weight": [4096, 2560], "model.layers.0.self_attn.q_norm.weight": [128]}
QWEN_VL = {"model.layers.0.self_attn.q_proj.weight": [3584, 3584], "visual.blocks.0.norm1.weight": [1280]}
SOUND = {
    "clip_l": CLIP_L,
    "clip_g": CLIP_G,
    "t5xxl": T5,
    "umt5": UMT5,
    "ae": AE,
    "flux2_ae": {"decoder.conv_in.weight": [512, 32, 3, 3]},
    "qwen_image_vae": VIDEO_VAE,
    "qwen3_4b": QWEN3,
    "qwen3_8b": {"model.layers.0.self_attn.q_proj.weight": [4096, 4096], "model.layers.0.self_attn.q_norm.weight": [128]},
    "qwen_vl": QWEN_VL,
    "mistral": {"language_model.model.layers.0.self_attn.q_proj.weight": [4096, 5120]},
}
FLUX_LIKE = TrainedBy("sd-scripts", "x.py", "y", components=("clip_l", "t5xxl", "ae"))


def test_every_component_is_itself_and_no_other(tmp_path: Path) -> None:
    assert set(SOUND) == {row.id for row in COMPONENTS}
    for component_id, weights in SOUND.items():
        path = str(write_safetensors(tmp_path / "a.safetensors", weights))
        assert [row.id for row in COMPONENTS if find_component_fault(path, row) is None] == [component_id]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"<!DOCTYPE html><html>", "is a web page (HTML), not a model file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the file itself"),
        (b"", "is an empty file"),
        (b"\x80\x02}q\x00(X", "is a pickle (.ckpt, .pt), not safetensors"),
    ],
)
def test_a_file_that_is_no_model(tmp_path: Path, raw: bytes, said: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(raw)
    assert said in str(find_component_fault(str(tmp_path / "a.safetensors"), find_component("clip_l")))


def test_another_file_is_named(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a.safetensors", CLIP_G)
    said = f"{path}: is the text encoder CLIP-G, not the text encoder CLIP-L (give --clip-l the text encoder CLIP-L)"
    assert str(find_component_fault(str(path), find_component("clip_l"))) == said
    other = write_safetensors(tmp_path / "b.safetensors", {"lora_unet_a.lora_down.weight": [4, 8]})
    assert "is not the VAE of Flux.1 (ae.safetensors): no weights of its names" in str(
        find_component_fault(str(other), find_component("ae"))
    )
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.truncate(size - 10)
    assert "is cut off: 10 of" in str(find_component_fault(str(path), find_component("clip_g")))
    assert "no such file" in str(find_component_fault(str(tmp_path / "no"), find_component("ae")))


def test_what_is_published_as_a_pickle_or_in_shards(tmp_path: Path) -> None:
    (tmp_path / "umt5.pth").write_bytes(b"PK\x03\x04rest")
    assert find_component_fault(str(tmp_path / "umt5.pth"), find_component("umt5")) is None
    shard = write_safetensors(tmp_path / "model-00002-of-00003.safetensors", {"model.layers.9.self_attn.q_proj.weight": [4096, 2560]})
    assert find_component_fault(str(shard), find_component("qwen3_4b")) is None
    assert find_component_fault(str(shard), find_component("qwen3_8b")) is not None


def test_missing_ones_are_named_and_those_inside_the_base_model_are_not(tmp_path: Path) -> None:
    base = write_safetensors(tmp_path / "base.safetensors", {"text_encoders.t5xxl.transformer.shared.weight": [32128, 4096]})
    clip = write_safetensors(tmp_path / "clip.safetensors", CLIP_L)
    family = replace(SDXL, title="Flux.1", trained_by=(FLUX_LIKE,))
    found = find_component_faults({"clip_l": str(clip)}, str(base), family, FLUX_LIKE)
    why = "--vae: is not given: sd-scripts needs the VAE of Flux.1 (ae.safetensors) for Flux.1 (give --vae its file)"
    assert [str(each) for each in found] == [why]
    with pytest.raises(InputError, match=r"--clip-g: sd-scripts reads no such file for Flux.1 \(leave it out: it takes --clip-l, --t5xxl"):
        assign_components({"--clip-g": "x"}, family, FLUX_LIKE)
    assert assign_components({"--vae": "x"}, family, FLUX_LIKE) == {"ae": "x"}


def test_the_rows_of_families_name_components_that_exist() -> None:
    """And no two under one flag, since a command can give one file to each."""
    flags = {row.id: row.flag for row in COMPONENTS}
    for family in FAMILIES:
        for how in family.trained_by:
            wanted = [flags[each] for each in (*how.components, *how.optional)]
            assert len(set(wanted)) == len(wanted), (family.id, how.trainer)
            assert how.proof in PROOFS
