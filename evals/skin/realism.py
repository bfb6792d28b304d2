"""Skin realism: texture and colour, measured on skin only, at a normalised face scale, relative to the references.

`measure_skin` turns one face into raw numbers, `SkinReference.from_measurements` condenses the references' numbers, and
`score_skin` puts one face against them. The score is two-sided: skin smoother than the references' (a beauty filter, plastic) and
skin noisier than theirs both lose. What is measured, and why, is defined beside each constant; `benchmarks/metric_validity.py`
shows that it holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from evals.skin.regions import FaceFrame, crop_box, face_frame, skin_mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

METRIC = "skin_realism/1"
"""Part of every protocol: scores of two versions of this measure are not comparable."""

SCALES = (64, 48, 32, 24)
"""Face units, in pixels, that faces are downscaled to. Never up: that would add smoothness that the picture does not have."""
SCALE_SLACK = 0.9
"""A face may fall short of a scale by this much; it is then measured as it is."""

FINE_SIGMAS = (0.7, 1.0, 1.4)
COARSE_SIGMA = 2.8
COARSE_SHARE = 0.5
"""Half of the coarse energy is taken off: it follows light and focus more than skin, and all of it would make the measure noisy."""
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

NEIGHBOURS = 3
LONE_REFERENCE_DISTANCE = 6.0
"""D0 where there is only one reference, and so no distance between references: between two photos of one person in different light
it was 7.4 in the median, 3.4 from one photo to a set of eight."""

# Raw value -> score. 0.5 of the raw value is the operating point; the policy puts its pass thresholds there.
TEXTURE_POINT, COLOR_POINT, OVERALL_POINT = 0.60, 0.55, 0.60


@dataclass(frozen=True, slots=True)
class SkinScore:
    """How real the skin looks, 0..1, on the policy's scale. `score` is None, with a reason, where skin cannot be judged.

    Reasons: `grey`, `face_too_small`, `too_little_skin`, `bad_landmarks`, `no_reference_skin`, or the picture's or face's own.
    Flags: `too_smooth`, `too_coarse`, `too_noisy`, `off_color` (what pulls the score under the operating point), `small_face`
    (measured at the smallest scale), `one_reference`.
    `scale` is the face unit in pixels at which it was measured. `texture_offset` is in units of log2 energy against the references'
    median (below 0: smoother), `noise_offset` the same for chroma noise, `color_distance` in Lab units beyond the references' own.
    """

    score: float | None
    reason: str | None
    texture: float | None = None
    color: float | None = None
    flags: tuple[str, ...] = ()
    scale: int | None = None
    texture_offset: float | None = None
    noise_offset: float | None = None
    color_distance: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SkinLevel:
    """One face at one scale. `texture` and `noise` in log2 energy; `color` holds the quantiles of a, then of b (CIE Lab)."""

    texture: float
    noise: float
    color: NDArray[np.float32]
    blocks: int


@dataclass(frozen=True, slots=True, eq=False)
class SkinMeasurement:
    """What was measured on one face: `levels` by scale, or none and the reason. `unit` is the face unit in pixels of the picture."""

    unit: float
    reason: str | None
    levels: Mapping[int, SkinLevel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceLevel:
    """The references at one scale. `colors`: one row of quantiles for each; `color_spread` is D0, their own colour distance."""

    texture: float
    noise: float
    colors: NDArray[np.float32]
    color_spread: float


@dataclass(frozen=True, slots=True, eq=False)
class SkinReference:
    """The references, condensed by scale. Empty `levels`: no reference shows enough skin, and no picture can be scored."""

    levels: Mapping[int, ReferenceLevel]
    count: int

    @classmethod
    def from_measurements(cls, measurements: Sequence[SkinMeasurement]) -> SkinReference:
        """Condense the references' measurements, which must have been taken at every scale (`measure_skin` without a reference).

        A scale counts where at least half of the references with skin reach it: one large reference does not speak for small ones.
        """
        usable = [item for item in measurements if item.levels]
        levels = {}
        for scale in SCALES:
            found = [item.levels[scale] for item in usable if scale in item.levels]
            if found and 2 * len(found) >= len(usable):
                levels[scale] = _reference_level(found)
        return cls(levels, len(usable))


def _reference_level(found: Sequence[SkinLevel]) -> ReferenceLevel:
    import numpy as np

    colors = np.stack([level.color for level in found])
    spread = LONE_REFERENCE_DISTANCE
    if len(found) > 1:
        spread = median(_color_distance(color, np.delete(colors, row, axis=0)) for row, color in enumerate(colors))
    return ReferenceLevel(median(level.texture for level in found), median(level.noise for level in found), colors, spread)


def _color_distance(color: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """The mean difference of the quantiles, averaged over the nearest references."""
    import numpy as np

    distances = np.abs(others - color).mean(axis=1)
    return float(np.sort(distances)[:NEIGHBOURS].mean())


def score_skin(measurement: SkinMeasurement, reference: SkinReference) -> SkinScore:
    """Put one face against the references, at the largest scale that both have."""
    if measurement.reason is not None:
        return SkinScore(None, measurement.reason)
    scale = next((scale for scale in SCALES if scale in measurement.levels and scale in reference.levels), None)
    if scale is None:
        return SkinScore(None, "no_reference_skin" if not reference.levels else "face_too_small")
    level, base = measurement.levels[scale], reference.levels[scale]
    offset, noise = level.texture - base.texture, level.noise - base.noise
    distance = max(0.0, _color_distance(level.color, base.colors) - base.color_spread)
    sides = {"too_smooth": _smoothness_side(offset), "too_coarse": _coarseness_side(offset), "too_noisy": _noise_side(noise)}
    texture = math.prod(sides.values())
    color = math.exp(-((max(0.0, distance - 1.0) / 10.0) ** 2))
    flags = [flag for flag, side in sides.items() if side < 0.5]
    flags += ["off_color"] * (color < 0.5) + ["small_face"] * (scale == SCALES[-1]) + ["one_reference"] * (reference.count == 1)
    return SkinScore(
        score=_on_policy_scale(texture**0.7 * color**0.3, OVERALL_POINT),
        reason=None,
        texture=_on_policy_scale(texture, TEXTURE_POINT),
        color=_on_policy_scale(color, COLOR_POINT),
        flags=tuple(flags),
        scale=scale,
        texture_offset=round(offset, 4),
        noise_offset=round(noise, 4),
        color_distance=round(distance, 4),
    )


def _smoothness_side(offset: float) -> float:
    return _logistic((offset / 0.45 + 2.0) / 0.8)


def _coarseness_side(offset: float) -> float:
    return _logistic((4.5 - offset / 0.45) / 0.8)


def _noise_side(noise: float) -> float:
    return _logistic((3.3 - noise) / 0.35)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(value, -60.0), 60.0)))


def _on_policy_scale(raw: float, point: float) -> float:
    """Piecewise linear: 0 -> 0, 0.5 -> `point`, 1 -> 1."""
    value = raw / 0.5 * point if raw < 0.5 else point + (raw - 0.5) / 0.5 * (1.0 - point)
    return round(value, 6)


def measure_skin(
    rgb: NDArray[np.uint8],
    landmarks5: NDArray[np.floating[Any]],
    box: tuple[float, float, float, float],
    *,
    reference: SkinReference | None = None,
) -> SkinMeasurement:
    """Measure the skin of one face.

    `rgb`: uint8, height x width x 3. `landmarks5`: 5 x 2 pixels (left eye, right eye, nose, left and right mouth corner, as seen in
    the picture). `box`: the face, (x0, y0, x1, y1). With `reference`, only the scale that scoring will need is measured; without,
    every scale, as references need. The score is the same. Never raises for a bad face: the measurement's `reason` is set.
    """
    import numpy as np

    points = np.asarray(landmarks5, dtype=np.float64)
    frame = face_frame(points, box)
    if frame is None:
        return SkinMeasurement(0.0, "bad_landmarks")
    fitting = [scale for scale in SCALES if scale * SCALE_SLACK <= frame.unit]
    if not fitting:
        return SkinMeasurement(frame.unit, "face_too_small")
    if reference is not None:
        fitting = [scale for scale in fitting if scale in reference.levels][:1]
    x0, y0, x1, y1 = crop_box(frame, rgb.shape[1], rgb.shape[0])
    if x1 - x0 < LEAST_BLOCK or y1 - y0 < LEAST_BLOCK:
        return SkinMeasurement(frame.unit, "too_little_skin")
    crop = rgb[y0:y1, x0:x1]
    if _is_grey(crop[:: math.ceil(frame.unit / 32), :: math.ceil(frame.unit / 32)]):
        return SkinMeasurement(frame.unit, "grey")
    pixels = crop.astype(np.float32)
    levels = {}
    for scale in fitting:
        level = _measure_level(pixels, frame.shifted(-x0, -y0), scale)
        if level is not None:
            levels[scale] = level
    if fitting and not levels:
        return SkinMeasurement(frame.unit, "too_little_skin")
    return SkinMeasurement(frame.unit, None, levels)


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    import numpy as np

    red, green, blue = np.moveaxis(pixels.astype(np.int16), 2, 0)
    return int(max(np.abs(red - green).max(), np.abs(green - blue).max(), np.abs(red - blue).max())) <= GREY_LEVELS


def _measure_level(pixels: Plane, frame: FaceFrame, scale: int) -> SkinLevel | None:
    """One face at one scale, or None where fewer than MIN_BLOCKS blocks are skin."""
    import cv2
    import numpy as np

    shrink = min(1.0, scale / frame.unit)
    height, width = pixels.shape[:2]
    if shrink < 1.0:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
        frame = frame.scaled(size[0] / width, size[1] / height)
    lab = np.asarray(cv2.cvtColor(pixels * np.float32(1 / 255), cv2.COLOR_RGB2Lab), dtype=np.float32)
    mask = skin_mask(lab, frame)
    side = max(LEAST_BLOCK, scale // 8)
    skin = _block_means(mask, side)
    chosen = skin >= BLOCK_SKIN
    count = int(chosen.sum())
    if count < MIN_BLOCKS:
        return None
    luma = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    light = cv2.GaussianBlur(luma, (0, 0), scale / 16) + 1.0
    fine = [_energy(_response(luma, sigma) / light, mask, skin, chosen, side) for sigma in FINE_SIGMAS]
    coarse = _energy(_response(luma, COARSE_SIGMA) / light, mask, skin, chosen, side)
    chroma = [_energy(_response(np.ascontiguousarray(lab[:, :, plane]), CHROMA_SIGMA), mask, skin, chosen, side) for plane in (1, 2)]
    quantiles = np.quantile(lab[mask > 0][:, 1:], QUANTILES, axis=0).T.astype(np.float32).ravel()
    return SkinLevel(sum(fine) / len(fine) - COARSE_SHARE * coarse, sum(chroma) / len(chroma), quantiles, count)


def _response(plane: Plane, sigma: float) -> Plane:
    """Scale-normalised Laplacian of Gaussian."""
    import cv2
    import numpy as np

    blurred = cv2.GaussianBlur(plane, (0, 0), sigma)
    response: Plane = cv2.Laplacian(blurred, cv2.CV_32F) * np.float32(sigma * sigma)
    return response


def _energy(response: Plane, mask: Plane, skin: Plane, chosen: NDArray[np.bool_], side: int) -> float:
    """log2 of the mean deviation in the calmest blocks of skin."""
    import numpy as np

    share = skin[chosen]
    mean = _block_means(response * mask, side)[chosen] / share
    power = _block_means(response * response * mask, side)[chosen] / share
    deviations = np.sort(np.sqrt(np.maximum(power - mean * mean, 0.0)))
    kept = deviations[: max(1, round(KEPT_BLOCKS * len(deviations)))]
    return math.log2(max(float(kept.mean()), 1e-6))


def _block_means(plane: Plane, side: int) -> Plane:
    """Means over square blocks that overlap by half, in one row; a rest at the right and bottom is left out."""
    import cv2
    import numpy as np

    means = []
    for top in (0, side // 2):
        for left in (0, side // 2):
            rows, columns = (plane.shape[0] - top) // side, (plane.shape[1] - left) // side
            if rows > 0 and columns > 0:
                grid = plane[top : top + rows * side, left : left + columns * side]
                means.append(cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_AREA).ravel())
    return np.concatenate(means).astype(np.float32, copy=False) if means else np.zeros(0, dtype=np.float32)
