"""The loader: YAML, and variables of the environment in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml


def get_config(path: str) -> Any:
    text = Path(path).read_text(encoding="utf-8")
    if found := re.search(r"\$\{([^}]+)\}", text):
        raise ValueError(f"Environment variable {found[1]} not set.")
    return yaml.safe_load(text)
