"""Marks from a floor and a ceiling: figures that were measured, shares that the marks must keep, and what has no mark."""

from __future__ import annotations

import numpy as np
import pytest

from evals.calibrate_engine import PASS_ACCEPTS, WARN_ACCEPTS, EngineCalibration
from evals.faces.calibration import Calibration, Rate, calibrate, find_own_among
from evals.faces.centroid import centroid_of
from evals.faces.dlib_engine import read_stranger_mean
from evals.faces.face_engine import unit
from evals.faces.policy_scale import PolicyScale
from evals.faces.strangers import Floor, floor_of, statistics_of

NOBODY = np.zeros(0)
WISHES = {"warn_accepts": WARN_ACCEPTS, "pass_accepts": PASS_ACCEPTS}


def marks(floor: Floor, own: np.ndarray, shown: np.ndarray = NOBODY, **wishes: float) -> Calibration:
    found = calibrate(floor, own, shown, None, **{**WISHES, **wishes})
    assert isinstance(found, Calibration), found
    return found


@pytest.mark.parametrize(
    ("name", "middle", "rare", "lowest", "median", "warn", "passing"),
    [
        ("SFace", -0.01, 0.19, 0.33, 0.72, 0.36, 0.44),
        ("InsightFace's small pack", 0.02, 0.28, 0.39, 0.76, 0.40, 0.46),
    ],
)
def test_measured_figures_give_the_shipped_rows(
    name: str, middle: float, rare: float, lowest: float, median: float, warn: float, passing: float
) -> None:
    """206 strangers, of whom 5 % lie above `rare`, and 13 references left out one by one; the rows were set by looking at pictures."""
    floor = Floor(middle, (rare - middle) / 1.645, 206)
    own = np.array([lowest, *np.linspace(median - 0.15, median + 0.1, 12)])
    own += median - np.median(own)
    found = marks(floor, own)
    assert found.warn.cosine == pytest.approx(warn, abs=0.021)
    assert found.passing.cosine == pytest.approx(passing, abs=0.021)
    assert found.limited == ""


def test_a_mark_lets_through_no_more_than_was_wished() -> None:
    """The normal curve's own points: 1 % lie above 2.326 deviations, .2 % above 2.878; rounded up to two digits."""
    floor = Floor(0.0, 0.1, 205)
    own = np.full(10, 0.35)  # half the way is .175, .6 of it .21: both below the curve's points
    found = marks(floor, own)
    assert (found.warn.cosine, found.passing.cosine) == (0.24, 0.29)
    assert found.warn.accepts == pytest.approx(0.0082, abs=1e-4) and found.passing.accepts == pytest.approx(0.00187, abs=1e-5)
    strict = marks(floor, own, pass_accepts=0.0005)
    assert strict.passing.cosine == 0.33  # 3.291 deviations


def test_a_share_may_be_as_small_as_one_likes() -> None:
    """The normal curve's 20 deviations, 2.75e-89: 1 - 2.75e-89 is 1 in floating point, of which there is no such cosine."""
    floor = Floor(0.01, 0.02, 205)
    assert floor.share_above(0.41) == pytest.approx(2.7536e-89, rel=1e-4)
    assert floor.cosine_at(2.7536e-89) == pytest.approx(0.41, abs=1e-6)


def test_no_stranger_who_was_shown_passes() -> None:
    """One of them is far above what the curve says."""
    shown = np.array([*np.linspace(-0.1, 0.1, 40), 0.45])
    found = marks(floor_of(shown), np.linspace(0.6, 0.7, 10), shown)
    assert found.passing.cosine == 0.46 and found.passing.shown == Rate(0, 41)
    assert found.passing.shown is not None and found.passing.shown.high == pytest.approx(3 / 41)
    assert "highest stranger" in found.limited


def test_the_own_photos_set_an_upper_end() -> None:
    """Of ten own photos one may be rejected: the mark lies at the second lowest, .30, though .2 % of strangers lie above .36."""
    own = np.array([0.1, 0.305, *np.linspace(0.4, 0.6, 8)])
    found = marks(Floor(0.0, 0.125, 205), own)
    assert (found.passing.cosine, found.warn.cosine) == (0.3, 0.28)
    assert found.passing.rejects == Rate(1, 10) and "lower than wished for" in found.limited


@pytest.mark.parametrize(("photos", "rejected"), [(5, 0), (9, 0), (10, 1), (13, 1), (19, 1), (20, 2), (21, 2)])
def test_a_pass_mark_rejects_at_most_a_tenth_of_the_own_photos(photos: int, rejected: int) -> None:
    """All of them below the mark that was wished for: as many are rejected as a tenth allows, however few they are."""
    own = 0.3 + 0.01 * np.arange(photos)
    found = marks(Floor(0.0, 0.05, 205), own, pass_accepts=1e-40)
    assert found.passing.rejects == Rate(rejected, photos) and "lower than wished for" in found.limited


def test_an_engine_that_cannot_tell_them_apart_has_no_marks() -> None:
    own = np.array([0.05, 0.1, *np.linspace(0.2, 0.3, 8)])
    found = calibrate(Floor(0.0, 0.125, 205), own, NOBODY, None, **WISHES)
    assert isinstance(found, str) and found.endswith(
        "a pass mark of 0.10, which keeps 90% of the own photos, lets through 21.2% of all strangers"
    )
    shown = np.array([0.0] * 30 + [0.4])
    found = calibrate(floor_of(shown), own, shown, None, **WISHES)
    assert isinstance(found, str) and "lets through 1 of the 31 strangers" in found


def test_the_marks_in_force_are_told_as_well() -> None:
    found = calibrate(Floor(0.0, 0.1, 205), np.full(10, 0.5), NOBODY, PolicyScale(0.0, 0.2, 0.6, 1.0), **WISHES)
    assert isinstance(found, Calibration) and found.warn_now is not None and found.pass_now is not None
    assert found.warn_now.accepts == pytest.approx(0.02275, abs=1e-5) and found.pass_now.rejects == Rate(10, 10)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (0, 207, 0.0, 3 / 207),
        (1, 13, 0.0019, 0.3603),  # Clopper and Pearson's interval
        (7, 20, 0.1539, 0.5922),
        (13, 13, 0.7529, 1.0),
        (0, 2, 0.0, 1.0),
    ],
)
def test_rates_have_exact_intervals(count: int, of: int, low: float, high: float) -> None:
    rate = Rate(count, of)
    assert (rate.low, rate.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_the_character_among_the_strangers_is_found() -> None:
    random = np.random.default_rng(3)
    cosines = random.normal(0.02, 0.15, 60)
    own = np.linspace(0.5, 0.85, 12)
    assert list(find_own_among(cosines, own)) == []
    cosines[[7, 41]] = 0.62, 0.8
    assert list(find_own_among(cosines, own)) == [7, 41]


# The numbers that are carried


@pytest.mark.parametrize(("key", "mean", "deviation"), [("sface", 0.036252, 0.095369), ("dlib_centred", 0.009993, 0.087053)])
def test_the_carried_numbers_give_mean_and_variance(key: str, mean: float, deviation: float) -> None:
    """For one direction, by the full precision of the files that were measured."""
    known = statistics_of(key)
    assert known is not None and known.people == 205 and (known.covariance == known.covariance.T).all()
    direction = unit(np.random.default_rng(0).normal(size=len(known.mean)))
    floor = known.floor_for(direction)
    assert (floor.mean, floor.deviation) == (pytest.approx(mean, abs=2e-6), pytest.approx(deviation, abs=2e-6))


def test_there_are_numbers_for_no_other_engine() -> None:
    assert statistics_of("insightface_mini") is None and statistics_of("../x") is None and statistics_of("sface_other") is None


def test_people_drawn_from_the_carried_numbers_are_as_far_as_the_floor_says() -> None:
    """2,000 drawn embeddings against a middle of five of them: mean and deviation within four standard errors."""
    known = statistics_of("sface")
    assert known is not None
    drawn = np.random.default_rng(1).multivariate_normal(known.mean, known.covariance, 2005)
    centroid = centroid_of(np.array([unit(row) for row in drawn[:5]]))
    cosines, floor = drawn[5:] @ centroid, known.floor_for(centroid)
    assert cosines.mean() == pytest.approx(floor.mean, abs=4 * floor.deviation / 2000**0.5)
    assert cosines.std() == pytest.approx(floor.deviation, rel=4 / (2 * 2000) ** 0.5)


def test_the_stranger_mean_of_dlib_is_another_thing() -> None:
    """It is subtracted before an embedding is made; the carried mean is of what is left."""
    known = statistics_of("dlib_centred")
    assert known is not None and float(np.linalg.norm(known.mean)) < 0.2 < float(np.linalg.norm(read_stranger_mean()))


def test_an_average_stranger_at_nothing_is_written_without_a_sign() -> None:
    found = marks(Floor(-0.004, 0.08, 100), np.array([0.6] * 10))
    whole = EngineCalibration("toy", "toy", "", 10, np.array([0.6] * 10), NOBODY, Floor(-0.004, 0.08, 100), NOBODY, found)
    assert str(whole.row["stranger"]) == "0.0"
