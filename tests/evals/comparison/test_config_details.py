"""One line of how a version was trained: from its parameters, else from the manifest of its dataset."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from evals.comparison.config_details import describe_run, describe_training
from evals.comparison.runs import read_run


def write_manifest(path: Path, captions: list[str | None], regularisation: int = 0) -> str:
    """A manifest, as far as it is read; gives the SHA-256 of its file."""
    document: dict[str, Any] = {"manifest_version": 1, "dataset_id": "d" * 64, "images": [{"caption_text": text} for text in captions]}
    if regularisation:
        document["regularisation"] = {"images": [{}] * regularisation}
    path.write_text(json.dumps(document), encoding="utf-8")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def row(path: Path, digest: str, **more: Any) -> dict[str, Any]:
    return {"schema_version": 1, "run_id": "v3", "dataset_manifest_path": str(path), "dataset_manifest_hash": digest, **more}


def test_the_manifest_says_what_the_row_does_not(tmp_path: Path) -> None:
    captions: list[str | None] = [f"amiranoor walks down a long street in the evening, number {number}" for number in range(6)]
    digest = write_manifest(tmp_path / "m.json", captions, regularisation=40)
    params = {"network_dim": 32, "trained": "unet+text_encoder_1", "optimizer": "Prodigy", "max_train_steps": 2500}
    run = read_run(row(tmp_path / "m.json", digest, training_params=params))
    assert describe_run(run) == "network_dim=32, UNet+TE, Prodigy, 2500 steps, sentence captions + regularization"


def test_what_the_row_says_wins(tmp_path: Path) -> None:
    digest = write_manifest(tmp_path / "m.json", ["amiranoor"] * 9)
    run = read_run(row(tmp_path / "m.json", digest, training_params={"captions": "BLIP-2 auto-captions", "reg_images": 12}))
    assert describe_run(run) == "BLIP-2 auto-captions + regularization"


def test_the_manifest_knows_better_than_the_header(tmp_path: Path) -> None:
    digest = write_manifest(tmp_path / "m.json", ["amiranoor"] * 9)
    run = read_run(row(tmp_path / "m.json", digest, training_params={"caption_kind": "tag captions"}))
    assert describe_run(run) == "generic captions (1 different in 9)"
    assert describe_run(read_run(row(tmp_path / "gone.json", digest, training_params={"caption_kind": "tag captions"}))) == "tag captions"


@pytest.mark.parametrize(
    ("digest", "more", "words"),
    [
        ("f" * 64, {}, "not recorded"),  # another file by now
        ("f" * 64, {"dataset_id": "d" * 64}, "generic captions (1 different in 9)"),  # written again, of the same pictures
        ("f" * 64, {"dataset_id": "e" * 64}, "not recorded"),
    ],
)
def test_a_manifest_that_has_changed_is_not_believed(tmp_path: Path, digest: str, more: dict[str, Any], words: str) -> None:
    write_manifest(tmp_path / "m.json", ["amiranoor"] * 9)
    assert describe_run(read_run(row(tmp_path / "m.json", digest, **more))) == words


def test_a_manifest_that_is_gone_or_broken(tmp_path: Path) -> None:
    assert describe_run(read_run(row(tmp_path / "m.json", "f" * 64))) == "not recorded"
    (tmp_path / "m.json").write_text("{", encoding="utf-8")
    digest = hashlib.sha256(b"{").hexdigest()
    assert describe_run(read_run(row(tmp_path / "m.json", digest))) == "not recorded"
    (tmp_path / "m.json").write_text('{"images": {"caption_text": 5}, "regularisation": [1]}', encoding="utf-8")
    digest = hashlib.sha256((tmp_path / "m.json").read_bytes()).hexdigest()
    assert describe_run(read_run(row(tmp_path / "m.json", digest))) == "not recorded"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"trained": "unet"}, "UNet only"),
        ({"trained": "unet+text_encoder_1+text_encoder_2"}, "UNet+TE"),
        ({"trained": "transformer"}, "transformer only"),
        ({"trained": "transformer+text_encoder"}, "transformer+TE"),
        ({"modules": "UNet+TE"}, "UNet+TE"),
        ({"modules": "attention layers"}, "attention layers"),
        ({"network_dim": 8, "network_type": "LoKr"}, "network_dim=8, LoKr"),
        ({"network_dim": 8, "network_type": "LORA", "conv_dim": 4}, "network_dim=8, conv_dim=4"),
        ({"dataset_id": "d" * 64, "dataset_manifest_hash": "e" * 64, "trainer_version": "1"}, "not recorded"),
        ({"captions": "generic", "reg_images": 0}, "generic captions"),
        ({"caption_method": "BLIP-2 auto-captions", "captions": "tag captions", "caption_kind": "x"}, "BLIP-2 auto-captions"),
    ],
)
def test_words(params: dict[str, Any], words: str) -> None:
    assert describe_training(params) == words
