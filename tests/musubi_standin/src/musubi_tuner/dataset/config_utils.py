"""The part of the real schema that our dataset TOML can meet."""

from __future__ import annotations

from typing import Any

GENERAL = {"caption_extension", "batch_size", "num_repeats", "resolution", "enable_bucket", "bucket_no_upscale"}
DATASET = GENERAL | {"image_directory", "cache_directory", "control_directory", "image_jsonl_file"}


class MultipleInvalid(Exception):
    """As voluptuous calls it."""


class ConfigSanitizer:
    def sanitize_user_config(self, config: dict[str, Any]) -> dict[str, Any]:
        for table, known in [(config["general"], GENERAL), *((each, DATASET) for each in config["datasets"])]:
            for key in table:
                if key not in known:
                    raise MultipleInvalid(f"extra keys not allowed @ data['datasets'][0]['{key}']")
        return config
