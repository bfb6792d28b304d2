"""Training parameters as the one line that people compare: `network_dim=16, UNet+TE, AdamW8bit, 2000 steps, generic captions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALIASES = {
    "network_dim": ("network_dim", "ss_network_dim", "dim", "rank"),
    "network_alpha": ("network_alpha", "ss_network_alpha", "alpha"),
    "text_encoder": ("train_text_encoder", "text_encoder"),
    "modules": ("modules", "trained_modules", "trained"),
    "optimizer": ("optimizer", "optimizer_type", "ss_optimizer"),
    "steps": ("max_train_steps", "steps", "ss_max_train_steps"),
    "captions": ("captions", "caption_method", "captioning"),
    "regularization": ("regularization", "regularisation", "reg_images", "ss_num_reg_images"),
    "learning_rate": ("learning_rate", "ss_learning_rate", "unet_learning_rate", "unet_lr"),
    "seed": ("seed", "ss_seed"),
}
"""The first of each that is given speaks; sd-scripts writes them as `ss_…` into the LoRA."""
LEFT_OUT = ("ss_", "modelspec.", "sshs_", "base_model", "weights_sha256", "output_name", "started", "finished", "epoch", "num_epochs")
"""Of the hundred keys that sd-scripts leaves in a LoRA only those above are told, and none that is a hash or a time."""
OTHERS_SHOWN = 6
LONGEST_VALUE = 40
NOT_RECORDED = "not recorded"


def describe_training(params: Mapping[str, Any]) -> str:
    """One line of what was trained and how; `not recorded` where nothing is known."""
    taken: set[str] = set()

    def take(name: str) -> Any:
        for key in ALIASES[name]:
            if key in params and params[key] not in (None, "", "None"):
                taken.update(ALIASES[name])
                return params[key]
        return None

    parts = [f"network_dim={_plain(dim)}" for dim in [take("network_dim")] if dim is not None]
    if (alpha := take("network_alpha")) is not None:
        parts.append(f"alpha={_plain(alpha)}")
    parts += _modules(take("modules"), take("text_encoder"))
    if (optimizer := take("optimizer")) is not None:
        parts.append(str(optimizer).partition("(")[0].rpartition(".")[2])
    if (steps := take("steps")) is not None:
        parts.append(f"{_plain(steps)} steps")
    if (rate := take("learning_rate")) is not None:
        parts.append(f"learning rate {_plain(rate)}")
    if (seed := take("seed")) is not None:
        parts.append(f"seed {_plain(seed)}")
    parts += _captions(take("captions"), take("regularization"))
    rest = [
        f"{key}={_plain(value)}"
        for key, value in params.items()
        if key not in taken and not key.startswith(LEFT_OUT) and isinstance(value, str | int | float)
    ]
    return ", ".join([*parts, *rest[:OTHERS_SHOWN]]) or NOT_RECORDED


def _modules(modules: object, text_encoder: object) -> list[str]:
    if modules is not None:
        names = str(modules).lower()
        if "unet" in names and "+" not in names:
            return ["UNet only"]
        return ["UNet+TE" if "unet" in names and ("text_encoder" in names or "te" in names.split("+")) else _plain(modules)]
    if text_encoder is None:
        return []
    return ["UNet+TE" if text_encoder in (True, "true", "True", 1) else "UNet only"]


def _captions(captions: object, regularisation: object) -> list[str]:
    text = _plain(captions) if captions is not None else ""
    if text and "caption" not in text.lower():
        text += " captions"
    if regularisation in (None, False, 0, "0", "false", "False"):
        return [text] if text else []
    return [f"{text} + regularization" if text else "regularization"]


def _plain(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
