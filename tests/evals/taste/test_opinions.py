"""Whose verdicts count, and for what: protocols are not mixed, and why a picture was judged is not forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from evals.judging.protocol import AGGREGATION
from evals.load_thresholds import load_thresholds
from evals.taste.calibrating import calibrate_limits
from evals.taste.opinions import (
    FREE,
    INFORMATIVE,
    MOVED,
    OWNER,
    RANDOM,
    JudgedBatch,
    Opinion,
    check_one_protocol,
    collect,
    measured_before,
)
from lifeos.errors import InputError
from tests.evals.taste.worlds import judge, make_picture

PICTURES = tuple(make_picture(f"{n}.png", f"p{n}", 0.5 + n / 10, approve=n > 0) for n in range(4))
ENGINES = {"sface": {"stranger": 0.0, "warn": 0.3, "pass": 0.4, "same": 1.0}}
POLICY = load_thresholds()


def make_reviewed(*opinions: Opinion, name: str = "batch_001", protocol: str = "one", **fields: Any) -> JudgedBatch:
    return JudgedBatch(name, {"id": protocol}, PICTURES, opinions, {"face": 0.6}, **fields)


def test_protocols_are_not_mixed() -> None:
    batches = [make_reviewed(name=name, protocol=protocol) for name, protocol in (("a", "one"), ("b", "two"), ("c", "one"))]
    with pytest.raises(InputError) as caught:
        check_one_protocol(batches)
    assert caught.value.why == "scored under 2 protocols, so their scores cannot be put together: a, c (one); b (two)"
    check_one_protocol([batches[0], batches[2]])


def test_moved_pictures_count_only_with_those_that_were_left() -> None:
    """Picture 0 was rejected and is moved; whoever looked at all agrees with the gates on the other three."""
    batch = make_reviewed(Opinion(PICTURES[0], OWNER, True, MOVED, batch="batch_001"))
    found, notes = collect([batch])
    assert found == [] and "1 moved picture left out" in notes[0] and "--looked-at-all" in notes[0]
    found, notes = collect([batch], looked_at_all=True)
    assert {each.picture.file: each.approved for each in found} == {"0.png": True, "1.png": True, "2.png": True, "3.png": True}
    assert {(each.choice, each.weight) for each in found} == {(RANDOM, 1.0)} and notes == []


def test_who_judged_a_whole_batch_chose_nothing() -> None:
    anna = [Opinion(picture, "anna", True, FREE, batch="batch_001") for picture in PICTURES]
    ben = [Opinion(picture, "ben", True, FREE, batch="batch_001") for picture in PICTURES[:3]]
    found, _ = collect([make_reviewed(*anna, *ben)])
    assert {each.by: each.weight for each in found} == {"anna": 1.0, "ben": None}


def test_weights_of_a_sample_are_kept() -> None:
    sample = [Opinion(PICTURES[0], "anna", True, INFORMATIVE, 1.0), Opinion(PICTURES[1], "anna", True, RANDOM, 2.5)]
    assert [each.weight for each in collect([make_reviewed(*sample)])[0]] == [1.0, 2.5]


def test_the_same_picture_in_two_batches_counts_once_for_each_person() -> None:
    older = Opinion(PICTURES[0], "anna", True, RANDOM, 1.0, when="2026-11-28T10:00:00Z", batch="batch_001")
    newer = Opinion(PICTURES[0], "anna", False, RANDOM, 1.0, when="2026-11-29T10:00:00Z", batch="batch_002")
    other = Opinion(PICTURES[0], "ben", True, RANDOM, 1.0, when="2026-11-27T10:00:00Z", batch="batch_002")
    for order in ([make_reviewed(newer), make_reviewed(older, other)], [make_reviewed(older, other), make_reviewed(newer)]):
        assert {each.by: each.approved for each in collect(order)[0]} == {"anna": False, "ben": True}


def test_a_verdict_on_a_duplicate_says_nothing_of_the_gates() -> None:
    copy = make_picture("copy.png", "p", 0.9)
    copy = type(copy)(copy.file, copy.prompt, copy.assessment, False, is_copy=True)
    found, notes = collect([make_reviewed(Opinion(copy, "anna", False, FREE))])
    assert found == [] and notes == ["1 verdict on duplicates left out: they are rejected for being duplicates"]


def test_changed_minds_and_deleted_pictures_are_told() -> None:
    gone = type(PICTURES[0])("gone.png", "p", PICTURES[0].assessment, True, is_gone=True)
    _, notes = collect([make_reviewed(Opinion(gone, "anna", True, FREE), revised=2)])
    assert notes == [
        "2 verdicts changed later by the same person: the newest count",
        "1 judged picture deleted since: the scores are known, and the verdicts count",
    ]


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ({"aggregation": AGGREGATION, "scale": ENGINES["sface"]}, ()),
        ({"aggregation": "mean"}, (f"aggregation mean then, {AGGREGATION} now",)),
        ({"scale": {**ENGINES["sface"], "pass": 0.44}}, ("the marks of the face engine were others",)),
    ],
)
def test_scores_of_before_are_told_from_those_of_today(protocol: dict[str, Any], words: tuple[str, ...]) -> None:
    assert measured_before(protocol, ENGINES) == words


def test_people_are_compared_on_what_both_judged() -> None:
    """Both judge the same 80 pictures by the same limit, each with a mind of its own; ben stops after 50."""
    anna = judge({"face": 0.6}, seed=11, verdicts=80, pictures_of=5)
    ben = judge({"face": 0.6}, seed=12, verdicts=80, pictures_of=5, by="ben")[:50]
    batch = JudgedBatch("batch_001", {"id": "one"}, tuple(each.picture for each in anna), (*anna, *ben), {})
    [pair] = calibrate_limits([batch], POLICY).pairs
    assert (pair.first, pair.second, pair.concordance.verdicts) == ("anna", "ben", 50)
    alike = sum(one.approved == other.approved for one, other in zip(anna, ben, strict=False))
    assert pair.concordance.both + pair.concordance.neither == alike
    assert pair.concordance.kappa.value is not None and 0.5 < pair.concordance.kappa.value < 1


def test_nothing_to_calibrate_with_is_said() -> None:
    with pytest.raises(InputError, match="batch_001: nobody has judged a picture"):
        calibrate_limits([make_reviewed()], POLICY)
    with pytest.raises(InputError, match=r"no verdict can be used .*--looked-at-all"):
        calibrate_limits([make_reviewed(Opinion(PICTURES[0], OWNER, True, MOVED))], POLICY)
    faceless = Opinion(make_picture("f.png", "p", None), "anna", True, FREE)
    with pytest.raises(InputError, match="none of the 1 judged pictures has a score of every gate in force"):
        calibrate_limits([make_reviewed(faceless)], POLICY)
