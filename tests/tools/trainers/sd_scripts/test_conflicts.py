"""Every bad combination that the real trainer was seen to stumble over is found; a sound command has none."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.checkouts import ROOT
from tools.families.families import SDXL
from tools.trainers.sd_scripts.conflicts import find_conflicts, read_options

SOUND = [
    *("accelerate", "launch", "--num_cpu_threads_per_process", "2", "--mixed_precision", "bf16", "sdxl_train_network.py"),
    *("--network_module", "networks.lora", "--network_dim", "32", "--network_alpha", "16", "--resolution", "1024,1024"),
    *("--max_train_steps", "2500", "--optimizer_type", "Prodigy", "--optimizer_args", "decouple=True", "betas=(0.9,0.99)"),
    *("--learning_rate", "1", "--unet_lr", "1", "--network_train_unet_only", "--cache_text_encoder_outputs", "--cache_latents"),
    *("--lr_scheduler", "cosine", "--lr_warmup_steps", "100", "--mixed_precision", "bf16", "--sdpa"),
    *("--max_data_loader_n_workers", "2", "--persistent_data_loader_workers"),
]
CONFIG: dict[str, Any] = {
    "general": {"caption_extension": ".txt", "shuffle_caption": False},
    "datasets": [
        {
            "resolution": 1024,
            "batch_size": 2,
            "enable_bucket": True,
            "min_bucket_reso": 256,
            "max_bucket_reso": 2048,
            "bucket_reso_steps": 64,
            "subsets": [{"image_dir": "a", "num_repeats": 10, "class_tokens": "x"}, {"image_dir": "b", "is_reg": True}],
        }
    ],
}


def without(*flags: str) -> list[str]:
    """The sound command less these flags and their values."""
    kept, skipping = [], False
    for index, item in enumerate(SOUND):
        skipping = (item in flags and index > 6) or (skipping and not item.startswith("--"))
        if not skipping:
            kept.append(item)
    return kept


def config(change: Callable[[dict[str, Any]], object] = lambda document: None) -> dict[str, Any]:
    document = copy.deepcopy(CONFIG)
    change(document)
    return document


def dataset(**keys: Any) -> dict[str, Any]:
    return config(lambda document: document["datasets"][0].update(keys))


def subset(number: int, **keys: Any) -> dict[str, Any]:
    return config(lambda document: document["datasets"][0]["subsets"][number].update(keys))


def test_a_sound_run_has_no_conflict() -> None:
    assert find_conflicts(SOUND, CONFIG) == []


BOTH_FLAGS = ("--network_train_unet_only", "--cache_text_encoder_outputs")
BOTH = without(*BOTH_FLAGS)
COMMANDS: list[tuple[str, list[str], str]] = [
    ("prodigy, one rate for all", BOTH, ""),
    ("prodigy, text encoder's own", [*BOTH, "--text_encoder_lr", "0.5"], "--optimizer_type"),
    ("prodigy, two text encoder rates", [*BOTH, "--text_encoder_lr", "1", "0.5"], "--optimizer_type"),
    ("prodigy, text encoder falls back to 2e-6", without(*BOTH_FLAGS, "--learning_rate"), "--optimizer_type"),
    ("prodigy at 1e-4", [*without("--learning_rate", "--unet_lr"), "--learning_rate", "1e-4"], "--learning_rate"),
    ("prodigy at the default", without("--learning_rate", "--unet_lr"), "--learning_rate"),
    ("prodigy unet only, text rate ignored", [*SOUND, "--text_encoder_lr", "5e-5"], ""),
    ("dadaptation", [*BOTH, "--optimizer_type", "DAdaptAdam", "--text_encoder_lr", "0.5"], "--optimizer_type"),
    ("cached text while training it", without("--network_train_unet_only"), "--cache_text_encoder_outputs"),
    ("cached text, shuffled", [*SOUND, "--shuffle_caption"], "--cache_text_encoder_outputs"),
    ("cached text, dropout", [*SOUND, "--caption_dropout_rate", "0.1"], "--cache_text_encoder_outputs"),
    ("cached text, no dropout", [*SOUND, "--caption_dropout_rate", "0"], ""),
    ("small true", [*SOUND, "--optimizer_args", "decouple=true"], "--optimizer_args"),
    ("no value", [*SOUND, "--optimizer_args", "decouple"], "--optimizer_args"),
    ("no workers to keep", [*SOUND, "--max_data_loader_n_workers", "0"], "--persistent_data_loader_workers"),
    ("xformers", [*SOUND, "--xformers"], "--xformers"),
    ("xformers abbreviated", [*SOUND, "--xf"], "--xformers"),
    ("precision abbreviated", [*SOUND, "--mixed_p", "no"], "--mixed_precision"),
    ("caches abbreviated", [*SOUND, "--cache_text_encoder_outputs_to"], "--cache_text_encoder_outputs_to_disk"),
    ("warm-up of a constant rate", [*SOUND, "--lr_scheduler", "constant"], "--lr_warmup_steps"),
    ("warm-up of the default rate", without("--lr_scheduler"), "--lr_warmup_steps"),
    ("warm-up where there is one", [*SOUND, "--lr_scheduler", "constant_with_warmup"], ""),
    ("32 bits", [item for index, item in enumerate(SOUND) if index < 7 or item not in ("--mixed_precision", "bf16")], "--mixed_precision"),
    ("full fp16 in bf16", [*SOUND, "--full_fp16"], "--full_fp16"),
    ("full bf16", [*SOUND, "--full_bf16"], ""),
    ("alpha by default", without("--network_alpha"), "--network_alpha"),
    ("steps by default", without("--max_train_steps"), "--max_train_steps"),
    ("epochs instead", [*without("--max_train_steps"), "--max_train_epochs", "10"], ""),
    ("no resolution", without("--resolution"), "--resolution"),
    ("another resolution", [*SOUND, "--resolution", "768,768"], "--resolution"),
    ("no network", without("--network_module"), "--network_module"),
    ("resume from 0", [*SOUND, "--resume", "state"], "--resume"),
    ("resume", [*SOUND, "--resume", "state", "--skip_until_initial_step"], ""),
    (
        "resume accumulated",
        [*SOUND, "--resume", "x", "--skip_until_initial_step", "--gradient_accumulation_steps", "2"],
        "--skip_until_initial_step",
    ),
    ("caches on disk", [*SOUND, "--cache_latents_to_disk"], "--cache_latents_to_disk"),
    ("text caches on disk", [*SOUND, "--cache_text_encoder_outputs_to_disk"], "--cache_text_encoder_outputs_to_disk"),
    ("cropped at random from a cache", [*SOUND, "--random_crop"], "--cache_latents"),
    ("v2", [*SOUND, "--v2"], "--v2"),
    ("nothing trained", [*SOUND, "--network_train_text_encoder_only"], "--network_train_unet_only"),
    ("rank 0", [*SOUND, "--network_dim", "0"], "--network_dim"),
    ("equals sign", [*SOUND, "--lr_scheduler=constant"], "--lr_warmup_steps"),
]


@pytest.mark.parametrize(("argv", "flag"), [case[1:] for case in COMMANDS], ids=[case[0] for case in COMMANDS])
def test_command_lines(argv: list[str], flag: str) -> None:
    assert [conflict.rule for conflict in find_conflicts(argv, CONFIG)] == ([flag] if flag else [])


CONFIGS: list[tuple[str, dict[str, Any], str]] = [
    ("shuffled regularisation", subset(1, shuffle_caption=True), "--cache_text_encoder_outputs"),
    ("dropout in one folder", subset(0, caption_dropout_rate=0.05), "--cache_text_encoder_outputs"),
    ("token warm-up", dataset(token_warmup_step=100), "--cache_text_encoder_outputs"),
    ("shuffled everywhere", config(lambda d: d["general"].update(shuffle_caption=True)), "--cache_text_encoder_outputs"),
    ("colours changed", subset(0, color_aug=True), "--cache_latents"),
    ("prior loss weight", dataset(prior_loss_weight=0.5), "prior_loss_weight"),
    ("unknown in a subset", subset(0, repeats=3), "repeats"),
    ("unknown in a dataset", dataset(image_dir="a"), "image_dir"),
    ("unknown table", config(lambda d: d.update(training={})), "training"),
    ("text for a number", subset(0, num_repeats="10"), "num_repeats"),
    ("true for a number", subset(0, num_repeats=True), "num_repeats"),
    ("whole number for a fraction", dataset(validation_split=1), "validation_split"),
    ("no repeats", subset(0, num_repeats=0), "num_repeats"),
    ("smallest above", dataset(min_bucket_reso=1280), "min_bucket_reso"),
    ("largest below", dataset(max_bucket_reso=960), "max_bucket_reso"),
    ("step 48", dataset(bucket_reso_steps=48), "bucket_reso_steps"),
    ("step 32", dataset(bucket_reso_steps=32), ""),
    ("no buckets, no fault", dataset(enable_bucket=False, max_bucket_reso=960), ""),
    ("another resolution", dataset(resolution=[1024, 768]), "--resolution"),
    ("captions by default", config(lambda d: d["general"].pop("caption_extension")), "--caption_extension"),
    ("nothing named", config(lambda d: d.update(datasets=[])), "datasets"),
    ("no folder", config(lambda d: d["datasets"][0].update(subsets=[])), "datasets"),
    ("regularisation alone", config(lambda d: d["datasets"][0]["subsets"].pop(0)), "is_reg"),
    ("a folder twice", subset(1, image_dir="a"), "image_dir"),
    ("no image_dir", config(lambda d: d["datasets"][0]["subsets"][0].pop("image_dir")), "image_dir"),
]


@pytest.mark.parametrize(("document", "flag"), [case[1:] for case in CONFIGS], ids=[case[0] for case in CONFIGS])
def test_dataset_configs(document: dict[str, Any], flag: str) -> None:
    assert [conflict.rule for conflict in find_conflicts(SOUND, document)] == ([flag] if flag else [])


def test_sd15_wants_steps_of_64() -> None:
    argv = [item.replace("sdxl_train_network.py", "train_network.py") for item in SOUND if item != "--cache_text_encoder_outputs"]
    assert [conflict.rule for conflict in find_conflicts(argv, dataset(bucket_reso_steps=32))] == ["bucket_reso_steps"]


def test_every_conflict_is_told_at_once_and_says_what_to_do() -> None:
    found = find_conflicts([*SOUND, "--xformers", "--v2"], dataset(prior_loss_weight=1, bucket_reso_steps=48))
    assert {conflict.rule for conflict in found} == {"--xformers", "--v2", "prior_loss_weight", "bucket_reso_steps"}
    assert all(conflict.message and conflict.fix for conflict in found)


@pytest.mark.parametrize("document", [{}, {"datasets": "x"}, {"datasets": ["x"]}, {"general": 3, "datasets": [{"subsets": 4}]}])
def test_a_toml_that_is_none_is_refused_and_raises_nothing(document: dict[str, Any]) -> None:
    assert "datasets" in {conflict.rule for conflict in find_conflicts(SOUND, document)}


def test_the_launcher_s_options_are_not_the_trainer_s() -> None:
    options = read_options(SOUND)
    assert options.family is SDXL
    assert not options.has("num_cpu_threads_per_process")
    assert options.values["optimizer_args"] == ("decouple=True", "betas=(0.9,0.99)")


@pytest.mark.parametrize("module", ["tools.trainers.sd_scripts.conflicts", "evals.regressions.flag_cases"])
def test_the_guardrails_import_it_without_any_package(module: str) -> None:
    """-S: a Python without site-packages, which has no PyYAML either."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
