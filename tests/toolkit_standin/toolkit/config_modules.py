"""Classes that take any key, as the real ones do; a few of the keys that those know."""

from __future__ import annotations

from typing import Any


class NetworkConfig:
    def __init__(self, **given: Any) -> None:
        self.values = [given.get(key) for key in ("type", "linear", "linear_alpha", "pretrained_lora_path", "split_multistage_loras")]


class SaveConfig:
    def __init__(self, **given: Any) -> None:
        self.values = [given.get(key) for key in ("save_every", "dtype", "max_step_saves_to_keep", "save_format")]


class TrainConfig:
    def __init__(self, **given: Any) -> None:
        known = ("batch_size", "steps", "gradient_accumulation", "train_unet", "train_text_encoder", "gradient_checkpointing")
        known += ("noise_scheduler", "optimizer", "optimizer_params", "lr", "lr_scheduler", "lr_scheduler_params", "dtype")
        known += ("cache_text_embeddings", "disable_sampling", "skip_first_sample", "timestep_type", "start_step", "reg_weight")
        self.values = [given.get(key) for key in known]


class ModelConfig:
    def __init__(self, **given: Any) -> None:
        self.values = [given.get(key) for key in ("name_or_path", "arch", "quantize", "vae_path", "model_kwargs", "assistant_lora_path")]
        if given.get("name_or_path") is None:
            raise ValueError("name_or_path must be specified")


class DatasetConfig:
    def __init__(self, **given: Any) -> None:
        known = ("folder_path", "caption_ext", "default_caption", "num_repeats", "resolution", "caption_dropout_rate", "shuffle_tokens")
        self.values = [given.get(key) for key in (*known, "cache_latents_to_disk", "num_frames", "is_reg")]


def preprocess_dataset_raw_config(datasets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [dict(each) for each in datasets]


def validate_configs(train: TrainConfig, model: ModelConfig, save: SaveConfig, datasets: list[DatasetConfig]) -> None:
    """Nothing of what we write is refused there."""
