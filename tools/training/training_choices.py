"""The settings of a training run from its command line, the policy, the model family and what is known of the optimizer."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifeos.errors import InputError
from lifeos.findings import Finding
from tools.dataset.dataset_document import DatasetDocument, read_dataset_document
from tools.families.families import DEFAULT_FAMILY, Family, TrainedBy, settle
from tools.trainers import optimizers
from tools.trainers.components import assign_components
from tools.trainers.trainer import TrainerRow
from tools.trainers.training_settings import TrainingSettings

DATASET_CONFIG, MANIFEST = "dataset_config.toml", "dataset_manifest.json"
PREVIOUS_RUNS = "previous_runs"
"""The folder in an output folder that the evidence of earlier runs is moved to."""
PRECISIONS, PRECISION = ("bf16", "fp16", "no"), "bf16"
ATTENTIONS, ATTENTION = ("sdpa", "xformers", "none"), "sdpa"
NOTHING: Mapping[str, float] = {"min_snr_gamma": 0.0, "noise_offset": 0.0}
"""The values that switch off what the policy chooses for the default family, where it changes nothing."""
BAD_NAME_CHARACTERS = frozenset('/\\:*?"<>|\0')

POLICY_FLAGS = (
    *("trigger_word", "class_tokens", "base_model", "train_data_dir", "output_dir", "output_name", "resolution"),
    *("train_batch_size", "train_repeats", "reg_repeats", "max_train_steps", "save_every_n_steps", "network_dim", "network_alpha"),
    *("optimizer", "lr_scheduler", "lr_warmup_steps", "prior_loss_weight", "min_snr_gamma", "noise_offset", "seed"),
)
"""Flags whose default is the key of that name in the policy's `training` section."""


def settings_from(
    args: argparse.Namespace,
    policy: Mapping[str, Any],
    row: TrainerRow,
    family: Family,
    how: TrainedBy,
    components: Mapping[str, str],
) -> TrainingSettings:
    """The settings of a command line; the policy says what it does not. `components`: files by their flags. Raises InputError for names
    that cannot be used, and for what is not given and nobody can guess."""
    training = policy["training"]
    given = frozenset(name for name in vars(args) if getattr(args, name) not in (None, False, []))
    chosen = {name: training[name] if getattr(args, name) is None else getattr(args, name) for name in POLICY_FLAGS}
    if args.base_model is None and family.id != DEFAULT_FAMILY:  # the policy's is of the default family
        raise InputError("--base-model", "is not given", f"give the model of {family.title} to train on")
    chosen |= {name: nothing for name, nothing in NOTHING.items() if name in how.without_effect and name not in given}
    if args.resolution is None:
        chosen["resolution"] = settle(family, training["resolution"], family.resolution.training_side)
    trainer_dir = args.trainer_dir or training.get(row.folder_key)
    if not trainer_dir:
        raise InputError(f"--{row.folder_key.replace('_', '-')}", "is not given", f"give a checkout of {row.repository}")
    name = chosen["output_name"]
    if not name or name.startswith((".", "-")) or set(name) & BAD_NAME_CHARACTERS or name.endswith(".safetensors"):
        raise InputError("--output-name", f"{name!r} is no name for a LoRA", "a plain name, without folder and without .safetensors")
    if not chosen["trigger_word"].strip():
        raise InputError("--trigger-word", "is empty", "give the word that calls the character")
    named = _read_document(args)
    if named is not None:
        chosen["train_data_dir"] = named.root
    for flag in ("train_data_dir", "output_dir"):
        chosen[flag] = Path(chosen[flag]).expanduser().absolute()
    if looks_like_path(chosen["base_model"]):  # the trainer runs in a folder of its own
        chosen["base_model"] = str(Path(chosen["base_model"]).expanduser().absolute())
    output_dir = chosen["output_dir"]
    reg_data_dir = args.reg_data_dir.expanduser().absolute() if args.reg_data_dir else None
    _require_apart(output_dir, chosen["train_data_dir"], "--train-data-dir")
    if reg_data_dir:
        _require_apart(output_dir, reg_data_dir, "--reg-data-dir")
    usual_unet, usual_text = optimizers.usual_rates(chosen["optimizer"])
    unet, text = args.unet_learning_rate, args.text_encoder_learning_rate
    arguments = optimizers.usual_arguments(chosen["optimizer"]) if args.optimizer_arg is None else tuple(args.optimizer_arg)
    return TrainingSettings(
        **chosen,
        trainer_dir=Path(trainer_dir).expanduser().absolute(),
        trainer_python=args.trainer_python,
        reg_data_dir=reg_data_dir,
        dataset_config=(args.dataset_config or output_dir / DATASET_CONFIG).absolute(),
        manifest_out=(args.dataset_manifest_out or output_dir / MANIFEST).absolute(),
        logging_dir=args.logging_dir.absolute() if args.logging_dir else None,
        caption_extension=args.caption_extension or (named and named.caption_extension) or policy["dataset"]["caption_extension"],
        dataset_document=named,
        optimizer_args=arguments,
        unet_learning_rate=usual_unet if unet is None else unet,
        text_encoder_learning_rate=usual_text if text is None else text,
        max_token_length=None if args.max_token_length == 75 else args.max_token_length,
        mixed_precision=args.mixed_precision or PRECISION,
        attention=args.attention or ATTENTION,
        train_text_encoder=args.train_text_encoder,
        save_state=not args.no_save_state,
        skip_manifest=args.skip_dataset_manifest,
        trainer_args=tuple(args.trainer_arg),
        held_out_by=args.dataset_manifest.absolute() if args.dataset_manifest else None,
        components=assign_components(components, family, how),
        given=given,
    )


def _read_document(args: argparse.Namespace) -> DatasetDocument | None:
    if args.dataset_document is None:
        return None
    root = Path(args.train_data_dir).expanduser().absolute() if args.train_data_dir else None
    return read_dataset_document(args.dataset_document.expanduser().absolute(), root)


def find_without_effect(settings: TrainingSettings, family: Family, how: TrainedBy) -> list[Finding]:
    """What somebody chose on the command line though it changes nothing for that family."""
    why = f"changes nothing when {how.trainer} trains {family.title}"
    return [Finding(f"--{name}", why, "leave it out") for name in how.without_effect if name in settings.given]


def looks_like_path(model: str) -> bool:
    """Whether a base model is a file or folder here and not a name on a hub (`owner/name`)."""
    is_name = model.count("/") == 1 and not model.startswith((".", "~", "/")) and not model.endswith((".safetensors", ".ckpt"))
    return not is_name or Path(model).exists()


def allowed_conflicts(args: argparse.Namespace) -> frozenset[str]:
    """The conflicts that somebody accepts: named with --allow-conflict, or by choosing precision or attention in so many words."""
    named = {f"--{name.lstrip('-').replace('-', '_')}" for name in args.allow_conflict} | set(args.allow_conflict)
    chosen = {"--mixed_precision"} if args.mixed_precision else set()
    return frozenset(named | chosen | ({"--xformers"} if args.attention == "xformers" else set()))


def _require_apart(output_dir: Path, data_dir: Path, flag: str) -> None:
    """The trainer's outputs must not land among the pictures, nor the staged copy be scanned as a source."""
    output, data = output_dir.resolve(), data_dir.resolve()
    if output == data or output.is_relative_to(data) or data.is_relative_to(output):
        raise InputError("--output-dir", f"{output_dir} and {flag} {data_dir} lie inside each other", "choose a folder of its own")
