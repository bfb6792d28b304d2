"""What names and shapes of weights tell without any metadata: kind, rank, alpha, trained parts, base model. Shapes are those of real
models where a width decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from tests.tools.trainers.safetensors_files import lora_pair, write_safetensors
from tools.trainers.adapter_weights import find_parts, render_ranks
from tools.trainers.lora_header import LoraHeader, read_lora_header, trains_text_encoder

Shapes = dict[str, tuple[int, ...]]


def read(path: Path, weights: Shapes, metadata: dict[str, str] | None = None, **more: Any) -> LoraHeader:
    return read_lora_header(write_safetensors(path / "a.safetensors", weights, metadata, **more))


KINDS: list[tuple[str, Shapes, str | None]] = [
    ("LoRA", lora_pair("lora_unet_a", 16), "16"),
    ("LoRA", lora_pair("transformer.blocks.0.attn.to_q", 8, peft=True), "8"),
    ("LoRA", {"unet.a.attn1.processor.to_q_lora.down.weight": (4, 320), "unet.a.attn1.processor.to_q_lora.up.weight": (320, 4)}, "4"),
    ("LoRA", {"text_encoder.a.q_proj.lora_linear_layer.up.weight": (768, 4)}, "4"),
    ("LoRA", {"base_model.model.a.lora_A.default.weight": (4, 64), "base_model.model.a.lora_B.default.weight": (64, 4)}, "4"),
    ("DoRA", lora_pair("lora_unet_a", 16) | {"lora_unet_a.dora_scale": (64, 1)}, "16"),
    ("DoRA", lora_pair("unet.a", 16, peft=True) | {"unet.a.lora_magnitude_vector.weight": (64,)}, "16"),
    ("LoHa", {f"lora_unet_a.hada_w{n}_{s}": shape for n in (1, 2) for s, shape in (("a", (64, 8)), ("b", (8, 64)))}, "8"),
    ("LoKr", {"lora_unet_a.lokr_w1": (8, 8), "lora_unet_a.lokr_w2_a": (80, 6), "lora_unet_a.lokr_w2_b": (6, 40)}, "6"),
    ("LoKr", {"lycoris_a.lokr_w1": (8, 8), "lycoris_a.lokr_w2": (80, 40)}, None),
    ("OFT", {"lora_unet_a.oft_blocks": (4, 16, 16)}, None),
    ("DyLoRA", {f"lora_unet_a.{side}_list.{n}": (1, 8) for side in ("up", "down") for n in range(4)}, "4"),
    ("GLoRA", {"lora_unet_a.a1.weight": (8, 8), "lora_unet_a.b2.weight": (8, 8)}, None),
    ("IA3", {"lora_unet_a.weight": (64,), "lora_unet_a.on_input": ()}, None),
    ("full difference", {"diffusion_model.a.diff": (64, 64), "diffusion_model.a.diff_b": (64,)}, None),
    ("unknown", {"something.else": (3,)}, None),
    ("unknown", {}, None),
]


@pytest.mark.parametrize(("kind", "weights", "rank"), KINDS, ids=[f"{number} {case[0]}" for number, case in enumerate(KINDS)])
def test_kind_and_rank(tmp_path: Path, kind: str, weights: Shapes, rank: str | None) -> None:
    said = read(tmp_path, weights).weights.to_json()
    assert (said["kind"], said["rank"]) == (kind, rank)


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"ss_network_module": "networks.dylora"}, "DyLoRA"),
        ({"ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "dylora"}'}, "DyLoRA"),
        ({"ss_network_module": "networks.lora_flux"}, "LoRA"),
        ({"ss_network_module": "lycoris.kohya", "ss_network_args": "broken"}, "LoRA"),
    ],
)
def test_dylora_has_the_names_of_a_lora_and_its_metadata_tell(tmp_path: Path, metadata: dict[str, str], kind: str) -> None:
    assert read(tmp_path, lora_pair("lora_unet_a"), metadata).weights.kind == kind


def test_convolutions_have_a_rank_of_their_own(tmp_path: Path) -> None:
    weights = {**lora_pair("lora_unet_a", 16), "lora_unet_c.lora_down.weight": (32, 8, 3, 3), "lora_unet_c.lora_up.weight": (8, 32, 1, 1)}
    weights |= {"lora_unet_p.lora_down.weight": (16, 8, 1, 1), "lora_unet_p.lora_up.weight": (8, 16, 1, 1)}
    header = read(tmp_path, weights, numbers={"lora_unet_a.alpha": 8.0, "lora_unet_c.alpha": 1.5})
    said = header.weights
    assert (said.ranks, said.conv_ranks, said.alpha, said.conv_alpha, said.modules) == ({16: 2}, {32: 1}, 8.0, 1.5, 3)
    wanted = {"network_dim": 16, "network_alpha": 8, "conv_dim": 32, "conv_alpha": 1.5, "trained": "unet"}
    assert header.training_params == wanted


def test_metadata_win_over_the_weights(tmp_path: Path) -> None:
    header = read(tmp_path, lora_pair("lora_unet_a", 8), {"ss_network_dim": "128"})
    assert header.training_params["network_dim"] == 128


@pytest.mark.parametrize(("dtype", "alpha"), [("F16", 4.0), ("BF16", 4.0), ("F32", 4.0)])
def test_alpha_in_every_type(tmp_path: Path, dtype: str, alpha: float) -> None:
    header = read(tmp_path, lora_pair("lora_unet_a"), dtype=dtype, numbers={"lora_unet_a.alpha": alpha})
    assert (header.weights.alpha, header.weights.dtypes) == (alpha, (dtype,))


def test_an_alpha_that_is_cut_off_is_not_known(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a.safetensors", lora_pair("lora_unet_a"), numbers={"lora_unet_a.alpha": 4.0})
    path.write_bytes(path.read_bytes()[:-1])
    header = read_lora_header(path)
    assert (header.weights.alpha, header.file.missing_bytes, header.is_whole) == (None, 1, False)


@pytest.mark.parametrize(
    ("names", "parts", "with_text_encoder"),
    [
        (("lora_unet_a.lora_up.weight",), ("unet",), False),
        (("lora_te_a", "lora_unet_a"), ("unet", "text_encoder"), True),
        (("lora_te1_a", "lora_te2_a"), ("text_encoder_1", "text_encoder_2"), True),
        (("lora_te3_t5", "lora_unet_double_blocks_0"), ("unet", "text_encoder_3"), True),
        (("transformer.x_embedder.lora_A.weight",), ("transformer",), False),
        (("text_encoder.text_model.a.lora_A.weight", "unet.a.lora_A.weight"), ("unet", "text_encoder"), True),
        (("text_encoder_2.encoder.block.0.lora_A.weight",), ("text_encoder_2",), True),
        (("diffusion_model.layers.0.attention.qkv.lora_A.weight",), ("transformer",), False),
        (("text_encoders.clip_l.transformer.text_model.a.lora_up.weight",), ("text_encoder",), True),
        (("lycoris_text_model_encoder.lokr_w1", "lycoris_blocks_0.lokr_w1"), ("text_encoder", "transformer"), True),
        (("base_model.model.text_model.encoder.layers.0.lora_A.weight",), ("text_encoder",), True),
        (("context_embedder_texts.lora_A.weight",), (), False),
        (("transformer.text_encoder_like.lora_A.weight",), ("transformer",), False),
    ],
)
def test_trained_parts(tmp_path: Path, names: tuple[str, ...], parts: tuple[str, ...], with_text_encoder: bool) -> None:
    assert find_parts(names) == parts
    assert trains_text_encoder(read(tmp_path, dict.fromkeys(names, (4, 4)))) is with_text_encoder


ARCHITECTURES: list[tuple[str | None, Shapes]] = [
    ("SDXL", lora_pair("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 4, 2048, 640)),
    ("SDXL", lora_pair("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v", 4, 2048, 640, peft=True)),
    ("SDXL", lora_pair("lora_unet_output_blocks_0_1_transformer_blocks_9_attn1_to_q")),
    ("SDXL", lora_pair("lora_unet_input_blocks_1_0_in_layers_2") | lora_pair("lora_te2_text_model_encoder_layers_0_mlp_fc1")),
    ("SD1.5", lora_pair("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 4, 768, 320)),
    ("SD2", lora_pair("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 4, 1024, 320)),
    ("Flux.1", lora_pair("lora_unet_double_blocks_0_img_attn_qkv", 4, 3072, 9216)),
    ("Flux.1", lora_pair("lora_unet_single_blocks_37_linear1", 4, 3072, 21504)),
    ("Flux.1", lora_pair("transformer.single_transformer_blocks.0.attn.to_q", 4, 3072, 3072, peft=True)),
    ("Flux.2", lora_pair("lora_unet_single_blocks_47_linear1", 4, 6144, 36864)),
    ("Flux.2", lora_pair("diffusion_model.single_blocks.0.linear1", 4, 3072, 27648, peft=True)),
    ("Flux.2", lora_pair("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 4, 6144, 55296, peft=True)),
    ("Hunyuan", lora_pair("lora_unet_double_blocks_19_img_attn_qkv", 4, 3072, 9216)),
    (
        "Chroma",
        lora_pair("diffusion_model.distilled_guidance_layer.layers.0.in_layer") | lora_pair("diffusion_model.double_blocks.0.img_attn.qkv"),
    ),
    ("SD3.5", lora_pair("lora_unet_joint_blocks_0_x_block_attn_qkv", 4, 2432, 7296)),
    ("SD3.5", lora_pair("transformer.transformer_blocks.0.attn.add_k_proj", 4, 1536, 1536, peft=True)),
    ("Qwen-Image", lora_pair("transformer.transformer_blocks.59.attn.to_q", 4, 3072, 3072, peft=True)),
    ("Qwen-Image", lora_pair("lora_unet_transformer_blocks_0_img_mlp_net_2")),
    ("Z-Image", lora_pair("diffusion_model.layers.0.attention.to_q", 4, 3840, 3840, peft=True)),
    ("Lumina 2", lora_pair("lora_unet_layers_0_attention_qkv", 4, 2304, 3840)),
    ("Wan", lora_pair("diffusion_model.blocks.0.cross_attn.k", 4, 5120, 5120, peft=True)),
    (None, lora_pair("lora_unet_x")),
    (None, {}),
]


@pytest.mark.parametrize(("title", "weights"), ARCHITECTURES, ids=[f"{number} {case[0]}" for number, case in enumerate(ARCHITECTURES)])
def test_base_model(tmp_path: Path, title: str | None, weights: Shapes) -> None:
    assert read(tmp_path, weights).architecture == title


@pytest.mark.parametrize(
    ("title", "metadata"),
    [
        ("SDXL", {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}),
        ("SDXL", {"ss_base_model_version": "sdxl_base_v1-0"}),
        ("SD1.5", {"ss_base_model_version": "sd_v1"}),
        ("Flux.1", {"modelspec.architecture": "flux-1-dev/lora"}),
        ("Flux.2", {"ss_base_model_version": "flux2"}),
        ("Qwen-Image", {"ss_base_model_version": "qwen_image"}),
        ("Wan", {"ss_base_model_version": "wan22_14b:t2v"}),
        ("SDXL", {"ot_config": '{"model_type": "STABLE_DIFFUSION_XL_10_BASE", "optimizer": "flux"}'}),
        (None, {"ot_config": '{"optimizer": "flux"}'}),
        (None, {"modelspec.architecture": "of tomorrow"}),
    ],
)
def test_the_metadata_tell_where_the_names_do_not(tmp_path: Path, title: str | None, metadata: dict[str, str]) -> None:
    assert read(tmp_path, lora_pair("lora_unet_x"), metadata).architecture == title


def test_the_names_win_but_where_two_base_models_share_them(tmp_path: Path) -> None:
    flux = lora_pair("lora_unet_double_blocks_0_img_attn_qkv")
    assert read(tmp_path, flux, {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}).architecture == "Flux.1"
    assert read(tmp_path, flux, {"modelspec.architecture": "chroma/lora"}).architecture == "Chroma"


@pytest.mark.parametrize(
    ("weights", "what"),
    [
        (
            {
                "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
                "first_stage_model.a.weight": (1,),
            },
            "is a checkpoint (SDXL), not a LoRA",
        ),
        ({"double_blocks.0.img_attn.qkv.weight": (9216, 3072), "img_in.weight": (3072, 64)}, "is a checkpoint (Flux.1), not a LoRA"),
        ({"conditioner.embedders.1.model.a.weight": (4,)}, "is a checkpoint (SDXL), not a LoRA"),
        ({"layers.0.attention.qkv.weight": (11520, 3840)}, "is a checkpoint (Z-Image), not a LoRA"),
        ({"decoder.conv_in.weight": (512, 4, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3)}, "is a VAE, not a LoRA"),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (4, 4)}, "is a text encoder, not a LoRA"),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (4, 4)}, "is a text encoder, not a LoRA"),
        ({"control_model.input_blocks.0.0.weight": (4, 4)}, "is a ControlNet, not a LoRA"),
        ({"clip_l": (8, 768), "clip_g": (8, 1280)}, "is an embedding, not a LoRA"),
    ],
)
def test_what_is_no_adapter_is_refused_by_its_name(tmp_path: Path, weights: Shapes, what: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, weights)
    assert str(caught.value) == f"{tmp_path / 'a.safetensors'}: {what} (give the LoRA's .safetensors file)"


@pytest.mark.parametrize(
    ("ranks", "text"), [({}, ""), ({16: 3}, "16"), ({32: 1, 16: 9}, "16 and 32"), (dict.fromkeys(range(1, 30), 1), "1 to 29")]
)
def test_ranks_in_words(ranks: dict[int, int], text: str) -> None:
    assert render_ranks(ranks) == text
