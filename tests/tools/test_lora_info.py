"""tools/lora_info.py: a LoRA's header leads back to its dataset, and two LoRAs are told apart, without loading a weight."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from tests.tools.dataset.sets import make_set
from tools import dataset_manifest, lora_info


def write_lora(path: Path, *, keys: tuple[str, ...] = ("lora_unet_a.lora_down.weight",), **metadata: Any) -> Path:
    weights = {key: {"dtype": "F16", "shape": [2], "data_offsets": [4 * number, 4 * number + 4]} for number, key in enumerate(keys)}
    raw = json.dumps({"__metadata__": {name: str(value) for name, value in metadata.items()}, **weights}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"\0" * 4 * len(keys))
    return path


def comment(dataset_id: str, manifest_hash: str = "0" * 64) -> str:
    return json.dumps({"dataset_id": dataset_id, "dataset_manifest_hash": manifest_hash, "run_id": "run 1"})


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "out" / "dataset_manifest.json"
    assert run("--dataset-dir", make_set(tmp_path / "set", 1), "--output", path, script=dataset_manifest) == 0
    capsys.readouterr()
    return path


def run(*args: object, script: Any = lora_info) -> int:
    return cli.run(lambda: script.main([str(arg) for arg in args]))


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_whole_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"ss_network_dim": 32, "ss_network_alpha": "16.0", "ss_steps": 500, "ss_seed": "None", "modelspec.trigger_phrase": "amiranoor"}
    keys = ("lora_unet_a.lora_down.weight", "lora_te1_b.lora_down.weight")
    path = write_lora(tmp_path / "a.safetensors", keys=keys, ss_new_sd_model_hash="12e4", **values)
    assert run(path, "--json") == 0
    found = answer(capsys)["loras"][0]
    assert (found["file"], found["size_bytes"], found["whole"], found["weights"]) == (str(path), path.stat().st_size, True, 2)
    assert found["trained_modules"] == ["unet", "text_encoder_1"]
    wanted = {"network_dim": 32, "network_alpha": 16.0, "steps": 500, "trigger_phrase": "amiranoor", "base_model_sha256": "12e4"}
    assert found["params"] == {**wanted, "trained": "unet+text_encoder_1"}
    assert found["dataset"]["why"] == "it does not name its dataset"


def test_the_manifest_beside_it(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import hashlib

    dataset_id = json.loads(manifest.read_text())["dataset_id"]
    exact = write_lora(
        manifest.with_name("a.safetensors"), ss_training_comment=comment(dataset_id, hashlib.sha256(manifest.read_bytes()).hexdigest())
    )
    rewritten = write_lora(manifest.with_name("b.safetensors"), ss_training_comment=comment(dataset_id))
    other = write_lora(manifest.with_name("c.safetensors"), ss_training_comment=comment("f" * 64))
    assert run(exact, rewritten, other, "--json") == 0
    found = [item["dataset"] for item in answer(capsys)["loras"]]
    assert [(item["matches"], item["manifest"]) for item in found] == [(True, str(manifest)), (True, str(manifest)), (False, str(manifest))]
    assert found[0]["why"] == "this manifest was written before its first step"
    assert found[1]["why"].startswith("the same pictures and captions")
    assert run(exact, "--manifest", manifest) == 0
    assert run(other, "--manifest", manifest) == 1


def test_two_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_lora(tmp_path / "a.safetensors", ss_network_dim=16, ss_seed=1, sshs_model_hash="aa", ss_output_name="a")
    second = write_lora(tmp_path / "b.safetensors", ss_network_dim=32, ss_seed=1, sshs_model_hash="bb", ss_output_name="b")
    second.write_bytes(second.read_bytes()[:-1] + b"\1")
    assert run("--compare", first, second) == 0
    compared = "compared: 4 metadata entries and 1 weights; names, times and hashes of the files are left out"
    assert capsys.readouterr().out.splitlines() == [
        "a.safetensors -> b.safetensors: different weights",
        "  network_dim  16 -> 32",
        compared,
    ]
    assert run("--compare", first, second, "--json") == 0
    found = answer(capsys)
    assert found["differences"] == {"network_dim": {"first": 16, "second": 32}}
    assert found["same_weights"] is False


def test_a_file_that_is_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lora(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert run(path) == 1
    assert "CUT OFF: 1 bytes of its weights are missing" in capsys.readouterr().out


def test_a_file_that_is_longer_is_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lora(tmp_path / "a.safetensors")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"more")
    assert run(path) == 0
    shown = capsys.readouterr().out
    assert "CUT OFF" not in shown
    assert "all weights are there; 4 bytes more follow than its header declares" in shown
    command = shown.partition('python -c "')[2].partition('"')[0]
    exec(command)
    assert path.stat().st_size == size
    assert run(path, "--json") == 0
    found = answer(capsys)["loras"][0]
    assert (found["whole"], found["extra_bytes"], found["missing_bytes"]) == (True, 0, 0)


def test_a_header_that_the_library_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nested metadata and a gap between weights are told, and are no traceback."""
    weights = {"lora_unet_a.lora_down.weight": {"dtype": "F16", "shape": [1, 2], "data_offsets": [2, 6]}}
    raw = json.dumps({"__metadata__": {"training_info": {"step": 9}, "software": {"name": "ai-toolkit"}}, **weights}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"\0" * 6)
    assert run(path) == 1
    shown = capsys.readouterr().out
    assert "CANNOT BE LOADED: the metadata's training_info is no text" in shown
    assert "CANNOT BE LOADED: weight lora_unet_a.lora_down.weight leaves a gap before it" in shown
    assert re.search(r"^  steps +9$", shown, re.MULTILINE)


def test_a_file_without_weights_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(write_lora(tmp_path / "a.safetensors", keys=(), ss_network_dim=8)) == 1
    assert "IT HOLDS NO WEIGHTS" in capsys.readouterr().out


@pytest.mark.parametrize("args", [(), ("no.safetensors",), ("--compare", "a", "b"), ("text.safetensors",)])
def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.safetensors").write_text("hello, this is no LoRA")
    assert run(*args) == 2
