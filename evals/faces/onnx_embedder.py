"""An ONNX model that turns an aligned face into a vector: what goes in (`Recipe`), what must come out, and the vector itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.faces.alignment import ARCFACE_POINTS, ARCFACE_SIDE, align
from evals.faces.face_engine import Rgb, Vector, unit
from evals.faces.onnx_rewriting import without_spare_inputs
from evals.faces.onnx_session import running_provider, session_options, wanted_providers
from lifeos.errors import InputError, UnavailableError

KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
SHORTEST = 32
"""Numbers of an embedding. What is shorter is a norm, a quality or a class."""


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What a model is fed: squares of `size` pixels, channels in that order, (value - mean) / std, landmarks at `points`."""

    size: int = ARCFACE_SIDE
    channels: str = "rgb"
    mean: float = 127.5
    std: float = 127.5
    points: NDArray[np.float64] = field(default_factory=lambda: ARCFACE_POINTS)

    @classmethod
    def from_policy(cls, values: Mapping[str, Any]) -> Recipe:
        """The `input` of an engine's row. What it leaves out is as ArcFace has it; `points` are in pixels of `size`."""
        size = int(values.get("size", ARCFACE_SIDE))
        points = np.array(values["points"], dtype=np.float64) if "points" in values else ARCFACE_POINTS * (size / ARCFACE_SIDE)
        given = {name: values[name] for name in ("channels", "mean", "std") if name in values}
        return cls(size=size, points=points, **given)

    def to_json(self) -> dict[str, Any]:
        points = [[round(float(x), 4), round(float(y), 4)] for x, y in self.points]
        return {"size": self.size, "channels": self.channels, "mean": float(self.mean), "std": float(self.std), "points": points}


class OnnxEmbedder:
    """One model with its recipe. Raises UnavailableError for a file that cannot be read or run, InputError for one that does not fit.

    An embedding is the unit vector of the sum of two: of the face and of its mirror image. May be run by several threads at once.
    `unpacks_weights`: weights that are stored in 8 bits and used as floats are unpacked once, and not for each picture.
    """

    def __init__(self, path: Path, recipe: Recipe, *, prefer_cpu: bool = False, unpacks_weights: bool = False) -> None:
        data = _read(path)
        self.file, self.sha256, self.recipe = path.name, hashlib.sha256(data).hexdigest(), recipe
        self.wanted = wanted_providers(prefer_cpu=prefer_cpu)
        self._session = _open(path, data, self.wanted, unpacks_weights=unpacks_weights)
        self._input, self._kind, self._is_planar, self._takes_two = _fit_input(path, self._session, recipe)
        self.provider = running_provider([self._session])
        self._output, self.length = self._find_output(path)

    def embed(self, rgb: Rgb, landmarks: NDArray[np.float64]) -> Vector:
        face = align(rgb, landmarks, self.recipe.points, self.recipe.size)
        both = np.stack([face, face[:, ::-1]])
        runs = [both] if self._takes_two else [both[:1], both[1:]]
        vectors = [vector for pictures in runs for vector in self._run(pictures)[self._output].reshape(len(pictures), -1)]
        return unit(unit(vectors[0]) + unit(vectors[1]))

    def _run(self, pictures: NDArray[np.uint8]) -> list[NDArray[np.floating[Any]]]:
        ordered = pictures if self.recipe.channels == "rgb" else pictures[..., ::-1]
        values = (ordered.astype(np.float32) - self.recipe.mean) / self.recipe.std
        planes = values.transpose(0, 3, 1, 2) if self._is_planar else values
        outputs: list[NDArray[np.floating[Any]]] = self._session.run(None, {self._input: np.ascontiguousarray(planes, dtype=self._kind)})
        return outputs

    def _find_output(self, path: Path) -> tuple[int, int]:
        """Which of the outputs is the embedding, and its length: found by running the model once, so that no fault shows up later."""
        count = 2 if self._takes_two else 1
        grey = np.full((count, self.recipe.size, self.recipe.size, 3), 128, dtype=np.uint8)
        try:
            outputs = self._run(grey)
        except Exception as error:  # onnxruntime's own errors have no nearer base
            raise UnavailableError(
                path, f"the model does not run: {error}", "is it a face embedder? choose another --face-model"
            ) from error
        shapes = [np.shape(output) for output in outputs]
        sizes = [int(np.prod(shape)) // count if shape and shape[0] == count else 0 for shape in shapes]
        fitting = [at for at, (shape, size) in enumerate(zip(shapes, sizes, strict=True)) if size >= SHORTEST and size == max(shape[1:])]
        if len(fitting) != 1:
            seen = ", ".join("x".join(map(str, shape)) for shape in shapes)
            why = f"its outputs ({seen}) are not one vector of {SHORTEST} numbers or more for each face"
            raise InputError(path, why, "choose a face recognition model")
        if not np.isfinite(np.asarray(outputs[fitting[0]], dtype=np.float64)).all():
            raise InputError(path, "it answers with numbers that are not finite", "is it damaged, or another kind of model?")
        return fitting[0], sizes[fitting[0]]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(path, error.strerror or str(error), "give --face-model an ONNX file") from None


def _open(path: Path, data: bytes, providers: list[str], *, unpacks_weights: bool) -> Any:
    """Opened from bytes: what is hashed is what runs, and on Windows a path may hold an ö."""
    import onnxruntime

    try:
        model = without_spare_inputs(data)
    except ValueError as error:
        raise UnavailableError(path, f"not a usable ONNX model: {error}", "truncated? fetch it again") from None
    options = session_options(threads=1)
    if unpacks_weights:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(model, sess_options=options, providers=providers)
    except Exception as error:  # onnxruntime's own errors have no nearer base
        text = " ".join(str(error).split())
        if "external" in text.lower():
            raise InputError(
                path, "its weights lie in another file", "save it as one file: onnx.save_model(onnx.load(PATH), ONE_FILE)"
            ) from None
        raise UnavailableError(path, f"the model does not load: {text[:300]}", "fetch it again, or choose another --face-model") from error


def _fit_input(path: Path, session: Any, recipe: Recipe) -> tuple[str, type, bool, bool]:
    """Name and kind of the one input, whether colours come as planes (N x 3 x H x W), and whether it takes two pictures at once."""
    inputs = session.get_inputs()
    told = ", ".join(f"{one.name} {'x'.join(map(str, one.shape))} {one.type}" for one in inputs)
    wanted = f"one picture of 3 x {recipe.size} x {recipe.size} numbers is wanted"
    if len(inputs) != 1 or inputs[0].type not in KINDS or len(inputs[0].shape) != 4:
        raise InputError(path, f"its input ({told}) does not fit: {wanted}", "choose a face recognition model")
    shape = inputs[0].shape
    is_planar = shape[1] == 3 or shape[3] != 3
    channels, sides = (shape[1], shape[2:]) if is_planar else (shape[3], shape[1:3])
    if isinstance(channels, int) and channels != 3:
        raise InputError(path, f"its input ({told}) does not fit: {wanted}", "choose a face recognition model")
    other = next((side for side in sides if isinstance(side, int) and side != recipe.size), None)
    if other is not None:
        fix = f"write `size: {other}` into the `input` of its row in the policy"
        raise InputError(path, f"its input ({told}) does not fit: {wanted}", fix)
    if isinstance(shape[0], int) and shape[0] not in (1, 2):
        raise InputError(path, f"its input ({told}) wants {shape[0]} pictures at once", "export it with a batch of 1, or of any size")
    return inputs[0].name, KINDS[inputs[0].type], is_planar, shape[0] != 1
