"""Training parameters as the one line that people compare: `network_dim=16, UNet+TE, AdamW8bit, 2000 steps, generic captions`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.comparison.runs import Run
from evals.scorecards.card_inputs import read_manifest
from lifeos.errors import LifeosError

ALIASES = {
    "network_dim": ("network_dim", "ss_network_dim", "dim", "rank"),
    "network_type": ("network_type", "algo"),
    "network_alpha": ("network_alpha", "ss_network_alpha", "alpha"),
    "text_encoder": ("train_text_encoder", "text_encoder"),
    "modules": ("modules", "trained_modules", "trained"),
    "optimizer": ("optimizer", "optimizer_type", "ss_optimizer"),
    "steps": ("max_train_steps", "steps", "ss_max_train_steps"),
    "captions": ("caption_method", "captioning", "captions", "caption_kind"),
    "regularization": ("regularization", "regularisation", "reg_images", "ss_num_reg_images"),
    "learning_rate": ("learning_rate", "ss_learning_rate", "unet_learning_rate", "unet_lr"),
    "seed": ("seed", "ss_seed"),
}
"""The first of each that is given speaks; sd-scripts writes them as `ss_…` into the LoRA."""
LEFT_OUT = (
    *("ss_", "modelspec.", "sshs_", "base_model", "weights_sha256", "output_name", "started", "finished", "epoch", "num_epochs"),
    *("dataset_", "trainer_version", "comment"),
)
"""Of the hundred keys that sd-scripts leaves in a LoRA only those above are told, and none that is a hash or a time."""
SAID_BY_HAND = ("caption_method", "captioning", "captions")
OTHERS_SHOWN = 6
LONGEST_VALUE = 40
LONGEST_CAPTIONS = 80
NOT_RECORDED = "not recorded"


def describe_run(run: Run) -> str:
    """One line of how a run's LoRA was trained. What its row does not say of captions and regularisation, the manifest of its dataset says,
    if it is still there and still the same."""
    return describe_training({**_told_by_manifest(run), **run.training_params})


def _told_by_manifest(run: Run) -> dict[str, Any]:
    if run.manifest_path is None or any(name in run.training_params for name in SAID_BY_HAND):
        return {}
    try:
        manifest = read_manifest(Path(run.manifest_path))
    except (LifeosError, OSError):
        return {}
    is_same = manifest.sha256 == run.manifest_hash or (
        manifest.dataset_id is not None and manifest.dataset_id == run.extra.get("dataset_id")
    )
    return manifest.training_params if is_same else {}


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
    if (kind := take("network_type")) is not None and str(kind).lower() not in ("lora", "locon"):
        parts.append(_plain(kind))
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
    """`UNet+TE`, `UNet only`, `transformer only` …"""
    if modules is None:
        if text_encoder is None:
            return []
        return ["UNet+TE" if text_encoder in (True, "true", "True", 1) else "UNet only"]
    names = str(modules).lower().split("+")
    others = [name for name in names if not name.startswith("te")]
    main = next((title for part, title in (("unet", "UNet"), ("transformer", "transformer")) if any(part in name for name in others)), None)
    if main is None:
        return [_plain(modules)]
    return [f"{main}+TE" if len(others) < len(names) else f"{main} only"]


def _captions(captions: object, regularisation: object) -> list[str]:
    text = " ".join(str(captions).split())[:LONGEST_CAPTIONS] if captions is not None else ""
    if text and "caption" not in text.lower():
        text += " captions"
    if regularisation in (None, False, 0, "0", "false", "False"):
        return [text] if text else []
    return [f"{text} + regularization" if text else "regularization"]


def _plain(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
