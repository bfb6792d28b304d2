"""What one training run is asked to do."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.errors import InputError
from tools.trainers.sd_scripts_conflicts import ONE_RATE_OPTIMIZERS

DEFAULT_UNET_RATE, DEFAULT_TEXT_RATE = 1e-4, 5e-5
"""For optimizers that take a rate; those that find their own take 1.0."""

BAD_NAME_CHARACTERS = frozenset('/\\:*?"<>|\0')


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Every choice of a run, with nothing left open. Rates are resolved; `trainer_args` are passed on as they are."""

    sd_scripts_dir: Path
    trainer_python: str | None
    base_model: str
    train_data_dir: Path
    reg_data_dir: Path | None
    output_dir: Path
    output_name: str
    trigger_word: str
    class_tokens: str
    dataset_config: Path
    manifest_out: Path
    logging_dir: Path | None
    caption_extension: str
    resolution: int
    train_batch_size: int
    train_repeats: int
    reg_repeats: int
    max_train_steps: int
    save_every_n_steps: int
    network_dim: int
    network_alpha: float
    optimizer: str
    optimizer_args: tuple[str, ...]
    unet_learning_rate: float
    text_encoder_learning_rate: float
    lr_scheduler: str
    lr_warmup_steps: int
    prior_loss_weight: float
    min_snr_gamma: float
    noise_offset: float
    seed: int
    max_token_length: int | None
    train_text_encoder: bool
    save_state: bool
    skip_manifest: bool
    trainer_args: tuple[str, ...]

    @property
    def finds_own_rate(self) -> bool:
        return self.optimizer.lower().startswith(ONE_RATE_OPTIMIZERS)


POLICY_FLAGS = (
    *("trigger_word", "class_tokens", "base_model", "sd_scripts_dir", "train_data_dir", "output_dir", "output_name", "resolution"),
    *("train_batch_size", "train_repeats", "reg_repeats", "max_train_steps", "save_every_n_steps", "network_dim", "network_alpha"),
    *("optimizer", "lr_scheduler", "lr_warmup_steps", "prior_loss_weight", "min_snr_gamma", "noise_offset", "seed"),
)
"""Flags whose default is the key of that name in the policy's `training` section."""


def settings_from(args: argparse.Namespace, policy: Mapping[str, Any]) -> TrainingSettings:
    """The settings of a command line; the policy says what it does not. Raises InputError for names that cannot be used."""
    training = policy["training"]
    chosen = {name: training[name] if getattr(args, name) is None else getattr(args, name) for name in POLICY_FLAGS}
    name = chosen["output_name"]
    if not name or name.startswith((".", "-")) or set(name) & BAD_NAME_CHARACTERS or name.endswith(".safetensors"):
        raise InputError("--output-name", f"{name!r} is no name for a LoRA", "a plain name, without folder and without .safetensors")
    if not chosen["trigger_word"].strip():
        raise InputError("--trigger-word", "is empty", "give the word that calls the character")
    for flag in ("sd_scripts_dir", "train_data_dir", "output_dir"):
        chosen[flag] = Path(chosen[flag]).expanduser().absolute()
    if looks_like_path(chosen["base_model"]):  # the trainer runs in a folder of its own
        chosen["base_model"] = str(Path(chosen["base_model"]).expanduser().absolute())
    output_dir = chosen["output_dir"]
    reg_data_dir = args.reg_data_dir.expanduser().absolute() if args.reg_data_dir else None
    _require_apart(output_dir, chosen["train_data_dir"], "--train-data-dir")
    if reg_data_dir:
        _require_apart(output_dir, reg_data_dir, "--reg-data-dir")
    own = chosen["optimizer"].lower().startswith(ONE_RATE_OPTIMIZERS)
    unet, text = args.unet_learning_rate, args.text_encoder_learning_rate
    return TrainingSettings(
        **chosen,
        trainer_python=args.trainer_python,
        reg_data_dir=reg_data_dir,
        dataset_config=(args.dataset_config or output_dir / "dataset_config.toml").absolute(),
        manifest_out=(args.dataset_manifest_out or output_dir / "dataset_manifest.json").absolute(),
        logging_dir=args.logging_dir.absolute() if args.logging_dir else None,
        caption_extension=args.caption_extension or policy["dataset"]["caption_extension"],
        optimizer_args=tuple(args.optimizer_arg) if args.optimizer_arg is not None else _optimizer_args(chosen["optimizer"]),
        unet_learning_rate=(1.0 if own else DEFAULT_UNET_RATE) if unet is None else unet,
        text_encoder_learning_rate=(1.0 if own else DEFAULT_TEXT_RATE) if text is None else text,
        max_token_length=None if args.max_token_length == 75 else args.max_token_length,
        train_text_encoder=args.train_text_encoder,
        save_state=not args.no_save_state,
        skip_manifest=args.skip_dataset_manifest,
        trainer_args=tuple(args.trainer_arg),
    )


def _optimizer_args(optimizer: str) -> tuple[str, ...]:
    if optimizer.lower() == "prodigy":
        return ("decouple=True", "weight_decay=0.01", "d_coef=1.0", "use_bias_correction=True", "safeguard_warmup=True")
    return ("weight_decay=0.01",) if optimizer.lower().startswith("adamw") else ()


def looks_like_path(model: str) -> bool:
    """Whether a base model is a file or folder here and not a name on a hub (`owner/name`)."""
    is_name = model.count("/") == 1 and not model.startswith((".", "~", "/")) and not model.endswith((".safetensors", ".ckpt"))
    return not is_name or Path(model).exists()


def _require_apart(output_dir: Path, data_dir: Path, flag: str) -> None:
    """The trainer's outputs must not land among the pictures, nor the staged copy be scanned as a source."""
    output, data = output_dir.resolve(), data_dir.resolve()
    if output == data or output.is_relative_to(data) or data.is_relative_to(output):
        raise InputError("--output-dir", f"{output_dir} and {flag} {data_dir} lie inside each other", "choose a folder of its own")
