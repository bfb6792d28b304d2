"""Changes of a picture with a known effect on what the metrics should say: beauty filters, benign changes."""

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


def add_grain(rgb: Rgb, deviation: float, *, softness: float = 0.0, seed: int = 0) -> Rgb:
    """The same noise in all channels, white or, with `softness` (the sigma of a blur, in pixels), of larger grains."""
    import numpy as np

    return _to_bytes(rgb + deviation * _grain((rgb.shape[0], rgb.shape[1]), softness, np.random.default_rng(seed))[:, :, None])


def add_film_grain(rgb: Rgb, deviation: float, seed: int = 0) -> Rgb:
    """Soft grain that is strongest in the midtones and gone in black and white, as film's is."""
    import cv2
    import numpy as np

    tone = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.float32) / 255
    strength = deviation * np.sqrt(np.maximum(4 * tone * (1 - tone), 0.0))
    grain = _grain((rgb.shape[0], rgb.shape[1]), 0.8, np.random.default_rng(seed))
    return _to_bytes(rgb + (strength * grain)[:, :, None])


def add_color_grain(rgb: Rgb, deviation: float, seed: int = 0) -> Rgb:
    """Grain of its own in each channel, a little soft: what a phone makes at night."""
    import numpy as np

    random = np.random.default_rng(seed)
    grains = [_grain((rgb.shape[0], rgb.shape[1]), 0.6, random) for _ in range(3)]
    return _to_bytes(rgb + deviation * np.stack(grains, axis=2))


def paint_grain(rgb: Rgb, face: Face, deviation: float, seed: int = 0) -> Rgb:
    """Soft grain on the face alone, as retouching adds it over a filter."""
    import numpy as np

    def grainy(patch: Rgb, unit: float) -> Any:
        return patch + deviation * _grain((patch.shape[0], patch.shape[1]), 0.8, np.random.default_rng(seed))[:, :, None]

    return _blend_on_face(rgb, face, 1.0, grainy)


def _grain(shape: tuple[int, int], softness: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Noise of standard deviation 1."""
    import cv2
    import numpy as np

    grain = random.standard_normal(shape, dtype=np.float32)
    if softness:
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), softness), dtype=np.float32)
    return np.asarray(grain / grain.std(), dtype=np.float32)


def sharpen(rgb: Rgb, amount: float, sigma: float = 1.0) -> Rgb:
    """Unsharp masking."""
    import cv2
    import numpy as np

    pixels = rgb.astype(np.float32)
    return _to_bytes(pixels + amount * (pixels - cv2.GaussianBlur(pixels, (0, 0), sigma)))


def defocus(rgb: Rgb, face: Face, share: float) -> Rgb:
    """A lens slightly out of focus: a blur whose sigma is that share of the face unit."""
    import cv2
    import numpy as np

    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), max(0.1, share * face_unit(face))), dtype=np.uint8)


def make_up(rgb: Rgb, face: Face) -> Rgb:
    """Mild makeup: foundation evens the face out by a quarter, in texture and in colour; lips and cheeks are a little redder."""
    import cv2
    import numpy as np

    def foundation(patch: Rgb, unit: float) -> Any:
        even = cv2.bilateralFilter(patch, 0, 50.0, max(1.0, 0.05 * unit)).astype(np.float32)
        lab = np.asarray(cv2.cvtColor(even / np.float32(255), cv2.COLOR_RGB2Lab), dtype=np.float32)
        for plane in (1, 2):
            lab[:, :, plane] = cv2.GaussianBlur(lab[:, :, plane], (0, 0), max(1.0, 0.1 * unit))
        lab[:, :, 1] += np.float32(3)
        return cv2.cvtColor(lab, cv2.COLOR_Lab2RGB) * 255

    return _blend_on_face(rgb, face, 0.25, foundation)


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


def _to_bytes(values: Any) -> Rgb:
    import numpy as np

    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
