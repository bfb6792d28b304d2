"""For which model family a LoRA or a base model is made. Shapes are those of the real models where a width decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.trainers.safetensors_files import lora_pair, write_safetensors
from tools.families.families import find_family
from tools.trainers.base_model import find_base_fault
from tools.trainers.recognition import recognise, recognise_metadata
from tools.trainers.safetensors_header import read_safetensors_header

Shapes = dict[str, tuple[int, ...]]

SDXL_LORA = lora_pair("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 4, 2048, 640)
SD15_LORA = lora_pair("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 4, 768, 320)
FLUX_LORA = lora_pair("lora_unet_double_blocks_0_img_attn_qkv", 4, 3072, 9216)
LORAS: list[tuple[tuple[str, ...], Shapes]] = [
    (("sdxl",), SDXL_LORA),
    (("sd15",), SD15_LORA),
    (("sd35",), lora_pair("lora_unet_joint_blocks_0_x_block_attn_qkv", 4, 2432, 7296)),
    (("sd35-medium",), lora_pair("transformer.transformer_blocks.0.attn.add_k_proj", 4, 1536, 1536, peft=True)),
    (("flux",), FLUX_LORA),
    (("flux",), lora_pair("transformer.single_transformer_blocks.0.attn.to_q", 4, 3072, 3072, peft=True)),
    (("flux2",), lora_pair("diffusion_model.double_blocks.0.img_attn.qkv", 4, 6144, 18432, peft=True)),
    (("flux2-klein",), lora_pair("diffusion_model.single_blocks.0.linear1", 4, 3072, 27648, peft=True)),
    (("flux2-klein-9b",), lora_pair("diffusion_model.double_blocks.0.img_attn.qkv", 4, 4096, 12288, peft=True)),
    (("chroma",), {**FLUX_LORA, **lora_pair("lora_unet_distilled_guidance_layer_layers_0_in_layer", 4, 5120, 5120)}),
    (("qwen-image", "qwen-image-2512"), lora_pair("transformer.transformer_blocks.3.img_mlp.net.2", 4, 12288, 3072, peft=True)),
    (("z-image", "z-image-turbo"), lora_pair("diffusion_model.layers.0.attention.to_q", 4, 3840, 3840, peft=True)),
    (("wan22",), lora_pair("diffusion_model.blocks.0.cross_attn.k", 4, 5120, 5120, peft=True)),
    ((), lora_pair("lora_unet_layers_0_attention_qkv", 4, 2304, 3840)),  # Lumina 2: known, and no row of the table
    ((), lora_pair("lora_unet_nobody_knows_me")),
    ((), SDXL_LORA | FLUX_LORA),
    ((), SDXL_LORA | SD15_LORA),
    (("flux2", "flux2-klein", "flux2-klein-9b"), lora_pair("diffusion_model.double_stream_modulation_img.lin", 4, 64, 64, peft=True)),
    (("sd35", "sd35-medium"), lora_pair("lora_unet_joint_blocks_0_x_block_attn_qkv", 4, 64, 192)),  # shrunken: the width tells nothing
]


@pytest.mark.parametrize(("ids", "weights"), LORAS, ids=[f"{number} {'+'.join(case[0])}" for number, case in enumerate(LORAS)])
def test_the_weights_tell(tmp_path: Path, ids: tuple[str, ...], weights: Shapes) -> None:
    if 64 in {side for shape in weights.values() for side in shape}:
        weights = weights | ({"diffusion_model.double_blocks.0.img_mlp.0.lora_A.weight": (4, 64)} if "flux2" in ids else {})
    header = read_safetensors_header(write_safetensors(tmp_path / "a.safetensors", weights), "")
    assert tuple(row.id for row in recognise(header).families) == ids


@pytest.mark.parametrize(
    ("weights", "title"),
    [
        (SDXL_LORA | FLUX_LORA, "SDXL and Flux.1"),
        (SDXL_LORA | SD15_LORA, "SDXL and SD1.5"),
        (lora_pair("lora_unet_layers_0_attention_qkv", 4, 2304, 3840), "Lumina 2"),
        (FLUX_LORA, "Flux.1"),
        # a refiner of text tokens has names of another kind inside
        (
            lora_pair("lora_unet_double_blocks_19_img_attn_qkv", 4, 3072, 9216)
            | lora_pair("lora_unet_txt_in_individual_token_refiner_blocks_0_self_attn_q", 4, 3072, 9216),
            "Hunyuan",
        ),
    ],
)
def test_what_it_is_called(tmp_path: Path, weights: Shapes, title: str) -> None:
    made_for = recognise(read_safetensors_header(write_safetensors(tmp_path / "a.safetensors", weights), ""))
    assert (made_for.is_known, made_for.title) == (True, title)


@pytest.mark.parametrize(
    ("metadata", "ids"),
    [
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, ("sdxl",)),
        ({"ss_base_model_version": "flux1"}, ("flux",)),
        ({"ss_base_model_version": "flux2_klein_4b"}, ("flux2-klein",)),
        ({"ss_base_model_version": "zimage"}, ("z-image", "z-image-turbo")),
        ({"modelspec.architecture": "qwen-image-2.1/lora"}, ("qwen-image-2.1",)),
        ({"ss_base_model_version": "wan22_14b"}, ("wan22",)),
        ({"ss_base_model_version": "of tomorrow"}, ()),
        ({}, ()),
    ],
)
def test_metadata_alone_tell_of_a_file_on_a_server(metadata: dict[str, str], ids: tuple[str, ...]) -> None:
    assert tuple(row.id for row in recognise_metadata("a.safetensors", metadata).families) == ids


def test_a_base_model_of_another_size_is_no_base_of_the_family(tmp_path: Path) -> None:
    klein = {"double_blocks.0.img_attn.qkv.weight": (12288, 4096), "double_stream_modulation_img.lin.weight": (4, 4096)}
    path = write_safetensors(tmp_path / "a.safetensors", klein)
    assert find_base_fault(str(path), find_family("flux2-klein-9b")) is None
    assert "is a model of Flux.2 klein 9B, not of Flux.2 dev" in str(find_base_fault(str(path), find_family("flux2")))
