"""The rows of Qwen-Image, Z-Image and Wan, whose text encoders are language models that read long captions."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from tools.families.family import Family, ResolutionRule, TrainedBy
from tools.families.family_files import MODELS, flux_vae, model, qwen3_4b, text_encoder, vae

QWEN_TOKENS = 1024
"""What musubi-tuner reads of a caption of Qwen-Image."""

READ_TOKENS = 512
"""What the trainers read of a caption of Z-Image and Wan; ComfyUI reads more of a prompt."""

ALONE = MappingProxyType({"lora_unet_": "unet"})

QWEN_IMAGE = Family(
    id="qwen-image",
    title="Qwen-Image",
    model_folder=MODELS,
    workflow="qwen-image.json",
    lora_node="LoraLoaderModelOnly",
    settings=MappingProxyType(
        {
            "steps": 20,
            "cfg": 2.5,
            "sampler": "euler",
            "scheduler": "simple",
            "width": 1056,
            "height": 1584,
            "negative_prompt": "",
            "lora_strength": 1.0,
        }
    ),
    token_limit=QWEN_TOKENS,
    resolution=ResolutionRule(picture_multiple=16, bucket_step=32),
    trained_by=(
        TrainedBy(
            "musubi-tuner",
            "qwen_image_train_network.py",
            "networks.lora_qwen_image",
            name="original",
            components=("qwen_vl", "qwen_image_vae"),
            proof="parsed",
        ),
        TrainedBy("ai-toolkit", "run.py", "", name="qwen_image", proof="parsed"),
    ),
    lora_parts=ALONE,
    width=3072,
    files=(
        model("diffusion model", "qwen_image_fp8_e4m3fn.safetensors", r"qwen[-_ ]?image(?!.*(?:2512|2[._]1|edit|layered|vae|pe))"),
        text_encoder("Qwen2.5-VL 7B", "qwen_2.5_vl_7b_fp8_scaled.safetensors", r"qwen[-_ ]?2[._]?5[-_ ]?vl"),
        vae("qwen_image_vae.safetensors", r"qwen[-_ ]?image(?!.*(?:2[._]1|layered)).*vae"),
    ),
)

QWEN_IMAGE_2512 = replace(
    QWEN_IMAGE,
    id="qwen-image-2512",
    title="Qwen-Image 2512",
    settings=MappingProxyType({**QWEN_IMAGE.settings, "steps": 50, "cfg": 4.0}),
    architecture="Qwen-Image",
    files=(
        model("diffusion model", "qwen_image_2512_fp8_e4m3fn.safetensors", r"qwen[-_ ]?image[-_ ]?2512"),
        *QWEN_IMAGE.files[1:],
    ),
)

QWEN_IMAGE_21 = replace(
    QWEN_IMAGE,
    id="qwen-image-2.1",
    title="Qwen-Image 2.1",
    workflow="qwen-image-2.1.json",
    settings=MappingProxyType({**QWEN_IMAGE.settings, "steps": 25, "cfg": 1.0, "width": 832, "height": 1216}),
    resolution=ResolutionRule(picture_multiple=32, bucket_step=32),
    trained_by=(),
    width=None,
    files=(
        model("diffusion model", "qwen_image_2.1_bf16.safetensors", r"qwen[-_ ]?image[-_ ]?2[._]1(?!.*(?:vae|pe))"),
        text_encoder("Qwen3-VL 8B", "qwen3vl_8b_bf16.safetensors", r"qwen[-_ ]?3[-_ ]?vl[-_ ]?8b"),
        vae("qwen_image_2.1_vae_bf16.safetensors", r"qwen[-_ ]?image[-_ ]?2[._]1.*vae"),
    ),
)
"""Another model than Qwen-Image, of a ComfyUI later than 0.33.0."""

Z_IMAGE = Family(
    id="z-image",
    title="Z-Image",
    model_folder=MODELS,
    workflow="z-image.json",
    lora_node="LoraLoaderModelOnly",
    settings=MappingProxyType(
        {
            "steps": 25,
            "cfg": 4.0,
            "sampler": "res_multistep",
            "scheduler": "simple",
            "width": 832,
            "height": 1216,
            "negative_prompt": "",
            "lora_strength": 1.0,
        }
    ),
    token_limit=READ_TOKENS,
    resolution=ResolutionRule(picture_multiple=16, bucket_step=16, bucket_multiple=16),
    trained_by=(
        TrainedBy("musubi-tuner", "zimage_train_network.py", "networks.lora_zimage", components=("qwen3_4b", "ae"), proof="run"),
        TrainedBy("ai-toolkit", "run.py", "", name="zimage", proof="parsed"),
    ),
    lora_parts=ALONE,
    width=3840,
    files=(
        model("diffusion model", "z_image_bf16.safetensors", r"z[-_ ]?image(?!.*turbo|.*vae)"),
        qwen3_4b(),
        flux_vae(),
    ),
)

Z_IMAGE_TURBO = replace(
    Z_IMAGE,
    id="z-image-turbo",
    title="Z-Image Turbo",
    workflow="z-image-turbo.json",
    settings=MappingProxyType(
        {
            "steps": 8,
            "cfg": 1.0,
            "sampler": "res_multistep",
            "scheduler": "simple",
            "width": 832,
            "height": 1216,
            "lora_strength": 1.0,
        }
    ),
    trained_by=(
        Z_IMAGE.trained_by[0],
        replace(
            Z_IMAGE.trained_by[1],
            options=("model.assistant_lora_path=ostris/zimage_turbo_training_adapter/zimage_turbo_training_adapter_v2.safetensors",),
        ),
    ),
    architecture="Z-Image",
    files=(
        model("diffusion model", "z_image_turbo_bf16.safetensors", r"z[-_ ]?image.*turbo"),
        *Z_IMAGE.files[1:],
    ),
)

WAN22 = Family(
    id="wan22",
    title="Wan 2.2",
    model_folder=MODELS,
    workflow="wan22.json",
    lora_node="LoraLoaderModelOnly",
    settings=MappingProxyType(
        {
            "steps": 20,
            "cfg": 3.5,
            "sampler": "euler",
            "scheduler": "simple",
            "width": 832,
            "height": 1216,
            "negative_prompt": "overexposed, static, blurry details, subtitles, painting, worst quality, ugly, deformed, extra fingers",
            "lora_strength": 1.0,
        }
    ),
    token_limit=READ_TOKENS,
    resolution=ResolutionRule(picture_multiple=16, bucket_step=16, bucket_multiple=16),
    trained_by=(
        TrainedBy(
            "musubi-tuner",
            "wan_train_network.py",
            "networks.lora_wan",
            name="t2v-A14B",
            components=("umt5", "qwen_image_vae"),
            proof="parsed",
        ),
        TrainedBy("ai-toolkit", "run.py", "", name="wan22_14b", proof="parsed"),
    ),
    lora_parts=ALONE,
    architecture="Wan",
    width=5120,
    files=(
        model("model for high noise", "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", r"wan.*high", "high_noise"),
        model("model for low noise", "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors", r"wan.*low", "low_noise", node="2"),
        text_encoder("UMT5-XXL", "umt5_xxl_fp8_e4m3fn_scaled.safetensors", r"umt5", "3"),
        vae("wan_2.1_vae.safetensors", r"wan.*2[._]?1.*vae|wan(?!.*2[._]?2).*vae", "4"),
    ),
)
"""Text to picture: one frame, from two models that share the steps."""

ROWS = (QWEN_IMAGE, QWEN_IMAGE_2512, QWEN_IMAGE_21, Z_IMAGE, Z_IMAGE_TURBO, WAN22)
