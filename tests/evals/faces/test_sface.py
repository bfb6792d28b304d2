"""The default engine: SFace's recipe, with the file that `setup` brings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from evals.faces import model_files, sface_engine
from evals.faces.alignment import ARCFACE_POINTS, align, fit_similarity
from evals.faces.engines import choose_engine
from evals.faces.face_engine import Rgb
from evals.faces.onnx_embedder import OnnxEmbedder, Recipe
from evals.faces.onnx_session import CPU
from evals.faces.subject import sight_subject
from evals.load_thresholds import load_thresholds
from lifeos.errors import InputError
from tests.evals.portraits import portrait

POLICY = load_thresholds()


def rgb(image: Image.Image) -> Rgb:
    return np.asarray(image, dtype=np.uint8)


def test_a_similarity_is_what_scikit_image_finds() -> None:
    from skimage.transform import SimilarityTransform

    points = np.array([[203.0, 102.0], [247.0, 104.0], [222.0, 126.0], [202.0, 141.0], [243.0, 143.0]])
    turn = np.array([[np.cos(2.0), -np.sin(2.0)], [np.sin(2.0), np.cos(2.0)]])
    for seen in (points, points @ turn.T * 3.0 - 40):
        expected = SimilarityTransform.from_estimate(seen, ARCFACE_POINTS).params[:2]
        assert fit_similarity(seen, ARCFACE_POINTS) == pytest.approx(expected, abs=1e-9)


def test_points_in_one_place_are_no_error() -> None:
    assert np.isfinite(fit_similarity(np.full((5, 2), 7.0), ARCFACE_POINTS)).all()


def test_the_embedding_is_made_by_the_recipe() -> None:
    """Step by step with OpenCV's own runtime: two runs, two unit vectors, their sum, less the strangers' mean, at length 1."""
    import cv2

    from evals.faces.onnx_rewriting import without_spare_inputs

    picture = rgb(portrait())
    ours = sight_subject(choose_engine("sface", POLICY), picture)
    assert ours is not None
    face = align(picture, ours.subject.landmarks, ARCFACE_POINTS, 112)
    network = cv2.dnn.readNetFromONNX(np.frombuffer(without_spare_inputs(model_files.require(model_files.SFACE).read_bytes()), np.uint8))
    total = np.zeros(128)
    for seen in (face, face[:, ::-1]):
        network.setInput(np.ascontiguousarray(seen.astype(np.float32).transpose(2, 0, 1)[None]))
        vector = np.asarray(network.forward(), dtype=np.float64).ravel()
        total += vector / np.linalg.norm(vector)
    mean = np.array(json.loads(sface_engine.MEAN_FILE.read_text(encoding="utf-8"))["mean"])
    expected = total / np.linalg.norm(total) - mean
    assert float(ours.embedding @ expected / np.linalg.norm(expected)) > 0.99999


def test_colours_are_red_green_blue() -> None:
    path, picture = model_files.require(model_files.SFACE), rgb(portrait())
    points = np.array([[203.0, 102.0], [247.0, 104.0], [222.0, 126.0], [202.0, 141.0], [243.0, 143.0]])
    right, wrong = (OnnxEmbedder(path, Recipe(mean=0.0, std=1.0, channels=order)).embed(picture, points) for order in ("rgb", "bgr"))
    assert 0.8 < float(right @ wrong) < 0.97


def test_it_runs_on_the_cpu_where_cuda_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a laptop's scores and a pod's can be compared."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    engine = choose_engine("sface", POLICY)
    assert (engine.provider, engine.notes) == (CPU, ())


def test_a_mirrored_picture_has_the_same_embedding_when_its_points_are_mirrored() -> None:
    embedder, picture = OnnxEmbedder(model_files.require(model_files.SFACE), Recipe(mean=0.0, std=1.0)), rgb(portrait())
    points = np.array([[203.0, 102.0], [247.0, 104.0], [222.0, 126.0], [202.0, 141.0], [243.0, 143.0]])
    mirrored = (511 - points[:, 0], points[:, 1])
    swapped = np.stack(mirrored, axis=1)[[1, 0, 2, 4, 3]]
    assert float(embedder.embed(picture, points) @ embedder.embed(picture[:, ::-1], swapped)) > 0.995


def test_the_same_file_under_another_name_is_the_default_one(tmp_path: Path) -> None:
    copy = Path(shutil.copy(model_files.require(model_files.SFACE), tmp_path / "copy.onnx"))
    assert choose_engine("sface", POLICY, face_model=copy).scale_key == "sface"


def test_another_file_needs_a_row_of_its_own(tmp_path: Path) -> None:
    from evals.faces.onnx_rewriting import without_spare_inputs

    other = tmp_path / "other.onnx"
    other.write_bytes(without_spare_inputs(model_files.require(model_files.SFACE).read_bytes()))  # the same weights, other bytes
    with pytest.raises(InputError) as caught:
        choose_engine("sface", POLICY, face_model=other)
    assert str(caught.value).startswith("face model other.onnx: the policy has no thresholds for it")
    assert "face_similarity.engines.sface_other" in caught.value.fix
    assert choose_engine("sface", POLICY, face_model=other, needs_row=False).scale_key == "sface_other"
    row = {"stranger": 0.0, "warn": 0.3, "pass": 0.4, "same": 1.0}
    engine = choose_engine("sface", {"face_similarity": {"engines": {"sface_other": row}}}, face_model=other)
    default = choose_engine("sface", POLICY)
    assert (engine.scale_key, engine.identity()["model_pack"]) == ("sface_other", "other")
    assert engine.identity()["models"] != default.identity()["models"]
    seen, wanted = (sight_subject(one, rgb(portrait())) for one in (engine, default))
    assert seen is not None and wanted is not None and float(seen.embedding @ wanted.embedding) > 0.99999
