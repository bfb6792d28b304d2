"""The curve of a training: its means and intervals, what is missing, and what is not claimed."""

from __future__ import annotations

import pytest

from tests.tools.sweep.curves import POLICY, assessed, cell, make_curve, shots_of
from tools.sweep.checkpoint_curve import COPYING, IDENTITY, OVERALL, SKIN, VARIETY, contrast, measure_points, read_curve
from tools.sweep.error_spending import ErrorSpending
from tools.sweep.variety_by_picture import differences


def test_a_point_has_the_means_of_its_pictures_and_an_interval_around_each() -> None:
    shots = shots_of("step500_str0.80", lambda n: 0.5 + 0.01 * (n % 2), skin=lambda n: 0.7)
    curve = read_curve(shots, [cell(500)], POLICY, wanted=8)
    (point,) = measure_points(curve, 0.95)
    assert point.values[IDENTITY].effect == pytest.approx(0.505)
    assert point.values[OVERALL].effect == pytest.approx(0.75 * 0.505 + 0.25 * 0.7, abs=5e-5)  # the policy's weights
    low, high = point.values[IDENTITY].low, point.values[IDENTITY].high
    assert low is not None and high is not None
    # eight prompts off by .005: error .005 * sqrt(8 / 7) / sqrt(8) = .00189, times 2.365 (Student's t, 7 degrees) = .00447
    assert [low, high] == pytest.approx([0.50053, 0.50947], abs=2e-4)
    assert (point.made, point.unjudged) == (8, "")
    assert COPYING not in point.values and VARIETY not in point.values  # neither was measured


@pytest.mark.parametrize(
    ("made", "finished", "why"),
    [
        (8, (), ""),
        (5, (), "5 of 8 pictures so far"),
        (5, ("step500_str0.80",), ""),
        (3, ("step500_str0.80",), "only 3 of 8 pictures could be made"),
        (0, (), "0 of 8 pictures so far"),
    ],
    ids=["whole", "growing", "five could be made", "too few could be made", "none"],
)
def test_nothing_is_claimed_where_pictures_are_missing(made: int, finished: tuple[str, ...], why: str) -> None:
    other = shots_of("step250_str0.80", lambda n: 0.4 + 0.01 * n, skin=lambda n: 0.7)
    shots = shots_of("step500_str0.80", lambda n: 0.5 + 0.01 * n, prompts=made, skin=lambda n: 0.7)
    curve = read_curve([*other, *shots], [cell(500), cell(250)], POLICY, wanted=8, finished=finished)
    point = measure_points(curve, 0.95)[1]
    assert (point.cell.step, point.unjudged) == (500, why)
    assert all(value.low is None for value in point.values.values()) == bool(why)
    assert curve.judged == ((250,) if why else (250, 500))


def test_pictures_without_a_face_do_not_make_a_checkpoint_look_good() -> None:
    shots = shots_of("step500_str0.80", lambda n: 0.9 if n < 3 else None, skin=lambda n: 0.7)
    curve = read_curve(shots, [cell(500)], POLICY, wanted=8)
    assert curve.why_unjudged(0) == "only 2 of 8 pictures have a score of face similarity; 50% are wanted"


def test_identity_has_no_weight_where_the_references_were_trained_on() -> None:
    shots = shots_of("step500_str0.80", lambda n: 0.9 + 0.001 * n, skin=lambda n: 0.6 + 0.01 * (n % 2))
    curve = read_curve(shots, [cell(500)], POLICY, wanted=8, references_trained=True)
    assert dict(zip(curve.traits, curve.weights, strict=True)) == {IDENTITY: 0.0, SKIN: 1.0, VARIETY: 0.0, COPYING: 0.0}
    assert curve.mean(0, OVERALL) == curve.mean(0, SKIN) == 0.605


def test_variety_is_the_share_of_pairs_that_differ_and_copying_is_read_from_the_guard() -> None:
    # two pictures look left, six look ahead: 12 of 28 pairs differ in pose
    turned = {1: -40.0, 2: -40.0}
    shots = shots_of(
        "step500_str0.80", lambda n: 0.5, skin=lambda n: 0.7, yaw=lambda n: turned.get(n, 0.0), copying=lambda n: 0.3 if n == 1 else 0.0
    )
    curve = read_curve(shots, [cell(500)], POLICY, wanted=8)
    assert curve.mean(0, VARIETY) == pytest.approx(12 / 28, abs=5e-5)
    assert curve.mean(0, COPYING) == pytest.approx(0.3 / 8)


def test_each_picture_has_its_own_part_in_the_variety() -> None:
    """One of eight looks aside: 7 of 28 pairs differ, variety .25. It differs from all others, which differ from one of seven."""
    numbers = differences([assessed(0.5, yaw=40.0)] + [assessed(0.5, yaw=0.0) for _ in range(7)])
    assert numbers == pytest.approx([2 * 1 - 0.25] + [2 / 7 - 0.25] * 7)


def test_a_face_that_is_missing_leaves_the_variety_of_the_others() -> None:
    numbers = differences([assessed(0.5, yaw=0.0) for _ in range(4)] + [assessed(None)])
    assert numbers == [0.0, 0.0, 0.0, 0.0, None]
    assert differences([assessed(0.5, yaw=0.0) for _ in range(3)]) == [None] * 3  # too few to say anything of


def test_a_contrast_takes_only_pictures_that_both_sides_have() -> None:
    """Prompt 8 is easy and only the first has it: unpaired, the second would look worse."""
    first = shots_of("step250_str0.80", lambda n: 0.9 if n == 8 else 0.5 + 0.001 * n, skin=lambda n: 0.7)
    second = shots_of("step500_str0.80", lambda n: 0.52 + 0.0012 * n, prompts=7, skin=lambda n: 0.7)
    curve = read_curve([*first, *second], [cell(250), cell(500)], POLICY, wanted=8, finished=("step500_str0.80",))
    found = contrast(curve, [0], [1], IDENTITY, 0.95)
    assert found is not None
    assert found.effect == pytest.approx(0.0208)
    assert found.prompts == 7


def test_the_curve_as_it_was() -> None:
    curve = make_curve({250: [0.4], 500: [0.5], 750: [0.6]})
    assert curve.up_to(500).steps == (250, 500)
    assert curve.up_to(500).mean(1, OVERALL) == curve.mean(1, OVERALL)


@pytest.mark.parametrize("planned", [None, 12], ids=["open end", "planned"])
def test_all_looks_together_spend_no_more_than_the_error(planned: int | None) -> None:
    spending = ErrorSpending(0.05, planned)
    shares = [spending.at(look) for look in range(1, 13)]
    assert sum(shares) <= 0.05 + 1e-12
    assert shares[0] == (0.025 if planned is None else pytest.approx(0.05 / 12))
