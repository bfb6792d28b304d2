"""What a picture is asked to be: every setting that reached the sampler."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA file and the strength at which it is applied to the model."""

    file: str
    strength: float


@dataclass(frozen=True, slots=True)
class Scene:
    """The settings of one picture. `index` is its place in a latent batch."""

    positive: str
    negative: str
    seed: int
    index: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    width: int
    height: int
    loras: tuple[LoraUse, ...] = ()
    denoise: float = 1.0

    def random_seed(self, purpose: str) -> int:
        """A seed for one purpose, from the prompt and the seed alone: settings change the picture, they do not deal a new one."""
        text = f"{purpose}\n{self.seed}\n{self.index}\n{self.positive}"
        return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
