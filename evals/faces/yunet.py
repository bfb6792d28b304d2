"""YuNet, the small free face detector (MIT) that OpenCV runs: boxes and five landmarks.

Each face that it finds is shown to it again at the size at which it sees best: without that, the points of a face that fills the picture
wander, and with them pose, alignment and skin.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from evals.faces import model_files
from evals.faces.face_engine import Face, Rgb
from evals.faces.subject import BORDERS, DETECTOR_SIDE, find_with_borders
from lifeos.errors import UnavailableError

FLOAT_FILE = "face_detection_yunet_2023mar.onnx"
FLOAT_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
"""The file that `setup` of version 3.0 fetched. Batches that were begun with it go on with it."""
SCORE_THRESHOLD = 0.6
NMS_THRESHOLD = 0.3
TOP_K = 500
REFINED_HEIGHT = 200
"""Pixels. It was trained on faces of 10 to 300 pixels; below 160 the points are worse, above 240 slower and no better."""
REFINED_SIDE = 320
"""Of the square in which a face is shown again, so that it has a margin on each side: black beyond the picture's edge."""
SAME_FACE, SAME_PLACE = 0.4, 0.6
"""Intersection over union: of the box found first and the one found again; of the boxes that several cells see of one face."""
CONFIDENCE_POWER = 4
"""The weight of a cell in the mean of all that see the face. One cell's points wander by .031 of the distance from eyes to mouth when the
picture is moved by a few pixels, the mean of some eight by .019; from another detector's points they differ by .068 instead of .096
(medians over 37 faces)."""
_LOG_LEVEL = threading.Lock()
"""OpenCV's log level belongs to the whole process: one thread at a time lowers it and puts it back."""


def find_float_file(folders: Iterable[Path]) -> Path | None:
    """The detector of version 3.0, in the first of the folders that has it."""
    return next((folder / FLOAT_FILE for folder in folders if (folder / FLOAT_FILE).is_file()), None)


def open_installed() -> YuNet | None:
    """The detector of the default engine, opened once; None where its file is not installed."""
    path = model_files.find(model_files.YUNET_INT8)
    return None if path is None else _opened(path)


@cache
def _opened(path: Path) -> YuNet:
    return YuNet(path)


class YuNet:
    """The detector. Pictures are shown to it at `DETECTOR_SIDE`, then each face at `REFINED_HEIGHT`, unless `refines` is off.

    OpenCV's object holds state and is slow to change its size, so each thread has one for each size.
    """

    def __init__(self, model: Path, *, refines: bool = True) -> None:
        data = model.read_bytes()
        self.file, self.sha256, self.refines = model.name, hashlib.sha256(data).hexdigest(), refines
        known = (model_files.YUNET_INT8.sha256, FLOAT_SHA256)
        if self.sha256 not in known:
            wanted = " or ".join(f"{one[:12]}…" for one in known)
            why = f"not the detector that was calibrated: its SHA-256 is {self.sha256[:12]}…, {wanted} is expected"
            command = "setup --dlib" if model.name == FLOAT_FILE else "setup"
            raise UnavailableError(model, why, f"remove it, then run: python -m lifeos {command}")
        self._model = np.frombuffer(data, np.uint8)  # OpenCV on Windows opens no path with an ö in it
        self._local = threading.local()
        self._detector("whole")  # a fault shows here, not in the middle of a batch

    def identity(self) -> dict[str, Any]:
        """What a protocol says of the detector."""
        refined = {"refined_at": REFINED_HEIGHT, "cells": "mean"} if self.refines else {}
        return {"name": "yunet", "borders": list(BORDERS), **refined}

    def find(self, rgb: Rgb) -> tuple[list[Face], str]:
        """Every face, by the ladder of borders; and the attempt that found them."""
        faces, attempt = find_with_borders(self.detect, rgb)
        if self.refines:
            faces = [self.refine(rgb, face) or face for face in faces]
        return faces, attempt

    def detect(self, rgb: Rgb) -> list[Face]:
        """The faces that it sees in one picture as it is."""
        import cv2

        height, width = rgb.shape[:2]
        scale = min(1.0, DETECTOR_SIDE / max(height, width))
        seen_width, seen_height = max(1, round(width * scale)), max(1, round(height * scale))
        seen = rgb if scale == 1.0 else cv2.resize(rgb, (seen_width, seen_height), interpolation=cv2.INTER_AREA)
        return [_face(row, width / seen_width, height / seen_height) for row in self._rows("whole", np.asarray(seen, dtype=np.uint8))]

    def refine(self, rgb: Rgb, face: Face) -> Face | None:
        """The same face as seen at `REFINED_HEIGHT`, with a margin; None where it is not seen there."""
        x0, y0, x1, y1 = face.box
        height = max(y1 - y0, 1.0)
        scale, half = REFINED_HEIGHT / height, height * REFINED_SIDE / REFINED_HEIGHT / 2
        left, top = round((x0 + x1) / 2 - half), round((y0 + y1) / 2 - half)
        seen, scale = show_square(rgb, left, top, max(2, round(2 * half)), REFINED_SIDE)
        found = [_face(row, 1.0, 1.0).mapped(scale, -left * scale, -top * scale) for row in self._rows("face", seen)]
        near = [one for one in found if overlap(one.box, face.box) >= SAME_FACE]
        return replace(mean_face(near), confidence=face.confidence) if near else None

    def _rows(self, use: str, rgb: Rgb) -> Any:
        detector = self._detector(use)
        detector.setInputSize((rgb.shape[1], rgb.shape[0]))
        rows = detector.detect(np.ascontiguousarray(rgb[..., ::-1]))[1]
        return () if rows is None else rows

    def _detector(self, use: str) -> Any:
        import cv2

        if not hasattr(self._local, use):
            with _quiet_opencv():
                size = (DETECTOR_SIDE, DETECTOR_SIDE)
                none, suppressed = np.empty(0, np.uint8), NMS_THRESHOLD if use == "whole" else 1.0
                made = cv2.FaceDetectorYN.create("onnx", self._model, none, size, SCORE_THRESHOLD, suppressed, TOP_K)
            setattr(self._local, use, made)
        return getattr(self._local, use)


def mean_face(seen: Sequence[Face]) -> Face:
    """One face of what several of the detector's cells saw of it: the mean of those that agree with the surest, the surer the heavier."""
    surest = max(seen, key=lambda one: one.confidence)
    agreeing = [one for one in seen if overlap(one.box, surest.box) >= SAME_PLACE]
    weights = np.array([one.confidence for one in agreeing]) ** CONFIDENCE_POWER
    weights /= weights.sum()
    x0, y0, x1, y1 = (float(value) for value in weights @ np.array([one.box for one in agreeing]))
    return Face((x0, y0, x1, y1), np.tensordot(weights, np.stack([one.landmarks for one in agreeing]), 1), surest.confidence)


def show_square(rgb: Rgb, left: int, top: int, side: int, seen_side: int) -> tuple[Rgb, float]:
    """A square of the picture, which may reach beyond its edges (black there), at another size; and the scale."""
    import cv2

    height, width = rgb.shape[:2]
    scale = seen_side / side
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    canvas = np.zeros((seen_side, seen_side, 3), dtype=np.uint8)
    if x1 <= x0 or y1 <= y0:
        return canvas, scale
    near = [round((value - start) * scale) for value, start in ((x0, left), (y0, top), (x1, left), (y1, top))]
    to_x0, to_y0, to_x1, to_y1 = near[0], near[1], max(near[2], near[0] + 1), max(near[3], near[1] + 1)
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[to_y0:to_y1, to_x0:to_x1] = cv2.resize(rgb[y0:y1, x0:x1], (to_x1 - to_x0, to_y1 - to_y0), interpolation=kind)[
        : seen_side - to_y0, : seen_side - to_x0
    ]
    return canvas, scale


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    whole = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - common
    return common / max(whole, 1e-6)


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
