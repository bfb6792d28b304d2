"""What a picture is asked to be: every setting that reached the sampler."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA file and the strength at which it is applied to a model or a text encoder."""

    file: str
    strength: float


@dataclass(frozen=True, slots=True)
class Scene:
    """The settings of one pass of a sampler over one picture. `index` is its place in a latent batch.

    `loras` are those of the model, `clip_loras` those of the text encoder that read the positive text. `start_step` and `end_step`
    are the part of the schedule that this pass does; `schedule_size` is the size that the schedule was made for, where it was told.
    """

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
    model: str = ""
    clip_loras: tuple[LoraUse, ...] = ()
    guidance: float | None = None
    start_step: int = 0
    end_step: int | None = None
    schedule_size: tuple[int, int] | None = None
    patches: tuple[str, ...] = ()
    repairs: bool = False
    """Whether the pass works over a picture that was uploaded."""

    def random_seed(self, purpose: str) -> int:
        """A seed for one purpose, from the prompt and the seed alone: settings change the picture, they do not deal a new one."""
        text = f"{purpose}\n{self.seed}\n{self.index}\n{self.positive}"
        return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")

    def record(self) -> dict[str, Any]:
        """The settings as JSON, for the picture's metadata and the history."""
        return asdict(self)
