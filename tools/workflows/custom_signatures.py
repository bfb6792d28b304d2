"""Signatures of custom nodes that many workflows use, for a run without a server: inputs and outputs as their own sources declare them.

Written briefly: an input is `name:TYPE`, `name?:TYPE` where it is optional, `name:TEXT` a text box, `name:SEED` a seed; an output is
`TYPE` or `TYPE=NAME`; `~` is a space in a name. The demo server tells its clients the same (`tools/stand_in/custom_classes.py`). A server's
own declaration wins over what stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_LORA_STACK = " ".join(f"switch_{row}:COMBO lora_name_{row}:COMBO model_weight_{row}:FLOAT clip_weight_{row}:FLOAT" for row in (1, 2, 3))
_STACKER = " ".join(f"lora_name_{row}?:COMBO lora_wt_{row}?:FLOAT model_str_{row}?:FLOAT clip_str_{row}?:FLOAT" for row in (1, 2, 3, 4, 5))
_RGTHREE_STACK = " ".join(f"lora_{row:02}:COMBO strength_{row:02}:FLOAT" for row in (1, 2, 3, 4))
_CONTEXT = (
    "base_ctx?:RGTHREE_CONTEXT model?:MODEL clip?:CLIP vae?:VAE positive?:CONDITIONING negative?:CONDITIONING latent?:LATENT images?:IMAGE"
    " seed?:INT"
)
_CONTEXT_OUT = (
    "RGTHREE_CONTEXT=CONTEXT MODEL CLIP VAE CONDITIONING=POSITIVE CONDITIONING=NEGATIVE LATENT IMAGE INT=SEED"
)  # fmt: skip
_BIG_CONTEXT = (
    f"{_CONTEXT} steps?:INT step_refiner?:INT cfg?:FLOAT ckpt_name?:COMBO sampler?:COMBO scheduler?:COMBO clip_width?:INT clip_height?:INT"
    " text_pos_g?:STRING text_pos_l?:STRING text_neg_g?:STRING text_neg_l?:STRING mask?:MASK control_net?:CONTROL_NET"
)
_BIG_CONTEXT_OUT = (
    f"{_CONTEXT_OUT} INT=STEPS INT=STEP_REFINER FLOAT=CFG COMBO=CKPT_NAME COMBO=SAMPLER COMBO=SCHEDULER INT=CLIP_WIDTH INT=CLIP_HEIGHT"
    " STRING=TEXT_POS_G STRING=TEXT_POS_L STRING=TEXT_NEG_G STRING=TEXT_NEG_L MASK CONTROL_NET"
)
_ANY_SWITCH = " ".join(f"any_{row:02}?:*" for row in range(1, 6))
_EFFICIENT = "model:MODEL seed:SEED steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO"
_FACE_DETAILER = (
    "image:IMAGE model:MODEL clip:CLIP vae:VAE guide_size:FLOAT guide_size_for:BOOLEAN max_size:FLOAT seed:SEED steps:INT cfg:FLOAT"
    " sampler_name:COMBO scheduler:COMBO positive:CONDITIONING negative:CONDITIONING denoise:FLOAT feather:INT noise_mask:BOOLEAN"
    " force_inpaint:BOOLEAN bbox_threshold:FLOAT bbox_dilation:INT bbox_crop_factor:FLOAT"
    " bbox_detector:BBOX_DETECTOR wildcard:TEXT cycle:INT"
)

_WRITTEN: Mapping[str, tuple[str, str]] = {
    "ApplyInstantID": (
        "instantid:INSTANTID insightface:FACEANALYSIS control_net:CONTROL_NET image:IMAGE model:MODEL positive:CONDITIONING"
        " negative:CONDITIONING weight:FLOAT start_at:FLOAT end_at:FLOAT image_kps?:IMAGE mask?:MASK",
        "MODEL CONDITIONING=positive CONDITIONING=negative",
    ),
    "ApplyPulidFlux": ("model:MODEL pulid_flux:PULIDFLUX eva_clip:EVA_CLIP face_analysis:FACEANALYSIS image:IMAGE weight:FLOAT", "MODEL"),
    "Efficient Loader": (
        "ckpt_name:COMBO vae_name:COMBO clip_skip:INT lora_name:COMBO lora_model_strength:FLOAT lora_clip_strength:FLOAT positive:TEXT"
        " negative:TEXT token_normalization:COMBO weight_interpretation:COMBO empty_latent_width:INT empty_latent_height:INT"
        " batch_size:INT lora_stack?:LORA_STACK cnet_stack?:CONTROL_NET_STACK",
        "MODEL CONDITIONING=CONDITIONING+ CONDITIONING=CONDITIONING- LATENT VAE CLIP DEPENDENCIES",
    ),
    "KSampler (Efficient)": (
        f"{_EFFICIENT} positive:CONDITIONING negative:CONDITIONING latent_image:LATENT denoise:FLOAT preview_method:COMBO vae_decode:COMBO"
        " optional_vae?:VAE script?:SCRIPT",
        "MODEL CONDITIONING=CONDITIONING+ CONDITIONING=CONDITIONING- LATENT VAE IMAGE",
    ),
    "LoRA Stacker": (f"input_mode:COMBO lora_count:INT {_STACKER} lora_stack?:LORA_STACK", "LORA_STACK"),
    "Power Lora Loader (rgthree)": ("model?:MODEL clip?:CLIP", "MODEL CLIP"),
    "Lora Loader Stack (rgthree)": (f"model:MODEL clip:CLIP {_RGTHREE_STACK}", "MODEL CLIP"),
    "Any Switch (rgthree)": (_ANY_SWITCH, "*"),
    "Context (rgthree)": (_CONTEXT, _CONTEXT_OUT),
    "Context Big (rgthree)": (_BIG_CONTEXT, _BIG_CONTEXT_OUT),
    "Context Switch (rgthree)": (" ".join(f"ctx_{row:02}?:RGTHREE_CONTEXT" for row in range(1, 6)), _CONTEXT_OUT),
    "Context Switch Big (rgthree)": (" ".join(f"ctx_{row:02}?:RGTHREE_CONTEXT" for row in range(1, 6)), _BIG_CONTEXT_OUT),
    "Seed (rgthree)": ("seed:SEED", "INT=SEED"),
    "Display Any (rgthree)": ("source:*", ""),
    "KSampler Config (rgthree)": (
        "steps_total:INT refiner_step:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO",
        "INT=STEPS INT=REFINER_STEP FLOAT=CFG COMBO=SAMPLER COMBO=SCHEDULER",
    ),
    "CR LoRA Stack": (f"{_LORA_STACK} lora_stack?:LORA_STACK", "LORA_STACK STRING=show_help"),
    "CR Apply LoRA Stack": ("model:MODEL clip:CLIP lora_stack?:LORA_STACK", "MODEL CLIP STRING=show_help"),
    "CR Aspect Ratio": (
        "width:INT height:INT aspect_ratio:COMBO swap_dimensions:COMBO upscale_factor:FLOAT prescale_factor:FLOAT batch_size:INT",
        "INT=width INT=height FLOAT=upscale_factor FLOAT=prescale_factor INT=batch_size LATENT=empty_latent STRING=show_help",
    ),
    "CR SDXL Aspect Ratio": (
        "width:INT height:INT aspect_ratio:COMBO swap_dimensions:COMBO upscale_factor:FLOAT batch_size:INT",
        "INT=width INT=height FLOAT=upscale_factor INT=batch_size LATENT=empty_latent STRING=show_help",
    ),
    "CR Text": ("text:TEXT", "*=text STRING=show_help"),
    "CR Prompt Text": ("prompt:TEXT", "STRING=prompt STRING=show_help"),
    "CR Seed": ("seed:SEED", "INT=seed STRING=show_help"),
    "CR Text Concatenate": ("text1?:STRING text2?:STRING separator?:STRING", "*=STRING STRING=show_help"),
    "CR Model Input Switch": ("Input:INT model1:MODEL model2?:MODEL", "MODEL STRING=show_help"),
    "CR Conditioning Input Switch": ("Input:INT conditioning1:CONDITIONING conditioning2?:CONDITIONING", "CONDITIONING STRING=show_help"),
    "CR Latent Input Switch": ("Input:INT latent1:LATENT latent2?:LATENT", "LATENT STRING=show_help"),
    "CR Text Input Switch": ("Input:INT text1?:STRING text2?:STRING", "STRING STRING=show_help"),
    "ImpactWildcardEncode": (
        "model:MODEL clip:CLIP wildcard_text:TEXT populated_text:TEXT mode:COMBO"
        " Select~to~add~LoRA:COMBO Select~to~add~Wildcard:COMBO seed:SEED",
        "MODEL CLIP CONDITIONING=conditioning STRING=populated_text",
    ),
    "ImpactWildcardProcessor": ("wildcard_text:TEXT populated_text:TEXT mode:COMBO seed:SEED Select~to~add~Wildcard:COMBO", "STRING"),
    "ImpactConditionalBranch": ("cond:BOOLEAN tt_value:* ff_value:*", "*"),
    "ImpactSwitch": ("select:INT sel_mode:BOOLEAN input1?:*", "*=selected_value STRING=selected_label INT=selected_index"),
    "ImpactInt": ("value:INT", "INT"),
    "ImpactFloat": ("value:FLOAT", "FLOAT"),
    "ToBasicPipe": (
        "model:MODEL clip:CLIP vae:VAE positive:CONDITIONING negative:CONDITIONING",
        "BASIC_PIPE=basic_pipe",
    ),
    "FromBasicPipe": (
        "basic_pipe:BASIC_PIPE",
        "MODEL=model CLIP=clip VAE=vae CONDITIONING=positive CONDITIONING=negative",
    ),
    "FromBasicPipe_v2": (
        "basic_pipe:BASIC_PIPE",
        "BASIC_PIPE=basic_pipe MODEL=model CLIP=clip VAE=vae CONDITIONING=positive CONDITIONING=negative",
    ),
    "EditBasicPipe": (
        "basic_pipe:BASIC_PIPE model?:MODEL clip?:CLIP vae?:VAE positive?:CONDITIONING negative?:CONDITIONING",
        "BASIC_PIPE=basic_pipe",
    ),
    "ImpactKSamplerBasicPipe": (
        "basic_pipe:BASIC_PIPE seed:SEED steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO latent_image:LATENT denoise:FLOAT",
        "BASIC_PIPE LATENT VAE",
    ),
    "ImpactKSamplerAdvancedBasicPipe": (
        "basic_pipe:BASIC_PIPE add_noise:BOOLEAN noise_seed:SEED steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO"
        " latent_image:LATENT start_at_step:INT end_at_step:INT return_with_leftover_noise:BOOLEAN",
        "BASIC_PIPE LATENT VAE",
    ),
    "FaceDetailer": (
        _FACE_DETAILER,
        "IMAGE=image IMAGE=cropped_refined IMAGE=cropped_enhanced_alpha MASK=mask DETAILER_PIPE=detailer_pipe IMAGE=cnet_images",
    ),
    "UltimateSDUpscale": (
        "image:IMAGE model:MODEL positive:CONDITIONING negative:CONDITIONING vae:VAE upscale_by:FLOAT seed:SEED steps:INT cfg:FLOAT"
        " sampler_name:COMBO scheduler:COMBO denoise:FLOAT upscale_model:UPSCALE_MODEL mode_type:COMBO tile_width:INT tile_height:INT"
        " mask_blur:INT tile_padding:INT seam_fix_mode:COMBO seam_fix_denoise:FLOAT seam_fix_width:INT seam_fix_mask_blur:INT"
        " seam_fix_padding:INT force_uniform_tiles:BOOLEAN tiled_decode:BOOLEAN",
        "IMAGE",
    ),
    "UnetLoaderGGUF": ("unet_name:COMBO", "MODEL"),
    "LoaderGGUF": ("gguf_name:COMBO", "MODEL=model"),
    "CLIPLoaderGGUF": ("clip_name:COMBO type:COMBO", "CLIP"),
    "DualCLIPLoaderGGUF": ("clip_name1:COMBO clip_name2:COMBO type:COMBO", "CLIP"),
    "NunchakuFluxDiTLoader": (
        "model_path:COMBO cache_threshold:FLOAT attention:COMBO cpu_offload:COMBO device_id:INT data_type:COMBO i2f_mode?:COMBO",
        "MODEL",
    ),
    "NunchakuFluxLoraLoader": ("model:MODEL lora_name:COMBO lora_strength:FLOAT", "MODEL"),
    "NunchakuTextEncoderLoader": ("model_type:COMBO text_encoder1:COMBO text_encoder2:COMBO t5_min_length:INT", "CLIP"),
    "Input Parameters (Image Saver)": (
        "seed:SEED steps:INT cfg:FLOAT sampler:COMBO scheduler:COMBO denoise:FLOAT",
        "INT=seed INT=steps FLOAT=cfg COMBO=sampler COMBO=scheduler FLOAT=denoise",
    ),
    "easy fullLoader": (
        "ckpt_name:COMBO config_name:COMBO vae_name:COMBO clip_skip:INT lora_name:COMBO lora_model_strength:FLOAT lora_clip_strength:FLOAT"
        " resolution:COMBO empty_latent_width:INT empty_latent_height:INT positive:TEXT positive_token_normalization:COMBO"
        " positive_weight_interpretation:COMBO negative:TEXT negative_token_normalization:COMBO negative_weight_interpretation:COMBO"
        " batch_size:INT model_override?:MODEL clip_override?:CLIP vae_override?:VAE optional_lora_stack?:LORA_STACK",
        "PIPE_LINE=pipe MODEL=model VAE=vae CLIP=clip CONDITIONING=positive CONDITIONING=negative LATENT=latent",
    ),
    "easy a1111Loader": (
        "ckpt_name:COMBO vae_name:COMBO clip_skip:INT lora_name:COMBO lora_model_strength:FLOAT lora_clip_strength:FLOAT resolution:COMBO"
        " empty_latent_width:INT empty_latent_height:INT positive:TEXT negative:TEXT batch_size:INT optional_lora_stack?:LORA_STACK",
        "PIPE_LINE=pipe MODEL=model VAE=vae",
    ),
    "easy preSampling": (
        "pipe:PIPE_LINE steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO denoise:FLOAT seed:SEED"
        " image_to_latent?:IMAGE latent?:LATENT",
        "PIPE_LINE=pipe",
    ),
    "easy kSampler": ("pipe:PIPE_LINE image_output:COMBO link_id:INT save_prefix:STRING model?:MODEL", "PIPE_LINE=pipe IMAGE=image"),
    "easy fullkSampler": (
        "pipe:PIPE_LINE steps:INT cfg:FLOAT sampler_name:COMBO scheduler:COMBO denoise:FLOAT image_output:COMBO link_id:INT"
        " save_prefix:STRING seed:SEED model?:MODEL positive?:CONDITIONING negative?:CONDITIONING latent?:LATENT",
        "PIPE_LINE=pipe IMAGE=image MODEL=model CONDITIONING=positive CONDITIONING=negative LATENT=latent VAE=vae CLIP=clip INT=seed",
    ),
    "easy pipeIn": (
        "pipe?:PIPE_LINE model?:MODEL pos?:CONDITIONING neg?:CONDITIONING latent?:LATENT vae?:VAE clip?:CLIP image?:IMAGE",
        "PIPE_LINE=pipe",
    ),
    "easy pipeOut": (
        "pipe:PIPE_LINE",
        "PIPE_LINE=pipe MODEL=model CONDITIONING=pos CONDITIONING=neg LATENT=latent VAE=vae CLIP=clip IMAGE=image INT=seed",
    ),
    "SDXLPromptStyler": (
        "text_positive:TEXT text_negative:TEXT style:COMBO log_prompt:BOOLEAN style_positive:BOOLEAN style_negative:BOOLEAN",
        "STRING=text_positive STRING=text_negative",
    ),
    "ToDetailerPipe": (
        "model:MODEL clip:CLIP vae:VAE positive:CONDITIONING negative:CONDITIONING bbox_detector:BBOX_DETECTOR wildcard:TEXT",
        "DETAILER_PIPE=detailer_pipe",
    ),
    "FaceDetailerPipe": (
        "image:IMAGE detailer_pipe:DETAILER_PIPE guide_size:FLOAT max_size:FLOAT seed:SEED steps:INT cfg:FLOAT sampler_name:COMBO"
        " scheduler:COMBO denoise:FLOAT",
        "IMAGE=image IMAGE=cropped_refined IMAGE=cropped_enhanced_alpha MASK=mask DETAILER_PIPE=detailer_pipe",
    ),
    "easy showAnything": ("anything?:*", "*=output"),
    "easy positive": ("positive:TEXT", "STRING=positive"),
    "easy negative": ("negative:TEXT", "STRING=negative"),
    "easy seed": ("seed:SEED", "INT=seed"),
    "easy int": ("value:INT", "INT=int"),
    "easy float": ("value:FLOAT", "FLOAT=float"),
    "easy string": ("value:STRING", "STRING=string"),
    "easy ifElse": ("boolean:BOOLEAN on_true:* on_false:*", "*"),
    "easy loraStack": (
        "toggle:BOOLEAN mode:COMBO num_loras:INT "
        + " ".join(
            f"lora_{row}_name?:COMBO lora_{row}_strength?:FLOAT lora_{row}_model_strength?:FLOAT lora_{row}_clip_strength?:FLOAT"
            for row in (1, 2, 3, 4, 5)
        )
        + " optional_lora_stack?:LORA_STACK",
        "LORA_STACK=lora_stack",
    ),
    "ShowText|pysssss": ("text:TEXT", "STRING"),
    "Text Multiline": ("text:TEXT", "STRING"),
    "Text Concatenate": (
        "delimiter:STRING clean_whitespace:COMBO text_a?:STRING text_b?:STRING text_c?:STRING text_d?:STRING", "STRING",
    ),
    "JoinStrings": ("delimiter:STRING string1?:STRING string2?:STRING", "STRING"),
    "INTConstant": ("value:INT", "INT=value"),
    "FloatConstant": ("value:FLOAT", "FLOAT=value"),
    "StringConstant": ("string:STRING", "STRING"),
    "StringConstantMultiline": ("string:TEXT strip_newlines:BOOLEAN", "STRING"),
    "ConditioningSetMaskAndCombine": (
        "positive_1:CONDITIONING negative_1:CONDITIONING positive_2:CONDITIONING negative_2:CONDITIONING mask_1:MASK mask_2:MASK",
        "CONDITIONING=combined_positive CONDITIONING=combined_negative",
    ),
    "SDXLEmptyLatentSizePicker+": (
        "resolution:COMBO batch_size:INT width_override:INT height_override:INT", "LATENT INT=width INT=height",
    ),
    "Image Saver": ("images:IMAGE filename:STRING path:STRING extension:COMBO", ""),
    "Image Comparer (rgthree)": ("image_a?:IMAGE image_b?:IMAGE", ""),
    # ComfyUI's own, of a version after the recorded one
    "TextEncodeQwenImage21": (
        "clip:CLIP prompt:TEXT negative_prompt:TEXT resolution:INT vae?:VAE", "CONDITIONING=positive CONDITIONING=negative LATENT=latent",
    ),
}  # fmt: skip


def _read_inputs(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {"required": {}, "optional": {}}
    for each in text.split():
        name, _, kind = each.partition(":")
        options: dict[str, Any] = {"multiline": True} if kind == "TEXT" else {"control_after_generate": True} if kind == "SEED" else {}
        type_ = {"TEXT": "STRING", "SEED": "INT"}.get(kind, kind)
        found["optional" if name.endswith("?") else "required"][name.removesuffix("?").replace("~", " ")] = [type_, options]
    return found


def _read_class(inputs: str, outputs: str) -> dict[str, Any]:
    made = [each.partition("=") for each in outputs.split()]
    types, names = [kind for kind, _, _ in made], [name or kind for kind, _, name in made]
    return {"input": _read_inputs(inputs), "output": types, "output_name": names}


CUSTOM_CLASSES: Mapping[str, Mapping[str, Any]] = MappingProxyType({name: _read_class(*written) for name, written in _WRITTEN.items()})
"""Class name -> its signature, in the shape of `/object_info`."""
