"""The rows of Stable Diffusion: SDXL, SD1.5 and SD3.5."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from tools.families.family import Family, ResolutionRule, TrainedBy
from tools.families.family_files import checkpoint, clip_g, clip_l, t5xxl

CLIP_TOKENS = 75
"""Of CLIP's 77; begin and end take two."""

T5_TOKENS = 256
"""What sd-scripts reads of a caption of SD3.5 unless it is told otherwise; ComfyUI reads more of a prompt."""

NEGATIVE_PROMPT = "lowres, bad anatomy, bad hands, extra fingers, deformed, blurry, watermark, text, cartoon, painting, plastic skin"

SDXL = Family(
    id="sdxl",
    title="SDXL",
    model_folder="checkpoints",
    workflow="sdxl.json",
    lora_node="LoraLoader",
    settings=MappingProxyType(
        {
            "steps": 28,
            "cfg": 5.0,
            "sampler": "dpmpp_2m",
            "scheduler": "karras",
            "width": 832,
            "height": 1216,
            "negative_prompt": NEGATIVE_PROMPT,
            "lora_strength": 0.8,
        }
    ),
    token_limit=CLIP_TOKENS,
    trained_by=(TrainedBy("sd-scripts", "sdxl_train_network.py", "networks.lora", refuses=("v2",), proof="run"),),
    checkpoint_parts=MappingProxyType(
        {
            "model.diffusion_model.": "U-Net",
            "conditioner.embedders.0.": "first text encoder",
            "conditioner.embedders.1.": "second text encoder",
            "first_stage_model.": "VAE",
        }
    ),
    lora_parts=MappingProxyType({"lora_unet_": "unet", "lora_te1_": "text_encoder_1", "lora_te2_": "text_encoder_2"}),
    files=(checkpoint("sd_xl_base_1.0.safetensors", r"sd[-_ ]?xl|xl[-_ .\d]|pony|illustrious|noobai"),),
)

SD15 = Family(
    id="sd15",
    title="SD1.5",
    model_folder="checkpoints",
    workflow="sd15.json",
    lora_node="LoraLoader",
    settings=MappingProxyType(
        {
            "steps": 28,
            "cfg": 7.0,
            "sampler": "dpmpp_2m",
            "scheduler": "karras",
            "width": 512,
            "height": 768,
            "negative_prompt": NEGATIVE_PROMPT,
            "lora_strength": 0.8,
        }
    ),
    token_limit=CLIP_TOKENS,
    resolution=ResolutionRule(training_side=512, bucket_multiple=64),
    trained_by=(TrainedBy("sd-scripts", "train_network.py", "networks.lora", refuses=("cache_text_encoder_outputs",), proof="run"),),
    checkpoint_parts=MappingProxyType(
        {"model.diffusion_model.": "U-Net", "cond_stage_model.": "text encoder", "first_stage_model.": "VAE"}
    ),
    lora_parts=MappingProxyType({"lora_unet_": "unet", "lora_te_": "text_encoder"}),
    files=(checkpoint("v1-5-pruned-emaonly.safetensors", r"v1[-_.]?5|sd[-_ ]?1[-_.]?5|sd15"),),
)

SD35 = Family(
    id="sd35",
    title="SD3.5 Large",
    model_folder="checkpoints",
    workflow="sd35.json",
    lora_node="LoraLoader",
    settings=MappingProxyType(
        {
            "steps": 28,
            "cfg": 4.5,
            "sampler": "euler",
            "scheduler": "sgm_uniform",
            "width": 832,
            "height": 1216,
            "negative_prompt": "",
            "lora_strength": 1.0,
        }
    ),
    token_limit=T5_TOKENS,
    resolution=ResolutionRule(picture_multiple=16, bucket_step=32),
    trained_by=(
        TrainedBy(
            "sd-scripts",
            "sd3_train_network.py",
            "networks.lora_sd3",
            components=("clip_l", "clip_g", "t5xxl"),
            options=("--weighting_scheme", "uniform"),
            proof="run",
            without_effect=("min_snr_gamma", "noise_offset", "max_token_length"),
        ),
    ),
    checkpoint_parts=MappingProxyType({"model.diffusion_model.": "transformer", "first_stage_model.": "VAE"}),
    lora_parts=MappingProxyType(
        {"lora_unet_": "unet", "lora_te1_": "text_encoder_1", "lora_te2_": "text_encoder_2", "lora_te3_": "text_encoder_3"}
    ),
    architecture="SD3.5",
    width=2432,
    files=(
        checkpoint("sd3.5_large.safetensors", r"sd[-_ ]?3[-_.]?5(?!.*medium)|sd35(?!.*medium)"),
        clip_l("2", "clip_name1"),
        clip_g("2", "clip_name2"),
        t5xxl("2", "clip_name3"),
    ),
)

SD35_MEDIUM = replace(
    SD35,
    id="sd35-medium",
    title="SD3.5 Medium",
    trained_by=(replace(SD35.trained_by[0], proof="parsed"),),
    width=1536,
    files=(checkpoint("sd3.5_medium.safetensors", r"sd[-_ ]?3[-_.]?5.*medium"), *SD35.files[1:]),
)

ROWS = (SDXL, SD15, SD35, SD35_MEDIUM)
