"""What is no base model of the family is told from the beginning of the file, in words that say what it is."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.tools.trainers.checkpoints import SDXL_WEIGHTS, write_checkpoint
from tests.tools.trainers.safetensors_files import write_safetensors
from tools.families.families import SDXL, find_family
from tools.trainers.base_model import find_base_fault

FLUX = {"double_blocks.0.img_attn.qkv.weight": [9216, 3072], "single_blocks.0.linear1.weight": [21504, 3072]}
SD15 = {
    "model.diffusion_model.input_blocks.0.0.weight": [320, 4, 3, 3],
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 768],
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": [49408, 768],
    "first_stage_model.decoder.conv_in.weight": [512, 4, 3, 3],
}
INPAINTING = {**SDXL_WEIGHTS, "model.diffusion_model.input_blocks.0.0.weight": [320, 9, 3, 3]}
REFINER = {name.replace("embedders.1", "embedders.0"): shape for name, shape in SDXL_WEIGHTS.items() if "embedders.0" not in name}


def said_of(path: Path) -> str:
    fault = find_base_fault(str(path), SDXL)
    return "" if fault is None else str(fault).removeprefix(f"{path}: ")


def test_a_checkpoint_of_the_family(tmp_path: Path) -> None:
    assert said_of(write_checkpoint(tmp_path / "a.safetensors")) == ""


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is an empty file"),
        (b"<!DOCTYPE html><html><title>Login</title>", "is a web page (HTML), not a model file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 6938078334\n", "is a Git LFS pointer, not the file itself"),
        (b"\x80\x02}q\x00(X", "is a pickle (.ckpt, .pt), not safetensors"),
        (b"\0" * 4096, "holds nothing but zeros at its beginning"),
        (b"base", 'is a short text ("base"), not a model file'),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, raw: bytes, said: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(raw)
    assert said_of(tmp_path / "a.safetensors").startswith(said)


def test_a_pickle_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    assert said_of(tmp_path / "a.ckpt").startswith(
        "is a pickle or ZIP archive (.ckpt, .pt, .zip), not safetensors (convert it to .safetensors)"
    )


def test_a_checkpoint_that_is_cut_off(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.safetensors")
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.truncate(size - 1000)
    assert said_of(path) == f"is cut off: 1,000 of {size:,} bytes are missing (download it again)"


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"lora_unet_a.lora_down.weight": [4, 8], "lora_unet_a.lora_up.weight": [8, 4]}, "is a LoRA, not a base model"),
        ({"lora_unet_a.hada_w1_a": [4, 8], "lora_unet_a.hada_w1_b": [8, 4]}, "is a LoHa, not a base model"),
        ({"decoder.conv_in.weight": [512, 4, 3, 3], "post_quant_conv.weight": [4, 4, 1, 1]}, "is a VAE, not a base model"),
        (FLUX, "is a model of Flux.1, not of SDXL"),
        (SD15, "is a model of SD1.5, not of SDXL"),
        (REFINER, "holds no second text encoder: it is not a whole checkpoint of SDXL"),
        (INPAINTING, "takes 9 channels, not 4: a model for inpainting or editing"),
        ({"some.thing": [4]}, "holds no weights of a model that is known"),
    ],
    ids=["LoRA", "LoHa", "VAE", "Flux", "SD1.5", "refiner", "inpainting", "unknown"],
)
def test_another_kind_of_model(tmp_path: Path, weights: dict[str, list[int]], said: str) -> None:
    assert said_of(write_safetensors(tmp_path / "a.safetensors", weights)) == f"{said} (give --base-model a checkpoint of SDXL)"


@pytest.mark.parametrize(
    ("without", "part"),
    [
        ("model.diffusion_model.", "U-Net"),
        ("conditioner.embedders.0.", "first text encoder"),
        ("conditioner.embedders.1.", "second text encoder"),
        ("first_stage_model.", "VAE"),
    ],
)
def test_a_part_that_is_missing(tmp_path: Path, without: str, part: str) -> None:
    assert f"holds no {part}: it is not a whole checkpoint of SDXL" in said_of(
        write_checkpoint(tmp_path / "a.safetensors", without=without)
    )


FLUX2 = {"double_blocks.0.img_attn.qkv.weight": [9216, 3072], "single_blocks.0.linear1.weight": [27648, 3072]}
CHROMA = {**FLUX, "distilled_guidance_layer.in_proj.weight": [5120, 64]}
TRANSFORMERS: list[tuple[str, dict[str, list[int]], str]] = [
    ("flux", FLUX, ""),
    ("flux", CHROMA, "is a model of Chroma, not of Flux.1"),
    ("chroma", CHROMA, ""),
    ("flux2-klein", FLUX2, ""),
    ("flux2", FLUX2, "is a model of Flux.2 klein 4B, not of Flux.2 dev"),
    ("qwen-image", FLUX, "is a model of Flux.1, not of Qwen-Image"),
    ("qwen-image", {"some.thing": [4]}, "holds no weights of a model that is known"),
    ("sd15", SD15, ""),
    (
        "sd15",
        {name: shape for name, shape in SD15.items() if "first_stage" not in name},
        "holds no VAE: it is not a whole checkpoint of SD1.5",
    ),
]


@pytest.mark.parametrize(("family", "weights", "said"), TRANSFORMERS, ids=[f"{case[0]}-{n}" for n, case in enumerate(TRANSFORMERS)])
def test_other_families_and_their_sizes(tmp_path: Path, family: str, weights: dict[str, list[int]], said: str) -> None:
    row = find_family(family)
    fault = find_base_fault(str(write_safetensors(tmp_path / "a.safetensors", weights)), row)
    assert (fault.why if fault is not None else "") == said


def test_a_folder_of_diffusers(tmp_path: Path) -> None:
    assert said_of(tmp_path).startswith("is a folder without model_index.json: no model of diffusers")
    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": "X", "unet": ["diffusers", "U"], "feature_extractor": [None, None]})
    )
    assert said_of(tmp_path) == "lacks the folder unet, which its model_index.json names (download it again)"
    (tmp_path / "unet").mkdir()
    assert said_of(tmp_path) == ""


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert said_of(tmp_path / "no.safetensors") == "no such file (give --base-model a checkpoint of SDXL)"
