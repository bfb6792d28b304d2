"""What the trainer will make of each picture: the bucket it falls into, how it is scaled, and what is cropped away.

Follows the aspect-ratio bucketing of kohya's sd-scripts (library/train_util.py and model_util.py, v0.10.1): buckets of at most
the training area, in steps; the picture is scaled to cover its bucket and cropped around its middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tools.families.families import SDXL


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """The `[[datasets]]` keys of the trainer's TOML that decide buckets."""

    resolution: int = SDXL.resolution.training_side
    min_size: int = 256
    max_size: int = 2048
    step: int = SDXL.resolution.bucket_step
    no_upscale: bool = False


@dataclass(frozen=True, slots=True)
class BucketPlacement:
    """`bucket` and `resized`: (width, height) in pixels; `scale` above 1 enlarges the picture. `crop`: what is kept, as (left, top,
    right, bottom) in fractions of the picture."""

    bucket: tuple[int, int]
    resized: tuple[int, int]
    scale: float
    crop: tuple[float, float, float, float]

    @property
    def cropped_away(self) -> float:
        """The part of the picture's area that is not trained on."""
        left, top, right, bottom = self.crop
        return 1 - (right - left) * (bottom - top)


def bucket_sizes(settings: BucketSettings) -> list[tuple[int, int]]:
    """All buckets (width, height), in order."""
    area, step = settings.resolution**2, settings.step
    side = math.isqrt(area) // step * step
    sizes = {(side, side)}
    for width in range(settings.min_size, settings.max_size + 1, step):
        height = min(settings.max_size, area // width // step * step)
        if height >= settings.min_size:
            sizes |= {(width, height), (height, width)}
    return sorted(sizes)


def place_picture(width: int, height: int, settings: BucketSettings, sizes: list[tuple[int, int]]) -> BucketPlacement | None:
    """Where a picture of that size goes; None if it is too narrow to be placed: the trainer would stop with a division by zero."""
    if settings.no_upscale:
        resized = _shrink(width, height, settings)
        bucket = (resized[0] - resized[0] % settings.step, resized[1] - resized[1] % settings.step) if resized else (0, 0)
        if not resized or 0 in bucket:
            return None
    else:
        aspect = width / height
        exact = (width, height) in sizes
        bucket = (width, height) if exact else min(sizes, key=lambda size: abs(size[0] / size[1] - aspect))
        factor = bucket[1] / height if aspect > bucket[0] / bucket[1] else bucket[0] / width
        resized = (int(width * factor + 0.5), int(height * factor + 0.5))
    return BucketPlacement(bucket, resized, resized[0] / width, _crop(bucket, resized))


def _shrink(width: int, height: int, settings: BucketSettings) -> tuple[int, int] | None:
    """The size after scaling down to the training area, one side a multiple of the step; unchanged if it is small enough."""
    area, aspect = settings.resolution**2, width / height
    if width * height <= area:
        return width, height
    ideal_width = math.sqrt(area * aspect)

    def round_to_step(value: float) -> int:
        whole = int(value + 0.5)
        return whole - whole % settings.step

    by_width, by_height = round_to_step(ideal_width), round_to_step(area / ideal_width)
    if not by_width or not by_height:
        return None
    other_height, other_width = round_to_step(by_width / aspect), round_to_step(by_height * aspect)
    if not other_height or not other_width:
        return None
    if abs(by_width / other_height - aspect) < abs(other_width / by_height - aspect):
        return by_width, int(by_width / aspect + 0.5)
    return int(by_height * aspect + 0.5), by_height


def _crop(bucket: tuple[int, int], resized: tuple[int, int]) -> tuple[float, float, float, float]:
    keep_x, keep_y = min(1.0, bucket[0] / resized[0]), min(1.0, bucket[1] / resized[1])
    return (1 - keep_x) / 2, (1 - keep_y) / 2, (1 + keep_x) / 2, (1 + keep_y) / 2
