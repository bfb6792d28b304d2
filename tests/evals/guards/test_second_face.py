"""The guard *second face*: a second person is measured against the subject, and the mark and the verdict follow one rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.guards.second_face import limit_in_force
from evals.judging.picture_verdict import verdict
from evals.load_thresholds import load_thresholds
from tests.evals.guards.people import open_with, policy_with, saved, two_people
from tests.evals.portraits import noise, portrait

ON = {"limit": 0.5}


def test_a_second_person_is_rejected_for_being_there(references: Path, tmp_path: Path) -> None:
    policy, assessor = policy_with(second_face=ON), open_with(references, second_face=ON)
    alone = assessor.assess(saved(portrait(), tmp_path / "alone.png"))
    assert alone.measures["second_face"].score == 0.0 and verdict(alone, policy).reasons == ()
    both = assessor.assess(saved(two_people(), tmp_path / "both.png"))
    share = both.measures["second_face"].score
    assert share is not None and 0.5 < share <= 1.0
    assert verdict(both, policy).reasons == (f"second face {share:.2f} is above 0.50",)
    assert "second_face" in both.face.flags


def test_somebody_small_behind_is_no_second_person(references: Path, tmp_path: Path) -> None:
    found = open_with(references, second_face=ON).assess(saved(two_people(0.5), tmp_path / "small.png"))
    share = found.measures["second_face"].score
    assert share is not None and 0 < share < 0.5 and found.face.faces == 2
    assert verdict(found, policy_with(second_face=ON)).approved and "second_face" not in found.face.flags


@pytest.mark.parametrize(("limit", "marked"), [(0.05, True), (0.95, False)])
def test_the_mark_follows_the_limit_of_the_guard(references: Path, tmp_path: Path, limit: float, marked: bool) -> None:
    """A person of some .2 of the subject's area: marked where the guard is that strict, whatever `second_face_area_ratio` says."""
    found = open_with(references, second_face={"limit": limit}).assess(saved(two_people(0.5), tmp_path / "small.png"))
    assert ("second_face" in found.face.flags) is marked
    assert verdict(found, policy_with(second_face={"limit": limit})).approved is not marked


def test_without_the_guard_the_mark_keeps_its_own_share() -> None:
    assert limit_in_force(load_thresholds()) == 0.5
    assert limit_in_force(load_thresholds(overrides={"face_similarity.second_face_area_ratio": 0.3})) == 0.3
    assert limit_in_force(policy_with(second_face={"limit": 0.8})) == 0.8


def test_an_empty_scene_has_one_reason(references: Path, tmp_path: Path) -> None:
    found = open_with(references, second_face=ON).assess(saved(noise(), tmp_path / "empty.png"))
    assert verdict(found, policy_with(second_face=ON)).reasons == ("no face found",)
