"""Each trainer's metadata are read by its own dialect, and what a new dialect touches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.trainers.safetensors_files import lora_pair, write_safetensors
from tools.trainers import header_dialects
from tools.trainers.header_dialects import DIALECTS, DialectRow, KeyedDialect, find_dialect
from tools.trainers.lora_header import LoraHeader, read_lora_header


def read(folder: Path, metadata: dict[str, str], module: str = "lora_unet_x", *, peft: bool = False) -> LoraHeader:
    return read_lora_header(write_safetensors(folder / "a.safetensors", lora_pair(module, 4, peft=peft), metadata))


WRITTEN: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    (
        "kohya",
        {
            "ss_network_dim": "16",
            "ss_network_module": "lycoris.kohya",
            "ss_network_args": json.dumps({"algo": "loha", "conv_dim": "8", "conv_alpha": "4", "dropout": "0.1", "preset": "full"}),
            "ss_base_model_version": "sdxl_base_v1-0",
            "ss_num_train_images": "360",
        },
        {"network_dim": 16, "network_type": "loha", "conv_dim": 8, "conv_alpha": 4, "network_dropout": 0.1, "train_images": 360},
    ),
    (
        "musubi-tuner",
        {
            "ss_network_module": "networks.lora_qwen_image",
            "ss_network_dim": "32",
            "ss_num_train_items": "40",
            "ss_datasets": json.dumps([{"batch_size": 2, "num_repeats": 5, "resolution": [1024, 1024]}]),
            "ss_training_comment": json.dumps({"run_id": "run 7", "dataset_id": "abc"}),
        },
        {"network_dim": 32, "train_images": 40, "batch_size": 2, "repeats": 5, "dataset_id": "abc"},
    ),
    (
        "ai-toolkit",
        {
            "software": json.dumps({"name": "ai-toolkit", "repo": "r", "version": "0.7.1"}),
            "training_info": json.dumps({"step": 1750, "epoch": 12}),
            "ss_base_model_version": "zimage:turbo",
            "ss_output_name": "amira",
            "sshs_model_hash": "12e9",
        },
        {
            "network_dim": 4,
            "steps": 1750,
            "epoch": 12,
            "base_model": "zimage:turbo",
            "output_name": "amira",
            "weights_sha256": "12e9",
            "trainer_version": "0.7.1",
        },
    ),
    (
        "OneTrainer",
        {
            "ot_branch": "master",
            "ot_revision": "1e5",
            "ot_config": json.dumps(
                {
                    "lora_rank": 24,
                    "lora_alpha": 12.0,
                    "peft_type": "LORA",
                    "optimizer": {"optimizer": "PRODIGY", "eps": 1e-8},
                    "learning_rate": 1.0,
                    "epochs": 60,
                    "batch_size": 2,
                    "resolution": "1024",
                    "text_encoder": {"train": False, "learning_rate": None},
                    "base_model_name": "owner/model",
                }
            ),
            "modelspec.title": "amira",
        },
        {
            "network_dim": 24,
            "network_alpha": 12.0,
            "network_type": "LORA",
            "optimizer": "PRODIGY",
            "learning_rate": 1.0,
            "num_epochs": 60,
            "batch_size": 2,
            "resolution": "1024",
            "base_model": "owner/model",
            "output_name": "amira",
            "trainer_version": "1e5",
        },
    ),
    (
        "SimpleTuner",
        {
            "modelspec.architecture": "flux-1-dev/lora",
            "modelspec.title": "amira",
            "modelspec.comment": json.dumps({"run_id": "run 7"}),
            "lora_adapter_metadata": json.dumps({"transformer.r": 64, "transformer.lora_alpha": 64}),
        },
        {"network_dim": 64, "network_alpha": 64, "base_model": "flux-1-dev/lora", "output_name": "amira"},
    ),
    (
        "peft or diffusers",
        {"format": "pt", "lora_adapter_metadata": json.dumps({"unet.r": 8, "unet.lora_alpha": 16, "unet.lora_dropout": 0.0})},
        {"network_dim": 8, "network_alpha": 16, "network_dropout": 0.0},
    ),
]


@pytest.mark.parametrize(("title", "metadata", "params"), WRITTEN, ids=[case[0] for case in WRITTEN])
def test_every_dialect(tmp_path: Path, title: str, metadata: dict[str, str], params: dict[str, Any]) -> None:
    header = read(tmp_path, metadata)
    assert header.dialect is not None
    assert header.dialect.title == title
    assert header.training_params == {"network_dim": 4, "trained": "unet"} | params
    assert header.run_id == ("run 7" if "run 7" in str(metadata) else None)


def test_every_row_is_tried() -> None:
    assert [row.title for row in DIALECTS if row.title not in {case[0] for case in WRITTEN}] == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"software": "ai-toolkit", "training_info": "[1, 2]"},
        {"software": "{", "training_info": '{"step": {"a": 1}}'},
        {"ot_config": "not JSON", "ot_branch": ""},
        {"ot_config": '{"lora_rank": [1], "optimizer": {"optimizer": null}}'},
        {"lora_adapter_metadata": '{"r": NaN, "transformer.r": 1e999}'},
        {"ss_network_args": '{"conv_dim": {"a": 1}, "dropout": [1]}', "ss_datasets": '[{"batch_size": {}, "subsets": 5}]'},
        {"modelspec.comment": '{"run_id": 5}'},
    ],
)
def test_odd_values_are_left_out_or_kept_as_text(tmp_path: Path, metadata: dict[str, str]) -> None:
    params = read(tmp_path, metadata).training_params
    json.dumps(params, allow_nan=False)
    assert all(isinstance(value, str | int | float) for value in params.values())
    assert params["trained"] == "unet"


def test_nobody_s_metadata_leave_what_the_weights_tell(tmp_path: Path) -> None:
    header = read(tmp_path, {"format": "pt"}, "transformer.single_transformer_blocks.0.attn.to_q", peft=True)
    assert header.dialect is None
    assert (header.training_params, header.architecture) == ({"network_dim": 4, "trained": "transformer"}, "Flux.1")


def test_a_new_dialect_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy that borrows kohya's `modelspec.` keys is known by its own key, before kohya is asked."""
    toy = KeyedDialect(
        {"toy/by": "toytrain"}, {"steps": ("toy/steps",), "optimizer": ("toy/optimizer/name", "toy/optimizer")}, ("toy_comment",)
    )
    metadata = {
        "modelspec.title": "amira",
        "toy": '{"by": "ToyTrain 2", "steps": 5, "optimizer": {"name": "Lion"}}',
        "toy_comment": '{"run_id": "run 9"}',
    }
    known = find_dialect(metadata)
    assert known is not None and known.title == "kohya"
    monkeypatch.setattr(header_dialects, "DIALECTS", (DialectRow("toy", toy), *DIALECTS))
    header = read(tmp_path, metadata)
    assert header.dialect is not None and header.dialect.title == "toy"
    assert header.training_params == {"network_dim": 4, "steps": 5, "optimizer": "Lion", "trained": "unet"}
    assert header.run_id == "run 9"


def test_kohya_s_captions_are_told_by_their_parts(tmp_path: Path) -> None:
    """Those of the regularisation folder are no captions of the character."""
    subsets = [{"image_dir": "10_amira", "is_reg": False, "num_repeats": 10}, {"image_dir": "1_woman", "is_reg": True}]
    frequency: dict[str, Any] = {
        "10_amira": {"amiranoor": 20, "red dress": 3, "beach": "odd"},
        "1_woman": {"a woman who stands in a room": 90},
    }
    metadata = {"ss_datasets": json.dumps([{"subsets": subsets}]), "ss_tag_frequency": json.dumps(frequency)}
    assert read(tmp_path, metadata).training_params["caption_kind"] == "tag captions"
    for odd in ("[]", '{"10_amira": 5}', "{", '{"10_amira": {"a": 1e99}}'):
        assert "caption_kind" not in read(tmp_path, {"ss_tag_frequency": odd}).training_params


AI_TOOLKIT_CONFIG = """
job: extension
config:
  name: amira_flux
  process:
    - type: sd_trainer
      trigger_word: amiranoor
      network: {type: lora, linear: 16, linear_alpha: 8}
      train: {batch_size: 1, steps: 3000, lr: 1e-4, optimizer: adamw8bit, train_text_encoder: false}
      model: {name_or_path: owner/flux}
"""


def test_ai_toolkit_s_config_beside_it(tmp_path: Path) -> None:
    """Rates and rank stand there alone. YAML reads `1e-4` as text."""
    metadata = {"software": '{"name": "ai-toolkit"}', "training_info": '{"step": 2000}'}
    path = write_safetensors(tmp_path / "amira_flux_000002000.safetensors", lora_pair("transformer.a", 16, peft=True), metadata)
    told = {"network_dim": 16, "steps": 2000, "trained": "transformer"}
    assert read_lora_header(path).training_params == told
    (tmp_path / "config.yaml").write_text(AI_TOOLKIT_CONFIG, encoding="utf-8")
    more = {"network_type": "lora", "network_alpha": 8, "optimizer": "adamw8bit", "learning_rate": 0.0001, "max_train_steps": 3000}
    more |= {"batch_size": 1, "base_model": "owner/flux", "trigger_phrase": "amiranoor"}
    assert read_lora_header(path).training_params == told | more
    for text in (AI_TOOLKIT_CONFIG.replace("amira_flux", "other"), "[1, 2]", "config: {name: amira_flux, process: 5}", "a: [", "\0"):
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        assert read_lora_header(path).training_params == told, text


def test_peft_s_config_beside_it(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "adapter_model.safetensors", lora_pair("base_model.model.a", 4, peft=True), {"format": "pt"})
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 32, "lora_dropout": 0.1, "base_model_name_or_path": "owner/model", "bias": {}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    wanted = {"network_type": "LORA", "network_dim": 4, "network_alpha": 32, "network_dropout": 0.1, "base_model": "owner/model"}
    assert read_lora_header(path).training_params == wanted | {"trained": "transformer"}
    (tmp_path / "adapter_config.json").write_text("{", encoding="utf-8")
    assert read_lora_header(path).training_params == {"network_dim": 4, "trained": "transformer"}


def test_the_cases(cases_root: Path) -> None:
    folder = cases_root / "loras"
    header = read_lora_header(folder / "lora_aitoolkit_flux.safetensors")
    assert header.dialect is not None and header.dialect.title == "ai-toolkit"
    assert (header.architecture, header.training_params["steps"], header.weights.ranks) == ("Flux.1", 2000, {16: 2})
    longer = read_lora_header(folder / "lora_trailing_bytes.safetensors")
    assert (longer.is_whole, longer.file.extra_bytes) == (True, 16)
