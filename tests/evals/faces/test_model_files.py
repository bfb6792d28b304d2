"""The files of the default engine: found by their bytes, wherever they lie, and one line that says what to do where they are not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import skimage.data

from evals.faces import model_files
from evals.faces.model_files import SFACE, YUNET_INT8, ModelFile
from evals.faces.onnx_rewriting import without_spare_inputs
from lifeos.errors import UnavailableError
from lifeos.free_models import FACE_FOLDER

BODY = b"weights" * 100
FILE = ModelFile("face.onnx", hashlib.sha256(BODY).hexdigest(), "Face", "MIT")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of set-up's files in a site-packages that Python searches last."""
    folder = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(str(folder))
    (folder / FACE_FOLDER).mkdir(parents=True)
    return folder / FACE_FOLDER


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("LIFEOS_MODELS", str(folder))
    return folder


def test_set_up_s_file_comes_before_that_of_the_models_folder(packages: Path, models: Path) -> None:
    (models / FILE.name).write_bytes(BODY)
    assert model_files.find(FILE) == models / FILE.name
    (packages / FILE.name).write_bytes(BODY)
    assert model_files.find(FILE) == model_files.require(FILE) == packages / FILE.name


def test_a_named_folder_takes_the_place_of_the_usual_ones(packages: Path, models: Path, tmp_path: Path) -> None:
    (models / FILE.name).write_bytes(BODY)
    assert model_files.find(FILE, [tmp_path]) is None
    (tmp_path / FILE.name).write_bytes(BODY)
    assert model_files.find(FILE, [tmp_path]) == tmp_path / FILE.name


def test_a_file_with_other_bytes_is_passed_over(packages: Path, models: Path) -> None:
    (packages / FILE.name).write_bytes(BODY[:-1])
    assert model_files.find(FILE) is None
    (models / FILE.name).write_bytes(BODY)
    assert model_files.require(FILE) == models / FILE.name


def test_a_damaged_file_is_named_with_both_hashes(packages: Path, models: Path) -> None:
    (packages / FILE.name).write_bytes(b"half")
    found = hashlib.sha256(b"half").hexdigest()[:12]
    with pytest.raises(UnavailableError) as caught:
        model_files.require(FILE)
    assert str(caught.value) == (
        f"{packages / FILE.name}: damaged or another file: its SHA-256 is {found}…, {FILE.sha256[:12]}… is expected "
        "(run: python -m lifeos setup; or, for the engine dlib: python -m lifeos setup --dlib)"
    )


def test_a_missing_file_names_both_set_ups(packages: Path, models: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        model_files.require(FILE)
    assert str(caught.value) == (
        "Face: its model file face.onnx is not here (run: python -m lifeos setup; or, for the engine dlib: python -m lifeos setup --dlib)"
    )


def test_a_file_that_is_damaged_and_mended_while_we_run_is_read_again(packages: Path, models: Path) -> None:
    (packages / FILE.name).write_bytes(BODY)
    assert model_files.find(FILE)
    (packages / FILE.name).write_bytes(b"half")
    assert model_files.find(FILE) is None
    (packages / FILE.name).write_bytes(BODY)
    assert model_files.find(FILE)


def test_the_two_files_are_those_of_the_wheel() -> None:
    """Protocols hold these: another file is another protocol. Source: the list in the wheel's own models/README.md."""
    assert (SFACE.sha256[:16], YUNET_INT8.sha256[:16]) == ("fb143eea07838aa5", "49f000ec501fef24")


def test_set_up_brought_both_files_and_both_run() -> None:
    """The environment of these tests is one that the launcher made: the files are in it."""
    session = onnxruntime.InferenceSession(
        without_spare_inputs(model_files.require(SFACE).read_bytes()), providers=["CPUExecutionProvider"]
    )
    assert [entry.name for entry in session.get_inputs()] == ["data"]
    noise = np.random.default_rng(1).uniform(0, 255, (1, 3, 112, 112)).astype(np.float32)
    there = session.run(None, {"data": noise})[0][0]
    network = cv2.dnn.readNetFromONNX(np.frombuffer(without_spare_inputs(model_files.require(SFACE).read_bytes()), np.uint8))
    network.setInput(noise)
    here = network.forward()[0]
    assert there.shape == (128,) and float(here @ there / np.linalg.norm(here) / np.linalg.norm(there)) > 0.999999

    picture = np.asarray(skimage.data.astronaut())
    model = np.frombuffer(model_files.require(YUNET_INT8).read_bytes(), np.uint8)
    detector = cv2.FaceDetectorYN.create("onnx", model, np.empty(0, np.uint8), picture.shape[1::-1], 0.6)
    (face,) = detector.detect(np.ascontiguousarray(picture[..., ::-1]))[1]
    assert (round(face[0] + face[2] / 2), round(face[1] + face[3] / 2)) == (223, 119)
