"""The sample that calibration asks for: what is picked, what is drawn, what it weighs, and that it stays the same."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from lifeos.errors import InputError
from tests.tools.reviewing.scenes_of_review import NAMES, make_desk, make_reviewed
from tools.production.decisions import read_decisions
from tools.production.filing import BatchFolder
from tools.reviewing.desk import Wish
from tools.reviewing.review_document import review_document
from tools.reviewing.sampling import draw_sample, margin_of


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return make_reviewed(tmp_path)


def test_the_margin_is_that_of_the_worst_score(folder: BatchFolder) -> None:
    """Skin is 0.8 everywhere, 0.2 above its limits; the face's limit is 0.60."""
    found = make_desk(folder).batch.look()
    margins = [margin_of(found.pictures[name], found.policy) for name in NAMES]
    assert margins == [pytest.approx(value) if value is not None else None for value in (0.2, 0.1, -0.1, None, 0.01, -0.4)]


def test_half_is_the_nearest_thing_the_rest_is_random_and_weighs_for_all_others(folder: BatchFolder) -> None:
    found = make_desk(folder).batch.look()
    sample = draw_sample("b", 4, found.pictures, found.policy, seed=7)
    picked = {each.name for each in sample.pictures if not each.random}
    drawn = {each.name: each.weight for each in sample.pictures if each.random}
    assert picked == {NAMES[4], NAMES[1]}  # 0.01, then 0.1 (the third, as near, comes after it by name)
    assert len(drawn) == 2 and set(drawn.values()) == {2.0}  # 4 others, 2 of them drawn
    assert sum(each.weight for each in sample.pictures) == len(NAMES)


def test_the_weights_give_the_rate_of_the_whole_batch_on_average(folder: BatchFolder) -> None:
    """Half of the six are approved; the pictures that are the nearest thing alone would say 100 %, 50 % or the like."""
    found = make_desk(folder).batch.look()
    good = {name for name in NAMES if found.pictures[name].gates_approve}
    rates = [
        sum(each.weight for each in draw_sample("b", 4, found.pictures, found.policy, seed).pictures if each.name in good) / len(NAMES)
        for seed in range(400)
    ]
    assert fmean(rates) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("size", "asked", "random"), [(1, 1, 1), (3, 3, 2), (6, 6, 6), (50, 6, 6)])
def test_at_least_half_is_random_and_no_more_is_asked_than_there_is(folder: BatchFolder, size: int, asked: int, random: int) -> None:
    found = make_desk(folder).batch.look()
    sample = draw_sample("b", size, found.pictures, found.policy, seed=1)
    assert (len(sample.pictures), sum(each.random for each in sample.pictures)) == (asked, random)


def test_the_same_command_goes_on_with_its_sample_and_another_reviewer_is_asked_the_same(folder: BatchFolder) -> None:
    first, again, other = (make_desk(folder, name, blind=True, sample=4) for name in ("anna", "anna", "ben"))
    assert first.sample == again.sample == other.sample
    found = first.batch.look()
    assert [item["name"] for item in review_document(first, found)["items"]] == [each.name for each in first.sample.pictures]  # type: ignore[union-attr]


def test_how_a_picture_was_chosen_stands_in_its_record(folder: BatchFolder) -> None:
    desk = make_desk(folder, blind=True, sample=4)
    assert desk.sample is not None
    for each in desk.sample.pictures:
        desk.decide([Wish(each.name, "approved")])
    marks = {line.picture.name: line.sample for line in read_decisions(folder.root)}
    for each in desk.sample.pictures:
        mark = marks[each.name]
        assert mark is not None and (mark.size, mark.random, mark.weight) == (4, each.random, each.weight)


def test_what_was_said_before_is_asked_again_in_a_sample(folder: BatchFolder) -> None:
    make_desk(folder).decide([Wish(name, "approved") for name in NAMES])
    desk = make_desk(folder, blind=True, sample=4)
    assert desk.own_verdicts(desk.batch.look()) == {}


def test_a_sample_of_another_batch_or_with_a_picture_gone_is_one_clear_line(folder: BatchFolder) -> None:
    desk = make_desk(folder, sample=6)
    path = folder.root / ".work" / "sample_6.json"
    (folder.root / "approved" / NAMES[0]).unlink()
    with pytest.raises(InputError, match=f"1 picture of it cannot be asked for any more, such as {NAMES[0]}"):
        make_desk(folder, sample=6)
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "batch_id": "c" * 32}), encoding="utf-8")
    with pytest.raises(InputError, match="is the sample of another batch"):
        make_desk(folder, sample=6)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="remove it to have another sample drawn"):
        make_desk(folder, sample=6)
    assert desk.sample is not None
