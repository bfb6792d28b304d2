"""YuNet, the small free face detector (MIT, 232 KB) that OpenCV runs: boxes and five landmarks."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from evals.faces.face_engine import Face, Rgb
from evals.faces.subject import DETECTOR_SIDE
from lifeos.errors import UnavailableError

FILE_NAME = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
SCORE_THRESHOLD = 0.6
NMS_THRESHOLD = 0.3
TOP_K = 500
_LOG_LEVEL = threading.Lock()
"""OpenCV's log level belongs to the whole process: one thread at a time lowers it and puts it back."""


def find_file(folders: Iterable[Path]) -> Path | None:
    """The detector's file in the first of the folders that has it."""
    return next((folder / FILE_NAME for folder in folders if (folder / FILE_NAME).is_file()), None)


class YuNet:
    """The detector. It was trained on faces of 10 to 300 pixels, so pictures are shown to it at `DETECTOR_SIDE`.

    OpenCV's object holds state, so each thread has its own.
    """

    def __init__(self, model: Path) -> None:
        data = model.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != SHA256:
            why = f"not the detector that was calibrated: its SHA-256 is {found[:12]}…, {SHA256[:12]}… is expected"
            raise UnavailableError(model, why, "remove it, then run: python -m lifeos setup")
        self._model = np.frombuffer(data, np.uint8)  # OpenCV on Windows opens no path with an ö in it
        self._local = threading.local()
        self._detector()  # a fault shows here, not in the middle of a batch

    def detect(self, rgb: Rgb) -> list[Face]:
        import cv2

        height, width = rgb.shape[:2]
        scale = min(1.0, DETECTOR_SIDE / max(height, width))
        seen_width, seen_height = max(1, round(width * scale)), max(1, round(height * scale))
        seen = rgb if scale == 1.0 else cv2.resize(rgb, (seen_width, seen_height), interpolation=cv2.INTER_AREA)
        detector = self._detector()
        detector.setInputSize((seen_width, seen_height))
        rows = detector.detect(np.ascontiguousarray(seen[..., ::-1]))[1]
        return [] if rows is None else [_face(row, width / seen_width, height / seen_height) for row in rows]

    def _detector(self) -> Any:
        import cv2

        if not hasattr(self._local, "detector"):
            with _quiet_opencv():
                size = (DETECTOR_SIDE, DETECTOR_SIDE)
                none = np.empty(0, np.uint8)
                self._local.detector = cv2.FaceDetectorYN.create("onnx", self._model, none, size, SCORE_THRESHOLD, NMS_THRESHOLD, TOP_K)
        return self._local.detector


def _face(row: Any, scale_x: float, scale_y: float) -> Face:
    x, y, width, height = (float(value) for value in row[:4])
    landmarks = np.asarray(row[4:14], dtype=np.float64).reshape(5, 2) * (scale_x, scale_y)
    return Face((x * scale_x, y * scale_y, (x + width) * scale_x, (y + height) * scale_y), landmarks, float(row[14]))


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV 5 warns on stderr of a target that its new graph engine ignores: nothing a user could act on."""
    import cv2

    with _LOG_LEVEL:
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(level)
