"""What a batch tells of people's verdicts: each reviewer's newest, why the picture was judged, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.taste.opinions import FREE, INFORMATIVE, MOVED, RANDOM, JudgedBatch, Opinion
from lifeos import locks
from lifeos.errors import InputError
from tests.tools.production.scenes import ROWS, make_batch, make_plan, make_policy
from tools.production.decisions import DecidedPicture, Decision, SampleMark, writing
from tools.production.filing import BatchFolder
from tools.production.plan import write_plan
from tools.production.reviewed import read_reviewed

NAMES = [f"{number:04d}_p001_v01_seed{number}_x.png" for number in range(1, 5)]


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    plan = make_plan()
    folder = make_batch(tmp_path, plan, ROWS)
    write_plan(folder.root, plan)
    return folder


def decide(folder: BatchFolder, *decisions: Decision) -> None:
    with writing(folder.root) as append:
        append(decisions)


def say(place: int, approved: bool, by: str = "anna", origin: str = "review", **fields: Any) -> Decision:
    return Decision(DecidedPicture(NAMES[place]), approved, by=by, when=f"2026-11-29T17:00:0{place}Z", origin=origin, **fields)


def read(folder: BatchFolder) -> JudgedBatch:
    return read_reviewed(folder.root, make_policy(), lambda text: None)


def told(batch: JudgedBatch) -> set[tuple[str, str, bool, str, float | None]]:
    def one(each: Opinion) -> tuple[str, str, bool, str, float | None]:
        return each.picture.file[:4], each.by, each.approved, each.choice, each.weight

    return {one(each) for each in batch.opinions}


def test_reviewers_stand_apart_each_with_the_newest(folder: BatchFolder) -> None:
    decide(folder, say(0, False), say(0, True), say(0, False, by="ben"), say(1, True, blind=True))
    found = read(folder)
    assert told(found) == {("0001", "anna", True, FREE, None), ("0001", "ben", False, FREE, None), ("0002", "anna", True, FREE, None)}
    assert found.revised == 1 and [each.blind for each in found.opinions if each.picture.file == NAMES[1]] == [True]
    assert found.name == "batch" and found.protocol["id"] == "0123456789abcdef" and found.limits["face"] == 0.60


def test_what_was_taken_back_is_no_verdict_and_no_change_of_mind(folder: BatchFolder) -> None:
    decide(folder, say(0, False), say(0, False, withdrawn=True, undo=True), say(1, False), say(1, False, withdrawn=True), say(1, True))
    found = read(folder)
    assert told(found) == {("0002", "anna", True, FREE, None)} and found.revised == 0


def test_a_sample_is_told_with_its_weights(folder: BatchFolder) -> None:
    """The second picture is decided anew without the sample: it was still drawn."""
    drawn, asked = SampleMark(2, True, 3.0), SampleMark(2, False, 1.0)
    decide(folder, say(0, True, sample=asked), say(1, False, sample=drawn), say(1, True))
    assert told(read(folder)) == {("0001", "anna", True, INFORMATIVE, 1.0), ("0002", "anna", True, RANDOM, 3.0)}


def test_a_picture_that_was_moved_is_a_verdict_and_nothing_is_written(folder: BatchFolder) -> None:
    (folder.root / "rejected" / NAMES[2]).rename(folder.root / "approved" / NAMES[2])
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.root.rglob("*"))
    assert told(read(folder)) == {("0003", "owner", True, MOVED, None)}
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.root.rglob("*")) == before


def test_a_batch_that_is_being_made_is_read_as_far_as_it_is(folder: BatchFolder) -> None:
    """Its pictures are being filed: one that lies elsewhere than the journal says is not a person's."""
    decide(folder, say(0, False))
    (folder.root / "rejected" / NAMES[2]).rename(folder.root / "approved" / NAMES[2])
    with locks.hold(folder.lock, "a test"):
        found = read(folder)
    assert found.running and told(found) == {("0001", "anna", False, FREE, None)}


def test_a_deleted_picture_keeps_its_verdict(folder: BatchFolder) -> None:
    decide(folder, say(0, False))
    (folder.root / "approved" / NAMES[0]).unlink()
    [opinion] = read(folder).opinions
    assert opinion.picture.is_gone and opinion.picture.assessment.face.score == 0.9


def test_what_is_no_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no batch in this directory"):
        read_reviewed(tmp_path, make_policy())


def test_damaged_and_foreign_decisions_are_named(folder: BatchFolder) -> None:
    decide(folder, say(0, True), Decision(DecidedPicture("other.png"), True, origin="review"))
    with open(folder.root / "decisions.jsonl", "ab") as file:
        file.write(b'{"picture": {"name": "0002')
    said: list[str] = []
    found = read_reviewed(folder.root, make_policy(), said.append)
    assert len(found.opinions) == 1
    assert any("torn by a crash?" in line for line in said) and any("no picture of this batch has that name" in line for line in said)
