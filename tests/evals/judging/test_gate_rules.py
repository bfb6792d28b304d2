"""The rules that stand on the table of gates, each at its edges: verdict, mean, overall score, grade, rank. Numbers only, no picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evals.judging import gates
from evals.judging.gates import (
    Mean,
    Means,
    gate_of,
    gates_in_force,
    grade,
    headline_gates,
    is_grade_enough,
    keep_readings,
    limits_of,
    look_up,
    mean_of_scores,
    means,
    means_of_readings,
    overall,
    picture_overall,
    rank_key,
    why_not_ranked,
)
from evals.judging.picture_verdict import approves, describe_group, describe_miss, verdict
from evals.judging.records import Assessment, FaceScore, Reading
from evals.load_thresholds import load_thresholds
from evals.skin.realism import SkinScore


def make_policy(**changes: Any) -> dict[str, Any]:
    """Limits .60 face, .55 skin, .50 texture, .45 colour; weights .75 and .25; at least 5 pictures, half of them scored."""
    limits = {
        "face_similarity.pass_threshold": 0.60,
        "skin_realism.overall_pass_threshold": 0.55,
        "skin_realism.texture_pass_threshold": 0.50,
        "skin_realism.color_naturalness_pass_threshold": 0.45,
        "scorecard.minimum_pictures": 5,
        "scorecard.minimum_coverage": 0.5,
    }
    return load_thresholds(overrides=limits | {key.replace("__", "."): value for key, value in changes.items()})


POLICY = make_policy()


def assess(
    face: float | str | None, skin: float | str | None = 0.8, texture: float = 0.8, color: float = 0.8, reason: str | None = None
) -> Assessment:
    """A picture with these scores; text is why a score is missing."""
    seen = FaceScore(face, None) if isinstance(face, float) else FaceScore(None, face)
    found = SkinScore(skin, None, texture=texture, color=color) if isinstance(skin, float) else SkinScore(None, skin)
    return Assessment("a.png", "0" * 64, 8, 8, reason, seen, found)


CASES: dict[str, tuple[Assessment, tuple[str, ...]]] = {
    "all at their limits": (assess(0.6, 0.55, 0.5, 0.45), ()),
    "at 4 decimals it reaches the limit": (assess(0.59996), ()),
    "at 4 decimals it does not": (assess(0.59994), ("face similarity 0.5999 is below 0.6000",)),
    "every gate says no": (
        assess(0.41, 0.32, 0.23, 0.14),
        (
            "face similarity 0.41 is below 0.60",
            "skin realism 0.32 is below 0.55",
            "skin texture 0.23 is below 0.50",
            "skin colour 0.14 is below 0.45",
        ),
    ),
    "no face is one reason": (assess("no_face", "no_face"), ("no face found",)),
    "a face without a reason": (assess(None, None), ("no face found",)),
    "unreadable is one reason": (assess("truncated", "truncated", reason="truncated"), ("the file is cut off",)),
    "skin that cannot be judged": (assess(0.9, "grey"), ("skin cannot be judged: the picture has no colour",)),
    "skin that was never asked for": (assess(0.9, "not_measured"), ()),
    "a weak face and no skin": (
        assess(0.5, "too_little_skin"),
        ("face similarity 0.50 is below 0.60", "skin cannot be judged: too little skin is visible"),
    ),
}


@pytest.mark.parametrize(("assessment", "reasons"), CASES.values(), ids=CASES)
def test_verdicts(assessment: Assessment, reasons: tuple[str, ...]) -> None:
    found = verdict(assessment, POLICY)
    assert (found.reasons, found.approved) == (reasons, not reasons)


def test_a_gate_whose_limit_the_policy_does_not_hold_is_off() -> None:
    policy = make_policy()
    del policy["skin_realism"]["texture_pass_threshold"]
    assert [gate.key for gate in gates_in_force(policy)] == ["face", "skin", "color"]
    assert limits_of(policy) == {"face": 0.60, "skin": 0.55, "color": 0.45}
    assert verdict(assess(0.9, 0.8, texture=0.0), policy).approved


def test_a_gate_can_be_lower_is_better_and_of_a_measure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = replace(
        gate_of("face"),
        key="faces",
        title="other faces",
        subject="other faces",
        limit_key="face_similarity.others",
        read=gates.measured("faces"),
        weight_key=None,
        zero_key=None,
        lower_is_better=True,
    )
    monkeypatch.setattr(gates, "GATES", (*gates.GATES, alone))
    policy = make_policy()
    policy["face_similarity"]["others"] = 0.2
    for score, reasons in ((0.2, ()), (0.20004, ()), (0.2001, ("other faces 0.2001 is above 0.2000",)), (0.0, ())):
        assert verdict(replace(assess(0.9), measures={"faces": Reading(score)}), policy).reasons == reasons
    assert verdict(assess(0.9), policy).approved  # it was never measured
    unread = assess("truncated", "truncated", reason="truncated")
    assert verdict(unread, policy).reasons == ("the file is cut off",)
    assert describe_group(("faces", "above", ""), limits_of(policy)) == "other faces above 0.20"
    assert overall({"face": 0.8, "skin": 0.6}, policy) == 0.75  # a gate without weight changes nothing


def test_a_gate_that_looks_at_the_others_keeps_what_it_read(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = replace(
        gate_of("face"), key="twin", limit_key="face_similarity.twin", weight_key=None, needs_others=True,
        read=lambda item, others: Reading(float(len(others))),
    )  # fmt: skip
    monkeypatch.setattr(gates, "GATES", (*gates.GATES, twin))
    policy = make_policy()
    assert keep_readings(assess(0.9), policy, [assess(0.1)]) == assess(0.9)  # off
    policy["face_similarity"]["twin"] = 0.5
    kept = keep_readings(replace(assess(0.9), measures={"more": Reading(0.5)}), policy, [assess(0.1), assess(0.2)])
    assert kept.measures == {"more": Reading(0.5), "twin": Reading(2.0)}
    assert twin.reading(kept) == Reading(2.0)  # not 0 of no others


def test_narrow_tables_show_one_gate_of_each_subject_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Face and skin have a weight; of the two gates of `pose`, which has none, the first in the table."""
    more = [replace(gate_of("face"), key=key, subject="pose", limit_key=f"pose.{key}", weight_key=None) for key in ("turn", "tilt")]
    monkeypatch.setattr(gates, "GATES", (*gates.GATES, *more))
    assert [gate.key for gate in headline_gates(POLICY)] == ["face", "skin"]
    policy = make_policy() | {"pose": {"turn": 0.5, "tilt": 0.5}}
    assert [gate.key for gate in headline_gates(policy)] == ["face", "skin", "turn"]
    del policy["pose"]["turn"]
    assert [gate.key for gate in headline_gates(policy)] == ["face", "skin", "tilt"]
    del policy["skin_realism"]["overall_pass_threshold"]
    assert [gate.key for gate in headline_gates(policy)] == ["face", "texture", "tilt"]


READ: dict[str, tuple[dict[str, Reading], bool]] = {
    "all pass": ({"face": Reading(0.6), "skin": Reading(0.55), "texture": Reading(0.5), "color": Reading(0.45)}, True),
    "one fails": ({"face": Reading(0.9), "skin": Reading(0.9), "texture": Reading(0.1)}, False),
    "old rows hold no texture": ({"face": Reading(0.9), "skin": Reading(0.9)}, True),
    "a gate with a weight is missing": ({"face": Reading(0.9)}, False),
    "skin could not be measured": ({"face": Reading(0.9), "skin": Reading(None, "grey")}, False),
    "skin was never asked for": ({"face": Reading(0.9), "skin": Reading(None, "not_measured")}, True),
    "nothing": ({}, False),
}


@pytest.mark.parametrize(("picture", "approved"), READ.values(), ids=READ)
def test_a_picture_of_a_row_is_approved_by_what_the_row_holds(picture: dict[str, Reading], approved: bool) -> None:
    assert approves(picture, POLICY) is approved


def test_reasons_are_grouped_by_gate_and_not_by_their_numbers() -> None:
    grounds = [verdict(assess(score), POLICY).grounds[0] for score in (0.41, 0.5999)]
    assert {ground.group for ground in grounds} == {("face", "below", "")}
    assert grounds[0].to_json() == {"gate": "face", "kind": "below", "cause": ""}


@pytest.mark.parametrize(
    ("group", "text"),
    [
        (("face", "below", ""), "face similarity below 0.60"),
        (("color", "below", ""), "skin colour below 0.45"),
        (("skin", "unmeasured", "grey"), "skin cannot be judged: the picture has no colour"),
        (("", "unmeasured", "no_face"), "no face found"),
        (("gone", "below", ""), "gone below its limit"),
    ],
)
def test_groups_in_words(group: tuple[str, str, str], text: str) -> None:
    assert describe_group(group, limits_of(POLICY)) == text


@pytest.mark.parametrize(
    ("score", "limit", "text"),
    [(0.41, 0.6, "f 0.41 is below 0.60"), (0.597, 0.6, "f 0.597 is below 0.600"), (0.5999, 0.6, "f 0.5999 is below 0.6000")],
)
def test_a_miss_is_told_with_as_many_decimals_as_show_it(score: float, limit: float, text: str) -> None:
    assert describe_miss("f", score, limit) == text


@pytest.mark.parametrize(
    ("scores", "mean"),
    [
        ([], Mean(None, 0, 0)),
        ([None, None], Mean(None, 0, 2)),
        ([0.5, None, 0.7], Mean(0.6, 2, 3)),
        ([0.33333, 0.33333, 0.33335], Mean(0.3333, 3, 3)),
    ],
)
def test_a_mean_is_over_what_there_is_and_says_of_how_many(scores: list[float | None], mean: Mean) -> None:
    assert mean_of_scores(scores) == mean


def test_coverage() -> None:
    assert (Mean(0.5, 3, 4).coverage, Mean(None, 0, 4).coverage, Mean(None, 0, 0).coverage) == (0.75, 0.0, 1.0)


CUT = assess("truncated", "truncated", reason="truncated")
PICTURES = [assess(0.8, 0.6), assess(0.6, "grey"), assess("no_face", "no_face"), CUT, CUT]


def test_means_of_a_run() -> None:
    """Face (.8 + .6) / 2, skin .6; overall .75 x .7 + .25 x .6."""
    found = means(PICTURES, POLICY)
    assert (found.value("face"), found.value("skin"), found.value("none of these")) == (0.7, 0.6, None)
    assert (found.overall, found.made, found.coverage) == (0.675, 5, 0.2)  # skin: one of five
    assert found.by_gate["face"] == Mean(0.7, 2, 5)


def test_no_face_may_count_as_zero_and_nothing_else_does() -> None:
    """(.8 + .6 + 0) / 3: not the file that could not be read, and no skin."""
    found = means(PICTURES, make_policy(face_similarity__no_face_counts_as_zero=True))
    assert found.by_gate["face"] == Mean(0.4667, 2, 5)
    assert found.by_gate["skin"] == Mean(0.6, 1, 5)
    assert found.overall == 0.5  # .75 x .4667 + .25 x .6 = .500025


def test_means_of_pictures_that_are_known_by_their_readings() -> None:
    """As in a history row, where a gate may be missing in a picture."""
    found = means_of_readings([{"face": Reading(0.8)}, {"skin": Reading(0.4)}, {}], POLICY)
    assert (found.value("face"), found.value("skin"), found.overall) == (0.8, 0.4, 0.7)
    assert found.by_gate["face"] == Mean(0.8, 1, 3)


WEIGHTS = {"scorecard.weights": {"face_similarity": 1.0, "skin_realism": 0.0}}


@pytest.mark.parametrize(
    ("scores", "changes", "score"),
    [
        ({"face": 0.8, "skin": 0.6}, {}, 0.75),
        ({"face": 0.71, "skin": 0.67}, {}, 0.7),  # the specification's example: grade B
        ({"face": 0.52, "skin": 0.48}, {}, 0.51),  # and its D
        ({"face": 0.8}, {}, None),
        ({"face": 0.8, "skin": None}, {}, None),
        ({"skin": 0.8}, {}, None),
        ({"face": 0.8, "skin": None}, WEIGHTS, 0.8),
        ({"face": None, "skin": 0.8}, WEIGHTS, None),
        ({"face": 0.8, "skin": 0.6, "texture": 0.0}, {}, 0.75),
    ],
    ids=["both", "grade B", "grade D", "no skin", "skin is null", "no face", "skin without weight", "face null", "texture has no weight"],
)
def test_overall(scores: dict[str, float | None], changes: dict[str, Any], score: float | None) -> None:
    assert overall(scores, make_policy(**changes)) == score


def test_where_no_gate_has_a_weight_there_is_no_overall_score() -> None:
    policy = make_policy()
    policy["scorecard"]["weights"] = {"face_similarity": 0.0, "skin_realism": 0.0}
    assert overall({"face": 0.8, "skin": 0.6}, policy) is None
    total = means([assess(0.8)] * 9, policy)
    assert (total.coverage, why_not_ranked(total, policy)) == (1.0, "no gate has a weight")


def test_a_picture_that_is_rejected_for_want_of_a_score_has_no_overall_score() -> None:
    assert picture_overall(assess(0.8, 0.6), POLICY) == 0.75
    assert picture_overall(assess(0.99, "grey"), POLICY) is None


@pytest.mark.parametrize(
    ("score", "name"),
    [(1.0, "A"), (0.85, "A"), (0.84996, "A"), (0.84994, "B"), (0.55, "C"), (0.5499, "D"), (0.0, "F"), (-0.1, "F"), (None, None)],
)
def test_grades(score: float | None, name: str | None) -> None:
    assert grade(score, make_policy(scorecard__grade_boundaries={"A": 0.85, "B": 0.70, "C": 0.55, "D": 0.40, "F": 0.0})) == name


def test_grades_are_ordered_by_their_boundaries_and_not_by_their_names() -> None:
    policy = make_policy()
    policy["scorecard"]["grade_boundaries"] = {"B": 0.4, "S": 0.9, "A": 0.7, "F": 0.0}
    assert [grade(score, policy) for score in (0.95, 0.75, 0.5, 0.1)] == ["S", "A", "B", "F"]


@pytest.mark.parametrize(
    ("name", "enough"), [("A", True), ("B", True), ("C", True), ("D", False), ("F", False), (None, False), ("E", False)]
)
def test_the_grade_that_promotion_wants(name: str | None, enough: bool) -> None:
    assert is_grade_enough(name, make_policy(scorecard__promotion_minimum_grade="C")) is enough


@pytest.mark.parametrize(
    ("pictures", "why"),
    [
        ([assess(0.9)] * 5, ""),
        ([assess(0.9)] * 4, "4 pictures are too few: 5 are wanted"),
        ([assess(0.9)] * 3 + [assess(0.9, "grey")] * 3, ""),
        ([assess(0.9)] * 2 + [assess(0.9, "grey")] * 3, "only 2 of 5 pictures have a score of skin realism; 50% are wanted"),
        ([assess(0.9)] * 2 + [assess("no_face", "no_face")] * 3, "only 2 of 5 pictures have a score of face similarity; 50% are wanted"),
        ([assess(0.9, "grey")] * 9, "no picture has a score of skin realism"),
        ([assess("no_face", "no_face")] * 9, "no picture has a score of face similarity and skin realism"),
        ([], "no picture has a score of face similarity and skin realism"),
    ],
    ids=["enough", "too few", "half of them", "too little skin", "too few faces", "no skin", "nothing", "no picture"],
)
def test_why_a_run_is_not_ranked(pictures: list[Assessment], why: str) -> None:
    assert why_not_ranked(means(pictures, POLICY), POLICY) == why


def test_a_gate_without_weight_needs_no_coverage() -> None:
    policy = make_policy(**WEIGHTS)
    assert why_not_ranked(means([assess(0.9, "grey")] * 9, policy), policy) == ""
    few = means([assess(0.9, "grey")] * 2 + [assess("no_face", "no_face")] * 3, policy)
    assert few.coverage == 0.4
    assert why_not_ranked(few, policy) == "only 2 of 5 pictures have a score of face similarity; 50% are wanted"


def test_runs_rank_by_their_score_after_those_that_lack_nothing() -> None:
    def run(face: float | str, made: int) -> Means:
        return means([assess(face, 0.8 if isinstance(face, float) else face)] * made, POLICY)

    runs = {"good": run(0.7, 9), "better": run(0.8, 9), "also": run(0.7, 9), "two of the best": run(1.0, 2), "none": run("no_face", 9)}
    assert sorted(runs, key=lambda name: rank_key(runs[name], POLICY, name)) == ["better", "also", "good", "two of the best", "none"]


def test_look_up() -> None:
    policy = {"a": {"b": 0}, "c": 1}
    assert [look_up(policy, key) for key in ("a.b", "a", "a.x", "c.b", "x")] == [0, {"b": 0}, None, None, None]


def test_an_unknown_gate_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        gate_of("no gate")
