"""The graphs of the shared cases, and official templates: each setting lands where the graph really decides it, or is refused by name.

`EXPECTED` was written by reading the graphs, not by running the code: setting -> the inputs that must change (`node.input`, several
apart by a space), or `-` and the flag that the refusal must name. Every other input must stay as it is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from tests.allowed_skips import NO_CASES
from tools.workflows.graph import Graph, is_link
from tools.workflows.workflow import Settings, Workflow

pytestmark = pytest.mark.skipif("LIFEOS_TEST_CASES" not in os.environ, reason=NO_CASES)

CASES = Path(os.environ.get("LIFEOS_TEST_CASES", "absent")) / "workflows"
TEMPLATES = Path(os.environ.get("LIFEOS_TEST_CASES", "absent")).parent / "comfyui" / "templates"

VALUES: dict[str, Any] = {
    "positive": "THE NEW PROMPT", "negative": "THE NEW NEGATIVE", "seed": 777, "steps": 40, "cfg": 5.5, "guidance": 2.5,
    "sampler": "heun", "scheduler": "exponential", "width": 832, "height": 1216, "lora": "amiranoor_v3.safetensors",
}  # fmt: skip
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
UNREADABLE = {
    "image_flux3_klein_t2i": "node 27 has no class",
    "image_qwen_image_2_1_t2i": "node 459:452 has no class",
}
"""Exported where the template's own node was missing: no server would take them."""

FILES = sorted([*CASES.glob("*.json"), *TEMPLATES.glob("*.json")])
"""The templates lie beside the cases, where they are there."""


def changed(before: Graph, after: Graph) -> dict[str, Any]:
    """`node.input` -> new value, of nodes that were there before."""
    return {
        f"{node}.{key}": value
        for node, each in after.items()
        if node in before
        for key, value in each["inputs"].items()
        if before[node]["inputs"].get(key) != value
    }


def inserted(before: Graph, after: Graph) -> set[str]:
    """`+MODEL` or `+MODEL/CLIP` of each new loader: the nodes that it was put behind."""
    new = [node["inputs"] for node_id, node in after.items() if node_id not in before]
    return {f"+{inputs['model'][0]}" + (f"/{inputs['clip'][0]}" if "clip" in inputs else "") for inputs in new}


def check(workflow: Workflow, setting: str, wanted: str, expected: dict[str, str]) -> None:
    settings = Settings(**{setting: VALUES[setting]})
    if wanted.startswith("-"):
        with pytest.raises(InputError) as caught:
            workflow.place(settings)
        assert wanted.removeprefix("- ") in str(caught.value)
        return
    placed = workflow.place(settings)
    before = workflow.graph
    assert set(before) - set(placed) == set(expected.get("gone", "").split())
    new = {node for node in placed if node not in before}
    found = {path: value for path, value in changed(before, placed).items() if not (is_link(value) and value[0] in new)}
    always = set(expected.get("always", "").split())
    assert {path: found.pop(path) for path in always} == dict.fromkeys(always, 1)
    if setting == "lora":
        assert inserted(before, placed) == {part for part in wanted.split() if part.startswith("+")}
        wanted = " ".join(part for part in wanted.split() if not part.startswith(("+", "=")))
    assert set(found) == set(wanted.split())
    whole = {path for path in found if not re.search(r"at_step$|^20\.value|^128:115", path) and path not in ("8.width", "8.height")}
    assert {path: found[path] for path in whole} == dict.fromkeys(whole, VALUES[setting])


@pytest.mark.parametrize("path", FILES or [CASES / "absent.json"], ids=lambda path: path.stem)
def test_every_setting_of_a_real_graph(path: Path) -> None:
    if path.stem in UNREADABLE:
        with pytest.raises(InputError, match=UNREADABLE[path.stem]):
            Workflow.load(path)
        return
    expected = EXPECTED[path.stem]
    workflow = Workflow.load(path)
    for setting in VALUES:
        check(workflow, setting, expected[setting], expected)


def test_the_numbers_of_the_table() -> None:
    """All graphs of the cases; of the 29 templates 27 whole, and two that no server takes."""
    assert len([path for path in FILES if path.parent == CASES]) == 32
    templates = [path.stem for path in FILES if path.parent == TEMPLATES]
    assert not templates or len([name for name in templates if name in EXPECTED]) == 27


@pytest.mark.parametrize(
    ("name", "setting", "found"),
    [
        ("10_hires_fix_fixed_size_two_saves", "width", {"4.width": 832, "8.width": 1248}),  # 96 of 64 is 1248 of 832
        ("10_hires_fix_fixed_size_two_saves", "height", {"4.height": 1216, "8.height": 1824}),
        ("12_base_refiner_two_prompts", "steps", {"5.steps": 40, "8.steps": 40, "20.value": 32}),  # 20 of 25 is 32 of 40
        ("22_two_models_high_low_noise", "steps", {"5.steps": 40, "8.steps": 40, "5.end_at_step": 20, "8.start_at_step": 20}),
        ("video_wan2_2_14B_t2v", "steps", {"128:114.value": 40, "128:115.value": 20}),  # 10 of 20
        ("sdxl_simple_example", "steps", {"10.steps": 40, "11.steps": 40, "10.end_at_step": 32, "11.start_at_step": 32}),
    ],
)
def test_what_goes_along_in_proportion(name: str, setting: str, found: dict[str, Any]) -> None:
    path = next((path for path in FILES if path.stem == name), None)
    if path is None:
        return  # the cases came without the templates
    workflow = Workflow.load(path)
    assert changed(workflow.graph, workflow.place(Settings(**{setting: VALUES[setting]}))) == found
