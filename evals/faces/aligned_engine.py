"""A face engine of two parts: YuNet finds faces and their landmarks, an ONNX model embeds what is aligned by them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.faces import model_files
from evals.faces.face_engine import EngineRequest, Face, Rgb, Vector, unit
from evals.faces.onnx_embedder import OnnxEmbedder
from evals.faces.onnx_session import CUDA, CUDA_NOTE
from evals.faces.yunet import YuNet


class AlignedEngine:
    """`mean`: the mean embedding of strangers, subtracted from each; None where none was measured."""

    def __init__(
        self, name: str, scale_key: str, yunet: YuNet, embedder: OnnxEmbedder, *, mean: NDArray[np.float64] | None = None, mean_id: str = ""
    ) -> None:
        self._name, self.scale_key = name, scale_key
        self._yunet, self._embedder, self._mean, self._mean_id = yunet, embedder, mean, mean_id
        self.provider, self.model_sha256 = embedder.provider, embedder.sha256
        self.notes: tuple[str, ...] = (CUDA_NOTE,) if CUDA in embedder.wanted and self.provider != CUDA else ()

    def identity(self) -> dict[str, Any]:
        return {
            "engine": self._name,
            "model_pack": self._embedder.file.removesuffix(".onnx"),
            "models": {self._embedder.file: self._embedder.sha256, self._yunet.file: self._yunet.sha256},
            "detector": self._yunet.identity(),
            "input": self._embedder.recipe.to_json(),
            "mirrored": True,
            **({"stranger_mean": self._mean_id} if self._mean is not None else {}),
        }

    def find(self, rgb: Rgb) -> tuple[list[Face], str]:
        return self._yunet.find(rgb)

    def embed(self, rgb: Rgb, face: Face) -> Vector:
        embedding = self._embedder.embed(rgb, face.landmarks)
        return embedding if self._mean is None else unit(embedding - self._mean)


def open_yunet(request: EngineRequest) -> YuNet:
    """The detector of the default engine. Raises UnavailableError where its file is not installed."""
    return YuNet(model_files.require(model_files.YUNET_INT8, request.folders))
