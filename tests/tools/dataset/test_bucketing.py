"""Buckets are those of the real trainer: the literals come from its BucketManager (v0.10.1), resolution 1024, 256 to 2048, step 64."""

from __future__ import annotations

import pytest

from tools.dataset.bucketing import BucketSettings, bucket_sizes, place_picture

FIT = BucketSettings(1024, 256, 2048, 64)
SHRINK = BucketSettings(1024, 256, 2048, 64, no_upscale=True)


@pytest.mark.parametrize(
    ("size", "settings", "bucket", "resized"),
    [
        ((1024, 1024), FIT, (1024, 1024), (1024, 1024)),
        ((512, 512), FIT, (1024, 1024), (1024, 1024)),
        ((832, 1216), FIT, (832, 1216), (832, 1216)),
        ((1000, 1500), FIT, (832, 1216), (832, 1248)),
        ((640, 480), FIT, (1152, 896), (1195, 896)),
        ((300, 1800), FIT, (320, 2048), (341, 2048)),
        ((5000, 64), FIT, (2048, 256), (20000, 256)),
        ((512, 512), SHRINK, (512, 512), (512, 512)),
        ((640, 480), SHRINK, (640, 448), (640, 480)),
        ((4000, 900), SHRINK, (1984, 448), (1991, 448)),
        ((123, 457), SHRINK, (64, 448), (123, 457)),
    ],
)
def test_places_as_the_trainer(size: tuple[int, int], settings: BucketSettings, bucket: tuple[int, int], resized: tuple[int, int]) -> None:
    placement = place_picture(*size, settings, bucket_sizes(settings))
    assert placement is not None
    assert (placement.bucket, placement.resized) == (bucket, resized)


def test_what_has_no_bucket() -> None:
    assert place_picture(40, 3000, SHRINK, bucket_sizes(SHRINK)) is None


def test_scale_and_crop() -> None:
    placement = place_picture(640, 480, FIT, bucket_sizes(FIT))
    assert placement is not None
    assert placement.scale == pytest.approx(1195 / 640)
    # 1152 of 1195 columns are kept, around the middle
    assert placement.crop == pytest.approx((43 / 2390, 0, 1 - 43 / 2390, 1))
    assert placement.cropped_away == pytest.approx(43 / 1195)
