"""The graphs of the shared cases, and official templates: each setting lands where the graph really decides it, or is refused by name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from tests.allowed_skips import NO_CASES
from tests.tools.workflows.real_graphs import CASES, EXPECTED, FILES, TEMPLATES
from tools.workflows.graph import Graph, is_link
from tools.workflows.workflow import Settings, Workflow

pytestmark = pytest.mark.skipif("LIFEOS_TEST_CASES" not in os.environ, reason=NO_CASES)

VALUES: dict[str, Any] = {
    "positive": "THE NEW PROMPT", "negative": "THE NEW NEGATIVE", "seed": 777, "steps": 40, "cfg": 5.5, "guidance": 2.5,
    "sampler": "heun", "scheduler": "exponential", "width": 832, "height": 1216, "lora": "amiranoor_v3.safetensors",
}  # fmt: skip
UNREADABLE = {
    "image_flux3_klein_t2i": "node 27 has no class",
    "image_qwen_image_2_1_t2i": "node 459:452 has no class",
}
"""Exported where the template's own node was missing: no server would take them."""


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
