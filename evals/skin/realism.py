"""Skin realism: texture and colour of a face's skin, relative to the references.

`SkinReference.from_measurements` condenses the references' measurements (`evals/skin/measurement.py`), and `score_skin` puts one face
against them. The score is two-sided: skin smoother than the references' (a beauty filter, plastic) and skin noisier than theirs both
lose. What looks like texture and is not (grain over the whole picture, sharpening) is taken off or stops the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from evals.skin.measurement import COLOR_GRAIN_NOISE, SCALES, SkinLevel, SkinMeasurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BORDERLINE = "borderline"
"""The flag of a picture whose texture may as well lie on the other side of the limit."""
METRIC = "skin_realism/2"
"""Part of every protocol: scores of two versions of this measure are not comparable."""

EDGE_FREE, MOST_FORGIVEN, SHARPENED_SHARE = 0.15, 0.7, 2.0
"""Edges at eyes and mouth that are as sharp as the references' within `EDGE_FREE` say nothing. Softer ones are a lens out of focus: as
much smoothness is forgiven, up to `MOST_FORGIVEN`. Sharper ones were sharpened: `SHARPENED_SHARE` times as much texture is taken off."""

FULL_EFFECT = {64: 1.0, 48: 0.76, 32: 0.35, 24: 0.29}
"""How much the same full smoothing takes off the texture at each scale, against the largest: small faces have less to lose."""
SMOOTH_LIMIT, SMOOTH_WIDTH = -0.68, 0.36
"""The operating point of texture in units of `FULL_EFFECT`, and how steeply the score falls around it."""
COARSE_LIMIT, NOISY_LIMIT, NOISY_WIDTH = 2.025, 2.3, 0.35
CERTAIN_SCALE = 48
"""Below it (a face under some 110 pixels) what tells plastic from skin is gone: the best answer is `borderline`."""
DOUBT = {64: 0.12, 48: 0.12, 32: 0.5, 24: 0.5}
"""How far the texture may be off at each scale: two standard deviations of what benign changes (JPEG, another size, exposure) do to it;
on small faces one of what people differ by there, which is as much as full smoothing takes off."""

GRAIN_SHARE, GRAIN_DOUBT = 0.60, 0.05
"""Noise floor over the skin's finest texture. Above it the texture may be grain, and says nothing of skin. Another size of the picture
moves it by so much."""
COLOR_GRAIN_SHARE = -0.5
"""The same for colour, in log2, where the skin's chroma noise is over the references' by `COLOR_GRAIN_NOISE`."""
GRAIN_RAW = 0.3
"""The raw texture of a picture with grain is at most this: both skin gates are missed whatever the colour is."""

UPSCALED_BLUR = 1.5
"""Edges that are blurred by more than so many pixels are those of a picture that was enlarged, or out of focus."""

NEIGHBOURS = 3
LONE_REFERENCE_DISTANCE = 6.0
"""D0 where there is only one reference, and so no distance between references: between two photos of one person in different light
it was 7.4 in the median, 3.4 from one photo to a set of eight."""

# Raw value -> score. A raw value of 0.5 maps to the policy's pass thresholds.
TEXTURE_POINT, COLOR_POINT, OVERALL_POINT = 0.60, 0.55, 0.60


@dataclass(frozen=True, slots=True)
class SkinScore:
    """How real the skin looks, 0..1, on the policy's scale. `score` is None, with a reason, where skin cannot be judged.

    Reasons: `grey`, `face_too_small`, `too_little_skin`, `bad_landmarks`, `no_reference_skin`, or the picture's or face's own.
    Flags: `too_smooth`, `too_coarse`, `too_noisy`, `grain`, `off_color` (what pulls the score under the operating point), `borderline`
    (`evals/judging/borderline.py` sets it), `upscaled` (edges are blurred as in an enlarged picture: its texture may be made up),
    `small_face` (measured at the smallest scale), `one_reference`.
    `scale` is the face unit in pixels at which it was measured. `texture_offset` is in units of log2 energy against the references'
    median (below 0: smoother), with what the edges forgive or take; `noise_offset` the same for chroma noise, `edge_offset` for the
    sharpness of eyes and mouth; `color_distance` is in Lab units beyond the references' own. `noise_share`: the picture's noise floor over
    the skin's finest texture. `texture_range`: between which texture scores the truth may lie.
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
    edge_offset: float | None = None
    noise_share: float | None = None
    texture_range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceLevel:
    """The references at one scale. `colors`: one row of quantiles for each; `color_spread` is D0, their own colour distance."""

    texture: float
    noise: float
    colors: NDArray[np.float32]
    color_spread: float
    edges: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SkinReference:
    """The references, condensed by scale. Empty `levels`: no reference shows enough skin, and no picture can be scored."""

    levels: Mapping[int, ReferenceLevel]
    count: int

    @property
    def noise(self) -> dict[int, float]:
        """Their chroma noise by scale, as `measure_skin` wants it."""
        return {scale: level.noise for scale, level in self.levels.items()}

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
    edges = [level.edges for level in found if level.edges is not None]
    return ReferenceLevel(
        median(level.texture for level in found),
        median(level.noise for level in found),
        colors,
        spread,
        median(edges) if edges else None,
    )


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
    edges = 0.0 if level.edges is None or base.edges is None else level.edges - base.edges
    offset, noise = level.texture - base.texture + edge_correction(edges), level.noise - base.noise
    distance = max(0.0, _color_distance(level.color, base.colors) - base.color_spread)
    sides = {
        "too_smooth": _smoothness_side(offset, scale),
        "too_coarse": _logistic((COARSE_LIMIT - offset) / SMOOTH_WIDTH),
        "too_noisy": _logistic((NOISY_LIMIT - noise) / NOISY_WIDTH),
    }
    most, least, highest = (GRAIN_RAW if has_grain(level, noise, doubt) else 1.0 for doubt in (0.0, -GRAIN_DOUBT, GRAIN_DOUBT))
    texture = min(most, math.prod(sides.values()))
    low, high = (
        min(cap, _smoothness_side(offset + move, scale) * sides["too_coarse"] * sides["too_noisy"])
        for move, cap in ((-DOUBT[scale], least), (DOUBT[scale], highest))
    )
    color = math.exp(-((max(0.0, distance - 1.0) / 10.0) ** 2))
    flags = [flag for flag, side in sides.items() if side < 0.5]
    flags += ["grain"] * (most < 1.0) + ["off_color"] * (color < 0.5)
    flags += ["upscaled"] * (measurement.edge_blur is not None and measurement.edge_blur > UPSCALED_BLUR)
    flags += ["small_face"] * (scale == SCALES[-1]) + ["one_reference"] * (reference.count == 1)
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
        edge_offset=round(edges, 4),
        noise_share=round(level.noise_share, 4),
        texture_range=(_on_policy_scale(low, TEXTURE_POINT) if scale >= CERTAIN_SCALE else 0.0, _on_policy_scale(high, TEXTURE_POINT)),
    )


def edge_correction(edges: float) -> float:
    """What the sharpness of eyes and mouth, against the references', adds to the texture or takes off it."""
    return min(max(0.0, -edges - EDGE_FREE), MOST_FORGIVEN) - SHARPENED_SHARE * max(0.0, edges - EDGE_FREE)


def has_grain(level: SkinLevel, noise_offset: float, doubt: float = 0.0) -> bool:
    """Whether the whole picture is about as grainy as the skin, in luma or in colour: then the skin's texture is no evidence.

    `doubt` is added to the limit of luma.
    """
    if level.noise_share > GRAIN_SHARE + doubt:
        return True
    share = level.color_noise_share
    return share is not None and share > COLOR_GRAIN_SHARE and noise_offset > COLOR_GRAIN_NOISE


def _smoothness_side(offset: float, scale: int) -> float:
    return _logistic((offset / FULL_EFFECT[scale] - SMOOTH_LIMIT) / SMOOTH_WIDTH)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(value, -60.0), 60.0)))


def _on_policy_scale(raw: float, point: float) -> float:
    """Piecewise linear: 0 -> 0, 0.5 -> `point`, 1 -> 1."""
    value = raw / 0.5 * point if raw < 0.5 else point + (raw - 0.5) / 0.5 * (1.0 - point)
    return round(value, 6)
