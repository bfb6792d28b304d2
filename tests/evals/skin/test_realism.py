"""Skin realism on a real portrait with known landmarks: what must move the score, and what must not."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.picture_changes import (
    BENIGN,
    FILTERS,
    STRENGTHS,
    add_color_grain,
    add_film_grain,
    add_grain,
    add_noise,
    defocus,
    relight,
    sharpen,
)
from evals.faces.face_engine import Face
from evals.skin.measurement import QUANTILES, SCALES, SkinLevel, SkinMeasurement, measure_skin
from evals.skin.noise_floor import HEAD
from evals.skin.realism import (
    GRAIN_SHARE,
    LONE_REFERENCE_DISTANCE,
    TEXTURE_POINT,
    SkinReference,
    SkinScore,
    edge_correction,
    score_skin,
)
from evals.skin.regions import CANONICAL_POINTS, LEFT_CHEEK, RIGHT_CHEEK, crop_box, face_frame, skin_mask, skin_regions
from tests.evals.portraits import portrait

LANDMARKS = np.array([[200.0, 102.0], [247.0, 103.0], [220.0, 125.0], [199.0, 143.0], [240.0, 144.0]])
BOX = (178.0, 63.0, 268.0, 176.0)
"""The portrait's face, as YuNet finds it, rounded to pixels."""
ENLARGED = 2
"""The portrait's face has a unit of 43 pixels; enlarged it reaches every scale."""

Rgb = NDArray[np.uint8]


def original() -> Rgb:
    return np.asarray(portrait())


def enlarged() -> Rgb:
    size = (ENLARGED * portrait().width, ENLARGED * portrait().height)
    return np.asarray(portrait().resize(size, Image.Resampling.BICUBIC))


def measured(rgb: Rgb, factor: float = ENLARGED, **options: Any) -> SkinMeasurement:
    return measure_skin(rgb, LANDMARKS * factor, face(factor).box, **options)


def face(factor: float = ENLARGED) -> Face:
    x0, y0, x1, y1 = (value * factor for value in BOX)
    return Face((x0, y0, x1, y1), LANDMARKS * factor, 1.0)


@pytest.fixture(scope="module")
def reference() -> SkinReference:
    """The portrait in three lights: the norm that its changes are put against."""
    lights = (enlarged(), relight(enlarged(), 0.95, 0.95, 0.95), relight(enlarged(), 1.02, 1.0, 0.98))
    return SkinReference.from_measurements([measured(rgb) for rgb in lights])


def scored(rgb: Rgb, reference: SkinReference, factor: float = ENLARGED) -> SkinScore:
    return score_skin(measured(rgb, factor), reference)


def passes(found: SkinScore) -> bool:
    return (found.texture or 0.0) >= TEXTURE_POINT


# --- what must move the score


@pytest.mark.parametrize("name", FILTERS)
def test_the_score_falls_with_every_step_of_a_beauty_filter(name: str, reference: SkinReference) -> None:
    steps = [scored(FILTERS[name](enlarged(), face(), strength) if strength else enlarged(), reference) for strength in (0.0, *STRENGTHS)]
    for values in ([step.score for step in steps], [step.texture for step in steps], [step.texture_offset for step in steps]):
        assert all(value is not None for value in values)
        assert values == sorted(values, key=lambda value: -(value or 0.0)), values
        assert len(set(values)) == len(values)
    assert (steps[0].score or 0) > 0.9
    assert not passes(steps[-1]) and steps[-1].flags[0] == "too_smooth"


def test_plastic_skin_fails_and_says_why(reference: SkinReference) -> None:
    image = portrait().copy()
    for box in ((184, 108, 218, 138), (228, 108, 256, 138)):  # the cheeks, as if of wax; eyes and mouth stay
        wax = image.crop(box).resize((4, 4), Image.Resampling.BOX).resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BICUBIC)
        image.paste(wax, box[:2])
    size = (ENLARGED * image.width, ENLARGED * image.height)
    found = scored(np.asarray(image.resize(size, Image.Resampling.BICUBIC)), reference)
    assert found.flags[0] == "too_smooth"
    assert (found.score or 1.0) < 0.3
    assert (found.texture or 1.0) < 0.1


def plastic() -> Rgb:
    return FILTERS["bilateral"](enlarged(), face(), 1.0)


@pytest.mark.parametrize(
    "grain",
    [
        pytest.param(lambda rgb: add_grain(rgb, 3.0), id="white, 3 levels"),
        pytest.param(lambda rgb: add_grain(rgb, 6.0), id="white, 6 levels"),
        pytest.param(lambda rgb: add_grain(rgb, 6.0, softness=0.8), id="soft"),
        pytest.param(lambda rgb: add_film_grain(rgb, 6.0), id="of film"),
    ],
)
def test_grain_over_plastic_makes_no_skin(grain: Callable[[Rgb], Rgb], reference: SkinReference) -> None:
    found = scored(grain(plastic()), reference)
    assert "grain" in found.flags and not passes(found)
    assert (found.noise_share or 0.0) > GRAIN_SHARE > (scored(enlarged(), reference).noise_share or 1.0)
    assert (found.score or 1.0) < 0.6  # nor does the best colour lift it over the limit


def test_noise_of_the_whole_picture_is_no_texture(reference: SkinReference) -> None:
    """Smoothed skin that kept a little texture, under weak grain: the share is below the limit, and what the grain adds does not count."""
    half = FILTERS["bilateral"](enlarged(), face(), 0.5)
    before, after = scored(half, reference), scored(add_grain(half, 3.0), reference)
    assert (after.noise_share or 1.0) < GRAIN_SHARE
    assert (after.texture_offset or 0.0) < (before.texture_offset or -1.0) + 0.1


def test_a_close_up_before_a_dark_wall_is_not_compared_with_its_own_forehead(reference: SkinReference) -> None:
    """Nothing beside the head is as light as the skin: then all that is calm counts, the wall too."""
    frame = face_frame(LANDMARKS * ENLARGED, face().box)
    assert frame is not None
    dark = np.random.default_rng(2).normal(60, 0.4, (1024, 1024, 1)).repeat(3, axis=2).astype(np.uint8)
    head = frame.drawn((HEAD,), (1024, 1024)) > 0
    dark[head] = enlarged()[head]
    found = scored(dark, reference)
    assert "grain" not in found.flags and (found.noise_share or 1.0) < 0.3 and passes(found)


def test_colour_grain_is_told_from_colour_in_the_skin(reference: SkinReference) -> None:
    assert "grain" in scored(add_color_grain(plastic(), 6.0), reference).flags
    assert "grain" not in scored(enlarged(), reference).flags


def test_sharpening_brings_no_pores_back(reference: SkinReference) -> None:
    found = [scored(rgb, reference) for rgb in (plastic(), sharpen(plastic(), 1.0), sharpen(plastic(), 2.0))]
    assert not any(map(passes, found))
    assert found[0].edge_offset is not None and found[2].edge_offset is not None
    assert found[2].edge_offset > found[0].edge_offset + 0.1


def test_a_lens_out_of_focus_is_forgiven(reference: SkinReference) -> None:
    found = scored(defocus(enlarged(), face(), 0.02), reference)
    assert passes(found) and (found.edge_offset or 0.0) < -0.2
    assert not passes(scored(plastic(), reference))


def test_noise_is_as_unreal_as_smoothness(reference: SkinReference) -> None:
    scores = [scored(add_noise(enlarged(), deviation), reference) for deviation in (0.0, 15.0, 25.0, 40.0)]
    values = [found.score or 0.0 for found in scores]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.3
    assert "too_noisy" in scores[-1].flags
    assert "too_smooth" not in scores[-1].flags


def test_another_colour_of_light_lowers_colour_alone(reference: SkinReference) -> None:
    green = scored(relight(enlarged(), 0.8, 1.1, 0.8), reference)
    assert green.flags == ("off_color",)
    assert (green.color or 1.0) < 0.55
    assert (green.texture or 0.0) > 0.85


# --- what must not


@pytest.mark.parametrize("name", BENIGN)
@pytest.mark.parametrize(("picture", "factor"), [pytest.param(original, 1.0, id="as it is"), pytest.param(enlarged, 2.0, id="enlarged")])
def test_benign_changes_hardly_move_the_score(name: str, picture: Callable[[], Rgb], factor: float) -> None:
    own = SkinReference.from_measurements([measured(picture(), factor)])
    changed = BENIGN[name](picture())
    if (name, factor) == ("half size", 1.0):
        assert scored(changed, own, 0.5) == SkinScore(None, "face_too_small")
        return
    found = scored(changed, own, factor * changed.shape[0] / picture().shape[0])
    before = scored(picture(), own, factor)
    assert found.score is not None and before.score is not None
    assert abs(found.score - before.score) < 0.06, (before, found)


def test_only_the_face_and_the_noise_floor_count(reference: SkinReference) -> None:
    frame = face_frame(LANDMARKS * ENLARGED, face().box)
    assert frame is not None
    x0, y0, x1, y1 = crop_box(frame, 1024, 1024)
    found = []
    for shade in (96, 160):
        elsewhere = np.full((1024, 1024, 3), shade, dtype=np.uint8)
        elsewhere[y0:y1, x0:x1] = enlarged()[y0:y1, x0:x1]
        found.append(scored(elsewhere, reference))
    assert found[0] == found[1]
    assert found[0].noise_share == 0.0
    assert found[0].score == pytest.approx(scored(enlarged(), reference).score, abs=0.02)


def test_a_shift_of_the_picture_moves_nothing(reference: SkinReference) -> None:
    shifted = np.ascontiguousarray(enlarged()[5:, 3:])
    x0, y0, x1, y1 = face().box
    found = score_skin(measure_skin(shifted, np.subtract(LANDMARKS * ENLARGED, (3, 5)), (x0 - 3, y0 - 5, x1 - 3, y1 - 5)), reference)
    before = scored(enlarged(), reference)
    assert found.score == pytest.approx(before.score, abs=0.005)
    assert found.noise_share == pytest.approx(before.noise_share, abs=0.03)


def test_the_values_are_known() -> None:
    """Pins the measure: a change of it must be a new METRIC."""
    levels = measured(enlarged()).levels
    found = {scale: (level.texture, level.noise, level.edges, level.noise_share, level.blocks) for scale, level in levels.items()}
    near = functools.partial(pytest.approx, abs=0.01)
    assert found[64] == (near(-1.2230), near(-1.8046), near(-1.0430), near(0.2566), 129)
    assert found[48] == (near(-0.9639), near(-1.5530), near(-0.8833), near(0.2450), 134)
    assert found[32] == (near(-0.5736), near(-1.2960), near(-0.8186), near(0.1237), 53)
    assert found[24] == (near(-0.2024), near(-1.1447), near(-0.6505), near(0.0627), 25)
    assert [len(level.color) for level in levels.values()] == [2 * len(QUANTILES)] * 4


@pytest.mark.parametrize("rgb", [pytest.param(enlarged, id="as it is"), pytest.param(lambda: add_noise(enlarged(), 8.0), id="noisy")])
def test_measuring_for_a_reference_gives_the_same_score(rgb: Callable[[], Rgb], reference: SkinReference) -> None:
    quick = measured(rgb(), usual_noise=reference.noise)
    assert set(quick.levels) == {64}
    assert score_skin(quick, reference) == scored(rgb(), reference)


@pytest.mark.parametrize(("width", "blurred"), [(250.0, True), (200.0, False)])
def test_an_enlarged_close_up_is_flagged(width: float, blurred: bool, reference: SkinReference) -> None:
    factor = width / (BOX[2] - BOX[0])
    side = round(512 * factor)
    found = scored(np.asarray(portrait().resize((side, side), Image.Resampling.BICUBIC)), reference, side / 512)
    assert ("upscaled" in found.flags) is blurred  # below 240 pixels edges are not looked at


# --- faces that cannot be judged


def grey(image: Image.Image) -> Rgb:
    return np.asarray(image.convert("L").convert("RGB"))


def grey_jpeg(image: Image.Image) -> Rgb:
    buffer = io.BytesIO()
    Image.fromarray(grey(image)).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer).convert("RGB"))


@pytest.mark.parametrize("make", [grey, grey_jpeg])
def test_a_grey_face_has_no_score(make: Callable[[Image.Image], Rgb], reference: SkinReference) -> None:
    assert scored(make(portrait()), reference, 1.0) == SkinScore(None, "grey")


def moved(x: float, y: float) -> tuple[NDArray[np.float64], tuple[float, float, float, float]]:
    return np.add(LANDMARKS, (x, y)), (BOX[0] + x, BOX[1] + y, BOX[2] + x, BOX[3] + y)


@pytest.mark.parametrize(
    ("points", "box", "reason"),
    [
        pytest.param(*moved(2000, 0), "too_little_skin", id="right of the picture"),
        pytest.param(*moved(-400, -300), "too_little_skin", id="left above the picture"),
        pytest.param(LANDMARKS, (300.0, 300.0, 400.0, 400.0), "bad_landmarks", id="box elsewhere"),
        pytest.param(np.full((5, 2), np.nan), BOX, "bad_landmarks", id="not a number"),
        pytest.param(np.full((5, 2), 220.0), (0.0, 0.0, 512.0, 512.0), "bad_landmarks", id="all in one place"),
        pytest.param(LANDMARKS[:4], BOX, "bad_landmarks", id="four points"),
        pytest.param(LANDMARKS, (math.nan, 0.0, 512.0, 512.0), "bad_landmarks", id="box not a number"),
        pytest.param(LANDMARKS * (1, 0), (0.0, -10.0, 512.0, 512.0), "bad_landmarks", id="all on a line"),
        pytest.param(LANDMARKS * 0.1, tuple(value * 0.1 for value in BOX), "face_too_small", id="tiny face"),
    ],
)
def test_a_face_that_cannot_be_measured_gives_its_reason(
    points: NDArray[np.float64], box: tuple[float, float, float, float], reason: str, reference: SkinReference
) -> None:
    assert score_skin(measure_skin(original(), points, box), reference) == SkinScore(None, reason)


@pytest.mark.parametrize(("cut", "reason"), [(228, None), (262, "too_little_skin")])
def test_a_face_cut_by_the_edge_is_judged_by_what_is_left_of_it(cut: int, reason: str | None, reference: SkinReference) -> None:
    x0, y0, x1, y1 = face().box
    left = cut * ENLARGED
    found = measure_skin(
        np.ascontiguousarray(enlarged()[:, left:]), np.subtract(LANDMARKS * ENLARGED, (left, 0)), (x0 - left, y0, x1 - left, y1),
        usual_noise=reference.noise,
    )  # fmt: skip
    assert found.reason == reason
    if reason is None:
        assert 9 <= found.levels[64].blocks < 129 / 1.5
        assert (score_skin(found, reference).score or 0) > 0.6


def test_a_picture_smaller_than_the_landmarks_say_is_no_crash(reference: SkinReference) -> None:
    for size in (1, 2, 7):
        assert measure_skin(np.full((size, size, 3), (200, 150, 130), dtype=np.uint8), LANDMARKS, BOX).reason == "too_little_skin"


def test_a_face_smaller_than_the_references_scales_is_too_small() -> None:
    big = SkinReference({64: _level_of(enlarged())}, 1)
    assert score_skin(measured(original(), 1.0), big) == SkinScore(None, "face_too_small")


def _level_of(rgb: Rgb) -> Any:
    return SkinReference.from_measurements([measured(rgb)]).levels[64]


# --- references


def measurement(texture: float = 0.0, noise: float = 0.0, color: float = 0.0, scales: tuple[int, ...] = (24,)) -> SkinMeasurement:
    quantiles = np.full(2 * len(QUANTILES), color, dtype=np.float32)
    return SkinMeasurement(100.0, None, {scale: SkinLevel(texture, noise, quantiles, 50) for scale in scales})


def test_references_are_condensed_to_medians_and_their_own_colour_distance() -> None:
    references = [measurement(-1.0, 0.1, 0.0), measurement(-3.0, 0.2, 2.0), measurement(-2.0, 0.9, 6.0)]
    level = SkinReference.from_measurements(references).levels[24]
    assert (level.texture, level.noise) == (-2.0, 0.2)
    # each to the others: (2 + 6) / 2, (2 + 4) / 2, (6 + 4) / 2
    assert level.color_spread == 4.0


def test_a_lone_reference_takes_the_usual_colour_distance_and_is_flagged() -> None:
    reference = SkinReference.from_measurements([measurement()])
    assert reference.levels[24].color_spread == LONE_REFERENCE_DISTANCE
    assert score_skin(measurement(), reference).flags == ("small_face", "one_reference")


def test_references_without_skin_are_left_out() -> None:
    references = [measurement(-1.0), SkinMeasurement(40.0, "grey"), SkinMeasurement(10.0, "face_too_small")]
    condensed = SkinReference.from_measurements(references)
    assert (condensed.count, condensed.levels[24].texture) == (1, -1.0)


def test_no_reference_shows_skin() -> None:
    nothing = SkinReference.from_measurements([SkinMeasurement(40.0, "grey")])
    assert score_skin(measurement(), nothing) == SkinScore(None, "no_reference_skin")
    assert score_skin(measured(enlarged(), usual_noise=nothing.noise), nothing) == SkinScore(None, "no_reference_skin")
    assert SkinReference.from_measurements([]).levels == {}


def test_a_scale_that_few_references_reach_does_not_count() -> None:
    references = [measurement(scales=SCALES), measurement(scales=(32, 24)), measurement(scales=(24,))]
    assert set(SkinReference.from_measurements(references).levels) == {32, 24}


# --- from raw numbers to the policy's scale


@pytest.mark.parametrize(
    ("texture", "noise", "color", "expected"),
    [
        # sides L(.68/.36) L(2.025/.36) L(2.3/.35) = .86864 · .99641 · .99860 = .86432; ^.7 = .90298; .6 + .8 (x - .5) of each
        pytest.param(0.0, 0.0, 0.0, (0.9224, 0.8915, 1.0, ()), id="like the references"),
        # L(0) L(2.705/.36) L(2.3/.35) = .5 · .99945 · .99860 = .49903; / .5 · .6; ^.7 = .61474
        pytest.param(-0.68, 0.0, 0.0, (0.6918, 0.5988, 1.0, ("too_smooth",)), id="the smooth operating point"),
        # L(2.705/.36) L(0): the same
        pytest.param(2.025, 0.0, 0.0, (0.6918, 0.5988, 1.0, ("too_coarse",)), id="the coarse operating point"),
        # L(.68/.36) L(2.025/.36) L(0) = .86552 · .5 = .43276; / .5 · .6; ^.7 = .55638
        pytest.param(0.0, 2.3, 0.0, (0.6451, 0.5193, 1.0, ()), id="the noisy operating point"),
        # d - D0 - 1 = 20 - 6 - 1 = 13: exp(-1.69) = .18452; / .5 · .55; .90298 · .18452^.3 = .90298 · .60229 = .54386
        pytest.param(0.0, 0.0, 20.0, (0.6351, 0.8915, 0.203, ("off_color",)), id="another colour"),
        pytest.param(0.0, 0.0, 7.0, (0.9224, 0.8915, 1.0, ()), id="within the references' own distance and one"),
        pytest.param(-50.0, 50.0, 500.0, (0.0, 0.0, 0.0, ("too_smooth", "too_noisy", "off_color")), id="far off"),
        pytest.param(50.0, 0.0, 0.0, (0.0, 0.0, 1.0, ("too_coarse",)), id="far too coarse"),
    ],
)
def test_the_score_of_known_differences(
    texture: float, noise: float, color: float, expected: tuple[float, float, float, tuple[str, ...]]
) -> None:
    reference = SkinReference.from_measurements([measurement(scales=(64,))])
    found = score_skin(measurement(texture, noise, color, scales=(64,)), reference)
    assert found.score == pytest.approx(expected[0], abs=1e-4)
    assert found.texture == pytest.approx(expected[1], abs=1e-4)
    assert found.color == pytest.approx(expected[2], abs=1e-3)
    assert set(found.flags) - {"too_smooth", "too_coarse"} == {*expected[3], "one_reference"} - {"too_smooth", "too_coarse"}


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        # -.68 times 1, .76, .35, .29: where full smoothing takes less off, less is needed to be called smooth
        # L(-.12/.36) = .4174 and L(.12/.36) = .5826, times the other sides' .998; L(.12/.76/.36) = .6079
        pytest.param(64, -0.6800, (0.4999, 0.6651), id="64"),
        pytest.param(48, -0.5168, (0.4695, 0.6854), id="48"),
        # below 48 the lowest is 0, whatever the texture: at best borderline
        pytest.param(32, -0.2380, (0.0, 0.9838), id="32"),
        pytest.param(24, -0.1972, (0.0, 0.9917), id="24"),
    ],
)
def test_each_scale_has_its_own_effect_and_doubt(scale: int, offset: float, expected: tuple[float, float]) -> None:
    reference = SkinReference.from_measurements([measurement(scales=SCALES)])
    found = score_skin(measurement(offset, scales=(scale,)), reference)
    assert found.texture == pytest.approx(0.6, abs=0.01)
    assert found.texture_range == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("share", "color_share", "noise", "grain"),
    [
        pytest.param(0.55, None, 0.0, False, id="below the limit"),
        pytest.param(0.66, None, 0.0, True, id="above it"),
        pytest.param(0.1, -0.4, 0.6, True, id="in colour"),
        pytest.param(0.1, -0.6, 0.6, False, id="skin more colourful than the rest"),
        pytest.param(0.1, -0.4, 0.4, False, id="no more than the references' noise"),
    ],
)
def test_grain_is_what_the_whole_picture_has(share: float, color_share: float | None, noise: float, grain: bool) -> None:
    reference = SkinReference.from_measurements([measurement(scales=(64,))])
    usual = measurement(0.5, noise, scales=(64,))
    level = replace(usual.levels[64], noise_share=share, color_noise_share=color_share)
    found = score_skin(replace(usual, levels={64: level}), reference)
    assert ("grain" in found.flags) is grain
    assert passes(found) is not grain
    assert found.texture_range is not None and (found.texture_range[1] < TEXTURE_POINT) is grain  # and is not borderline


@pytest.mark.parametrize(("share", "grain", "unsure"), [(0.54, False, False), (0.57, False, True), (0.63, True, True), (0.66, True, False)])
def test_grain_near_its_limit_is_borderline(share: float, grain: bool, unsure: bool) -> None:
    reference = SkinReference.from_measurements([measurement(scales=(64,))])
    usual = measurement(0.5, scales=(64,))
    found = score_skin(replace(usual, levels={64: replace(usual.levels[64], noise_share=share)}), reference)
    assert ("grain" in found.flags, passes(found)) == (grain, not grain)
    assert found.texture_range is not None
    low, high = found.texture_range
    assert (low < TEXTURE_POINT <= high) is unsure


@pytest.mark.parametrize(
    ("edges", "correction"),
    [(0.0, 0.0), (0.15, 0.0), (-0.15, 0.0), (-0.4, 0.25), (-2.0, 0.7), (0.4, -0.5)],
    ids=["as sharp", "a little sharper", "a little softer", "out of focus", "far out of focus", "sharpened"],
)
def test_edges_correct_the_texture(edges: float, correction: float) -> None:
    assert edge_correction(edges) == pytest.approx(correction)


# --- regions


def test_a_cheek_turned_away_is_left_out() -> None:
    frontal = face_frame(LANDMARKS, BOX)
    turned_points = np.array([[200.0, 102.0], [232.0, 102.0], [204.0, 125.0], [204.0, 143.0], [228.0, 143.0]])
    turned = face_frame(turned_points, BOX)
    assert frontal is not None and turned is not None
    assert skin_regions(frontal) == (LEFT_CHEEK, RIGHT_CHEEK)
    assert skin_regions(turned) == (RIGHT_CHEEK,)
    mirrored = face_frame((turned_points * (-1, 1))[[1, 0, 2, 4, 3]], (-300.0, 0.0, 0.0, 300.0))
    assert mirrored is not None and skin_regions(mirrored) == (LEFT_CHEEK,)


def test_the_canonical_points_have_their_own_frame() -> None:
    points = np.array([*CANONICAL_POINTS[:2], (0.0, 0.6), *CANONICAL_POINTS[2:]]) * 50 + (200, 100)
    frame = face_frame(points, (150.0, 50.0, 250.0, 200.0))
    assert frame is not None
    assert frame.unit == pytest.approx(50.0) and frame.eyes == pytest.approx([200.0, 100.0]) and frame.nose == pytest.approx(0.5)
    # the left cheek: (-.48, .60) of 50 pixels from the middle of the eyes
    assert frame.outline(LEFT_CHEEK).mean(axis=0) == pytest.approx([176.0, 130.0])


def test_one_wrong_point_moves_the_cheeks_little() -> None:
    moved_points = LANDMARKS.copy()
    moved_points[3] += (6.0, 0.0)
    before, after = face_frame(LANDMARKS, BOX), face_frame(moved_points, BOX)
    assert before is not None and after is not None
    assert np.abs(after.outline(LEFT_CHEEK) - before.outline(LEFT_CHEEK)).max() < 3.0


def test_turned_faces_have_turned_regions() -> None:
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # a quarter clockwise in the picture: (x, y) -> (-y, x)
    upright, lying = face_frame(LANDMARKS, BOX), face_frame(LANDMARKS @ turn, (-176.0, 178.0, -63.0, 268.0))
    assert upright is not None and lying is not None
    assert skin_regions(upright) == skin_regions(lying)
    for region in skin_regions(upright):
        assert lying.outline(region) == pytest.approx(upright.outline(region) @ turn)


def test_what_is_no_skin_is_gated_out() -> None:
    frame = face_frame(LANDMARKS, BOX)
    assert frame is not None
    lab = np.empty((200, 300, 3), dtype=np.float32)
    lab[:] = (70.0, 15.0, 18.0)
    whole = skin_mask(lab, frame)
    lab[116:119] = (15.0, 15.0, 18.0)  # a dark rim of the same colour
    lab[132:135] = (70.0, 15.0, 60.0)  # a strap of the same lightness
    lab[126:128] = (99.0, 14.0, 17.0)  # shine
    gated = skin_mask(lab, frame)
    bands = ((116, 119), (132, 135), (126, 128))
    assert all(gated[first:last].sum() == 0 < whole[first:last].sum() for first, last in bands)
    rest = np.ones(200, dtype=bool)
    for first, last in bands:
        rest[first:last] = False
    assert np.array_equal(gated[rest], whole[rest])
