"""LoRA headers: what a trainer's metadata says, and every way in which a file is none."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from tests.tools.trainers.safetensors_files import METADATA, write_lora
from tools.trainers.lora_header import read_lora_header


def test_training_params(tmp_path: Path) -> None:
    params = read_lora_header(write_lora(tmp_path / "a.safetensors", METADATA)).training_params
    assert params == {
        "network_dim": 32,
        "network_alpha": 16.0,
        "optimizer": "prodigyopt.prodigy.Prodigy(decouple=True)",
        "unet_lr": 1.0,
        "steps": 2500,
        "resolution": "1024x1024",
        "seed": 42,
        "trigger_phrase": "ohwx person",
        "base_model": "base.safetensors",
        "base_model_sha256": "12345e67",  # not the number 1.2345e+71
        "weights_sha256": "45a5",
        "trained": "unet",
        "batch_size": 2,
        "repeats": 10,  # of the training images, not of the regularisation images
        "class_tokens": "ohwx person",
        "dataset_id": "abc",
        "dataset_manifest_hash": "def",
    }


@pytest.mark.parametrize(
    ("keys", "trained"),
    [
        (("lora_unet_a",), ("unet",)),
        (("lora_te1_a", "lora_te2_a", "lora_unet_a"), ("unet", "text_encoder_1", "text_encoder_2")),
        (("lora_te_a", "lora_unet_a"), ("unet", "text_encoder")),
        ((), ()),
    ],
    ids=["unet only", "sdxl", "sd1.5", "no weights"],
)
def test_trained_modules_tell_by_the_keys(keys: tuple[str, ...], trained: tuple[str, ...], tmp_path: Path) -> None:
    assert read_lora_header(write_lora(tmp_path / "a.safetensors", {}, keys)).trained_modules == trained


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, {"trained": "unet"}),
        ({"ss_datasets": "{broken", "ss_training_comment": "hello"}, {"trained": "unet", "comment": "hello"}),
        ({"ss_datasets": '[{"subsets": null}]', "ss_training_comment": "None"}, {"trained": "unet"}),
        ({"ss_datasets": '[{"subsets": [1]}]', "ss_training_comment": "[]"}, {"trained": "unet", "comment": "[]"}),
        ({"ss_learning_rate": "nan", "ss_steps": "inf"}, {"trained": "unet", "learning_rate": "nan", "steps": "inf"}),
    ],
    ids=["no metadata", "broken parts", "nulls", "odd types", "not finite"],
)
def test_metadata_of_other_programs(metadata: dict[str, str] | None, expected: dict[str, Any], tmp_path: Path) -> None:
    params = read_lora_header(write_lora(tmp_path / "a.safetensors", metadata)).training_params
    assert params == expected
    json.dumps(params, allow_nan=False)


def test_only_the_header_is_read(tmp_path: Path) -> None:
    """A file of 5 GB on paper: a sparse file, whose weights take no room and no time."""
    path = write_lora(tmp_path / "big.safetensors", METADATA)
    with open(path, "r+b") as file:
        file.truncate(5 << 30)
    assert read_lora_header(path).metadata["ss_seed"] == "42"


def entry(**changed: Any) -> bytes:
    weight = {"dtype": "F16", "shape": [1], "data_offsets": [0, 2], **changed}
    return json.dumps({"a.lora_up.weight": {name: value for name, value in weight.items() if value != "gone"}}).encode()


ODD_ENTRIES = [
    (b'{"a": 5}', "weight a has no dtype"),
    (entry(dtype=16), "weight a.lora_up.weight has no dtype"),
    (entry(shape="1"), "weight a.lora_up.weight has no usable shape"),
    (entry(shape=[1.5]), "weight a.lora_up.weight has no usable shape"),
    (entry(shape=[-1]), "weight a.lora_up.weight has no usable shape"),
    (entry(shape=[1] * 99), "weight a.lora_up.weight has no usable shape"),
    (entry(data_offsets="gone"), "weight a.lora_up.weight has no usable data_offsets"),
    (entry(data_offsets=[2, 0]), "weight a.lora_up.weight has no usable data_offsets"),
    (entry(data_offsets=[0, True]), "weight a.lora_up.weight has no usable data_offsets"),
]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is an empty file"),
        (b"PK\x03\x04 a zip archive", "is a pickle or ZIP archive (.ckpt, .pt, .zip), not safetensors"),
        (b"\x80\x02}q\x00", "is a pickle (.ckpt, .pt), not safetensors"),
        (b"GGUF\x03\0\0\0 quantised", "is a GGUF file, not safetensors"),
        (b"\xef\xbb\xbf\r\n  <!DOCTYPE html><title>Sign in</title>", "is a web page (HTML), not a model file"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page (HTML), not a model file"),
        (b"<p>please log in", "is a web page (HTML), not a model file"),
        (b" \r\n ", "is blank"),
        (b"Entry not found", 'is a short text ("Entry not found"), not a model file'),
        (b'{"error": "token wanted"}', "is a JSON text, not a model file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "is a Git LFS pointer, not the file itself (fetch the file itself: git lfs",
        ),
        (b"\0" * 4096, "holds nothing but zeros at its beginning (4096 bytes)"),
        (b"hello, this is no text\xff", "not a safetensors file, or cut off: a header of 8367736964726416744 bytes"),
        (struct.pack("<Q", 100) + b"{}", "not a safetensors file, or cut off: a header of 100 bytes in a file of 10"),
        (struct.pack("<Q", 12) + b"{}        ", "not a safetensors file, or cut off: a header of 12 bytes in a file of 18"),
        (struct.pack("<Q", 2) + b"{{", "not a safetensors file: its header: not JSON"),
        (struct.pack("<Q", 2) + b"\xff\xff", "not a safetensors file: its header: not UTF-8"),
        (struct.pack("<Q", 2) + b"[]", "not a safetensors file: its header: an object is wanted, not a list"),
        (struct.pack("<Q", 19) + b'{"__metadata__":[1]}'[:19], "not a safetensors file: its header: not JSON"),
        (struct.pack("<Q", 20) + b'{"__metadata__":[1]}', "not a safetensors file: its metadata is no JSON object"),
        *((struct.pack("<Q", len(raw)) + raw, f"not a safetensors file: its header: {why}") for raw, why in ODD_ENTRIES),
    ],
)
def test_refuses_other_files(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_lora_header(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(("name", "why"), [("missing.safetensors", "no such file"), (".", "is a directory, not a file")])
def test_no_file(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        read_lora_header(tmp_path / name)


@pytest.mark.usefixtures("pipes")
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are POSIX")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="is a pipe or device, not a file"):
        read_lora_header(tmp_path / "a.safetensors")
