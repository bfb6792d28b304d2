"""Faces with SFace (Apache-2.0) on onnxruntime and YuNet (MIT) in OpenCV: the default engine, which anyone may use, on any CPU.

Both files come with `python -m lifeos setup`. One file serves everywhere, so that scores of a laptop and of a pod can be compared.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.faces import model_files
from evals.faces.aligned_engine import AlignedEngine, open_yunet
from evals.faces.face_engine import EngineRequest, FaceEngine
from evals.faces.onnx_embedder import OnnxEmbedder, Recipe
from evals.faces.onnx_session import require_package
from evals.faces.policy_scale import require_row
from lifeos.errors import InputError
from lifeos.files import read_json

NAME = SCALE_KEY = "sface"
MEAN_FILE = Path(__file__).with_name("data") / "sface_stranger_mean.json"
RECIPE = Recipe(mean=0.0, std=1.0)
"""RGB from 0 to 255, the template of ArcFace. BGR would change the vector: a cosine of .92 to the right one. Always on the CPU (15 ms a
run, two for each face): scores of a laptop and of a pod are then the same to the last digit that is kept."""


def check(request: EngineRequest) -> str:
    """What it runs with. Raises UnavailableError where one of its files or packages is not installed."""
    require_package("onnxruntime", NAME)
    for file in (model_files.SFACE, model_files.YUNET_INT8):
        model_files.require(file, request.folders)
    return "with YuNet; Apache-2.0 and MIT"


def open_engine(request: EngineRequest) -> FaceEngine:
    if request.model_pack:
        raise InputError("--model-pack", "SFace has no model packs", "leave it out, or use --engine insightface")
    require_package("onnxruntime", NAME)
    path = request.face_model or model_files.require(model_files.SFACE, request.folders)
    yunet = open_yunet(request)
    embedder = OnnxEmbedder(path, RECIPE, prefer_cpu=True, unpacks_weights=True)
    mean, mean_id = read_stranger_mean()
    if embedder.length != len(mean):
        why = f"its embeddings have {embedder.length} numbers, SFace's have {len(mean)}"
        raise InputError(path, why, "use --engine onnx for a model of another kind")
    key = SCALE_KEY
    if embedder.sha256 != model_files.SFACE.sha256:  # another file: its scale was not measured with the default one
        key = f"{SCALE_KEY}_{path.stem}"
        if request.needs_row:
            require_row(request.scales, key, f"face model {path.name}")
    return AlignedEngine(NAME, key, yunet, embedder, mean=mean, mean_id=mean_id)


def read_stranger_mean() -> tuple[NDArray[np.float64], str]:
    """The mean embedding of strangers, carried with the project, and an id by its numbers."""
    numbers = read_json(MEAN_FILE)["mean"]
    return np.array(numbers, dtype=np.float64), hashlib.sha256(json.dumps(numbers).encode("ascii")).hexdigest()[:16]
