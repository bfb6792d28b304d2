"""Changes of a picture with a known effect on what the metrics should say: beauty filters, benign changes, another person's features."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import Face

    Rgb = NDArray[np.uint8]

STRENGTHS = (0.25, 0.5, 0.75, 1.0)


def smooth_bilateral(rgb: Rgb, face: Face, strength: float) -> Rgb:
    """The filter of most beauty apps: an edge-keeping blur of the face, blended in by `strength`."""
    import cv2

    return _blend_on_face(rgb, face, strength, lambda patch, unit: cv2.bilateralFilter(patch, 0, 50.0, max(1.0, 0.05 * unit)))


def smooth_domain_transform(rgb: Rgb, face: Face, strength: float) -> Rgb:
    """The same with OpenCV's edge-preserving filter (a recursive domain transform), which flattens more."""
    import cv2

    return _blend_on_face(
        rgb, face, strength, lambda patch, unit: cv2.edgePreservingFilter(patch, flags=1, sigma_s=max(2.0, 0.2 * unit), sigma_r=0.3)
    )


FILTERS: dict[str, Callable[[Rgb, Face, float], Rgb]] = {"bilateral": smooth_bilateral, "domain transform": smooth_domain_transform}


def _blend_on_face(rgb: Rgb, face: Face, strength: float, smooth: Callable[[Rgb, float], Any]) -> Rgb:
    import cv2
    import numpy as np

    unit = face_unit(face)
    middle = face.landmarks.mean(axis=0)
    reach = np.array([1.7, 2.1]) * unit
    x0, y0 = (int(value) for value in np.maximum(0, np.floor(middle - reach)))
    x1, y1 = (int(value) for value in np.ceil(middle + reach))
    patch = np.ascontiguousarray(rgb[y0:y1, x0:x1])
    mask = np.zeros(patch.shape[:2], dtype=np.float32)
    center = (round(float(middle[0]) - x0), round(float(middle[1] - 0.1 * unit) - y0))
    cv2.ellipse(mask, center, (round(1.3 * unit), round(1.7 * unit)), 0, 0, 360, 1.0, -1)
    share = strength * cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.15 * unit))[:, :, None]
    result = rgb.copy()
    result[y0:y1, x0:x1] = _to_bytes(patch * (1.0 - share) + smooth(patch, unit) * share)
    return result


def face_unit(face: Face) -> float:
    """Eye distance, or what it would be from the front by the face's height."""
    import numpy as np

    points = face.landmarks
    return max(float(np.hypot(*(points[1] - points[0]))), float(np.hypot(*(points[3:].mean(axis=0) - points[:2].mean(axis=0)))) / 1.15)


def jpeg(rgb: Rgb, quality: int = 85) -> Rgb:
    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def resize(rgb: Rgb, factor: float) -> Rgb:
    import cv2
    import numpy as np

    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=kind), dtype=np.uint8)


def relight(rgb: Rgb, red: float, green: float, blue: float) -> Rgb:
    """Each channel times a factor: exposure when they are equal, white balance when not."""
    import numpy as np

    return _to_bytes(rgb * np.array([red, green, blue], dtype=np.float32))


def add_noise(rgb: Rgb, deviation: float, seed: int = 0) -> Rgb:
    """Independent noise in every channel, as of a sensor at high gain."""
    import numpy as np

    return _to_bytes(rgb + np.random.default_rng(seed).normal(0.0, deviation, rgb.shape))


BENIGN: dict[str, Callable[[Rgb], Rgb]] = {
    "JPEG q85": jpeg,
    "half size": lambda rgb: resize(rgb, 0.5),
    "double size": lambda rgb: resize(rgb, 2.0),
    "exposure +10 %": lambda rgb: relight(rgb, 1.1, 1.1, 1.1),
    "exposure -10 %": lambda rgb: relight(rgb, 0.9, 0.9, 0.9),
    "warmer": lambda rgb: relight(rgb, 1.05, 1.0, 0.95),
}
"""What leaves skin as real as it was."""
SIZES = ("half size", "double size")


def mix_faces(rgb: Rgb, face: Face, other: Rgb, other_face: Face, share: float) -> Rgb:
    """The picture with `share` of another person's face laid over it, landmarks on landmarks: a likeness that drifts away."""
    import cv2
    import numpy as np

    matrix, _ = cv2.estimateAffinePartial2D(other_face.landmarks.astype(np.float32), face.landmarks.astype(np.float32), method=cv2.LMEDS)
    height, width = rgb.shape[:2]
    laid = cv2.warpAffine(other, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    unit = face_unit(face)
    x, y = (float(value) for value in face.landmarks.mean(axis=0))
    mask = np.zeros((height, width), dtype=np.float32)
    cv2.ellipse(mask, (round(x), round(y)), (round(0.95 * unit), round(1.2 * unit)), 0, 0, 360, 1.0, -1)
    weight = cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.15 * unit))[:, :, None]
    inside = mask > 0
    laid += rgb[inside].mean(axis=0) - laid[inside].mean(axis=0)  # the other light and skin tone would give it away
    return _to_bytes(rgb * (1.0 - share * weight) + laid * (share * weight))


def _to_bytes(values: Any) -> Rgb:
    import numpy as np

    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
