"""From a LoRA to its manifest: beside it, where the training record says, or moved aside by a later run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lifeos.errors import InputError
from tests.tools.dataset.sets import make_set
from tests.tools.trainers.safetensors_files import lora_pair, write_safetensors
from tools import dataset_manifest
from tools.dataset.lora_manifest import find_own_manifest, link_dataset
from tools.dataset.manifest import manifest_hash
from tools.trainers.lora_header import LoraHeader, read_lora_header


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "made.json"
    assert dataset_manifest.main(["--dataset-dir", str(make_set(tmp_path / "set", 1)), "--output", str(path), "--no-cache"]) == 0
    return path


def lora(folder: Path, dataset_id: str | None, digest: str = "0" * 64) -> LoraHeader:
    comment = json.dumps({"dataset_id": dataset_id, "dataset_manifest_hash": digest})
    path = write_safetensors(folder / "a.safetensors", lora_pair("lora_unet_a"), {"ss_training_comment": comment} if dataset_id else {})
    return read_lora_header(path)


def id_of(manifest: Path) -> str:
    return str(json.loads(manifest.read_text(encoding="utf-8"))["dataset_id"])


@pytest.mark.parametrize("place", ["dataset_manifest.json", "previous_runs/r1/dataset_manifest.json"])
def test_where_it_lies(tmp_path: Path, manifest: Path, place: str) -> None:
    there = tmp_path / "out" / place
    there.parent.mkdir(parents=True)
    shutil.copy(manifest, there)
    assert find_own_manifest(lora(tmp_path / "out", id_of(manifest))) == there
    assert find_own_manifest(lora(tmp_path / "out", "f" * 64)) is None
    assert find_own_manifest(lora(tmp_path / "out", None)) is None


def test_where_the_record_says(tmp_path: Path, manifest: Path) -> None:
    header = lora(tmp_path / "out", id_of(manifest), manifest_hash(manifest))
    assert find_own_manifest(header) is None
    record = tmp_path / "out" / "training_record.json"
    record.write_text(json.dumps({"run_id": "r", "dataset_manifest": str(manifest)}), encoding="utf-8")
    assert find_own_manifest(header) == manifest
    assert link_dataset(header).why == "this manifest was written before its first step"
    for text in ("{", "[]", '{"dataset_manifest": 5}', '{"dataset_manifest": "gone.json"}', '{"dataset_manifest": "a\\u0000b"}'):
        record.write_text(text, encoding="utf-8")
        assert find_own_manifest(header) is None, text


def test_a_broken_one_beside_it_stops_nobody(tmp_path: Path) -> None:
    header = lora(tmp_path / "out", "f" * 64)
    (tmp_path / "out" / "dataset_manifest.json").write_text("{", encoding="utf-8")
    assert find_own_manifest(header) is None


def test_a_manifest_that_is_given_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="is not a dataset manifest"):
        link_dataset(lora(tmp_path, "f" * 64), tmp_path / "x.json")
