"""musubi-tuner's dataset TOML and its three processes: two that cache what the models make of pictures and captions, one that trains.

The modules are started from the checkout's own `src` folder: an installed copy of another version is not taken for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.families.families import TrainedBy
from tools.trainers.argument_vector import read_arguments
from tools.trainers.optimizers import MODULES
from tools.trainers.toml_text import toml_pairs
from tools.trainers.trainer import SavedState, Subset, TrainerProcess, TrainingJob
from tools.trainers.training_settings import TrainingSettings

TOML_HEADER = "# written by LifeOS for musubi-tuner: change the flags of the command, not this file\n"

SOURCES = "src"
PACKAGE = "musubi_tuner"
TRAIN_ENDING = "_train_network.py"
CACHE_LATENTS, CACHE_TEXT = "_cache_latents", "_cache_text_encoder_outputs"
CACHE_FOLDER = "cache"
"""Beside the staged folders, and removed with them: a cache is found by a picture's name, so one of an older picture would be believed."""

ATTENTION = {"sdpa": ("--sdpa",), "xformers": ("--xformers", "--split_attn"), "none": ()}

COMPONENT_OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("ae", "flux2_ae", "qwen_image_vae"), "vae"),
    **dict.fromkeys(("qwen_vl", "qwen3_4b", "qwen3_8b", "mistral"), "text_encoder"),
    "umt5": "t5",
}
"""Component of a family -> the option for its file."""


@dataclass(frozen=True, slots=True)
class MusubiModel:
    """What one training module is told. `name_option`: the option for the trainer's own name of the family; `caches_need_it`: whether the
    caching modules have it too. `flow`: how it draws the steps of the noise, as its documents advise for the family."""

    name_option: str
    caches_need_it: bool
    flow: tuple[str, ...]


def _flow(sampling: str, shift: str = "") -> tuple[str, ...]:
    return ("--timestep_sampling", sampling, "--weighting_scheme", "none", *(("--discrete_flow_shift", shift) if shift else ()))


MODELS: Mapping[str, MusubiModel] = {
    "qwen_image_train_network.py": MusubiModel("--model_version", True, _flow("shift", "2.2")),
    "zimage_train_network.py": MusubiModel("", False, _flow("shift", "2.0")),
    "flux_2_train_network.py": MusubiModel("--model_version", True, _flow("flux2_shift")),
    "wan_train_network.py": MusubiModel("--task", False, _flow("shift", "3.0")),
}

BOUNDARIES: Mapping[str, str] = {"t2v-A14B": "875"}
"""Of Wan 2.2's two models: the model for low noise has the steps up to there (`wan/configs`). Given alone, it is trained on those."""
HIGH_NOISE = "dit_high_noise"

SCHEDULES: Mapping[str, str] = {
    "linear": "get_linear_schedule_with_warmup",
    "cosine": "get_cosine_schedule_with_warmup",
    "cosine_with_restarts": "get_cosine_with_hard_restarts_schedule_with_warmup",
    "polynomial": "get_polynomial_decay_schedule_with_warmup",
}
"""Schedules that end where the steps do, and the functions of transformers that the trainer takes for them."""
SCHEDULE_MODULE = "transformers.optimization"

LOADER_WORKERS = 2
THREADS_PER_PROCESS = 1


def build_dataset_config(settings: TrainingSettings, subsets: Sequence[Subset]) -> dict[str, Any]:
    """The dataset TOML as a document. Buckets have the trainer's own step, 16, and no bounds."""
    general = {
        "resolution": [settings.resolution, settings.resolution],
        "caption_extension": settings.caption_extension,
        "batch_size": settings.train_batch_size,
        "enable_bucket": True,
        "bucket_no_upscale": False,
    }
    tables = [
        {
            "image_directory": subset.image_dir.as_posix(),
            "cache_directory": (subset.image_dir.parent / CACHE_FOLDER / subset.image_dir.name).as_posix(),
            "num_repeats": subset.num_repeats,
        }
        for subset in subsets
        if not subset.is_reg
    ]
    return {"general": general, "datasets": tables}


def render_toml(config: Mapping[str, Any]) -> str:
    lines = [TOML_HEADER, "[general]", *toml_pairs(config["general"])]
    for table in config["datasets"]:
        lines += ["", "[[datasets]]", *toml_pairs(table)]
    return "\n".join(lines) + "\n"


def plan_processes(job: TrainingJob, how: TrainedBy, output_name: str, comment: str) -> tuple[TrainerProcess, ...]:
    """`output_name`: of this part of the run."""
    python, cwd = job.checkout.python, job.checkout.folder / SOURCES
    kind, config = how.script.removesuffix(TRAIN_ENDING), ["--dataset_config", str(job.settings.dataset_config)]
    files = component_options(job.settings)
    shared = _named(how) if MODELS[how.script].caches_need_it else []
    latents = [*config, *_option(files, "vae"), *shared]
    text = [*config, *_option(files, "text_encoder"), *_option(files, "t5"), *shared]
    threads = str(min(THREADS_PER_PROCESS, os.cpu_count() or 1))
    launch = [python, "-m", "accelerate.commands.launch", "--num_cpu_threads_per_process", threads]
    launch += ["--mixed_precision", job.settings.mixed_precision, "--module", f"{PACKAGE}.{how.script.removesuffix('.py')}"]
    training = [*launch, *build_training_args(job.settings, how, output_name, comment=comment, resume=job.resume)]
    return (
        TrainerProcess("caching the pictures", (python, "-m", f"{PACKAGE}.{kind}{CACHE_LATENTS}", *latents), cwd),
        TrainerProcess("caching the captions", (python, "-m", f"{PACKAGE}.{kind}{CACHE_TEXT}", *text), cwd),
        TrainerProcess("training", tuple(training), cwd),
    )


def component_options(settings: TrainingSettings) -> dict[str, str]:
    """Option without dashes -> file."""
    return {COMPONENT_OPTIONS[name]: path for name, path in settings.components.items() if name in COMPONENT_OPTIONS}


def build_training_args(
    settings: TrainingSettings, how: TrainedBy, output_name: str, *, comment: str, resume: SavedState | None = None
) -> list[str]:
    """The options after the training module. A part that goes on trains what is left: the trainer counts it from 0."""
    first = resume.step if resume else 0
    args = ["--dit", settings.base_model]
    args += [item for name, file in component_options(settings).items() for item in (f"--{name}", file)]
    args += ["--dataset_config", str(settings.dataset_config), "--output_dir", str(settings.output_dir), "--output_name", output_name]
    args += ["--save_precision", "fp16", "--save_every_n_steps", str(settings.save_every_n_steps)]
    args += ["--network_module", how.network_module, "--network_dim", str(settings.network_dim)]
    args += ["--network_alpha", f"{settings.network_alpha:g}", "--max_train_steps", str(settings.max_train_steps - first)]
    args += ["--seed", str(settings.seed), *_named(how), *MODELS[how.script].flow, *how.options]
    args += _low_noise_alone(settings, how)
    args += _rate_args(settings, goes_on=resume is not None)
    args += ["--mixed_precision", settings.mixed_precision, "--gradient_checkpointing", *ATTENTION[settings.attention]]
    args += ["--max_data_loader_n_workers", str(LOADER_WORKERS), "--persistent_data_loader_workers"]
    if settings.save_state:
        # the state weighs ten times the LoRA: keep two, so that a kill while one is written leaves the other
        args += ["--save_state", "--save_last_n_steps_state", str(settings.save_every_n_steps)]
    if resume:
        args += ["--resume", str(resume.folder)]
    if settings.logging_dir:
        args += ["--logging_dir", str(settings.logging_dir)]
    args += ["--metadata_title", settings.output_name, "--metadata_reso", f"{settings.resolution},{settings.resolution}"]
    return [*args, "--training_comment", comment, *settings.trainer_args]


def _rate_args(settings: TrainingSettings, *, goes_on: bool) -> list[str]:
    args = ["--optimizer_type", MODULES.get(settings.optimizer.lower(), settings.optimizer)]
    if settings.optimizer_args:
        args += ["--optimizer_args", *settings.optimizer_args]
    args += ["--learning_rate", f"{settings.unet_learning_rate:g}"]
    args += ["--lr_scheduler", settings.lr_scheduler, "--lr_warmup_steps", str(settings.lr_warmup_steps)]
    if goes_on and settings.lr_scheduler in SCHEDULES:
        # the trainer would let it end after the steps that are left, counted from the run's beginning: it is told the whole run's
        args += ["--lr_scheduler_type", f"{SCHEDULE_MODULE}.{SCHEDULES[settings.lr_scheduler]}"]
        args += ["--lr_scheduler_args", f"num_warmup_steps={settings.lr_warmup_steps}", f"num_training_steps={settings.max_train_steps}"]
    return args


def _named(how: TrainedBy) -> list[str]:
    option = MODELS[how.script].name_option
    return [option, how.name] if option and how.name else []


def _low_noise_alone(settings: TrainingSettings, how: TrainedBy) -> list[str]:
    if how.name not in BOUNDARIES or HIGH_NOISE in read_arguments(settings.trainer_args):
        return []
    return ["--min_timestep", "0", "--max_timestep", BOUNDARIES[how.name]]


def _option(files: Mapping[str, str], name: str) -> list[str]:
    return [f"--{name}", files[name]] if name in files else []


def needed_scripts(folder: Path, script: str) -> list[Path]:
    """The modules that a family's training starts."""
    kind = script.removesuffix(TRAIN_ENDING)
    return [folder / SOURCES / PACKAGE / name for name in (script, f"{kind}{CACHE_LATENTS}.py", f"{kind}{CACHE_TEXT}.py")]
