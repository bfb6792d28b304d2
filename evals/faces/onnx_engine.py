"""Faces with any ONNX embedder that `--face-model` names, such as AuraFace, AdaFace or one that you have licensed, on YuNet's landmarks.

How its pictures are made stands in its row of the policy, `face_similarity.engines.onnx_NAME`, where NAME is the file's without `.onnx`.
"""

from __future__ import annotations

from evals.faces.aligned_engine import AlignedEngine, open_yunet
from evals.faces.face_engine import EngineRequest, FaceEngine
from evals.faces.onnx_embedder import OnnxEmbedder, Recipe
from evals.faces.onnx_session import require_package
from lifeos.errors import InputError, UnavailableError

NAME = "onnx"
SCALE_PREFIX = "onnx_"
"""Before the file's name, its row in the policy's `face_similarity.engines`."""


def check(request: EngineRequest) -> str:
    """The file that it would run with. Raises UnavailableError where none was named: it has no default."""
    if request.face_model is None:
        raise UnavailableError("face engine onnx", "no model file is named", "name an ONNX face model: --face-model FILE")
    return f"with {request.face_model.name}"


def open_engine(request: EngineRequest) -> FaceEngine:
    if request.model_pack:
        raise InputError("--model-pack", "the engine onnx takes one file", "name it with --face-model, or use --engine insightface")
    if request.face_model is None:
        raise InputError("--engine onnx", "no model file is named", "name an ONNX face model: --face-model FILE")
    require_package("onnxruntime", NAME)
    key = f"{SCALE_PREFIX}{request.face_model.stem}"
    recipe = Recipe.from_policy(request.scales.get(key, {}).get("input", {}))
    return AlignedEngine(NAME, key, open_yunet(request), OnnxEmbedder(request.face_model, recipe, prefer_cpu=request.prefer_cpu))
