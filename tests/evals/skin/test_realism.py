"""Skin realism on a real portrait with known landmarks: what must move the score, and what must not."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.picture_changes import BENIGN, FILTERS, STRENGTHS, add_noise, relight
from evals.faces.face_engine import Face
from evals.skin.realism import (
    LONE_REFERENCE_DISTANCE,
    QUANTILES,
    SCALES,
    SkinLevel,
    SkinMeasurement,
    SkinReference,
    SkinScore,
    measure_skin,
    score_skin,
)
from evals.skin.regions import crop_box, face_frame, skin_mask, skin_regions
from tests.evals.portraits import portrait

LANDMARKS = np.array([[200.0, 102.0], [247.0, 103.0], [220.0, 125.0], [199.0, 143.0], [240.0, 144.0]])
BOX = (178.0, 63.0, 268.0, 176.0)
"""The portrait's face, as YuNet finds it, rounded to pixels."""
ENLARGED = 2
"""The portrait's face has a unit of 47 pixels; enlarged it reaches every scale."""

Rgb = NDArray[np.uint8]


def original() -> Rgb:
    return np.asarray(portrait())


def enlarged() -> Rgb:
    size = (ENLARGED * portrait().width, ENLARGED * portrait().height)
    return np.asarray(portrait().resize(size, Image.Resampling.BICUBIC))


def measured(rgb: Rgb, factor: float = 1.0, **options: Any) -> SkinMeasurement:
    box = (BOX[0] * factor, BOX[1] * factor, BOX[2] * factor, BOX[3] * factor)
    return measure_skin(rgb, LANDMARKS * factor, box, **options)


@pytest.fixture(scope="module")
def reference() -> SkinReference:
    """The portrait in three lights: the norm that its changes are put against."""
    lights = (original(), relight(original(), 0.95, 0.95, 0.95), relight(original(), 1.02, 1.0, 0.98))
    return SkinReference.from_measurements([measured(rgb) for rgb in lights])


def scored(rgb: Rgb, reference: SkinReference, factor: float = 1.0) -> SkinScore:
    return score_skin(measured(rgb, factor), reference)


# --- what must move the score


@pytest.mark.parametrize("name", FILTERS)
def test_the_score_falls_with_every_step_of_a_beauty_filter(name: str, reference: SkinReference) -> None:
    face = Face(BOX, LANDMARKS, 1.0)
    steps = [scored(FILTERS[name](original(), face, strength) if strength else original(), reference) for strength in (0.0, *STRENGTHS)]
    for values in ([step.score for step in steps], [step.texture for step in steps], [step.texture_offset for step in steps]):
        assert all(value is not None for value in values)
        assert values == sorted(values, key=lambda value: -(value or 0.0)), values
        assert len(set(values)) == len(values)
    assert (steps[0].score or 0) > 0.9
    assert (steps[-1].score or 0) < (steps[0].score or 0) - 0.15


def test_plastic_skin_fails_and_says_why(reference: SkinReference) -> None:
    image = portrait()
    skin = image.crop((170, 60, 280, 180)).resize((14, 15), Image.Resampling.BOX).resize((110, 120), Image.Resampling.BICUBIC)
    image = image.copy()
    image.paste(skin, (170, 60))
    found = scored(np.asarray(image), reference)
    assert found.flags == ("too_smooth",)
    assert (found.score or 1.0) < 0.3
    assert (found.texture or 1.0) < 0.1


def test_noise_is_as_unreal_as_smoothness(reference: SkinReference) -> None:
    scores = [scored(add_noise(original(), deviation), reference) for deviation in (0.0, 15.0, 25.0, 40.0)]
    values = [found.score or 0.0 for found in scores]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.3
    assert "too_noisy" in scores[-1].flags
    assert "too_smooth" not in scores[-1].flags


def test_another_colour_of_light_lowers_colour_alone(reference: SkinReference) -> None:
    green = scored(relight(original(), 0.8, 1.1, 0.8), reference)
    assert green.flags == ("off_color",)
    assert (green.color or 1.0) < 0.55
    assert (green.texture or 0.0) > 0.85


# --- what must not


@pytest.mark.parametrize("name", BENIGN)
@pytest.mark.parametrize(("picture", "factor"), [pytest.param(original, 1.0, id="as it is"), pytest.param(enlarged, 2.0, id="enlarged")])
def test_benign_changes_hardly_move_the_score(name: str, picture: Callable[[], Rgb], factor: float) -> None:
    own = SkinReference.from_measurements([measured(picture(), factor)])
    changed = BENIGN[name](picture())
    found = scored(changed, own, factor * changed.shape[0] / picture().shape[0])
    before = scored(picture(), own, factor)
    assert found.score is not None and before.score is not None
    assert abs(found.score - before.score) < 0.06, (before, found)


def test_only_the_face_counts(reference: SkinReference) -> None:
    frame = face_frame(LANDMARKS, BOX)
    assert frame is not None
    x0, y0, x1, y1 = crop_box(frame, 512, 512)
    elsewhere = np.random.default_rng(1).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    elsewhere[y0:y1, x0:x1] = original()[y0:y1, x0:x1]
    assert scored(elsewhere, reference) == scored(original(), reference)


def test_a_shift_of_the_picture_moves_nothing(reference: SkinReference) -> None:
    shifted = np.ascontiguousarray(original()[5:, 3:])
    found = score_skin(measure_skin(shifted, np.subtract(LANDMARKS, (3, 5)), (175.0, 58.0, 265.0, 171.0)), reference)
    assert found == scored(original(), reference)


def test_the_values_are_known() -> None:
    """Pins the measure: a change of it must be a new METRIC."""
    levels = measured(original()).levels
    found = {scale: (level.texture, level.noise, level.blocks) for scale, level in levels.items()}
    assert set(found) == {48, 32, 24}
    assert found[48] == (pytest.approx(-2.9826, abs=0.01), pytest.approx(-0.5874, abs=0.01), 203)
    assert found[32] == (pytest.approx(-2.9228, abs=0.01), pytest.approx(-1.1477, abs=0.01), 86)
    assert found[24] == (pytest.approx(-2.9084, abs=0.01), pytest.approx(-1.1412, abs=0.01), 44)
    assert [len(level.color) for level in levels.values()] == [2 * len(QUANTILES)] * 3


@pytest.mark.parametrize("picture", [pytest.param((original, 1.0), id="as it is"), pytest.param((enlarged, 2.0), id="enlarged")])
def test_measuring_for_a_reference_gives_the_same_score(picture: tuple[Callable[[], Rgb], float], reference: SkinReference) -> None:
    rgb, factor = picture[0](), picture[1]
    quick = measured(rgb, factor, reference=reference)
    assert set(quick.levels) == {48}  # 64 is not a scale of these references
    assert score_skin(quick, reference) == scored(rgb, reference, factor)


# --- faces that cannot be judged


def grey(image: Image.Image) -> Rgb:
    return np.asarray(image.convert("L").convert("RGB"))


def grey_jpeg(image: Image.Image) -> Rgb:
    buffer = io.BytesIO()
    Image.fromarray(grey(image)).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer).convert("RGB"))


@pytest.mark.parametrize("make", [grey, grey_jpeg])
def test_a_grey_face_has_no_score(make: Callable[[Image.Image], Rgb], reference: SkinReference) -> None:
    assert scored(make(portrait()), reference) == SkinScore(None, "grey")


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


@pytest.mark.parametrize(("cut", "reason"), [(230, None), (262, "too_little_skin")])
def test_a_face_cut_by_the_edge_is_judged_by_what_is_left_of_it(cut: int, reason: str | None, reference: SkinReference) -> None:
    points, box = moved(-cut, 0)
    found = measure_skin(np.ascontiguousarray(original()[:, cut:]), points, box, reference=reference)
    assert found.reason == reason
    if reason is None:
        assert 9 <= found.levels[48].blocks < 203 / 2
        assert (score_skin(found, reference).score or 0) > 0.6


def test_a_picture_smaller_than_the_landmarks_say_is_no_crash(reference: SkinReference) -> None:
    for size in (1, 2, 7):
        assert measure_skin(np.full((size, size, 3), (200, 150, 130), dtype=np.uint8), LANDMARKS, BOX).reason == "too_little_skin"


def test_a_face_smaller_than_the_references_scales_is_too_small() -> None:
    big = SkinReference({64: _level_of(enlarged())}, 1)
    assert score_skin(measured(original()), big) == SkinScore(None, "face_too_small")


def _level_of(rgb: Rgb) -> Any:
    return SkinReference.from_measurements([measured(rgb, ENLARGED)]).levels[64]


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
    assert score_skin(measured(original(), reference=nothing), nothing) == SkinScore(None, "no_reference_skin")
    assert SkinReference.from_measurements([]).levels == {}


def test_a_scale_that_few_references_reach_does_not_count() -> None:
    references = [measurement(scales=SCALES), measurement(scales=(32, 24)), measurement(scales=(24,))]
    assert set(SkinReference.from_measurements(references).levels) == {32, 24}


# --- from raw numbers to the policy's scale


@pytest.mark.parametrize(
    ("texture", "noise", "color", "expected"),
    [
        # sides L(2.5) L(5.625) L(9.43) = .92414 · .99641 · .99992 = .92075; ^.7 = .94383; .6 + .8 (.94383 - .5), .6 + .8 (.92075 - .5)
        pytest.param(0.0, 0.0, 0.0, (0.9551, 0.9366, 1.0, ()), id="like the references"),
        # -.9 / .45 = -2: L(0) L(8.125) L(9.43) = .5 · .99970 · .99992 = .49981; / .5 · .6; ^.7 = .61541
        pytest.param(-0.9, 0.0, 0.0, (0.6923, 0.5998, 1.0, ()), id="the smooth operating point"),
        # 2.025 / .45 = 4.5: L(8.125) L(0) = .49985; with L(9.43) .49981
        pytest.param(2.025, 0.0, 0.0, (0.6923, 0.5998, 1.0, ()), id="the coarse operating point"),
        # L(2.5) L(5.625) L(0) = .92082 · .5 = .46041; / .5 · .6 = .55249; ^.7 = .58103; .6 + .8 (.58103 - .5)
        pytest.param(0.0, 3.3, 0.0, (0.6648, 0.5525, 1.0, ()), id="the noisy operating point"),
        # d - D0 - 1 = 20 - 6 - 1 = 13: exp(-1.69) = .18452; / .5 · .55; .92075^.7 · .18452^.3 = .94383 · .60229 = .56846
        pytest.param(0.0, 0.0, 20.0, (0.6548, 0.9366, 0.203, ("off_color",)), id="another colour"),
        pytest.param(0.0, 0.0, 7.0, (0.9551, 0.9366, 1.0, ()), id="within the references' own distance and one"),
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
    assert found.flags[:-1] == expected[3] and found.flags[-1] == "one_reference"


# --- regions


def test_a_cheek_turned_away_is_left_out() -> None:
    frontal = face_frame(LANDMARKS, BOX)
    turned_points = np.array([[200.0, 102.0], [232.0, 102.0], [204.0, 125.0], [204.0, 143.0], [228.0, 143.0]])
    turned = face_frame(turned_points, BOX)
    assert frontal is not None and turned is not None
    assert len(skin_regions(frontal)) == 3
    left = skin_regions(turned)
    assert len(left) == 2
    assert left[0].center[0] > turned_points[:, 0].mean()  # the cheek that stays is the one on the right
    assert left[1].center[0] == pytest.approx(216.0 + 0.15 * turned.unit)  # and the forehead follows it


def test_turned_faces_have_turned_regions() -> None:
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # a quarter clockwise in the picture: (x, y) -> (-y, x)
    upright, lying = face_frame(LANDMARKS, BOX), face_frame(LANDMARKS @ turn, (-176.0, 178.0, -63.0, 268.0))
    assert upright is not None and lying is not None
    for one, other in zip(skin_regions(upright), skin_regions(lying), strict=True):
        assert other.center == pytest.approx(one.center @ turn)
        assert other.outline(lying).mean(axis=0) == pytest.approx(one.outline(upright).mean(axis=0) @ turn)


def test_what_is_no_skin_is_gated_out() -> None:
    frame = face_frame(LANDMARKS, BOX)
    assert frame is not None
    lab = np.empty((200, 300, 3), dtype=np.float32)
    lab[:] = (70.0, 15.0, 18.0)
    whole = skin_mask(lab, frame)
    lab[118:124] = (15.0, 15.0, 18.0)  # a dark rim of the same colour
    lab[60:75] = (70.0, 15.0, 60.0)  # a headband of the same lightness
    lab[128:130] = (99.0, 14.0, 17.0)  # shine
    gated = skin_mask(lab, frame)
    assert gated[118:124].sum() == gated[60:75].sum() == gated[128:130].sum() == 0
    assert whole[118:124].sum() > 0 and whole[60:75].sum() > 0 and whole[128:130].sum() > 0
    rest = np.ones(200, dtype=bool)
    for first, last in ((118, 124), (60, 75), (128, 130)):
        rest[first:last] = False
    assert np.array_equal(gated[rest], whole[rest])
