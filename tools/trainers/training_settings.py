"""What one training run is asked to do, whichever trainer does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.dataset.dataset_document import DatasetDocument


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Every choice of a run, with nothing left open. Rates are resolved; `trainer_args` are passed on as they are.

    `components`: files besides the base model, by their ids in `components.py`. `given`: the settings that somebody chose on the command
    line, by their names here: what the policy says for all families is no choice for this one.
    """

    trainer_dir: Path
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
    mixed_precision: str
    attention: str
    train_text_encoder: bool
    save_state: bool
    skip_manifest: bool
    trainer_args: tuple[str, ...]
    components: Mapping[str, str] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    dataset_document: DatasetDocument | None = None
    """What names the pictures of `train_data_dir` and their captions; None: all that lie there, with the files beside them."""
    held_out_by: Path | None = None
    """The manifest that says which pictures are not trained on; None: one inside the training set, else `manifest_out` of before."""
