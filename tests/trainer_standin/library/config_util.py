"""The part of the trainer's schema of dataset TOMLs that the tests need: unknown keys are refused."""

from __future__ import annotations

from typing import Any


class MultipleInvalid(Exception):
    pass


SUBSET = {"image_dir", "num_repeats", "class_tokens", "is_reg", "caption_extension", "keep_tokens", "shuffle_caption", "flip_aug"}
DATASET = {"resolution", "batch_size", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale"}


class ConfigSanitizer:
    def __init__(self, support_dreambooth: bool, support_finetuning: bool, support_controlnet: bool, support_dropout: bool) -> None:
        pass

    def sanitize_user_config(self, config: dict[str, Any]) -> dict[str, Any]:
        for dataset in config["datasets"]:
            tables = [(config.get("general", {}), SUBSET | DATASET), (dataset, SUBSET | DATASET | {"subsets"})]
            for table, known in tables + [(subset, SUBSET) for subset in dataset["subsets"]]:
                for key in table:
                    if key not in known:
                        raise MultipleInvalid(f"extra keys not allowed @ data['{key}']")
        return config
