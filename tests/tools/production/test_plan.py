"""The order, the seeds and the identity of a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from tools.production.plan import Plan, Variant, check_same, find_differences, read_plan, sha256_of, write_plan
from tools.workflows.workflow import Settings


def make_plan(**fields: Any) -> Plan:
    base = Plan(
        batch_id="b" * 32,
        run_id="batch_001",
        lora_version="v3",
        created="2026-11-23T00:00:00Z",
        prompts=("one", "two", "three"),
        count=2,
        base_seed=100,
        variants=(Variant(Settings(steps=28, cfg=5.0, lora="a.safetensors", lora_strength=0.8)),),
        workflow_name="built-in",
        workflows=({"1": {"class_type": "X", "inputs": {"a": 1}}},),
        reference_dir="/refs",
        policy={"face_similarity": {"pass_threshold": 0.6}},
        protocol={"engine": "dlib", "id": "abc"},
    )
    return replace(base, **fields)


def test_every_prompt_has_its_turn_before_any_has_its_second() -> None:
    items = [make_plan().item(index) for index in range(1, 7)]
    assert [(item.prompt_id, item.variation, item.seed) for item in items] == [
        (1, 1, 100), (2, 1, 101), (3, 1, 102), (1, 2, 103), (2, 2, 104), (3, 2, 105),
    ]  # fmt: skip


def test_one_variant_goes_on_beyond_the_plan_with_new_seeds() -> None:
    item = make_plan().item(8)
    assert (item.prompt_id, item.variation, item.seed) == (2, 3, 107)


def test_variants_follow_one_another_and_share_their_seeds() -> None:
    plan = make_plan(variants=(Variant(Settings(cfg=4.0), "cfg4"), Variant(Settings(cfg=6.0), "cfg6")))
    assert plan.planned == 12
    assert [plan.config_of(plan.item(index)) for index in (1, 6, 7, 12)] == ["cfg4", "cfg4", "cfg6", "cfg6"]
    assert plan.item(7).seed == plan.item(1).seed == 100


def test_seeds_wrap_at_the_largest_that_comfyui_takes() -> None:
    assert make_plan(base_seed=2**64 - 1).item(2).seed == 0


def test_batch_json_reads_back_to_the_same_plan(tmp_path: Path) -> None:
    plan = make_plan(prompts=("emoji 😀", "<b>|"))
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan


def test_batch_json_names_every_seed_and_the_workflow(tmp_path: Path) -> None:
    document = make_plan().to_json()
    assert document["planned"][3] == {"index": 4, "prompt_id": 1, "variation": 2, "seed": 103}
    # SHA-256 of {"1":{"class_type":"X","inputs":{"a":1}}}, by sha256sum
    assert document["workflows"][0]["sha256"] == sha256_of({"1": {"inputs": {"a": 1}, "class_type": "X"}})


@pytest.mark.parametrize("text", ["[]", '{"schema": 99}', '{"schema": 1}'], ids=["list", "other-version", "nothing-in-it"])
def test_a_foreign_batch_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "batch.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"batch\.json"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"base_seed": 5}, "base seed: 100 there, 5 now", id="seed"),
        pytest.param({"prompts": ("one", "2", "three")}, "prompts: number 2 is 'two' there, '2' now", id="a-prompt"),
        pytest.param({"prompts": ("one",)}, "prompts: 3 there, 1 now", id="number-of-prompts"),
        pytest.param({"count": 3}, "count: 2 there, 3 now", id="count"),
        pytest.param(
            {"policy": {"face_similarity": {"pass_threshold": 0.5}}}, "face_similarity.pass_threshold: 0.6 there, 0.5 now", id="gate"
        ),
        pytest.param({"protocol": {"engine": "mini", "id": "x"}}, "protocol.engine: 'dlib' there, 'mini' now", id="engine"),
        pytest.param({"target_approved": 9}, "target: none there, 9 now", id="target"),
        pytest.param({"source_dir": "/p", "images": ("a.png",)}, "pictures' folder: none there, '/p' now", id="images"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_same(tmp_path, make_plan(), make_plan(**change))
    assert said in str(caught.value)
    assert "choose another --output-dir" in str(caught.value)


def test_a_changed_setting_is_named() -> None:
    other = make_plan(variants=(Variant(Settings(steps=28, cfg=6.5, lora="a.safetensors", lora_strength=0.8)),))
    assert find_differences(make_plan(), other) == ["cfg: 5.0 there, 6.5 now"]


def test_a_folder_under_another_spelling_is_no_difference(tmp_path: Path) -> None:
    """Another case on Windows and macOS; here a detour stands for it. A folder that is gone is compared by its name."""
    (tmp_path / "refs").mkdir()
    one, other = make_plan(reference_dir=f"{tmp_path}/refs"), make_plan(reference_dir=f"{tmp_path}/refs/../refs")
    assert find_differences(one, other) == []
    (tmp_path / "others").mkdir()
    assert find_differences(one, make_plan(reference_dir=f"{tmp_path}/others"))[0].startswith("reference folder: ")
    assert find_differences(one, make_plan(reference_dir=f"{tmp_path}/gone"))[0].startswith("reference folder: ")


def test_the_separators_of_another_server_are_no_difference() -> None:
    """A batch that was begun on Windows goes on on Linux; a text with the sign is another text."""

    def plan(sign: str, text: str = "a") -> Plan:
        name = f"chars{sign}mine.safetensors"
        inputs = {"lora_name": name, "lora_1": {"on": True, "lora": name}, "text": text}
        settings = Settings(lora=name, checkpoint=f"sdxl{sign}base.safetensors", more_loras=(name,), lora_strength=0.8)
        return make_plan(variants=(Variant(settings),), workflows=({"1": {"class_type": "X", "inputs": inputs}},))

    assert find_differences(plan("\\"), plan("/")) == []
    assert find_differences(plan("/", "a\\b"), plan("/", "a/b"))[0].startswith("workflow as sent (SHA-256)")


def test_when_and_by_which_command_is_no_difference() -> None:
    assert find_differences(make_plan(), make_plan(created="later", command={"count": 2}, batch_id="c")) == []
