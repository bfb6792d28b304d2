"""What a face engine is: it finds faces and turns one into a unit vector. Everything else is the same for all engines (`subject.py`).

A new engine is one file with `check` and `open_engine`, one row in `engines.py`, and one row in the policy's `face_similarity.engines`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face found. `box` is (x0, y0, x1, y1) in pixels; `landmarks` 5 x 2: left eye, right eye, nose, left and right mouth corner, as
    seen in the picture."""

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float64]
    confidence: float

    @property
    def area(self) -> float:
        x0, y0, x1, y1 = self.box
        return max(0.0, x1 - x0) * max(0.0, y1 - y0)

    def mapped(self, scale: float, offset_x: float, offset_y: float) -> Face:
        """The same face after subtracting an offset and dividing by a scale: from a bordered picture back to the original."""
        shift = np.array([offset_x, offset_y])
        corners = (np.array(self.box).reshape(2, 2) - shift) / scale
        x0, y0, x1, y1 = (float(value) for value in corners.ravel())
        return Face((x0, y0, x1, y1), (self.landmarks - shift) / scale, self.confidence)


def unit(vector: NDArray[np.floating[Any]]) -> Vector:
    """The vector at length 1."""
    wide = np.asarray(vector, dtype=np.float64).ravel()
    return wide / max(float(np.linalg.norm(wide)), 1e-12)


class FaceEngine(Protocol):
    """Finds faces and embeds one. Both methods may be called from several threads at once."""

    scale_key: str
    """Its row in the policy's `face_similarity.engines`."""
    model_sha256: str
    """SHA-256 of the file that makes its embeddings: the one with which a row of the policy was measured."""
    provider: str
    """What it really runs on: `CUDAExecutionProvider`, `CPUExecutionProvider`, `dlib CPU`."""
    notes: tuple[str, ...]
    """What a person must know about it: licence, a provider that was wanted and does not run."""

    def identity(self) -> dict[str, Any]:
        """What makes its scores comparable with another run's: engine, files with SHA-256, detection settings."""

    def find(self, rgb: Rgb) -> tuple[list[Face], str]:
        """Every face in a picture, and the attempt that found them (empty when none did)."""

    def embed(self, rgb: Rgb, face: Face) -> Vector:
        """The unit embedding of one face."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What an engine may look at when it is opened.

    `folders`: where models lie, first match first. `scales`: the policy's `face_similarity.engines`. `model_pack`, `face_model`: as the
    flags say. `begun`: the protocol of the batch that goes on with this engine, if one does: what it began with is used again.
    """

    folders: tuple[Path, ...]
    scales: Mapping[str, Mapping[str, Any]]
    prefer_cpu: bool = False
    model_pack: str | None = None
    face_model: Path | None = None
    begun: Mapping[str, Any] = field(default_factory=dict)
    needs_row: bool = True
    """Whether the policy must have a row for it: not where that row is to be measured."""


class EngineModule(Protocol):
    """What the module of an engine offers to the registry."""

    def check(self, request: EngineRequest) -> str:
        """What it would run with (a pack, a model file), in a few words. Raises LifeosError where it cannot run: `auto` then takes the
        next engine, and doctor shows the reason."""

    def open_engine(self, request: EngineRequest) -> FaceEngine:
        """The engine, loaded. Raises UnavailableError where a package or model is missing, InputError for a wish that it cannot fulfil."""
