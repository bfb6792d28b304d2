"""What travels along the links of a graph: models, texts, latents and pictures, each with what was done to it on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tools.stand_in.picture_store import PictureStore
from tools.stand_in.scene import LoraUse, Scene

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Inputs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """MODEL, CLIP, VAE and the like: the file, the LoRAs applied to it in order, and the classes that changed how it samples."""

    file: str
    loras: tuple[LoraUse, ...] = ()
    patches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conditioning:
    """A text as a text encoder with these LoRAs read it; `guidance` where a node set one."""

    text: str
    loras: tuple[LoraUse, ...] = ()
    guidance: float | None = None


@dataclass(frozen=True, slots=True)
class DrawnPicture:
    """Pixels (RGB, height x width x 3), and the passes of samplers that made them, oldest first."""

    pixels: NDArray[np.uint8]
    passes: tuple[Scene, ...] = ()


@dataclass(frozen=True, slots=True)
class Latent:
    """Empty (`pictures` None) or sampled. `frames` is the length of a film: each picture stands for so many."""

    width: int
    height: int
    batch: int
    pictures: tuple[DrawnPicture, ...] | None = None
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Sigmas:
    """A schedule, or the part of it from `start` to `end`."""

    scheduler: str
    steps: int
    denoise: float = 1.0
    size: tuple[int, int] | None = None
    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Guider:
    model: LoadedModel
    positive: Conditioning
    negative: Conditioning
    cfg: float


@dataclass(frozen=True, slots=True)
class Film:
    """A VIDEO: its pictures in order."""

    pictures: tuple[DrawnPicture, ...]
    frames_per_second: float


class NodeRun(Protocol):
    """What a node may ask of the run that it is part of."""

    store: PictureStore
    graph: dict[str, Any]
    extra_data: dict[str, Any]

    def load(self, folder: str, name: str) -> str: ...
    def sample(self, scenes: list[Scene], steps: int) -> tuple[NDArray[np.uint8], ...]: ...
    def send_picture(self, png: bytes, number: int, count: int) -> None: ...
    def check_disk(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What a node puts out, and what it tells the history (`ui`). `passes`: of the pictures that it saved, as records."""

    outputs: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None
    passes: list[list[dict[str, Any]]] = field(default_factory=list)
