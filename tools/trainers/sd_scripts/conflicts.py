"""Find combinations of trainer options that would fail, or quietly teach the wrong thing, before a GPU is paid for.

Judges the command line and the dataset TOML that are really handed to kohya's sd-scripts (observed on v0.10.1), whoever wrote
them: `tools/retrain_lora_v3.py` before a run, `evals/known_failures.py` on its dry run. What it imports is standard library only.
A finding's `rule` is the option (`--xformers`) or the key of the TOML (`num_repeats`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lifeos.findings import Finding
from tools.families.families import Family, family_of_script
from tools.families.family import fit_to_trainer
from tools.trainers.argument_vector import read_arguments
from tools.trainers.optimizers import finds_own_rate
from tools.trainers.sd_scripts.option_names import whole_name

NAME = "sd-scripts"
"""What the table of families calls this trainer."""

SMALLEST_BUCKET_MULTIPLE = 64
"""What a script insists on that no family of the table is trained with, as `train_network.py` does."""

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(?<!\.safetensors)(?<!\.sft)(?<!\.ckpt)")

TRAINER_LEARNING_RATE = 2e-6
"""The trainer's --learning_rate where none is given; parts without a rate of their own take it."""

_SUBSET_KEYS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("color_aug", "flip_aug", "random_crop", "shuffle_caption", "enable_wildcard", "cache_info"), (bool,)),
    **dict.fromkeys(("num_repeats", "keep_tokens", "token_warmup_min", "caption_dropout_every_n_epochs"), (int,)),
    **dict.fromkeys(("token_warmup_step", "caption_dropout_rate", "caption_tag_dropout_rate"), (int, float)),
    **dict.fromkeys(("keep_tokens_separator", "secondary_separator", "caption_separator", "caption_prefix", "caption_suffix"), (str,)),
    **dict.fromkeys(("caption_extension", "class_tokens", "resize_interpolation"), (str,)),
    "face_crop_aug_range": (list,),
    "custom_attributes": (dict,),
}
_ONLY_SUBSET_KEYS: dict[str, tuple[type, ...]] = {"image_dir": (str,), "is_reg": (bool,), "alpha_mask": (bool,)}
_DATASET_KEYS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("batch_size", "bucket_reso_steps", "max_bucket_reso", "min_bucket_reso", "validation_seed"), (int,)),
    **dict.fromkeys(("enable_bucket", "bucket_no_upscale"), (bool,)),
    **dict.fromkeys(("network_multiplier", "validation_split"), (float,)),
    "resolution": (int, list),
}

_NEEDS_UNCACHED_TEXT = (
    "shuffle_caption",
    "caption_dropout_rate",
    "caption_dropout_every_n_epochs",
    "caption_tag_dropout_rate",
    "token_warmup_step",
)
_NEEDS_UNCACHED_LATENTS = ("color_aug", "random_crop")


@dataclass(frozen=True, slots=True)
class TrainerOptions:
    """The options of a trainer command line: name without dashes -> its values (none for a switch)."""

    values: Mapping[str, tuple[str, ...]]
    script: str = ""
    family: Family | None = None
    """The family that the script trains; None for a script that is not in the table of families, or where none is named."""

    def has(self, name: str) -> bool:
        return name in self.values

    def one(self, name: str, default: str = "") -> str:
        found = self.values.get(name, ())
        return found[-1] if found else default

    def number(self, name: str, default: float) -> float:
        return _as_number(self.one(name, str(default)), default)


def find_conflicts(argv: Sequence[str], dataset_config: Mapping[str, Any]) -> list[Finding]:
    """Every conflict in a whole command (`accelerate launch … script.py --options`) and its dataset TOML as read by tomllib."""
    options = read_options(argv)
    subsets = [subset for dataset in _datasets(dataset_config) for subset in _subsets(dataset)]
    checks: tuple[Callable[[TrainerOptions, Mapping[str, Any]], Iterator[Finding]], ...] = (
        _check_learning_rates,
        _check_optimizer,
        _check_text_cache,
        _check_latent_cache,
        _check_workers_and_attention,
        _check_precision,
        _check_defaults_that_bite,
        _check_resume,
        _check_buckets,
        _check_transformers,
    )
    found = list(_check_keys(dataset_config)) + list(_check_subsets(subsets, dataset_config))
    for check in checks:
        found += check(options, dataset_config)
    return found


def read_options(argv: Sequence[str]) -> TrainerOptions:
    """The options after the training script; of all of them if no script is named. `--name=value` counts as two."""
    script = next((index for index, item in enumerate(argv) if item.endswith(".py") and not item.startswith("-")), -1)
    values = read_arguments(argv[script + 1 :], whole_name)
    name = re.split(r"[/\\]", argv[script])[-1] if script >= 0 else ""
    return TrainerOptions(values, name, family_of_script(NAME, name, argv[script + 1 :]))


def _datasets(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = config.get("datasets", [])
    return [dataset for dataset in found if isinstance(dataset, Mapping)] if isinstance(found, list) else []


def _subsets(dataset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = dataset.get("subsets", [])
    return [subset for subset in found if isinstance(subset, Mapping)] if isinstance(found, list) else []


def _uses(options: TrainerOptions, config: Mapping[str, Any], name: str) -> bool:
    """Whether a caption or image option is on for any subset: on the command line, in [general], a dataset or a subset."""
    given = options.values.get(name)
    if given is not None and (not given or _as_number(given[-1], 1) != 0):
        return True
    general = config.get("general", {})
    places = [general if isinstance(general, Mapping) else {}, *_datasets(config)]
    places += [subset for dataset in _datasets(config) for subset in _subsets(dataset)]
    return any(place.get(name) for place in places)


def _trains_text_encoder(options: TrainerOptions) -> bool:
    return not options.has("network_train_unet_only")


def _check_learning_rates(options: TrainerOptions, _: Mapping[str, Any]) -> Iterator[Finding]:
    optimizer = options.one("optimizer_type", "AdamW").lower()
    if not finds_own_rate(optimizer):
        return
    base = options.number("learning_rate", TRAINER_LEARNING_RATE)
    rates = {"--unet_lr": options.number("unet_lr", base)}
    if _trains_text_encoder(options):
        given = options.values.get("text_encoder_lr") or (str(base),)
        rates |= {"--text_encoder_lr": _as_number(given[0], base)}
        if len({_as_number(rate, base) for rate in given}) > 1:
            rates["--text_encoder_lr"] = -1.0
    if options.has("network_train_text_encoder_only"):
        rates.pop("--unet_lr")
    if not rates:
        return  # nothing is trained: told by the check of what is
    name = options.one("optimizer_type")
    if len(set(rates.values())) > 1:
        shown = ", ".join(f"{flag} {'several' if rate < 0 else f'{rate:g}'}" for flag, rate in rates.items())
        why = f"{name} takes one learning rate for all, here {shown}: it stops at the first step"
        yield Finding("--optimizer_type", why, "give --learning_rate, --unet_lr and --text_encoder_lr all 1.0, or train the U-Net only")
    elif next(iter(rates.values())) != 1.0:
        why = f"{name} estimates the rate itself and scales it by the one given, here {next(iter(rates.values())):g}"
        yield Finding("--learning_rate", why, "give 1.0")


def _check_optimizer(options: TrainerOptions, _: Mapping[str, Any]) -> Iterator[Finding]:
    for option in ("optimizer_args", "lr_scheduler_args"):
        for pair in options.values.get(option, ()):
            name, equals, value = pair.partition("=")
            try:
                ast.literal_eval(value)
            except (ValueError, SyntaxError):
                equals = ""
            if not equals or not name:
                yield Finding(
                    f"--{option}", f"{pair} is not NAME=PYTHON LITERAL", "write decouple=True, not decouple=true; texts need quotes"
                )
    scheduler = options.one("lr_scheduler", "constant")
    if scheduler == "constant" and options.number("lr_warmup_steps", 0) > 0:
        why = "the constant scheduler has no warm-up: ValueError after the model is loaded"
        yield Finding("--lr_warmup_steps", why, "give 0, or --lr_scheduler constant_with_warmup")
    for name, low in (("max_train_steps", 1), ("network_dim", 1), ("train_batch_size", 1), ("save_every_n_steps", 1)):
        if options.has(name) and options.number(name, low) < low:
            yield Finding(f"--{name}", f"{options.one(name)} is below {low}", f"give {low} or more")


def _check_text_cache(options: TrainerOptions, config: Mapping[str, Any]) -> Iterator[Finding]:
    if not (options.has("cache_text_encoder_outputs") or options.has("cache_text_encoder_outputs_to_disk")):
        return
    if _trains_text_encoder(options):
        why = "the text encoder cannot be trained on its own cached outputs: AssertionError"
        yield Finding("--cache_text_encoder_outputs", why, "leave it out, or give --network_train_unet_only")
    for name in _NEEDS_UNCACHED_TEXT:
        if _uses(options, config, name):
            why = f"captions are read once and cannot change with {name}: AssertionError"
            yield Finding("--cache_text_encoder_outputs", why, f"leave out one of the two, on regularisation subsets too: {name} = 0")


def _check_latent_cache(options: TrainerOptions, config: Mapping[str, Any]) -> Iterator[Finding]:
    for name in ("cache_latents_to_disk", "cache_text_encoder_outputs_to_disk"):
        if options.has(name):
            why = "the trainer only looks whether its .npz is there: a replaced picture or caption is trained on as it was"
            yield Finding(f"--{name}", why, f"give --{name.removesuffix('_to_disk')}, which caches in memory")
    if options.has("cache_latents") or options.has("cache_latents_to_disk"):
        for name in _NEEDS_UNCACHED_LATENTS:
            if _uses(options, config, name):
                yield Finding(
                    "--cache_latents", f"pictures are read once and cannot change with {name}: AssertionError", "leave out one of the two"
                )


def _check_workers_and_attention(options: TrainerOptions, _: Mapping[str, Any]) -> Iterator[Finding]:
    if options.has("persistent_data_loader_workers") and options.number("max_data_loader_n_workers", 8) == 0:
        why = "there are no workers to keep: ValueError after the model is loaded"
        yield Finding("--persistent_data_loader_workers", why, "leave it out, or give --max_data_loader_n_workers 1 or more")
    if options.has("xformers"):
        yield Finding(
            "--xformers", "needs a package built for the very PyTorch that runs: ImportError at model load without it", "use --sdpa"
        )


def _check_precision(options: TrainerOptions, _: Mapping[str, Any]) -> Iterator[Finding]:
    precision = options.one("mixed_precision", "no")
    if precision == "no":
        yield Finding("--mixed_precision", "without it training runs in 32 bits and does not fit 24 GB", "use bf16")
    for kind in ("fp16", "bf16"):
        if options.has(f"full_{kind}") and precision != kind:
            yield Finding(
                f"--full_{kind}", f"needs --mixed_precision {kind}, here {precision}: AssertionError", f"give --mixed_precision {kind}"
            )
    if options.family:
        for name in options.family.training_with(NAME).refuses:
            if options.has(name):
                yield Finding(f"--{name}", f"is not for {options.family.title}: the trainer stops", "leave it out")
    if options.has("network_train_unet_only") and options.has("network_train_text_encoder_only"):
        yield Finding("--network_train_unet_only", "together with --network_train_text_encoder_only nothing is trained", "leave one out")


def _check_defaults_that_bite(options: TrainerOptions, config: Mapping[str, Any]) -> Iterator[Finding]:
    for name, default in (("max_train_steps", "1600"), ("network_alpha", "1"), ("resolution", "none in the LoRA's metadata")):
        if not options.has(name) and not (name == "max_train_steps" and options.has("max_train_epochs")):
            yield Finding(f"--{name}", f"is left to the trainer's default, {default}", "say it")
    if not options.has("network_module"):
        module = options.family.training_with(NAME).network_module if options.family else "that of the kind of LoRA"
        yield Finding("--network_module", "is required: the trainer stops", f"give {module}")
    general = config.get("general", {})
    everywhere = options.has("caption_extension") or (isinstance(general, Mapping) and "caption_extension" in general)
    for dataset in _datasets(config):
        if not everywhere and "caption_extension" not in dataset and any("caption_extension" not in subset for subset in _subsets(dataset)):
            why = "the trainer looks for .caption files by default: every .txt caption would be ignored"
            yield Finding("--caption_extension", why, 'set caption_extension = ".txt"')
            break


def _check_resume(options: TrainerOptions, _: Mapping[str, Any]) -> Iterator[Finding]:
    if options.has("resume") and not options.has("skip_until_initial_step"):
        why = "counts again from step 0 and overwrites the step files"
        yield Finding("--resume", why, "add --skip_until_initial_step")
    if options.has("skip_until_initial_step") and options.number("gradient_accumulation_steps", 1) > 1:
        why = "the trainer multiplies the first step by the accumulation and goes on at the wrong one"
        yield Finding("--skip_until_initial_step", why, "resume without --gradient_accumulation_steps")


def _check_buckets(options: TrainerOptions, config: Mapping[str, Any]) -> Iterator[Finding]:
    multiple = SMALLEST_BUCKET_MULTIPLE
    if family := options.family:
        multiple = fit_to_trainer(family, family.training_with(NAME)).resolution.bucket_multiple
    for dataset in _datasets(config):
        general = config.get("general", {})
        values = {**(general if isinstance(general, Mapping) else {}), **dataset}
        sides = _sides(values.get("resolution")) or _sides(options.one("resolution"))
        shown = _sides(options.one("resolution"))
        if sides and shown and sides != shown:
            why = f"differs from the dataset TOML, {'x'.join(map(str, sides))}: the metadata would name the wrong one"
            yield Finding("--resolution", why, "give the same")
        if not sides or not (values.get("enable_bucket") or options.has("enable_bucket")):
            continue
        low, high = values.get("min_bucket_reso", 256), values.get("max_bucket_reso", 1024)
        step = values.get("bucket_reso_steps", 64)
        if not all(isinstance(value, int) for value in (low, high, step)):
            continue  # told by the check of types
        if low > min(sides):
            yield Finding("min_bucket_reso", f"{low} is above the resolution {min(sides)}: AssertionError", "give a smaller one")
        if high < max(sides):
            yield Finding("max_bucket_reso", f"{high} is below the resolution {max(sides)}: AssertionError", "give a larger one")
        if step <= 0 or step % multiple:
            yield Finding("bucket_reso_steps", f"{step} is not a multiple of {multiple}: AssertionError", f"give {multiple} or 64")


def _check_transformers(options: TrainerOptions, _: Mapping[str, Any]) -> Iterator[Finding]:
    """What the scripts of Flux.1, Chroma and SD3.5 assert."""
    model = options.one("pretrained_model_name_or_path")
    if options.family and options.family.training_with(NAME).components and HUB_NAME.fullmatch(model):
        why = f"{model} is a name on a hub, and the script of {options.family.title} opens a file: FileNotFoundError"
        yield Finding("--pretrained_model_name_or_path", why, "download the model, and give --base-model its file")
    if options.number("blocks_to_swap", 0) and options.has("cpu_offload_checkpointing"):
        why = "is not possible together with --cpu_offload_checkpointing: AssertionError"
        yield Finding("--blocks_to_swap", why, "leave out one of the two")
    if options.one("model_type") == "chroma" and not options.has("apply_t5_attn_mask"):
        yield Finding("--apply_t5_attn_mask", "is required for Chroma: AssertionError", "add it")


def _check_keys(config: Mapping[str, Any]) -> Iterator[Finding]:
    """What the trainer's own schema refuses (MultipleInvalid)."""
    dataset_keys = _DATASET_KEYS | _SUBSET_KEYS
    for name in config:
        if name not in ("general", "datasets"):
            yield Finding(str(name), "is no table of a dataset TOML: MultipleInvalid", "use [general] and [[datasets]]")
    general = config.get("general", {})
    if isinstance(general, Mapping):
        yield from _check_table(general, dataset_keys, "[general]")
    for dataset in _datasets(config):
        yield from _check_table(dataset, dataset_keys | {"subsets": (list,)}, "[[datasets]]")
        for subset in _subsets(dataset):
            yield from _check_table(subset, _SUBSET_KEYS | _ONLY_SUBSET_KEYS, "[[datasets.subsets]]")


def _check_table(table: Mapping[str, Any], known: Mapping[str, tuple[type, ...]], where: str) -> Iterator[Finding]:
    for name, value in table.items():
        if name == "prior_loss_weight":
            yield Finding(name, f"stands in {where}: MultipleInvalid", "it is an option of the command line only: --prior_loss_weight")
        elif name not in known:
            yield Finding(str(name), f"is unknown in {where}: MultipleInvalid", "see the trainer's docs/config_README-en.md")
        elif not isinstance(value, known[name]) or (isinstance(value, bool) and bool not in known[name]):
            wanted = " or ".join(kind.__name__ for kind in known[name])
            yield Finding(name, f"is {value!r} in {where}, {wanted} is wanted: MultipleInvalid", f"write {wanted}")


def _check_subsets(subsets: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> Iterator[Finding]:
    if not _datasets(config) or not subsets:
        yield Finding("datasets", "no folder of pictures is named: the trainer ends with return code 0 and no LoRA", "name one")
        return
    if all(subset.get("is_reg") for subset in subsets):
        yield Finding("is_reg", "every folder is regularisation: there is nothing to train on", "name a training folder")
    folders = [subset.get("image_dir") for subset in subsets]
    for folder in folders:
        if not folder:
            yield Finding("image_dir", "is missing from a subset: MultipleInvalid", "name the folder of pictures")
        elif folders.count(folder) > 1:
            yield Finding("image_dir", f"{folder} is named twice: the trainer skips the second", "name each folder once")
            break
    for subset in subsets:
        repeats = subset.get("num_repeats", 1)
        if isinstance(repeats, int) and repeats < 1:
            yield Finding("num_repeats", f"{repeats} leaves the folder out without an error", "give 1 or more")


def _sides(value: object) -> tuple[int, int] | None:
    """(width, height) of a resolution: 1024, "1024", "1024,768" or [1024, 768]."""
    parts = value if isinstance(value, list) else str(value if value is not None else "").split(",")
    try:
        numbers = [int(part) for part in parts]
    except (TypeError, ValueError):
        return None
    if not 1 <= len(numbers) <= 2:
        return None
    return numbers[0], numbers[-1]


def _as_number(text: str, default: float) -> float:
    try:
        return float(text)
    except ValueError:
        return default
