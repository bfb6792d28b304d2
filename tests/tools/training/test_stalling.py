"""A trainer that hangs lives on: what it says and saves tells whether it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifeos import foreign
from tests.tools.training.standin_runs import opened
from tools.sweep.training_sight import TrainingSight
from tools.training.stalling import Hearing, StallLimit, measure_files
from tools.training.training_record import RecordedRun

MINUTE = 60.0
BAR = "steps:  {done:3}%|#  | {done}/100 [{gone}<{left}, {pace}s/it, avr_loss={loss}]"


def _bar(done: int, gone: str, loss: float = 0.1) -> str:
    return BAR.format(done=done, gone=gone, left="1:02:03", pace=len(gone) + 0.25, loss=loss)


def _hearing(tmp_path: Path, minutes: float = 10) -> Hearing:
    hearing = Hearing(tmp_path, StallLimit(minutes * MINUTE), 0.0)
    assert hearing.take_progress() and not hearing.take_progress()
    return hearing


@pytest.mark.parametrize(
    ("before", "line", "is_new"),
    [
        pytest.param(_bar(3, "00:30"), _bar(4, "00:40"), True, id="a step"),
        pytest.param(_bar(3, "00:30"), _bar(3, "00:30", 0.2), True, id="a loss"),
        pytest.param(_bar(3, "00:30"), _bar(3, "05:30"), False, id="a bar that stands still and counts the time"),
        pytest.param("2026-11-30 12:00:01,5 waiting for rank 1", "2026-11-30 12:07:44,9 waiting for rank 1", False, id="what is repeated"),
        pytest.param("caching latents: 2/40", "caching latents: 3/40", True, id="latents"),
        pytest.param("a", "  ", False, id="an empty line"),
    ],
)
def test_what_is_new(tmp_path: Path, before: str, line: str, is_new: bool) -> None:
    hearing = _hearing(tmp_path)
    hearing.hear(before, 1.0)
    hearing.take_progress()
    hearing.hear(line, 2.0)
    assert hearing.take_progress() is is_new


def test_what_was_said_long_ago_is_new_again(tmp_path: Path) -> None:
    """The memory is bounded: a run prints millions of lines."""
    hearing = _hearing(tmp_path)
    for number in range(2000):
        hearing.hear(f"line {number}", 1.0)
    hearing.take_progress()
    hearing.hear("line 1999", 2.0)
    assert not hearing.take_progress()
    hearing.hear("line 0", 2.0)
    assert hearing.take_progress()


def test_silence_is_told_once_and_ends_with_the_next_word(tmp_path: Path) -> None:
    hearing = _hearing(tmp_path)
    said = [(minute, word) for minute in range(30) if (word := hearing.look(minute * MINUTE))]
    assert [minute for minute, _ in said] == [10] and hearing.is_stalled
    assert said[0][1] == f"the trainer has said and saved nothing new for 10 min, since {hearing.last_progress}"
    hearing.hear("step 8", 30 * MINUTE)
    assert not hearing.is_stalled and not hearing.must_stop
    assert [minute for minute in range(30, 60) if hearing.look(minute * MINUTE)] == [40]


def test_files_that_grow_are_progress_too(tmp_path: Path) -> None:
    """It caches or saves, and says nothing; our own files are none of it."""
    hearing = _hearing(tmp_path)
    (tmp_path / "staged" / "10_x").mkdir(parents=True)
    for minute in range(1, 40):
        if minute % 5 == 0:
            (tmp_path / "staged" / "10_x" / "a.npz").write_bytes(b"x" * minute)
        (tmp_path / "training_log.txt").write_text("x" * minute)
        (tmp_path / ".training_record.json.tmp").write_text("x" * minute)
        assert hearing.look(minute * MINUTE) == ""
    assert hearing.take_progress()
    assert [minute for minute in range(40, 60) if hearing.look(minute * MINUTE)] == [45]
    assert measure_files(tmp_path) == (1, 35)


def test_without_a_limit_it_is_never_stalled(tmp_path: Path) -> None:
    hearing = _hearing(tmp_path, minutes=0)
    assert hearing.look(1e9) == "" and not hearing.is_stalled


def test_a_trainer_that_hangs_is_named_and_stopped_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real command with the stand-in of sd-scripts, which stops working at step 7; a cost session is open meanwhile."""
    monkeypatch.setenv("STANDIN_HANG_AT", "7")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tools.training.training_run.RECORD_SECONDS", 0.05)
    told: list[bool] = []
    monkeypatch.setattr("tools.cost.meter.beat", lambda root, moved: told.append(moved))
    with opened(tmp_path) as place:
        assert place.run("--stall-minutes", 0, "--stop-stalled") == 2
        assert "--stop-stalled: stops a run after --stall-minutes, which is 0 (give --stall-minutes 30)" in capsys.readouterr().err
        assert place.run("--stall-minutes", 0.02, "--stop-stalled") == 1
        record = place.record
    said = capsys.readouterr().err
    assert (record["state"], record["is_stalled"]) == ("failed", True)
    recorded = foreign.convert(record, RecordedRun, "the record")
    assert TrainingSight(recorded, "running", True).stalled_since == record["last_progress"]
    assert TrainingSight(recorded, "failed", False).stalled_since == ""
    assert "the trainer has said and saved nothing new for 1 s, since 20" in record["failure"] and "(--stop-stalled)" in said
    assert told[0] and not any(told[-5:])  # it beats on, and says that nothing is new
