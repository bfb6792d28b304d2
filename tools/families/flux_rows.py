"""The rows of Flux.1, Flux.2 and Chroma, which is made from Flux.1."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from tools.families.family import Family, ResolutionRule, TrainedBy
from tools.families.family_files import clip_l, flux_vae, model, qwen3_4b, t5xxl, text_encoder, vae

READ_TOKENS = 512
"""What the trainers read of a caption; ComfyUI reads more of a prompt."""

FLOW = ("--model_prediction_type", "raw")
"""What sd-scripts is told for these models: its default interprets what they predict otherwise."""
NOISE = ("min_snr_gamma", "noise_offset", "max_token_length")
"""What sd-scripts does not read for models of flows: their losses and their noise are computed without it."""

ALONE = MappingProxyType({"lora_unet_": "unet"})

FLUX = Family(
    id="flux",
    title="Flux.1",
    model_folder="diffusion_models",
    workflow="flux.json",
    lora_node="LoraLoader",
    settings=MappingProxyType(
        {
            "steps": 20,
            "guidance": 3.5,
            "sampler": "euler",
            "scheduler": "simple",
            "width": 832,
            "height": 1216,
            "lora_strength": 1.0,
        }
    ),
    token_limit=READ_TOKENS,
    resolution=ResolutionRule(picture_multiple=16, bucket_step=32),
    trained_by=(
        TrainedBy(
            "sd-scripts",
            "flux_train_network.py",
            "networks.lora_flux",
            name="flux",
            components=("clip_l", "t5xxl", "ae"),
            options=(*FLOW, "--guidance_scale", "1.0", "--timestep_sampling", "flux_shift"),
            without_effect=NOISE,
            bucket_multiple=64,
            proof="run",
        ),
        TrainedBy("ai-toolkit", "run.py", "", name="flux", proof="run"),
    ),
    lora_parts=MappingProxyType({"lora_unet_": "unet", "lora_te1_": "text_encoder_1", "lora_te3_": "text_encoder_3"}),
    width=3072,
    files=(
        model("diffusion model", "flux1-dev.safetensors", r"flux(?![-_. ]?[23]|.*kontext|.*fill|.*vae)"),
        clip_l("2", "clip_name1"),
        t5xxl("2", "clip_name2"),
        flux_vae(),
    ),
)

CHROMA = Family(
    id="chroma",
    title="Chroma",
    model_folder="diffusion_models",
    workflow="chroma.json",
    lora_node="LoraLoaderModelOnly",
    settings=MappingProxyType(
        {
            "steps": 26,
            "cfg": 3.5,
            "sampler": "euler",
            "scheduler": "beta",
            "width": 832,
            "height": 1216,
            "negative_prompt": "low quality, blurry, cartoon, drawing, flat colors, watermark, text",
            "lora_strength": 1.0,
        }
    ),
    token_limit=READ_TOKENS,
    resolution=ResolutionRule(picture_multiple=16, bucket_step=32),
    trained_by=(
        TrainedBy(
            "sd-scripts",
            "flux_train_network.py",
            "networks.lora_flux",
            name="chroma",
            components=("t5xxl", "ae"),
            options=(*FLOW, "--guidance_scale", "0.0", "--timestep_sampling", "sigmoid", "--apply_t5_attn_mask"),
            without_effect=(*NOISE, "train_text_encoder", "text_encoder_learning_rate"),
            bucket_multiple=64,
            proof="run",
        ),
        TrainedBy("ai-toolkit", "run.py", "", name="chroma", proof="parsed"),
    ),
    lora_parts=ALONE,
    width=3072,
    files=(
        model("diffusion model", "Chroma1-HD.safetensors", r"chroma(?!.*radiance)"),
        t5xxl("2", "clip_name"),
        flux_vae(),
    ),
)

FLUX2 = Family(
    id="flux2",
    title="Flux.2 dev",
    model_folder="diffusion_models",
    workflow="flux2.json",
    lora_node="LoraLoaderModelOnly",
    settings=MappingProxyType({"steps": 20, "guidance": 4.0, "sampler": "euler", "width": 832, "height": 1216, "lora_strength": 1.0}),
    token_limit=READ_TOKENS,
    resolution=ResolutionRule(picture_multiple=16, bucket_step=16, bucket_multiple=16),
    trained_by=(
        TrainedBy(
            "musubi-tuner",
            "flux_2_train_network.py",
            "networks.lora_flux_2",
            name="dev",
            components=("mistral", "flux2_ae"),
            proof="parsed",
        ),
        TrainedBy("ai-toolkit", "run.py", "", name="flux2", optional=("flux2_ae",), proof="parsed"),
    ),
    lora_parts=ALONE,
    architecture="Flux.2",
    width=6144,
    files=(
        model("diffusion model", "flux2_dev_fp8mixed.safetensors", r"flux[-_. ]?2(?!.*klein|.*vae)"),
        text_encoder("Mistral 3 Small", "mistral_3_small_flux2_bf16.safetensors", r"mistral"),
        vae("flux2-vae.safetensors", r"flux[-_. ]?2.*vae|full_encoder_small_decoder"),
    ),
)

FLUX2_KLEIN = replace(
    FLUX2,
    id="flux2-klein",
    title="Flux.2 klein 4B",
    workflow="flux2-klein.json",
    settings=MappingProxyType(
        {
            "steps": 20,
            "cfg": 5.0,
            "sampler": "euler",
            "width": 832,
            "height": 1216,
            "negative_prompt": "",
            "lora_strength": 1.0,
        }
    ),
    trained_by=(
        replace(FLUX2.trained_by[0], name="klein-base-4b", components=("qwen3_4b", "flux2_ae")),
        TrainedBy("ai-toolkit", "run.py", "", name="flux2_klein_4b", optional=("flux2_ae",), proof="parsed"),
    ),
    width=3072,
    files=(
        model("diffusion model", "flux-2-klein-base-4b.safetensors", r"klein(?!.*9b)"),
        qwen3_4b(),
        FLUX2.files[2],
    ),
)
"""The model before its distillation to four steps: LoRAs are trained on it."""

FLUX2_KLEIN_9B = replace(
    FLUX2_KLEIN,
    id="flux2-klein-9b",
    title="Flux.2 klein 9B",
    trained_by=(
        replace(FLUX2.trained_by[0], name="klein-base-9b", components=("qwen3_8b", "flux2_ae")),
        TrainedBy("ai-toolkit", "run.py", "", name="flux2_klein_9b", optional=("flux2_ae",), proof="parsed"),
    ),
    width=4096,
    files=(
        model("diffusion model", "flux-2-klein-base-9b.safetensors", r"klein.*9b"),
        text_encoder("Qwen3 8B", "qwen_3_8b.safetensors", r"qwen[-_ ]?3[-_ ]?8b"),
        FLUX2.files[2],
    ),
)

ROWS = (FLUX, FLUX2, FLUX2_KLEIN, FLUX2_KLEIN_9B, CHROMA)
