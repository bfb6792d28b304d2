"""The graphs of the shared cases, and official templates, and what each setting has to change in them.

`EXPECTED` was written by reading the graphs, not by running the code: setting -> the inputs that must change (`node.input`, several
apart by a space), or `-` and the flag that the refusal must name. Every other input must stay as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

CASES = Path(os.environ.get("LIFEOS_TEST_CASES", "absent")) / "workflows"
TEMPLATES = Path(os.environ.get("LIFEOS_TEST_CASES", "absent")).parent / "comfyui" / "templates"

NO_GUIDANCE = {"guidance": "- --cfg"}
GUIDED = {"cfg": "- --guidance"}
NO_NEGATIVE = {"negative": "- --negative-node-id"}


def ksampler(node: str, latent: str, positive: str, negative: str, lora: str, /, **changes: str) -> dict[str, str]:
    """A plain graph: one KSampler, one empty latent, two encoders."""
    plain = {name: f"{node}.{key}" for name, key in (("seed", "seed"), ("steps", "steps"), ("cfg", "cfg"), ("scheduler", "scheduler"))}
    plain |= {"sampler": f"{node}.sampler_name", "width": f"{latent}.width", "height": f"{latent}.height"}
    return {**plain, **NO_GUIDANCE, "positive": positive, "negative": negative, "lora": lora, **changes}


def custom(
    noise: str, scheduler: str, select: str, latent: str, positive: str, negative: str, cfg: str, lora: str, /, **changes: str
) -> dict[str, str]:
    """Noise, sigmas, sampler and guider in nodes of their own."""
    plain = {"seed": f"{noise}.noise_seed", "steps": f"{scheduler}.steps", "scheduler": f"{scheduler}.scheduler"}
    plain |= {"sampler": f"{select}.sampler_name", "width": f"{latent}.width", "height": f"{latent}.height", "cfg": cfg}
    return {**plain, **NO_GUIDANCE, "positive": positive, "negative": negative, "lora": lora, **changes}


CASE = ksampler("5", "4", "2.text", "3.text", "+1/1")
FLUX_CASE = custom("20", "23", "22", "4", "2.text", "", "", "+1/1", **NO_NEGATIVE, **GUIDED, guidance="24.guidance")
ADVANCED = {
    "seed": "5.noise_seed 8.noise_seed", "cfg": "5.cfg 8.cfg", "sampler": "5.sampler_name 8.sampler_name",
    "scheduler": "5.scheduler 8.scheduler",
}  # fmt: skip
REFINER = {
    "positive": "6.text 15.text", "negative": "7.text 16.text", "seed": "10.noise_seed 11.noise_seed", "cfg": "10.cfg 11.cfg",
    "steps": "10.steps 11.steps 10.end_at_step 11.start_at_step", "sampler": "10.sampler_name 11.sampler_name",
    "scheduler": "10.scheduler 11.scheduler", "width": "5.width", "height": "5.height", "lora": "+4/4", **NO_GUIDANCE,
}  # fmt: skip

EXPECTED: dict[str, dict[str, str]] = {
    "01_model_positive_negative_outputs": CASE,
    "02_efficient_loader_linked_texts": {
        **CASE, "positive": "2.value", "negative": "3.value", "width": "1.empty_latent_width", "height": "1.empty_latent_height",
        "lora": "1.lora_name",
    },
    "02b_efficient_loader_batch_of_3": {
        **CASE, "positive": "1.positive", "negative": "1.negative", "width": "1.empty_latent_width", "height": "1.empty_latent_height",
        "lora": "1.lora_name", "always": "1.batch_size",
    },
    "03_power_lora_loader": {**CASE, "lora": "="},  # lora_2 is that file already
    "04_sampler_behind_display_node": {**CASE, "sampler": "9.sampler", "scheduler": "9.scheduler"},
    "06_speed_lora_is_the_only_loader": CASE,
    "07_speed_lora_and_character_lora": {**CASE, "lora": "9.lora_name"},
    "08_comfy_switch_model_steps_cfg": {**CASE, "steps": "23.value", "cfg": "25.value"},
    "09_split_loaders_text_encoder_lora_dropped": {**CASE, "lora": "+1/9"},
    "10_hires_fix_fixed_size_two_saves": {
        **CASE, "seed": "5.seed 9.seed", "cfg": "5.cfg 9.cfg", "sampler": "5.sampler_name 9.sampler_name",
        "scheduler": "5.scheduler 9.scheduler", "width": "4.width 8.width", "height": "4.height 8.height", "gone": "7",
    },
    "12_base_refiner_two_prompts": {
        **CASE, **ADVANCED, "positive": "2.text 15.text", "steps": "5.steps 8.steps 20.value", "lora": "+1/1 +12/12",
    },
    "13_prompt_by_concatenate": {**CASE, "positive": "- --positive-node-id 8 --positive-key string_b"},
    "14_flux_shape": FLUX_CASE,
    "15_flux_guidance_with_ksampler": {**CASE, **NO_NEGATIVE, **GUIDED, "guidance": "24.guidance"},
    "16_preview_only": CASE,
    "17_repeat_latent_batch": {**CASE, "always": "8.amount"},
    "18_seed_from_primitive": {**CASE, "seed": "8.value"},
    "19_save_image_advanced": CASE,
    "20_save_websocket": CASE,
    "21_save_webp": CASE,
    "22_two_models_high_low_noise": {
        **CASE, **ADVANCED, "steps": "5.steps 8.steps 5.end_at_step 8.start_at_step", "lora": "+1/1 +12",
    },
    "23_scheduler_with_sizes": {**FLUX_CASE, "scheduler": "- --set", "width": "4.width 23.width", "height": "4.height 23.height"},
    "25_save_and_preview": CASE,
    "27_LoaderGGUF": {**CASE, "lora": "+40/1"},
    "27_NunchakuFluxDiTLoader": {**CASE, "lora": "+40/1"},
    "30_face_detailer": {
        **CASE, "seed": "5.seed 8.seed", "sampler": "5.sampler_name 8.sampler_name", "scheduler": "5.scheduler 8.scheduler",
    },
    "31_lora_stack": {**CASE, "lora": "9.lora_name_1"},
    "33_impact_wildcard_encode": {**CASE, "positive": "2.wildcard_text 2.populated_text"},
    "35_aspect_ratio_node": CASE,
    "37_prompt_behind_display_node": {**CASE, "positive": "9.value"},
    "39_prompt_behind_preview_any": {**CASE, "positive": "9.value"},
    "40_conditioning_concat_quality_text": {**CASE, "positive": "- --positive-node-id"},
    # Official templates
    "flux1_krea_dev": ksampler("200:197", "200:196", "200:195.text", "", "+200:65/200:63", **NO_NEGATIVE),
    "flux_dev_checkpoint_example": ksampler("56:52", "56:50", "56:51.text", "", "+56:48/56:49", **NO_NEGATIVE),
    "flux_dev_full_text_to_image": ksampler("194:50", "194:48", "194:49.text", "", "+194:46/194:47", **NO_NEGATIVE),
    "flux_schnell_full_text_to_image": ksampler(
        "31", "27", "41.clip_l 41.t5xxl", "", "+38/40", **{**NO_NEGATIVE, **GUIDED, "guidance": "41.guidance"}
    ),
    "hidream_i1_full": ksampler("93", "86", "91.text", "85.text", "+94/82"),
    "image_anima_base_v1": ksampler(
        "90:76", "90:74", "90:77.text", "90:75.text", "+90:78/90:71", steps="90:79.value", cfg="90:86.value"
    ),
    "image_chroma_text_to_image": custom("718", "734", "700", "737", "748.text", "749.text", "694.cfg", "+731/733"),
    "image_ernie_image_turbo": ksampler("88:70", "88:71", "88:94.value", "", "+88:66/88:62", **NO_NEGATIVE),
    "image_flux2_klein_text_to_image": custom(
        "75:73", "75:62", "75:61", "", "76.value", "75:67.text", "75:63.cfg", "+75:70/75:71",
        scheduler="- --set", width="75:68.value", height="75:69.value",
    ),
    "image_flux2_text_to_image": custom(
        "98:25", "98:48", "98:16", "", "98:6.text", "", "", "+98:12/98:38", **NO_NEGATIVE, **GUIDED, guidance="98:26.guidance",
        steps="98:100.value", scheduler="- --set", width="98:47.width 98:48.width", height="98:47.height 98:48.height",
    ),
    "image_kandinsky5_t2i": ksampler("12:8", "12:18", "12:7.text", "12:2.text", "+12:4/12:1"),
    "image_krea2_turbo_t2i": ksampler("30:3", "30:5", "30:19.value", "", "+30:10/30:11", **NO_NEGATIVE),
    "image_lens_t2i": custom(
        "34:14", "34:16", "34:18", "", "34:3.text", "34:7.text", "34:14.cfg", "+34:10/34:2",
        width="34:8.width 34:21.width", height="34:8.height 34:21.height",
    ),
    "image_netayume_lumina_t2i": ksampler("48:33", "48:31", "48:51.value", "48:35:42.value", "+48:34/48:34"),
    "image_omnigen2_t2i": custom("42:21", "42:23", "42:20", "42:11", "42:6.text", "42:7.text", "42:27.cfg_conds", "+42:12/42:10"),
    "image_qwen_Image_2512": ksampler(
        "238:230", "238:232", "238:227.text", "238:228.text", "+238:226/238:219", steps="238:224.value", cfg="238:223.value"
    ),
    "image_qwen_image": ksampler("76:3", "76:58", "76:6.text", "76:7.text", "+76:37/76:38", steps="76:84.value", cfg="76:85.value"),
    "image_qwen_image_2512_with_2steps_lora": ksampler("106", "107", "108.text", "", "+105/104", **NO_NEGATIVE),
    "image_qwen_image_instantx_controlnet": ksampler(
        "111:3", "", "111:6.text", "111:7.text", "+111:37/111:38", width="- --set", height="- --set"
    ),
    "image_sdxl_simple": ksampler("12", "13", "10.text", "11.text", "+15/15"),
    "image_z_image": ksampler("76:69", "76:68", "76:67.text", "76:71.text", "+76:66/76:62"),
    "image_z_image_turbo": ksampler("57:3", "57:13", "57:27.text", "", "+57:28/57:30", **NO_NEGATIVE),
    "sd3.5_simple_example": ksampler("3", "53", "16.text", "40.text", "+4/4"),
    "sdxl_refiner_prompt_example": REFINER,
    "sdxl_simple_example": REFINER,
    "template_qwen_Image_2512_360_lora": ksampler(
        "238:230", "238:232", "269.value", "238:228.text", "+238:226/238:219", steps="238:224.value", cfg="238:223.value"
    ),
    "video_wan2_2_14B_t2v": {
        "positive": "128:89.text", "negative": "128:72.text", "seed": "128:81.noise_seed 128:78.noise_seed",
        "steps": "128:114.value 128:115.value", "cfg": "128:116.value", "sampler": "128:81.sampler_name 128:78.sampler_name",
        "scheduler": "128:81.scheduler 128:78.scheduler", "width": "128:74.width", "height": "128:74.height",
        "lora": "+128:75/128:71 +128:76", **NO_GUIDANCE,
    },
}  # fmt: skip

FILES = sorted([*CASES.glob("*.json"), *TEMPLATES.glob("*.json")])
"""The templates lie beside the cases, where they are there."""
