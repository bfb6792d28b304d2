"""A face engine of forty lines, for the test that a new one touches no more than it must: every picture is one face at one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from evals.faces.face_engine import EngineRequest, Face, FaceEngine, Rgb, Vector, unit

PLACES = np.array([[0.396, 0.199], [0.482, 0.203], [0.434, 0.246], [0.395, 0.275], [0.475, 0.279]])
"""Eyes, nose and mouth of the test portrait, in fractions of the picture."""
SIDE = 8


def check(request: EngineRequest) -> str:
    return f"{len(request.folders)} folders"


def open_engine(request: EngineRequest) -> FaceEngine:
    return ToyEngine()


class ToyEngine:
    scale_key = "toy"
    model_sha256 = ""
    provider = "toy CPU"
    notes = ("a toy: it compares shades",)

    def identity(self) -> dict[str, Any]:
        return {"engine": "toy", "model_pack": "none", "models": {}, "detector": {"name": "fixed"}}

    def find(self, rgb: Rgb) -> tuple[list[Face], str]:
        height, width = rgb.shape[:2]
        box = (0.36 * width, 0.1 * height, 0.54 * width, 0.32 * height)
        return [Face(box, PLACES * (width, height), 1.0)], "fixed"

    def embed(self, rgb: Rgb, face: Face) -> Vector:
        grey = rgb.mean(axis=2)
        rows, columns = (np.linspace(0, side - 1, SIDE).astype(int) for side in grey.shape)
        return unit(grey[np.ix_(rows, columns)] - grey.mean())
