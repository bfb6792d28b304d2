"""Faces with InsightFace model packs on onnxruntime: any folder with a detection and a recognition model. Never downloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evals.faces.alignment import ARCFACE_POINTS, ARCFACE_SIDE, align
from evals.faces.face_engine import EngineRequest, Face, FaceEngine, Rgb, Vector, unit
from evals.faces.onnx_session import CUDA, CUDA_NOTE, require_package, running_provider, session_options, wanted_providers
from evals.faces.policy_scale import require_row
from evals.faces.subject import BORDERS, DETECTOR_SIDE, find_with_borders
from lifeos.errors import InputError, UnavailableError, did_you_mean
from lifeos.files import sha256_file

LICENCE_NOTE = "InsightFace's pretrained packs are licensed for non-commercial research only; --engine sface is free for any use"
DEFAULT_PACK = "buffalo_l"
SCALE_PREFIX = "insightface_"
"""Before a pack's name, its row in the policy's `face_similarity.engines`."""
DETECTION_THRESHOLD = 0.5

KNOWN_FILES = {
    "buffalo_l": {
        "det_10g.onnx": "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        "w600k_r50.onnx": "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    },
}
"""SHA-256 of the published files of the packs whose thresholds are in the policy: another file under the name is refused."""

DETECTION_HINTS = ("det", "scrfd", "retina")
"""Files so named are looked at first: opening the 143 MB landmark model of buffalo_l only to learn that it is none takes a second."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A model pack folder: the two files used, with their SHA-256."""

    name: str
    folder: Path
    detection: Path
    recognition: Path
    hashes: dict[str, str]


def check(request: EngineRequest) -> str:
    """The pack that it would use: the one asked for, else buffalo_l, else the first that the policy knows. Raises UnavailableError where
    there is none, before any package is imported: a pack that is here and does not load is a fault to tell, not to pass over."""
    packs = find_packs(request.folders)
    name = _wanted_pack(request) or _default_pack(packs, request.scales)
    if name is None:
        raise _no_pack(DEFAULT_PACK, packs, request.folders)
    return f"pack {name}"


def open_engine(request: EngineRequest) -> FaceEngine:
    if request.face_model:
        raise InputError("--face-model", "InsightFace takes a model pack", "name it with --model-pack, or use --engine onnx")
    packs = find_packs(request.folders)
    name = _wanted_pack(request) or _default_pack(packs, request.scales) or (next(iter(packs)) if len(packs) == 1 else DEFAULT_PACK)
    if name not in packs:
        raise _no_pack(name, packs, request.folders)
    if request.needs_row:
        require_row(request.scales, f"{SCALE_PREFIX}{name}", f"model pack {name}")
    return InsightFaceEngine(read_pack(packs[name]), prefer_cpu=request.prefer_cpu)


def _wanted_pack(request: EngineRequest) -> str | None:
    """The pack that was named, else that of the batch that goes on."""
    return request.model_pack or request.begun.get("model_pack")


def find_packs(folders: Iterable[Path]) -> dict[str, Path]:
    """The model packs in or under the folders, by name; the first folder wins."""
    packs: dict[str, Path] = {}
    for folder in folders:
        bases = [base for base in (folder, folder / "models", folder / "insightface") if base.is_dir()]
        for place in [folder, *(place for base in bases for place in sorted(base.iterdir()))]:
            if place.is_dir() and place.name not in packs and is_pack_folder(place):
                packs[place.name] = place
    return packs


def _default_pack(packs: Mapping[str, Path], scales: Mapping[str, Any]) -> str | None:
    """buffalo_l where it is, else the first pack that the policy knows."""
    known = [name for name in packs if f"{SCALE_PREFIX}{name}" in scales]
    return DEFAULT_PACK if DEFAULT_PACK in known else next(iter(known), None)


def _no_pack(name: str, packs: Mapping[str, Path], folders: Iterable[Path]) -> UnavailableError:
    hint = f"{did_you_mean(name, packs)}; " if packs else ""
    fix = f"{hint}run: python -m lifeos setup --insightface, or use --engine sface"
    return UnavailableError(f"model pack {name}", f"not in {', '.join(map(str, folders))}", fix)


def is_pack_folder(folder: Path) -> bool:
    """Whether a folder can be a pack: it holds at least two ONNX files. `read_pack` finds out which they are."""
    try:
        return sum(path.suffix == ".onnx" for path in folder.iterdir()) >= 2
    except OSError:
        return False


def read_pack(folder: Path) -> Pack:
    """The detection and the recognition model of a pack. Raises UnavailableError where one is missing, broken or not what it should be."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.onnx"), key=_look_first):
        task = _task_of(path)
        if task and task not in found:
            found[task] = path
        if len(found) == 2:
            break
    for task in ("detection", "recognition"):
        if task not in found:
            raise UnavailableError(folder, f"the model pack has no {task} model", "fetch it again: python -m lifeos setup --insightface")
    hashes = {path.name: sha256_file(path) for path in found.values()}
    for name, expected in KNOWN_FILES.get(folder.name, {}).items():
        if hashes.get(name) != expected:
            found_hash = hashes.get(name)
            why = f"its SHA-256 is {found_hash[:12]}…, {expected[:12]}… is expected" if found_hash else "another model is in its place"
            raise UnavailableError(folder / name, why, "remove it, then run: python -m lifeos setup --insightface")
    return Pack(folder.name, folder, found["detection"], found["recognition"], hashes)


def _look_first(path: Path) -> tuple[int, int, str]:
    name = path.name.lower()
    if name.startswith(DETECTION_HINTS):
        return 0, 0, name
    unlikely = any(word in name for word in ("1k3d68", "2d106", "genderage", "landmark"))
    return (2 if unlikely else 1), 0, name


def _task_of(path: Path) -> str | None:
    """`detection`, `recognition` or None, by the model's inputs and outputs (the rule of InsightFace's own loader)."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load_model(str(path), load_external_data=False).graph
    except (DecodeError, OSError, ValueError) as error:
        raise UnavailableError(path, f"not a usable ONNX model: {error}", "truncated? fetch the pack again") from None
    weights = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in weights]
    if len(graph.output) in (9, 15):  # scores, boxes and landmarks on 3 or 5 levels
        return "detection"
    side = [dimension.dim_value for dimension in inputs[0].type.tensor_type.shape.dim][2:] if inputs else []
    if len(inputs) == 1 and len(graph.output) == 1 and len(side) == 2 and side[0] == side[1] and side[0] in (112, 224):
        return "recognition"
    return None


class InsightFaceEngine:
    """One pack, loaded once. onnxruntime's sessions may be run by several threads at once.

    `threads` within one picture (0: onnxruntime's default). With 1, and pictures in parallel, two cores score 23 a second instead of 14.
    """

    def __init__(self, pack: Pack, *, prefer_cpu: bool = False, threads: int = 1) -> None:
        for package in ("insightface", "onnxruntime"):
            require_package(package, "insightface")
        self.pack = pack
        self.scale_key = f"{SCALE_PREFIX}{pack.name}"
        self.model_sha256 = pack.hashes[pack.recognition.name]
        wanted = wanted_providers(prefer_cpu=prefer_cpu)
        self._detector, self._embedder = _load(pack, wanted, threads)
        self.provider: str = running_provider([self._detector.session_for_detection, self._embedder.session])
        self.notes: tuple[str, ...] = (LICENCE_NOTE, *((CUDA_NOTE,) if CUDA in wanted and self.provider != CUDA else ()))

    def identity(self) -> dict[str, Any]:
        detector = {"name": "scrfd", "side": DETECTOR_SIDE, "threshold": DETECTION_THRESHOLD, "borders": list(BORDERS)}
        return {"engine": "insightface", "model_pack": self.pack.name, "models": self.pack.hashes, "detector": detector}

    def find(self, rgb: Rgb) -> tuple[list[Face], str]:
        return find_with_borders(self._detector.detect, rgb)

    def embed(self, rgb: Rgb, face: Face) -> Vector:
        return self._embedder.embed(rgb, face)


class _Detector:
    def __init__(self, model: Any) -> None:
        self._model = model
        self._model.prepare(0, input_size=(DETECTOR_SIDE, DETECTOR_SIDE), det_thresh=DETECTION_THRESHOLD)
        self.detect(np.zeros((DETECTOR_SIDE, DETECTOR_SIDE, 3), dtype=np.uint8))  # makes the session of this size, before threads need it

    @property
    def session_for_detection(self) -> Any:
        return next(iter(self._model.resolution_sessions.values()), self._model.session)

    def detect(self, rgb: Rgb) -> list[Face]:
        boxes, landmarks = self._model.detect(rgb[..., ::-1])
        return [
            Face((float(row[0]), float(row[1]), float(row[2]), float(row[3])), np.asarray(points, dtype=np.float64), float(row[4]))
            for row, points in zip(boxes, landmarks, strict=True)
        ]


class _Embedder:
    def __init__(self, model: Any) -> None:
        self._model = model
        self.session = model.session

    def embed(self, rgb: Rgb, face: Face) -> Vector:
        side = self._model.input_size[0]  # 112
        crop = align(rgb, face.landmarks, ARCFACE_POINTS * (side / ARCFACE_SIDE), side)
        return unit(self._model.get_feat(np.ascontiguousarray(crop[..., ::-1])))


def _load(pack: Pack, providers: list[str], threads: int) -> tuple[_Detector, _Embedder]:
    from insightface.model_zoo import model_zoo

    options = session_options(threads)
    try:
        models = [model_zoo.get_model(str(path), providers=providers, sess_options=options) for path in (pack.detection, pack.recognition)]
        return _Detector(models[0]), _Embedder(models[1])
    except Exception as error:  # onnxruntime's own errors have no nearer base
        raise UnavailableError(pack.folder, f"the model pack does not load: {error}", "fetch it again, or use --engine sface") from error
