"""What is measured on the skin of one face, at a normalised face scale: texture, colour, chroma noise, edges, and the noise floor.

`measure_skin` turns a face into raw numbers that mean little alone; `evals/skin/realism.py` puts them against those of the references.
What is measured, and why, is defined beside each constant; `benchmarks/metric_validity.py` shows that it holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from evals.skin.filters import overlapping_means, response
from evals.skin.noise_floor import chroma_floor, luma_floor
from evals.skin.regions import EDGE_REGIONS, FaceFrame, crop_box, face_frame, skin_mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.skin.filters import Plane

SCALES = (64, 48, 32, 24)
"""Face units, in pixels, that faces are downscaled to. Never up: that would add smoothness that the picture does not have."""
SCALE_SLACK = 0.9
"""A face may fall short of a scale by this much; it is then measured as it is."""

FINE_SIGMAS = (0.7, 1.0, 1.4)
COARSE_SIGMA, COARSE_SHARE = 2.8, 0.65
"""That share of the coarse energy is taken off: it follows light and focus more than skin."""
NOISE_GAINS, LEAST_POWER = (1.5, 1.6, 1.4), 0.25
"""Skin that is nothing but soft noise shows so many times the noise floor, at each fine filter (white noise: 1.3, 1.3, 1.2). That power is
no texture and is taken off, down to a quarter of what is seen. Without it smoothed skin that kept a little texture passed under grain."""
LIGHT_SHARE = 0.0875
"""Of log2 of the light on the skin. Dividing by the light, as version 1 did, called dark skin rough and light skin smooth."""
CHROMA_SIGMA = 0.5
KEPT_BLOCKS = 0.6
"""Share of the blocks that count, the calmest first: the rest holds hair, pores in highlights, wrinkles, the rim of the gate."""
LEAST_BLOCK = 6
"""Side of a block in pixels, or an eighth of the scale where that is more."""
BLOCK_SKIN = 0.8
MIN_BLOCKS = 9
"""Blocks overlap by half, so that a shift of the face by some pixels moves nothing: nine cover the skin of four side by side."""
QUANTILES = tuple(round(0.05 * step, 2) for step in range(1, 20))
GREY_LEVELS = 4
"""A face whose channels differ by no more than this, JPEG's rounding included, has no colour to judge."""

EDGE_SIGMAS, BLUR_SIGMAS = (0.7, 1.4), (1.0, 2.0)
EDGE_QUANTILE, LEAST_EDGE_PIXELS = 0.95, 24
LEAST_DEVIATION = 1e-6
COLOR_GRAIN_NOISE = 0.5
"""Chroma noise of the skin over the references' from which the picture's chroma noise floor is looked at."""
UPSCALED_WIDTH = 240
"""From this width of a face in pixels its edges tell whether the picture was enlarged."""


@dataclass(frozen=True, slots=True, eq=False)
class SkinLevel:
    """One face at one scale. `texture`, `noise` and `edges` in log2; `color` holds the quantiles of a, then of b (CIE Lab).

    `edges` is None where eyes and mouth lie outside of the picture. `noise_share`: noise floor of luma over the finest texture of the
    skin; `color_noise_share`: the same for chroma in log2, None where it was not asked for.
    """

    texture: float
    noise: float
    color: NDArray[np.float32]
    blocks: int
    edges: float | None = None
    noise_share: float = 0.0
    color_noise_share: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SkinMeasurement:
    """What was measured on one face: `levels` by scale, or none and the reason. `unit` is the face unit in pixels of the picture.

    `edge_blur`: how wide its edges are blurred, in pixels of the picture; None for a face that is too small to tell.
    """

    unit: float
    reason: str | None
    levels: Mapping[int, SkinLevel] = field(default_factory=dict)
    edge_blur: float | None = None


def measure_skin(
    rgb: NDArray[np.uint8],
    landmarks5: NDArray[np.floating[Any]],
    box: tuple[float, float, float, float],
    *,
    usual_noise: Mapping[int, float] | None = None,
) -> SkinMeasurement:
    """Measure the skin of one face.

    `rgb`: uint8, height x width x 3. `landmarks5`: 5 x 2 pixels (left eye, right eye, nose, left and right mouth corner, as seen in
    the picture). `box`: the face, (x0, y0, x1, y1). `usual_noise`: the references' chroma noise at each scale that they have
    (`SkinReference.noise`): then only the scale that scoring will need is measured; without, every scale, as references need. The score is
    the same. Never raises for a bad face: the measurement's `reason` is set.
    """
    import numpy as np

    points = np.asarray(landmarks5, dtype=np.float64)
    frame = face_frame(points, box)
    if frame is None:
        return SkinMeasurement(0.0, "bad_landmarks")
    fitting = [scale for scale in SCALES if scale * SCALE_SLACK <= frame.unit]
    if not fitting:
        return SkinMeasurement(frame.unit, "face_too_small")
    if usual_noise is not None:
        fitting = [scale for scale in fitting if scale in usual_noise][:1]
    x0, y0, x1, y1 = crop_box(frame, rgb.shape[1], rgb.shape[0])
    if x1 - x0 < LEAST_BLOCK or y1 - y0 < LEAST_BLOCK:
        return SkinMeasurement(frame.unit, "too_little_skin")
    crop = rgb[y0:y1, x0:x1]
    if _is_grey(crop[:: math.ceil(frame.unit / 32), :: math.ceil(frame.unit / 32)]):
        return SkinMeasurement(frame.unit, "grey")
    pixels, near = crop.astype(np.float32), frame.shifted(-x0, -y0)
    levels = {}
    for scale in fitting:
        skin = _measure_level(pixels, near, scale)
        if skin is not None:
            levels[scale] = _with_noise_floor(skin, rgb, frame, scale, usual_noise[scale] if usual_noise is not None else None)
    if fitting and not levels:
        return SkinMeasurement(frame.unit, "too_little_skin")
    is_large = box[2] - box[0] >= UPSCALED_WIDTH
    return SkinMeasurement(frame.unit, None, levels, _edge_blur(pixels, near) if is_large else None)


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    import numpy as np

    red, green, blue = np.moveaxis(pixels.astype(np.int16), 2, 0)
    return int(max(np.abs(red - green).max(), np.abs(green - blue).max(), np.abs(red - blue).max())) <= GREY_LEVELS


@dataclass(frozen=True, slots=True, eq=False)
class _Skin:
    """The skin of a face at one scale: what is kept of it, log2 of its texture at each fine filter, and its mean luma."""

    level: SkinLevel
    fine: tuple[float, ...]
    light: float


def _measure_level(pixels: Plane, frame: FaceFrame, scale: int) -> _Skin | None:
    """One face at one scale; None where fewer than MIN_BLOCKS blocks are skin."""
    import cv2
    import numpy as np

    pixels, frame = _at_scale(pixels, frame, scale)
    lab = np.asarray(cv2.cvtColor(pixels * np.float32(1 / 255), cv2.COLOR_RGB2Lab), dtype=np.float32)
    mask = skin_mask(lab, frame)
    side = max(LEAST_BLOCK, scale // 8)
    skin = overlapping_means(mask, side)
    chosen = skin >= BLOCK_SKIN
    count = int(chosen.sum())
    if count < MIN_BLOCKS:
        return None
    luma = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    responses = {sigma: response(luma, sigma) for sigma in (*FINE_SIGMAS, COARSE_SIGMA)}
    energy = {sigma: _energy(values, mask, skin, chosen, side) for sigma, values in responses.items()}
    inside = mask > 0
    light = float(luma[inside].mean())
    fine = sum(energy[sigma] for sigma in FINE_SIGMAS) / len(FINE_SIGMAS)
    texture = fine - COARSE_SHARE * energy[COARSE_SIGMA] - LIGHT_SHARE * math.log2(light + 1.0)
    chroma = [_energy(response(np.ascontiguousarray(lab[:, :, plane]), CHROMA_SIGMA), mask, skin, chosen, side) for plane in (1, 2)]
    quantiles = np.quantile(lab[inside][:, 1:], QUANTILES, axis=0).T.astype(np.float32).ravel()
    ratio = _edge_ratio(responses[EDGE_SIGMAS[0]], responses[EDGE_SIGMAS[1]], frame)
    level = SkinLevel(texture, sum(chroma) / len(chroma), quantiles, count, None if ratio is None else math.log2(ratio))
    return _Skin(level, tuple(energy[sigma] for sigma in FINE_SIGMAS), light)


def _at_scale(pixels: Plane, frame: FaceFrame, scale: int) -> tuple[Plane, FaceFrame]:
    """The pixels with the face unit at that scale: reduced by area, never enlarged."""
    import cv2
    import numpy as np

    shrink = min(1.0, scale / frame.unit)
    if shrink == 1.0:
        return pixels, frame
    height, width = pixels.shape[:2]
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    smaller = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    return smaller, frame.scaled(size[0] / width, size[1] / height)


def _energy(values: Plane, mask: Plane, skin: Plane, chosen: NDArray[np.bool_], side: int) -> float:
    """log2 of the mean deviation in the calmest blocks of skin."""
    import numpy as np

    share = skin[chosen]
    mean = overlapping_means(values * mask, side)[chosen] / share
    power = overlapping_means(values * values * mask, side)[chosen] / share
    spreads = np.sort(np.sqrt(np.maximum(power - mean * mean, 0.0)))
    kept = spreads[: max(1, round(KEPT_BLOCKS * len(spreads)))]
    return math.log2(max(float(kept.mean()), LEAST_DEVIATION))


def _with_noise_floor(skin: _Skin, rgb: NDArray[np.uint8], frame: FaceFrame, scale: int, usual_noise: float | None) -> SkinLevel:
    """The level with the picture's noise floor over the skin's, and its texture without that noise. `usual_noise`: the references'."""
    level, shrink = skin.level, min(1.0, scale / frame.unit)
    floors = luma_floor(rgb, frame, shrink, skin.light, FINE_SIGMAS)
    noise = sum(_loss(energy, gain * floor) for energy, gain, floor in zip(skin.fine, NOISE_GAINS, floors, strict=True)) / len(floors)
    color_share = None
    if usual_noise is None or level.noise - usual_noise > COLOR_GRAIN_NOISE:  # else it is not looked at, and costs the most
        color_share = math.log2(max(chroma_floor(rgb, frame, shrink, skin.light), LEAST_DEVIATION)) - level.noise
    return replace(level, texture=level.texture - noise, noise_share=floors[0] / 2.0 ** skin.fine[0], color_noise_share=color_share)


def _loss(energy: float, noise: float) -> float:
    """What is left of log2 energy less `noise`, as the log2 that is lost."""
    return -0.5 * math.log2(max(LEAST_POWER, 1.0 - (noise / 2.0**energy) ** 2))


def _edge_ratio(fine: Plane, coarse: Plane, frame: FaceFrame) -> float | None:
    """The response of the sharpest edges at eyes and mouth, fine over coarse; None where they lie outside of the picture."""
    import numpy as np

    inside = frame.drawn(EDGE_REGIONS, (fine.shape[0], fine.shape[1])) > 0
    if int(inside.sum()) < LEAST_EDGE_PIXELS:
        return None
    first, second = (float(np.quantile(np.abs(plane[inside]), EDGE_QUANTILE)) for plane in (fine, coarse))
    return max(first, LEAST_DEVIATION) / max(second, LEAST_DEVIATION)


def _edge_blur(pixels: Plane, frame: FaceFrame) -> float | None:
    """How wide the edges of eyes and mouth are blurred, in pixels: the standard deviation of a Gaussian that a sharp edge went through.

    A filter of width s answers to a sharp edge that was blurred by b with s² / (s² + b²) of its full response.
    """
    import cv2
    import numpy as np

    luma = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    near, far = (sigma * sigma for sigma in BLUR_SIGMAS)
    ratio = _edge_ratio(response(luma, BLUR_SIGMAS[0]), response(luma, BLUR_SIGMAS[1]), frame)
    if ratio is None:
        return None
    least = near / far  # of the ratio, for a blur without end
    if ratio <= least:
        return math.inf
    return math.sqrt(max(0.0, near * (1.0 - ratio) / (ratio - least)))
