"""ai-toolkit's configuration: one YAML, which holds everything that a run is asked for.

The trainer goes on by itself from whatever file in its folder is the newest and begins with the name of its process. So it is told which
file to go on from and at which step, and the process has a name that no file begins with: the output folder's own, as a folder inside it.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tools.families.families import TrainedBy
from tools.trainers.run_comment import training_comment
from tools.trainers.trainer import Subset, TrainingJob
from tools.trainers.training_settings import TrainingSettings

CONFIG_FILE = "ai_toolkit_job.yaml"
YAML_HEADER = "# written by LifeOS for ai-toolkit: change the flags of the command, not this file\n"

KEEP_ALL = 1_000_000
"""So many saves are kept: the trainer removes older ones, which the record names."""

DTYPES = {"bf16": "bf16", "fp16": "fp16", "no": "fp32"}

ADVISED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "flux": {"train.timestep_type": "sigmoid"},
        **{arch: {"train.timestep_type": "weighted"} for arch in ("flux2", "flux2_klein_4b", "flux2_klein_9b", "qwen_image", "zimage")},
        "wan22_14b": {
            "train.timestep_type": "linear",
            # of the two models the one for low noise alone: one LoRA file, under the name that it is asked for
            "model.model_kwargs": {"train_high_noise": False, "train_low_noise": True},
            "network.split_multistage_loras": False,
        },
    }
)
"""What the trainer's own examples and forms advise for an architecture, by the place in the process."""

VAES = ("flux2_ae",)
"""Components that the trainer takes as a file: the rest it finds in the folder of the base model, or fetches from the hub."""


def build_config(job: TrainingJob, how: TrainedBy) -> dict[str, Any]:
    """The YAML as a document."""
    settings = job.settings
    process: dict[str, Any] = {
        "type": "sd_trainer",
        "name": f"{settings.output_dir.name}/.",
        "training_folder": str(settings.output_dir.parent),
        "training_seed": settings.seed,
        "network": {"type": "lora", "linear": settings.network_dim, "linear_alpha": _plain(settings.network_alpha)},
        "save": {
            "dtype": "float16",
            "save_every": settings.save_every_n_steps,
            "max_step_saves_to_keep": KEEP_ALL,
            "save_format": "safetensors",
        },
        "datasets": [_dataset(settings, subset) for subset in job.subsets],
        "train": _train(settings),
        "model": {"name_or_path": settings.base_model, "arch": how.name, "quantize": False},
    }
    if settings.logging_dir:
        process["log_dir"] = str(settings.logging_dir)
    for component in VAES:
        if component in settings.components:
            process["model"]["vae_path"] = settings.components[component]
    for place, value in ADVISED.get(how.name, {}).items():
        put(process, place, copy.deepcopy(value))
    for place, value in read_settings(how.options) + read_settings(settings.trainer_args):
        put(process, place, value)
    if job.resume:
        process["network"]["pretrained_lora_path"] = str(job.resume.folder)
        process["train"]["start_step"] = job.resume.step
    meta = {"name": "[name]", "trigger_word": settings.trigger_word, "ss_training_comment": training_comment(job.identity)}
    return {"job": "extension", "config": {"name": settings.output_name, "process": [process]}, "meta": meta}


def _train(settings: TrainingSettings) -> dict[str, Any]:
    train: dict[str, Any] = {
        "batch_size": settings.train_batch_size,
        "steps": settings.max_train_steps,
        "gradient_accumulation": 1,
        "train_unet": True,
        "train_text_encoder": False,
        "gradient_checkpointing": True,
        "noise_scheduler": "flowmatch",
        "optimizer": settings.optimizer.lower(),
        "optimizer_params": dict(pair for argument in settings.optimizer_args if (pair := read_argument(argument))),
        "lr": _plain(settings.unet_learning_rate),
        "lr_scheduler": settings.lr_scheduler,
        "dtype": DTYPES[settings.mixed_precision],
        "cache_text_embeddings": True,
        "disable_sampling": True,
        "skip_first_sample": True,
    }
    if settings.lr_scheduler == "constant_with_warmup":
        train["lr_scheduler_params"] = {"num_warmup_steps": settings.lr_warmup_steps}
    if settings.reg_data_dir:
        train["reg_weight"] = _plain(settings.prior_loss_weight)
    return train


def _dataset(settings: TrainingSettings, subset: Subset) -> dict[str, Any]:
    found: dict[str, Any] = {"folder_path": str(subset.image_dir), "caption_ext": settings.caption_extension}
    found |= {"default_caption": subset.class_tokens, "num_repeats": subset.num_repeats, "resolution": settings.resolution}
    found |= {"caption_dropout_rate": 0.0, "shuffle_tokens": False, "cache_latents_to_disk": True, "num_frames": 1}
    return {**found, "is_reg": True} if subset.is_reg else found


def render_yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return YAML_HEADER + yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=1000)


def config_path(settings: TrainingSettings) -> Path:
    """Where the YAML is written: the trainer reads only what ends as YAML does."""
    return settings.dataset_config if "dataset_config" in settings.given else settings.output_dir / CONFIG_FILE


def put(process: dict[str, Any], place: str, value: Any) -> None:
    """Set what stands at a dotted place, `train.timestep_type`."""
    *parts, last = place.split(".")
    table: Any = process
    for part in parts:
        table = table.setdefault(part, {}) if isinstance(table, dict) else {}
    if isinstance(table, dict):
        table[last] = value


def read_settings(arguments: tuple[str, ...]) -> list[tuple[str, Any]]:
    """`train.timestep_type=weighted`, with or without dashes before it: places in the process, and their values as YAML. What is of another
    form is left out here, and refused as a conflict."""
    return [pair for argument in arguments if (pair := read_setting(argument))]


def read_setting(argument: str) -> tuple[str, Any] | None:
    import yaml

    place, equals, text = argument.lstrip("-").partition("=")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return (place, value) if place and equals else None


def read_argument(argument: str) -> tuple[str, Any] | None:
    """`NAME=PYTHON LITERAL` of an optimizer; None for what is none."""
    name, equals, text = argument.partition("=")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    return (name, value) if name and equals else None


def flatten(table: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Dotted place -> value; a list is a value."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        here = f"{place}.{key}" if place else str(key)
        found |= flatten(value, here) if isinstance(value, Mapping) else {here: value}
    return found


def _plain(number: float) -> int | float:
    return int(number) if float(number).is_integer() else float(number)
