"""What musubi-tuner (read at v0.3.4) would fail at, or quietly do otherwise than asked, before a GPU is paid for.

A finding's `rule` is the option of the trainer, or our flag where the trainer has no such thing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from lifeos.counting import counted
from lifeos.errors import LifeosError
from lifeos.findings import Finding
from tools.trainers.argument_vector import read_arguments
from tools.trainers.musubi_tuner.musubi_processes import ATTENTION, SCHEDULES
from tools.trainers.optimizers import finds_own_rate
from tools.trainers.safetensors_header import SafetensorsHeader, read_safetensors_header
from tools.trainers.trainer import TrainingJob, TrainingPlan
from tools.trainers.training_settings import TrainingSettings

Options = Mapping[str, tuple[str, ...]]

NOT_THERE: Mapping[str, str] = {
    "class_tokens": "class tokens",
    "prior_loss_weight": "regularisation",
    "reg_repeats": "regularisation",
    "min_snr_gamma": "min-SNR weighting",
    "noise_offset": "noise offset",
    "max_token_length": "choice of how many tokens of a caption are read",
    "text_encoder_learning_rate": "training of text encoders: it caches what they say of the captions",
}
"""Settings that the trainer has nothing for. Somebody who asks for one is told; the policy's values for all families are no request."""

OURS = ("output_dir", "output_name", "dataset_config", "max_train_steps", "resume", "training_comment", "save_every_n_steps")
"""Options whose last value wins, so that one passed through would make our record untrue."""

SPOILING: Mapping[str, tuple[str, str]] = {
    "no_metadata": ("leaves the run id out of the LoRA files: they could not be told from those of another run", "leave it out"),
    "max_train_epochs": ("replaces the number of steps by one that the record does not know", "give --max-train-steps"),
    "save_last_n_steps": ("removes checkpoints that the record names", "leave it out"),
    "save_every_n_epochs": ("saves files whose names count from the part's beginning", "give --save-every-n-steps"),
    "sage_attn": ("cannot train: ValueError", "give --attention sdpa"),
    "show_timesteps": ("shows the timesteps and trains nothing", "leave it out"),
    "config_file": ("brings options that nobody checks here, and that win over those given", "give them with --trainer-arg"),
}

SCALED_WEIGHTS = (".scale_weight", "scaled_fp8", ".weight_scale", ".comfy_quant")


def find_conflicts(job: TrainingJob, plan: TrainingPlan) -> list[Finding]:
    """Everything that speaks against a plan."""
    settings, options = job.settings, read_options(plan)
    return [
        *_check_dataset(job),
        *_check_settings(settings),
        *_check_passed_through(settings),
        *_check_optimizer(settings, options),
        *_check_precision(settings, options),
        *_check_going_on(job, options),
    ]


def read_options(plan: TrainingPlan) -> dict[str, tuple[str, ...]]:
    return read_training_options(plan.training.argv)


def read_training_options(argv: tuple[str, ...] | list[str]) -> dict[str, tuple[str, ...]]:
    """Those of the training module, not of the launcher before it."""
    start = argv.index("--module") + 2 if "--module" in argv else 0
    return read_arguments(argv[start:])


def _check_dataset(job: TrainingJob) -> Iterator[Finding]:
    if any(subset.is_reg for subset in job.subsets):
        why = "musubi-tuner has no regularisation pictures: its dataset TOML refuses is_reg (MultipleInvalid)"
        yield Finding("--reg-data-dir", why, "leave it out, or use a trainer that has them")
    for subset in (each for each in job.subsets if not each.is_reg):
        if subset.uncaptioned:
            why = f"{counted(subset.uncaptioned, 'picture')} of {subset.image_dir.name} without a caption would be left out without a word"
            yield Finding("--caption-extension", why, "write their captions: this trainer puts no class tokens in their place")
        if subset.same_names:
            why = f"{counted(subset.same_names, 'picture')} of {subset.image_dir.name} would lose its cache to one of the same name with"
            yield Finding("--train-data-dir", f"{why} another extension", "give each picture a name of its own")


def _check_settings(settings: TrainingSettings) -> Iterator[Finding]:
    for name, what in NOT_THERE.items():
        if name in settings.given:
            yield Finding(f"--{name.replace('_', '-')}", f"musubi-tuner has no {what}", "leave it out")
    if settings.train_text_encoder:
        why = "musubi-tuner trains no text encoder: it caches what they say of the captions"
        yield Finding("--train-text-encoder", why, "leave it out")
    if not ATTENTION[settings.attention]:
        yield Finding("--attention", "the trainer wants one kind of attention: ValueError without", "give sdpa")
    for name in ("max_train_steps", "save_every_n_steps"):
        if getattr(settings, name) < 1:
            yield Finding(f"--{name}", f"{getattr(settings, name)} is below 1", "give 1 or more")


def _check_passed_through(settings: TrainingSettings) -> Iterator[Finding]:
    for given in read_arguments(settings.trainer_args):
        meant = [name for name in (*OURS, *SPOILING) if name.startswith(given)]  # its parser takes the beginning of a name
        name = given if given in meant or len(meant) != 1 else meant[0]
        if name in OURS:
            yield Finding(f"--{name}", "is set by the command: passed through as well, the record would be untrue", "leave it out")
        if name in SPOILING:
            yield Finding(f"--{name}", *SPOILING[name])


def _check_optimizer(settings: TrainingSettings, options: Options) -> Iterator[Finding]:
    if finds_own_rate(settings.optimizer) and settings.unet_learning_rate != 1.0:
        why = f"{settings.optimizer} estimates the rate itself and scales it by the one given, here {settings.unet_learning_rate:g}"
        yield Finding("--learning_rate", why, "give 1.0")
    for pair in (*options.get("optimizer_args", ()), *options.get("lr_scheduler_args", ())):
        if not _is_argument(pair):
            why = f"{pair} is not NAME=PYTHON LITERAL with one equals sign"
            yield Finding("--optimizer_args", why, "write decouple=True, not decouple=true; texts need quotes")
    if settings.lr_scheduler == "constant" and settings.lr_warmup_steps > 0:
        why = "the constant scheduler has no warm-up: ValueError after the model is loaded"
        yield Finding("--lr_warmup_steps", why, "give 0, or --lr-scheduler constant_with_warmup")


def _is_argument(pair: str) -> bool:
    name, equals, value = pair.partition("=")
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return False
    return bool(name and equals) and "=" not in value


def _check_precision(settings: TrainingSettings, options: Options) -> Iterator[Finding]:
    if settings.mixed_precision == "no":
        why = "without it the LoRA trains in 32 bits, and parts of the model with it: twice the memory"
        yield Finding("--mixed_precision", why, "use bf16")
    if "fp8_scaled" in options and "fp8_base" not in options:
        yield Finding("--fp8_scaled", "needs --fp8_base: AssertionError", "give both, or none")
    header = _header_of(settings.base_model)
    if header is None:
        return
    if any(mark in name for name in header.weights for mark in SCALED_WEIGHTS):
        why = "the base model is in scaled 8 bits, as made for ComfyUI: the trainer reads no scales"
        yield Finding("--dit", why, "give --base-model the file in bf16; --trainer-arg=--fp8_base --trainer-arg=--fp8_scaled saves memory")
    yield from _check_wan_precision(settings, options, header)


def _check_wan_precision(settings: TrainingSettings, options: Options, header: SafetensorsHeader) -> Iterator[Finding]:
    """`handle_model_specific_args` of the Wan trainer asserts it."""
    weight = next((weight for name, weight in header.weights.items() if name.endswith("blocks.0.cross_attn.k.weight")), None)
    fitting = {"F16": ("fp16", "no"), "BF16": ("bf16", "no")}.get(weight.dtype if weight else "")
    if "task" in options and fitting and settings.mixed_precision not in fitting:
        why = f"the base model is in {fitting[0]}, --mixed-precision is {settings.mixed_precision}: AssertionError"
        yield Finding("--mixed_precision", why, f"give {fitting[0]}")


def _header_of(base_model: str) -> SafetensorsHeader | None:
    """None where nothing can be read: that is told when the base model is looked at."""
    try:
        return read_safetensors_header(Path(base_model)) if Path(base_model).is_file() else None
    except (LifeosError, OSError):
        return None


def _check_going_on(job: TrainingJob, options: Options) -> Iterator[Finding]:
    schedule = job.settings.lr_scheduler
    level = ("constant", "constant_with_warmup")
    if job.resume and schedule not in (*level, *SCHEDULES):
        why = f"{schedule} would be that of the {job.settings.max_train_steps - job.resume.step} steps that are left, from the middle on"
        yield Finding("--lr_scheduler", why, "train without going on, or with another schedule")
