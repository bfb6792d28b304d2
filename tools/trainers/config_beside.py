"""What the file beside a LoRA says of its training, for trainers that write little into the LoRA: ai-toolkit's `config.yaml`, and
`adapter_config.json` of peft.

It is believed only if it names this LoRA (ai-toolkit), or if the LoRA has the one name that peft gives (`adapter_model`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError
from tools.trainers.kohya_header import TEXT, read_value

MOST_BYTES = 1 << 20

AI_TOOLKIT: Mapping[str, Sequence[str]] = {
    "network_type": ("network", "type"),
    "network_dim": ("network", "linear"),
    "network_alpha": ("network", "linear_alpha"),
    "conv_dim": ("network", "conv"),
    "conv_alpha": ("network", "conv_alpha"),
    "optimizer": ("train", "optimizer"),
    "learning_rate": ("train", "lr"),
    "lr_scheduler": ("train", "lr_scheduler"),
    "max_train_steps": ("train", "steps"),
    "batch_size": ("train", "batch_size"),
    "gradient_accumulation_steps": ("train", "gradient_accumulation_steps"),
    "mixed_precision": ("train", "dtype"),
    "seed": ("train", "seed"),
    "base_model": ("model", "name_or_path"),
    "trigger_phrase": ("trigger_word",),
}
"""Our name -> the way to it in `config.process[0]`."""

PEFT: Mapping[str, Sequence[str]] = {
    "network_type": ("peft_type",),
    "network_dim": ("r",),
    "network_alpha": ("lora_alpha",),
    "network_dropout": ("lora_dropout",),
    "base_model": ("base_model_name_or_path",),
}


def read_beside(lora: Path, dialect: str | None) -> dict[str, Any]:
    """The parameters that the file beside a LoRA names; none if there is no such file, or it is about another. `dialect`: whose the LoRA's
    metadata are."""
    if dialect == "ai-toolkit":
        config = _at(read_yaml(lora.with_name("config.yaml")), ("config",))
        name = _at(config, ("name",))
        if not isinstance(name, str) or not name or not lora.stem.startswith(name):
            return {}
        processes = _at(config, ("process",))
        return _params(processes[0] if isinstance(processes, list) and processes else None, AI_TOOLKIT)
    if lora.stem == "adapter_model":
        try:
            return _params(foreign.read_file(lora.with_name("adapter_config.json"), dict, max_bytes=MOST_BYTES), PEFT)
        except (InputError, OSError):
            return {}
    return {}


def read_yaml(path: Path) -> Any:
    import yaml

    try:
        with open(path, "rb") as file:
            return yaml.safe_load(file.read(MOST_BYTES))
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return None


def _params(document: Any, table: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found = {}
    for name, way in table.items():
        value = _at(document, way)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            found[name] = read_value(str(value)[:1000], as_text=name in TEXT)
    return {name: value for name, value in found.items() if value is not None}


def _at(document: Any, way: Sequence[str]) -> Any:
    for key in way:
        document = document.get(key) if isinstance(document, dict) else None
    return document
