"""How good the embedded server's pictures are: the one table that decides what a LoRA, its strength and the settings do.

No number here is measured on a real LoRA. They are chosen so that the gates have something true to find, in the way it is
found in practice: a weak LoRA drifts from the person, too little strength shows the base model's own face, too much burns
the picture, an early checkpoint has not learnt the face, and a share of pictures is filtered, blurred or empty whatever one does.

| what | effect |
|---|---|
| LoRA (`LORAS`, else `UNKNOWN_LORA`, none: `NO_LORA`) | mean drift towards another, invented face: 0 is the person, 1 a stranger |
| `step0500` … in the LoRA's name (`STEPS`) | more drift: undertrained early, slightly overtrained late |
| strength | the LoRA's pull is exp(-((s - 0.8) / 0.5)²): 1 at 0.8, 0.85 at 0.6 and 1.0, 0.53 at 0.4; above 1 the picture burns |
| seed | drift varies by `DRIFT_SPREAD`, and now and then by much (`ODD_SHARE`); which pictures are filtered, blurred, empty, miscoloured |
| negative prompt | "plastic skin" and "blurry" halve the share of filtered and blurred pictures |
| a pass over an uploaded picture | drift is `REPAIRED_DRIFT` of it, and so is the share of filtered, blurred and miscoloured pictures |
| steps under 15, CFG over 9 or under 2.5 | softness; harsh or faded colour |
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.stand_in.scene import LoraUse, Scene

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class LoraQuality:
    """Mean drift at the best strength, and the shares of pictures with filtered skin and with a strong blur."""

    drift: float
    filtered: float
    blurred: float


LORAS = {
    "amiranoor_v3": LoraQuality(drift=0.28, filtered=0.22, blurred=0.10),
    "amiranoor_v2": LoraQuality(drift=0.66, filtered=0.40, blurred=0.16),
}
UNKNOWN_LORA = LoraQuality(drift=0.45, filtered=0.30, blurred=0.12)
NO_LORA = LoraQuality(drift=1.0, filtered=0.40, blurred=0.10)
STEPS = ((500, 0.34), (1000, 0.18), (1500, 0.06), (2000, 0.0), (2500, 0.04), (4000, 0.20))
"""Drift added at a training step, with straight lines between."""

BEST_STRENGTH, STRENGTH_WIDTH = 0.8, 0.5
DRIFT_SPREAD = 0.16
ODD_SHARE, ODD_DRIFT = 0.08, 0.5
EMPTY_SHARE = 0.05
CAST_SHARE = 0.06
CASTS = ((1.22, 0.98, 0.66), (0.80, 1.06, 0.84), (0.78, 0.95, 1.36))
"""Gains of red, green and blue under a street lamp, fluorescent tubes, open shade."""
RELIEF = 0.5
REPAIRED_DRIFT = 0.5
BURN_FROM = 1.0
SOFT_BELOW_STEPS = 15


@dataclass(frozen=True, slots=True)
class Quality:
    """What becomes of one picture. `drift` 0 is the person, 1 a stranger; the rest are amounts from 0."""

    drift: float
    is_empty: bool
    filter_strength: float
    """How much of the skin's texture a beauty filter took, 0 to 1."""
    blur: float
    """Standard deviation of a defocus, as a fraction of the picture's height."""
    burn: float
    cast: tuple[float, float, float]
    """Gains of the channels: a colour cast, or (1, 1, 1)."""
    softness: float
    harshness: float
    """Above 0 harsh colour, below 0 faded."""


def quality_of(scene: Scene, random: np.random.Generator) -> Quality:
    """The quality of one picture; `random` is that of the picture's seed."""
    lora, pull, burn = _applied(scene.loras)
    drawn = [float(random.random()) for _ in range(7)]
    spread = float(random.normal())
    odd = ODD_DRIFT if drawn[4] < ODD_SHARE else 0.0
    left = REPAIRED_DRIFT if scene.repairs else 1.0
    drift = left * (1 - (1 - lora.drift) * pull + DRIFT_SPREAD * spread + odd)
    negative = scene.negative.lower()
    filtered = left * lora.filtered * (RELIEF if "plastic skin" in negative or "smooth skin" in negative else 1.0)
    blurred = left * lora.blurred * (RELIEF if "blur" in negative else 1.0)
    return Quality(
        drift=min(1.15, max(0.0, drift)),
        is_empty=drawn[0] < EMPTY_SHARE,
        filter_strength=0.82 + 0.18 * drawn[2] if drawn[1] < filtered else 0.0,
        blur=0.007 + 0.006 * drawn[2] if drawn[3] < blurred else 0.0,
        burn=burn,
        cast=CASTS[int(drawn[6] * len(CASTS))] if drawn[5] < left * CAST_SHARE else (1.0, 1.0, 1.0),
        softness=max(0.0, (SOFT_BELOW_STEPS - scene.steps) / SOFT_BELOW_STEPS),
        harshness=max(0.0, (scene.cfg - 9) / 9) + min(0.0, (scene.cfg - 2.5) / 2.5) * 0.5,
    )


def _applied(loras: tuple[LoraUse, ...]) -> tuple[LoraQuality, float, float]:
    """The LoRA that counts (the one applied most strongly), how far it pulls to the person, and how much it burns."""
    used = [use for use in loras if use.strength > 0]
    if not used:
        return NO_LORA, 0.0, 0.0
    use = max(used, key=lambda one: one.strength)
    name = re.split(r"[/\\]", use.file)[-1].removesuffix(".safetensors").lower()
    known = next((quality for stem, quality in LORAS.items() if name.startswith(stem)), UNKNOWN_LORA)
    quality = LoraQuality(min(1.0, known.drift + _step_drift(name)), known.filtered, known.blurred)
    pull = math.exp(-(((use.strength - BEST_STRENGTH) / STRENGTH_WIDTH) ** 2))
    return quality, pull, max(0.0, use.strength - BURN_FROM)


def _step_drift(name: str) -> float:
    found = re.search(r"step[-_]?0*(\d+)", name)
    if found is None:
        return 0.0
    step = float(found[1])
    for (low, below), (high, above) in itertools.pairwise(STEPS):
        if step <= high:
            return below + (above - below) * max(0.0, step - low) / (high - low)
    return STEPS[-1][1]
