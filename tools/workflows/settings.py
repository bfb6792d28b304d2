"""What a run wants of a picture, and which values are possible."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import Any

from lifeos.errors import InputError
from tools.families.families import ResolutionRule
from tools.workflows.seeds import MAX_SEED

MAX_SIDE = 16384
LATENT_STEP = ResolutionRule().picture_multiple
"""The side of a latent cell in pixels: the server would silently cut a width of 100 down to 96. A family may have larger ones."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run wants of a picture. None leaves the workflow's own value. `more_loras`: further ones, each at a node named for it."""

    positive: str | None = None
    negative: str | None = None
    seed: int | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    checkpoint: str | None = None
    lora: str | None = None
    lora_strength: float | None = None
    filename_prefix: str | None = None
    guidance: float | None = None
    more_loras: tuple[str, ...] = ()


def check_settings(settings: Settings, size_multiple: int = LATENT_STEP) -> None:
    """Refuse what the server would silently change or die of. Raises InputError that names the setting."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name == "more_loras":
            value = next((name for name in value if not name.strip()), None)
        why = None if value is None else _find_fault(field.name, value, size_multiple)
        if why:
            raise InputError(f"{field.name.replace('_', ' ')} {value!r}", why)


def _find_fault(setting: str, value: Any, size_multiple: int) -> str | None:
    wholes = {"seed": (0, MAX_SEED), "steps": (1, 10_000), "width": (16, MAX_SIDE), "height": (16, MAX_SIDE)}
    numbers = {"cfg": (0.0, 100.0), "guidance": (0.0, 100.0), "lora_strength": (-100.0, 100.0)}
    if setting in wholes:
        low, high = wholes[setting]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            return f"a whole number from {low} to {high} is wanted"
        if setting in ("width", "height") and value % size_multiple:
            below = value - value % size_multiple
            return f"a multiple of {size_multiple} is wanted, such as {below} or {below + size_multiple}"
    elif setting in numbers:
        lowest, highest = numbers[setting]
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not lowest <= value <= highest:
            return f"a number from {lowest:g} to {highest:g} is wanted"
    elif not isinstance(value, str):
        return "text is wanted"
    elif setting == "filename_prefix":
        if not value or value.endswith(("/", "\\")) or value.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", value):
            return "a relative name that does not end in a slash is wanted: ComfyUI would overwrite or refuse it"
    elif setting not in ("positive", "negative") and not value.strip():
        return "a name is wanted"
    return None
