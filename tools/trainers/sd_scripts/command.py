"""sd-scripts' command line and dataset TOML."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tools.dataset.build import bucket_settings
from tools.families.families import Family, TrainedBy
from tools.trainers.toml_text import toml_pairs
from tools.trainers.trainer import SavedState, Subset
from tools.trainers.training_settings import TrainingSettings

TOML_SIGNATURE = "# written by tools/retrain_lora"
TOML_HEADER = f"{TOML_SIGNATURE}_v3.py: change its flags, not this file\n"
OTHERS_HEADER = f"{TOML_SIGNATURE}.py: change its flags, not this file\n"
"""Of another family than the default one, which tools/retrain_lora_v3.py does not train."""

ATTENTION = {"sdpa": ("--sdpa",), "xformers": ("--xformers",), "none": ()}

TEXT_CACHE = "cache_text_encoder_outputs"

LOADER_WORKERS = 2
THREADS_PER_PROCESS = 2


def build_dataset_config(settings: TrainingSettings, family: Family, subsets: Sequence[Subset]) -> dict[str, Any]:
    """The dataset TOML as a document."""
    buckets = bucket_settings(settings.resolution, family.resolution)
    tables = []
    for subset in subsets:
        table: dict[str, Any] = {"image_dir": subset.image_dir.as_posix(), "num_repeats": subset.num_repeats}
        table["class_tokens"] = subset.class_tokens
        if subset.is_reg:
            table["is_reg"] = True
        tables.append(table)
    dataset = {
        "resolution": settings.resolution,
        "batch_size": settings.train_batch_size,
        "enable_bucket": True,
        "min_bucket_reso": buckets.min_size,
        "max_bucket_reso": buckets.max_size,
        "bucket_reso_steps": buckets.step,
        "subsets": tables,
    }
    return {"general": {"caption_extension": settings.caption_extension, "shuffle_caption": False}, "datasets": [dataset]}


def render_toml(config: Mapping[str, Any], header: str = TOML_HEADER) -> str:
    """The document as TOML, which tomllib reads back equal."""
    lines = [header, "[general]", *toml_pairs(config["general"])]
    for dataset in config["datasets"]:
        lines += ["", "[[datasets]]", *toml_pairs({key: value for key, value in dataset.items() if key != "subsets"})]
        for subset in dataset["subsets"]:
            lines += ["", "[[datasets.subsets]]", *toml_pairs(subset)]
    return "\n".join(lines) + "\n"


def build_trainer_args(settings: TrainingSettings, how: TrainedBy, *, comment: str, resume: SavedState | None = None) -> list[str]:
    """The options after the training script."""
    args = ["--pretrained_model_name_or_path", settings.base_model, "--dataset_config", str(settings.dataset_config)]
    if how.name:
        args += ["--model_type", how.name]
    for component, path in settings.components.items():
        args += [f"--{component}", path]
    args += ["--output_dir", str(settings.output_dir), "--output_name", settings.output_name, "--save_model_as", "safetensors"]
    args += ["--save_precision", "fp16", "--save_every_n_steps", str(settings.save_every_n_steps)]
    args += ["--network_module", how.network_module, "--network_dim", str(settings.network_dim)]
    args += ["--network_alpha", f"{settings.network_alpha:g}", "--resolution", f"{settings.resolution},{settings.resolution}"]
    args += ["--train_batch_size", str(settings.train_batch_size), "--max_train_steps", str(settings.max_train_steps)]
    args += ["--seed", str(settings.seed), "--caption_extension", settings.caption_extension]
    args += _rate_args(settings)
    args += ["--prior_loss_weight", f"{settings.prior_loss_weight:g}", "--no_half_vae"]
    args += ["--mixed_precision", settings.mixed_precision, "--gradient_checkpointing", *ATTENTION[settings.attention], "--cache_latents"]
    args += ["--max_data_loader_n_workers", str(LOADER_WORKERS), "--persistent_data_loader_workers"]
    if settings.min_snr_gamma:
        args += ["--min_snr_gamma", f"{settings.min_snr_gamma:g}"]
    if settings.noise_offset:
        args += ["--noise_offset", f"{settings.noise_offset:g}"]
    if settings.max_token_length:
        args += ["--max_token_length", str(settings.max_token_length)]
    if not settings.train_text_encoder:
        args.append("--network_train_unet_only")
        if TEXT_CACHE not in how.refuses:
            args.append(f"--{TEXT_CACHE}")
    if settings.save_state:
        # the state weighs ten times the LoRA: keep two, so that a kill while one is written leaves the other
        args += ["--save_state", "--save_last_n_steps_state", str(settings.save_every_n_steps)]
    if resume:
        args += ["--resume", str(resume.folder), "--skip_until_initial_step", "--initial_step", str(resume.step)]
    if settings.logging_dir:
        args += ["--logging_dir", str(settings.logging_dir)]
    args += ["--metadata_title", settings.output_name, "--metadata_trigger_phrase", settings.trigger_word]
    args += ["--training_comment", comment, "--console_log_simple"]
    return [*args, *how.options, *settings.trainer_args]


def _rate_args(settings: TrainingSettings) -> list[str]:
    args = ["--optimizer_type", settings.optimizer]
    if settings.optimizer_args:
        args += ["--optimizer_args", *settings.optimizer_args]
    args += ["--learning_rate", f"{settings.unet_learning_rate:g}", "--unet_lr", f"{settings.unet_learning_rate:g}"]
    if settings.train_text_encoder:  # without it the trainer would still write the rate into the LoRA's metadata
        args += ["--text_encoder_lr", f"{settings.text_encoder_learning_rate:g}"]
    return [*args, "--lr_scheduler", settings.lr_scheduler, "--lr_warmup_steps", str(settings.lr_warmup_steps)]


def build_command(python: str, script: str, trainer_args: Sequence[str], mixed_precision: str) -> list[str]:
    """The whole argument vector. `python -m accelerate.commands.launch` is what the `accelerate launch` command runs, and is certain
    to be the accelerate of that Python."""
    threads = str(min(THREADS_PER_PROCESS, os.cpu_count() or 1))
    launch = [python, "-m", "accelerate.commands.launch", "--num_cpu_threads_per_process", threads, "--mixed_precision", mixed_precision]
    return [*launch, script, *trainer_args]


def repeat_for_one_epoch(subsets: Sequence[Subset], pictures: int) -> tuple[Subset, ...]:
    """The same subsets repeated so often that one epoch holds at least so many pictures.

    For resuming: the trainer subtracts the epochs it skips from its step counter (train_network.py, "skipping epoch"), so in a later
    epoch it would save under the wrong step and stop too late. Within the first epoch it counts right.
    """
    in_an_epoch = sum(subset.pictures * subset.num_repeats for subset in subsets if not subset.is_reg)
    factor = max(1, -(-pictures // max(in_an_epoch, 1)))
    return tuple(subset if subset.is_reg else replace(subset, num_repeats=subset.num_repeats * factor) for subset in subsets)
