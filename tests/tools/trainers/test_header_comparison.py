"""Two LoRAs are compared in all that both headers say, in what their weights are, and byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tools.trainers.safetensors_files import lora_pair, write_safetensors
from tools.trainers.header_comparison import HeaderComparison, compare_headers, render_header_comparison
from tools.trainers.lora_header import LoraHeader, read_lora_header

Shapes = dict[str, tuple[int, ...]]


def lora(path: Path, metadata: dict[str, Any], weights: Shapes | None = None) -> LoraHeader:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    return read_lora_header(write_safetensors(path, weights or lora_pair("lora_unet_a"), texts))


def compare(folder: Path, first: dict[str, Any], second: dict[str, Any]) -> HeaderComparison:
    return compare_headers(lora(folder / "a.safetensors", first), lora(folder / "b.safetensors", second))


def test_what_no_parameter_of_ours_holds(tmp_path: Path) -> None:
    subset = {"num_repeats": 10, "class_tokens": "amira", "flip_aug": False, "image_dir": "10_amira"}
    first = {"ss_clip_skip": "None", "ss_datasets": [{"batch_size_per_device": 1, "subsets": [subset]}], "ss_network_dim": "16"}
    other = [{"batch_size_per_device": 2, "subsets": [{**subset, "flip_aug": True, "num_repeats": 5}, {"is_reg": True}]}]
    second = {"ss_clip_skip": "2", "ss_datasets": other, "ss_network_dim": "16", "ss_full_fp16": "True"}
    found = compare(tmp_path, first, second)
    assert found.params == {"batch_size": (1, 2), "repeats": (10, 5)}
    assert found.metadata == {
        "ss_clip_skip": (None, "2"),
        "ss_datasets[0].subsets[0].flip_aug": ("False", "True"),
        "ss_datasets[0].subsets[1].is_reg": (None, "True"),
        "ss_full_fp16": (None, "True"),
    }


def test_convolutions_and_dropout(tmp_path: Path) -> None:
    found = compare(
        tmp_path, {"ss_network_dim": "16"}, {"ss_network_dim": "16", "ss_network_args": {"conv_dim": "32", "rank_dropout": "0.2"}}
    )
    assert found.differences == {"conv_dim": (None, 32), "rank_dropout": (None, 0.2)}


def test_names_times_and_hashes_are_no_difference(tmp_path: Path) -> None:
    keys = ("ss_session_id", "ss_training_started_at", "ss_output_name", "sshs_model_hash", "modelspec.date", "modelspec.title")
    found = compare(tmp_path, dict.fromkeys(keys, "1"), dict.fromkeys(keys, "2"))
    assert (found.differences, found.same_bytes) == ({}, True)


def test_the_manifest_s_time_is_no_difference(tmp_path: Path) -> None:
    """The same pictures: the file of the manifest was only written again."""

    def comment(dataset: str, digest: str) -> dict[str, Any]:
        return {"ss_training_comment": {"dataset_id": dataset, "dataset_manifest_hash": digest, "run_id": digest}}

    assert compare(tmp_path, comment("a", "1"), comment("a", "2")).differences == {}
    assert compare(tmp_path, comment("a", "1"), comment("b", "2")).params == {
        "dataset_id": ("a", "b"),
        "dataset_manifest_hash": ("1", "2"),
    }


def test_weights_that_differ_in_kind_and_layout(tmp_path: Path) -> None:
    first = lora(tmp_path / "a.safetensors", {}, lora_pair("lora_unet_a", 4) | lora_pair("lora_te1_b", 4))
    second = lora(tmp_path / "b.safetensors", {}, lora_pair("lora_unet_a", 8) | {"lora_unet_a.dora_scale": (8, 1)})
    found = compare_headers(first, second)
    assert found.same_bytes is False
    assert found.params == {"network_type": (None, "DoRA"), "network_dim": (4, 8), "trained": ("unet+text_encoder_1", "unet")}
    assert found.weights == {"weights.kind": ("LoRA", "DoRA"), "weights.modules": (2, 1), "weights.names only here": (2, 1)}


def test_bytes_count_and_not_the_hash_that_the_metadata_name(tmp_path: Path) -> None:
    first = lora(tmp_path / "a.safetensors", {"sshs_model_hash": "11"})
    second = lora(tmp_path / "b.safetensors", {"sshs_model_hash": "22"})
    found = compare_headers(first, second)
    assert found.same_bytes
    assert "the same weights, though their metadata name two hashes, 11 and 22" in render_header_comparison(first, second, found)
    second.path.write_bytes(second.path.read_bytes()[:-1] + b"\1")
    assert not compare_headers(first, read_lora_header(second.path)).same_bytes


def test_many_entries_of_one_value_are_one_line(tmp_path: Path) -> None:
    tags = [{"10_amira": {f"tag {number}": number + step for number in range(40)}} for step in (1, 2)]
    first = lora(tmp_path / "a.safetensors", {"ss_tag_frequency": tags[0]})
    second = lora(tmp_path / "b.safetensors", {"ss_tag_frequency": tags[1]})
    found = compare_headers(first, second)
    assert len(found.metadata) == 40
    lines = render_header_comparison(first, second, found).splitlines()
    shown = "10_amira.tag 0 1 -> 2, 10_amira.tag 1 2 -> 3, 10_amira.tag 2 3 -> 4"
    assert lines == [
        "a.safetensors -> b.safetensors: the same weights",
        f"  ss_tag_frequency  40 entries differ, such as {shown} (all with --json)",
        "compared: 40 metadata entries and 2 weights; names, times and hashes of the files are left out",
    ]


def test_the_case_that_differs_in_what_was_not_compared(cases_root: Path) -> None:
    folder = cases_root / "loras"
    headers = [read_lora_header(folder / f"lora_{letter}_conv_dropout_differs.safetensors") for letter in "ab"]
    found = compare_headers(*headers).differences
    assert {"conv_dim", "conv_alpha", "ss_clip_skip", "ss_caption_dropout_rate", "ss_datasets[0].subsets[0].flip_aug"} <= found.keys()
    assert "ss_tag_frequency.10_amira.other_person" in found
