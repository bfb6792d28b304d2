"""The mark borderline: it follows the policy's limit, stands beside the verdict, and rejects only where the policy says so."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from evals.judging.borderline import is_borderline, mark_borderline
from evals.judging.picture_verdict import describe_group, verdict
from evals.judging.records import Assessment, FaceScore
from evals.load_thresholds import load_thresholds
from evals.skin.realism import SkinScore


def policy(**skin: Any) -> dict[str, Any]:
    return load_thresholds(overrides={f"skin_realism.{key}": value for key, value in skin.items()})


def skin(texture: float, low: float, high: float, *flags: str) -> SkinScore:
    return SkinScore(0.7, None, texture, 0.9, flags=flags, scale=64, texture_range=(low, high))


def picture(found: SkinScore) -> Assessment:
    return Assessment("a.png", "0" * 64, 8, 8, None, FaceScore(0.8, None, 0.7, 1), found)


@pytest.mark.parametrize(
    ("low", "high", "limit", "marked"),
    [
        pytest.param(0.55, 0.65, 0.60, True, id="the limit lies within"),
        pytest.param(0.60, 0.65, 0.60, False, id="the lowest passes"),
        pytest.param(0.55, 0.60, 0.60, True, id="the highest just passes"),
        pytest.param(0.50, 0.59, 0.60, False, id="the highest fails"),
        pytest.param(0.55, 0.65, 0.50, False, id="another limit"),
        pytest.param(0.0, 0.9, 0.0, False, id="a limit of 0 is always passed"),
    ],
)
def test_the_mark_follows_the_limit_of_the_policy(low: float, high: float, limit: float, marked: bool) -> None:
    found = skin((low + high) / 2, low, high)
    assert is_borderline(found, policy(texture_pass_threshold=limit)) is marked
    assert ("borderline" in mark_borderline(found, policy(texture_pass_threshold=limit)).flags) is marked


def test_another_limit_takes_the_mark_away_and_keeps_the_other_flags() -> None:
    marked = mark_borderline(skin(0.6, 0.55, 0.65, "small_face"), policy())
    assert marked.flags == ("borderline", "small_face")
    assert mark_borderline(marked, policy()) == marked
    assert mark_borderline(marked, policy(texture_pass_threshold=0.2)).flags == ("small_face",)


def test_a_policy_without_the_limit_marks_nothing() -> None:
    without = deepcopy(policy())
    del without["skin_realism"]["texture_pass_threshold"]
    assert not is_borderline(skin(0.6, 0.55, 0.65), without)


def test_the_verdict_follows_the_limit_unless_the_policy_rejects_what_is_borderline() -> None:
    passing, failing = picture(skin(0.62, 0.55, 0.65)), picture(skin(0.58, 0.55, 0.65))
    assert verdict(passing, policy()).approved
    assert verdict(failing, policy()).reasons == ("skin texture 0.58 is below 0.60",)
    strict = policy(reject_borderline=True)
    assert verdict(passing, strict).reasons == ("skin texture 0.62 is borderline to 0.60, and the policy rejects that",)
    assert verdict(failing, strict).reasons == ("skin texture 0.58 is below 0.60",)  # one reason is enough
    assert verdict(picture(skin(0.7, 0.65, 0.75)), strict).approved
    (ground,) = verdict(passing, strict).grounds
    assert describe_group(ground.group, {"texture": 0.6}) == "skin texture borderline"


def test_records_of_before_are_read_and_are_not_borderline() -> None:
    document = picture(skin(0.62, 0.55, 0.65, "borderline")).to_json()
    assert Assessment.from_json(document) == picture(skin(0.62, 0.55, 0.65, "borderline"))
    for key in ("texture_range", "edge_offset", "noise_share"):
        del document["skin"][key]
    old = Assessment.from_json(document)
    assert old.skin == replace(skin(0.62, 0, 0, "borderline"), texture_range=None)
    assert not is_borderline(old.skin, policy()) and verdict(old, policy(reject_borderline=True)).approved
