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
BLOCK_SKIN = 0.8
MIN_BLOCKS = 4
QUANTILES = tuple(round(0.05 * step, 2) for step in range(1, 20))
GREY_LEVELS = 4
"""A face whose channels differ by no more than this, JPEG's rounding included, has no colour to judge."""

NEIGHBOURS = 3
LONE_REFERENCE_DISTANCE = 4.0
"""Stands for the references' own colour distance where there is only one of them: the median of it over sets of photos."""

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
    frame = _face_frame(points, box)
    if frame is None:
        return SkinMeasurement(0.0, "bad_landmarks")
    fitting = [scale for scale in SCALES if scale * SCALE_SLACK <= frame.unit]
    if not fitting:
        return SkinMeasurement(frame.unit, "face_too_small")
    if reference is not None:
        fitting = [scale for scale in fitting if scale in reference.levels][:1]
    x0, y0, x1, y1 = _crop_box(frame, rgb.shape[1], rgb.shape[0])
    if x1 - x0 < MIN_BLOCKS or y1 - y0 < MIN_BLOCKS:
        return SkinMeasurement(frame.unit, "too_little_skin")
    crop = rgb[y0:y1, x0:x1]
    if int((crop.max(axis=2) - crop.min(axis=2)).max()) <= GREY_LEVELS:
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


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """The face's own coordinates: the points, its unit in pixels, and unit vectors to its right (of the picture) and down."""

    points: NDArray[np.float64]
    unit: float
    right: NDArray[np.float64]
    down: NDArray[np.float64]

    def shifted(self, x: float, y: float) -> _Frame:
        import numpy as np

        return _Frame(np.add(self.points, (x, y)), self.unit, self.right, self.down)

    def scaled(self, x: float, y: float) -> _Frame:
        import numpy as np

        return _Frame(np.multiply(self.points, (x, y)), self.unit * (x + y) / 2, self.right, self.down)

    @property
    def eyes(self) -> NDArray[np.float64]:
        middle: NDArray[np.float64] = self.points[:2].mean(axis=0)
        return middle

    @property
    def mouth(self) -> NDArray[np.float64]:
        middle: NDArray[np.float64] = self.points[3:].mean(axis=0)
        return middle


def _face_frame(points: NDArray[np.float64], box: tuple[float, float, float, float]) -> _Frame | None:
    """The frame of a face, or None for points that are no face: not finite, in one place, or centred outside of the box."""
    import numpy as np

    if points.shape != (5, 2) or not np.isfinite(points).all() or not all(map(math.isfinite, box)):
        return None
    center = points.mean(axis=0)
    if not (box[0] <= center[0] <= box[2] and box[1] <= center[1] <= box[3]):
        return None
    eye_line = points[1] - points[0]
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    height = float(np.hypot(*down))
    unit = max(float(np.hypot(*eye_line)), height / 1.15)
    if height < 0.3 * unit or unit < 1.0:
        return None
    down = down / height
    right = np.array([down[1], -down[0]])
    if float(right @ eye_line) < 0:  # points given mirrored: keep "right" that of the picture
        right = -right
    return _Frame(points, unit, right, down)


def _crop_box(frame: _Frame, width: int, height: int) -> tuple[int, int, int, int]:
    """Pixels that the regions, and the filters around them, can touch; clipped to the picture."""
    import numpy as np

    corners = np.concatenate([region.outline(frame) for region in _regions(frame)])
    margin = 0.25 * frame.unit
    low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    x0, y0 = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
    return x0, y0, min(width, math.ceil(high[0])), min(height, math.ceil(high[1]))


@dataclass(frozen=True, slots=True, eq=False)
class _Region:
    """An ellipse in face units around a point of the picture."""

    center: NDArray[np.float64]
    half_width: float
    half_height: float

    def outline(self, frame: _Frame) -> NDArray[np.float64]:
        import numpy as np

        turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)[:, None]
        right, down = frame.right * frame.unit * self.half_width, frame.down * frame.unit * self.half_height
        outline: NDArray[np.float64] = self.center + np.cos(turn) * right + np.sin(turn) * down
        return outline


def _regions(frame: _Frame) -> list[_Region]:
    """Both cheeks, or the one that is turned towards us, and the forehead."""
    left_eye, right_eye, nose, left_mouth, right_mouth = frame.points
    spans = [float((nose - left_eye) @ frame.right), float((right_eye - nose) @ frame.right)]
    regions = []
    for eye, mouth, span, side in ((left_eye, left_mouth, spans[0], -1), (right_eye, right_mouth, spans[1], 1)):
        if span >= 0.25 * abs(sum(spans)):
            center = eye + 0.55 * (mouth - eye) + side * 0.12 * frame.unit * frame.right
            regions.append(_Region(center, 0.27, 0.30))
    regions.append(_Region(frame.eyes - 0.68 * frame.unit * frame.down, 0.60, 0.27))
    return regions


def _measure_level(pixels: Plane, frame: _Frame, scale: int) -> SkinLevel | None:
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
    mask = _skin_mask(lab, frame)
    side = max(6, scale // 8)
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


def _skin_mask(lab: Plane, frame: _Frame) -> Plane:
    """1 on skin, 0 elsewhere: the regions, less what differs in colour or lightness from most of them (hair, brows, glasses, shine)."""
    import cv2
    import numpy as np

    mask = np.zeros(lab.shape[:2], dtype=np.uint8)
    for region in _regions(frame):
        cv2.fillPoly(mask, [np.round(region.outline(frame) * 16).astype(np.int32)], 1, shift=4)
    inside = mask > 0
    if not inside.any():
        return mask.astype(np.float32)
    values = lab[inside]
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    lightness, a, b = np.moveaxis((lab - middle) / np.maximum(spread, (6.0, 2.0, 2.0)), 2, 0)
    kept = inside & (a * a + b * b < 9.0) & (np.abs(lightness) < 3.0) & (lab[:, :, 0] > 8.0) & (lab[:, :, 0] < 97.0)
    skin: Plane = kept.astype(np.float32)
    return skin


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
    """Means over a grid of square blocks; a rest at the right and bottom is left out."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    trimmed = plane[: rows * side, : columns * side]
    means: Plane = trimmed.reshape(rows, side, columns, side).mean(axis=(1, 3))
    return means
