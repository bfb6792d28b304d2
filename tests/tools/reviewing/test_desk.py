"""A reviewer at work: what is written down, what is refused, and that every step can be taken back, after a kill too."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lifeos import locks
from lifeos.errors import InputError
from tests.tools.production.scenes import finish
from tests.tools.reviewing.scenes_of_review import NAMES, PROJECT, make_desk, make_guard_of_face, make_reviewed, placed, plan_of, written
from tools.production.decisions import read_decisions
from tools.production.filing import BatchFolder
from tools.reviewing import carrying
from tools.reviewing.carrying import Carrier, carry_out
from tools.reviewing.desk import RefusedError, ReviewDesk, Wish


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return make_reviewed(tmp_path)


def approve(desk: ReviewDesk, *numbers: int, reason: str = "") -> list[str]:
    return desk.decide([Wish(NAMES[number - 1], "approved", reason) for number in numbers])


def reject(desk: ReviewDesk, *numbers: int) -> list[str]:
    return desk.decide([Wish(NAMES[number - 1], "rejected") for number in numbers])


def carry(folder: BatchFolder) -> None:
    carry_out(folder, PROJECT, lambda text: None)


def test_a_decision_is_the_record_that_a_move_by_hand_gets(folder: BatchFolder) -> None:
    desk = make_desk(folder, "anna")
    assert desk.decide([Wish(NAMES[2], "approved", " good\n light ")]) == [NAMES[2]]
    [line] = read_decisions(folder.root)
    assert (line.by, line.origin, line.reason, line.approved) == ("anna", "review", "good light", True)
    assert line.picture.sha256 == desk.batch.look().pictures[NAMES[2]].assessment.sha256
    assert "blind" not in line.to_json() and "sample" not in line.to_json()


def test_what_stands_already_is_not_written_again(folder: BatchFolder) -> None:
    desk = make_desk(folder)
    assert approve(desk, 3) and approve(desk, 3) == []
    assert desk.decide([Wish(NAMES[0], "withdrawn")]) == []
    assert written(folder) == ["owner 3 approved"]


def test_pictures_move_and_reports_follow(folder: BatchFolder) -> None:
    assert placed(folder) == "aarrar"
    desk = make_desk(folder)
    approve(desk, 3)
    reject(desk, 1)
    carry(folder)
    assert placed(folder) == "raarar"
    assert '"decided": 2' in (folder.root / "batch_report.json").read_text(encoding="utf-8")


def test_undo_goes_back_to_the_beginning_step_by_step(folder: BatchFolder) -> None:
    desk = make_desk(folder)
    approve(desk, 3)
    reject(desk, 3)
    reject(desk, 1, 2)
    carry(folder)
    assert placed(folder) == "rrrrar"
    assert sorted(desk.undo()) == list(NAMES[:2])
    assert desk.count_steps(desk.batch.look()) == 2
    desk = make_desk(folder)  # as after kill -9: what can be undone stands in the file
    assert desk.undo() == [NAMES[2]]
    carry(folder)
    assert placed(folder) == "aaarar"
    assert desk.undo() == [NAMES[2]] and desk.undo() == []
    carry(folder)
    assert placed(folder) == "aarrar"
    assert written(folder)[-2:] == ["owner 3 approved undo", "owner 3 withdrawn undo"]
    assert desk.own_verdicts(desk.batch.look()) == {}


def test_after_an_undo_one_goes_on_and_can_undo_that(folder: BatchFolder) -> None:
    desk = make_desk(folder)
    approve(desk, 3)
    desk.undo()
    reject(desk, 1)
    reject(desk, 2)
    assert [desk.undo(), desk.undo(), desk.undo()] == [[NAMES[1]], [NAMES[0]], []]


@pytest.mark.parametrize("clock", ["2026-11-30T10:00:00.000Z", "2020-01-01T00:00:00.000Z"], ids=["stands still", "was set back"])
def test_steps_are_told_apart_whatever_the_clock_does(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch, clock: str) -> None:
    desk = make_desk(folder)
    reject(desk, 1)
    monkeypatch.setattr("tools.reviewing.desk.now_text", lambda: clock)
    reject(desk, 2)
    approve(desk, 3)
    assert [desk.undo(), desk.undo(), desk.undo(), desk.undo()] == [[NAMES[2]], [NAMES[1]], [NAMES[0]], []]


def test_undo_leaves_what_was_moved_by_hand_since_and_other_reviewers_alone(folder: BatchFolder) -> None:
    desk = make_desk(folder)
    approve(desk, 3)
    approve(make_desk(folder, "ben"), 6)
    carry(folder)
    (folder.root / "approved" / NAMES[2]).rename(folder.root / "rejected" / NAMES[2])
    carry(folder)
    assert desk.undo() == []
    assert placed(folder) == "aarraa"


def test_a_verdict_taken_back_can_be_put_back(folder: BatchFolder) -> None:
    desk = make_desk(folder)
    approve(desk, 3)
    desk.decide([Wish(NAMES[2], "withdrawn")])
    assert desk.own_verdicts(desk.batch.look()) == {}
    desk.undo()
    assert desk.own_verdicts(desk.batch.look())[NAMES[2]].approved


def test_two_reviewers_at_once_lose_nothing(folder: BatchFolder) -> None:
    desks = [make_desk(folder, name) for name in ("anna", "ben")]

    def work(desk: ReviewDesk) -> None:
        for number in range(1, 7):
            (approve if desk.reviewer == "anna" else reject)(desk, number)

    threads = [threading.Thread(target=work, args=(desk,)) for desk in desks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for desk in desks:
        own = desk.own_verdicts(desk.batch.look())
        assert [own[name].approved for name in NAMES] == [desk.reviewer == "anna"] * 6
    assert len(written(folder)) == 12


def test_one_reviews_while_the_batch_is_made(folder: BatchFolder) -> None:
    desk = make_desk(folder)
    with locks.hold(folder.lock, str(folder.root)):
        assert approve(desk, 3) and desk.batch.is_running
        assert placed(folder) == "aarrar"
    document = finish(plan_of(folder.root.parent), folder)  # as the batch ends
    assert placed(folder) == "aaarar" and document["counts"]["approved_by_hand"] == 1


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Wish("../../secret.png", "approved"), "no scored picture of this batch has that name"),
        (Wish(NAMES[0], "rejected", "x" * 501), "its reason has 501 letters; at most 500 are kept"),
        (Wish(NAMES[3], "approved"), "is gone: somebody deleted it or took it away"),
    ],
)
def test_what_cannot_be_written_down_is_refused_and_nothing_of_the_step_is(folder: BatchFolder, wish: Wish, why: str) -> None:
    (folder.root / "rejected" / NAMES[3]).unlink()
    with pytest.raises(RefusedError) as refused:
        make_desk(folder).decide([Wish(NAMES[1], "rejected"), wish])
    assert refused.value.why == why and written(folder) == []


def test_overruling_a_guard_needs_a_reason_that_is_kept(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    make_guard_of_face(monkeypatch)
    desk = make_desk(folder)
    for reason in ("", "  \n"):
        with pytest.raises(RefusedError, match="face similarity rejects it") as refused:
            approve(desk, 3, reason=reason)
        assert refused.value.guards == ("face",)
    assert approve(desk, 1) and approve(desk, 3, reason="she agreed")
    lines = list(read_decisions(folder.root))
    assert [(line.overrules, line.reason) for line in lines] == [((), ""), (("face",), "she agreed")]


def test_who_is_blind_overrules_no_guard(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    make_guard_of_face(monkeypatch)
    desk = make_desk(folder, "anna", blind=True)
    approve(desk, 1, 3)
    reject(desk, 2)
    assert written(folder) == ["anna 1 approved", "anna 3 approved opinion", "anna 2 rejected"]
    assert [line.blind for line in read_decisions(folder.root)] == [True] * 3
    carry(folder)
    assert placed(folder) == "arrrar"
    assert desk.own_verdicts(desk.batch.look())[NAMES[2]].approved  # the reviewer sees it as it was said
    assert sorted(desk.undo() + desk.undo()) == [NAMES[0], NAMES[1], NAMES[2]]


@pytest.mark.parametrize("name", ["", " \n ", "a\x1b[31m", "x" * 61])
def test_a_name_that_no_report_could_show_is_refused(folder: BatchFolder, name: str) -> None:
    with pytest.raises(InputError, match="is no name"):
        make_desk(folder, name)


def test_what_is_decided_while_a_report_is_written_gets_another(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a report is being written, a reviewer goes on."""
    desk, carrier = make_desk(folder), Carrier(folder, PROJECT, lambda text: None)
    desk.on_change = carrier.wake
    reports: list[int] = []

    def slow(*arguments: Any) -> None:
        reports.append(len(written(folder)))
        if len(reports) == 1:
            approve(desk, 3)
        carry_out(*arguments)

    monkeypatch.setattr(carrying, "carry_out", slow)
    monkeypatch.setattr(carrying, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(carrying, "QUIET_SECONDS", 0.0)
    reject(desk, 1)
    carrier.start()
    end = time.monotonic() + 20
    while len(reports) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    carrier.end()
    assert reports[:2] == [1, 2]
    assert '"decided": 2' in (folder.root / "batch_report.json").read_text(encoding="utf-8")


def test_a_batch_that_was_moved_away_meanwhile_is_not_begun_anew_in_its_old_place(tmp_path: Path) -> None:
    folder = make_reviewed(tmp_path)
    desk = make_desk(folder)
    desk.batch.look()
    folder.root.rename(tmp_path / "moved")
    for step in (lambda: desk.decide([Wish(NAMES[0], "rejected")]), desk.undo, lambda: carry_out(folder, PROJECT, lambda text: None)):
        with pytest.raises(InputError, match="was the directory moved"):
            step()
    assert not folder.root.exists()
