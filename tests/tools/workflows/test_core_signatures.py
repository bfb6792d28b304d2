"""The stored copy of core's signatures, and the program that records it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record_signatures import render, trim
from tools.workflows.core_signatures import FILE, read_stored

CUSTOM = frozenset(
    {"ApplyInstantID", "Efficient Loader", "Input Parameters (Image Saver)", "Power Lora Loader (rgthree)", "easy showAnything"}
)
"""In the shared recording as stubs: no part of ComfyUI."""


def type_name(kind: Any) -> str:
    return "COMBO" if isinstance(kind[0], list) else str(kind[0])


def input_types(declared: dict[str, Any]) -> dict[str, str]:
    inputs = declared["input"]
    return {name: type_name(kind) for part in ("required", "optional") for name, kind in inputs.get(part, {}).items()}


def test_the_stored_copy_holds_a_whole_core_with_its_version_and_day() -> None:
    stored = read_stored()
    assert stored.version.count(".") == 2
    assert len(stored.recorded) == len("2026-01-01")
    assert len(stored.classes) > 600
    assert list(stored.classes) == sorted(stored.classes)
    assert FILE.stat().st_size < 700_000


def test_every_stored_class_has_the_shape_of_object_info() -> None:
    for name, declared in read_stored().classes.items():
        assert set(declared) >= {"input", "output", "output_name"}, name
        assert set(declared["input"]) <= {"required", "optional"}, name
        assert len(declared["output"]) == len(declared["output_name"]), name
        for kind in (kind for part in declared["input"].values() for kind in part.values()):
            assert isinstance(kind, list) and 1 <= len(kind) <= 2, name
            assert "tooltip" not in json.dumps(kind), name


def test_widgets_stand_in_the_order_of_the_editor() -> None:
    """From ComfyUI's nodes.py: the values of a saved KSampler come in this order, with what happens to the seed behind the seed."""
    sampler = read_stored().classes["KSampler"]["input"]["required"]
    assert list(sampler) == [
        *("model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative"),
        "latent_image",
        "denoise",
    ]
    assert sampler["seed"] == ["INT", {"default": 0, "min": 0, "max": 18446744073709551615, "control_after_generate": True}]
    assert sampler["denoise"] == ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}]
    assert "euler" in sampler["sampler_name"][0]


def test_the_files_of_the_machine_that_was_recorded_are_left_out() -> None:
    classes = read_stored().classes
    assert classes["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] == ["COMBO"]
    assert classes["VAELoader"]["input"]["required"]["vae_name"] == ["COMBO"]
    assert classes["LoadImage"]["input"]["required"]["image"] == ["COMBO", {"image_upload": True}]


def test_the_stored_copy_agrees_with_another_recording(cases_root: Path) -> None:
    recording = cases_root.parent / "comfyui" / "object_info_0.33.0.json"
    if not recording.is_file():
        pytest.skip("no recording of /object_info lies beside the collected cases")
    stored = read_stored().classes
    recorded = json.loads(recording.read_text(encoding="utf-8"))
    for name in sorted(set(recorded) - CUSTOM):
        assert input_types(stored[name]) == input_types(recorded[name]), name
        assert stored[name]["output"] == recorded[name]["output"], name
        assert stored[name]["output_name"] == recorded[name]["output_name"], name


SIGNATURE = {
    "input": {
        "required": {
            "image": [["mine.png", "yours.png"], {"image_upload": True, "tooltip": "a picture"}],
            "vae_name": [["pixel_space"], {}],
            "lora": [["v2.safetensors", "sub/v3.safetensors"]],
            "mode": ["COMBO", {"options": ["fast", "best"], "default": "best", "multiselect": False}],
            "text": ["STRING", {"multiline": True, "dynamicPrompts": True, "tooltip": "words"}],
            "kind": [
                "COMFY_DYNAMICCOMBO_V3",
                {"options": [{"key": "a", "inputs": {"required": {"n": ["INT", {"tooltip": "x", "min": 1}]}}}]},
            ],
            "rows": ["COMFY_AUTOGROW_V3", {"template": {"input": {"required": {"row": ["IMAGE", {"tooltip": "x"}]}}, "prefix": "row"}}],
        },
        "hidden": {"prompt": "PROMPT"},
    },
    "output": ["IMAGE"],
    "output_name": ["picture"],
    "output_is_list": [False],
    "is_input_list": False,
    "output_node": True,
    "category": "x",
    "description": "words",
    "python_module": "nodes",
}


def test_a_recording_keeps_what_finds_places_and_drops_what_people_read() -> None:
    assert trim({"Mine": SIGNATURE}) == {
        "Mine": {
            "input": {
                "required": {
                    "image": ["COMBO", {"image_upload": True}],
                    "vae_name": ["COMBO"],
                    "lora": ["COMBO"],
                    "mode": ["COMBO", {"default": "best", "options": ["fast", "best"]}],
                    "text": ["STRING", {"multiline": True}],
                    "kind": ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "a", "inputs": {"required": {"n": ["INT", {"min": 1}]}}}]}],
                    "rows": ["COMFY_AUTOGROW_V3", {"template": {"input": {"required": {"row": ["IMAGE"]}}, "prefix": "row"}}],
                }
            },
            "output": ["IMAGE"],
            "output_name": ["picture"],
            "output_node": True,
        }
    }


def test_custom_nodes_of_the_server_are_no_part_of_core() -> None:
    foreign_node = {**SIGNATURE, "python_module": "custom_nodes.mine"}
    shipped = {**SIGNATURE, "python_module": "custom_nodes.websocket_image_save"}
    assert list(trim({"C": foreign_node, "B": SIGNATURE, "A": shipped})) == ["A", "B"]


def test_a_recording_is_the_same_whatever_the_order_of_the_answer() -> None:
    first = render(trim({"B": SIGNATURE, "A": SIGNATURE}), "0.33.0", "2026-11-29")
    assert first == render(trim({"A": SIGNATURE, "B": SIGNATURE}), "0.33.0", "2026-11-29")
    assert json.loads(first)["classes"].keys() == {"A", "B"}
