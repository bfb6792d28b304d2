"""A directory that was copied leaves its original's records alone; one that was moved goes on."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evals.load_thresholds import load_thresholds
from lifeos.errors import EXIT_OK
from tests.tools.reviewing.scenes_of_review import NAMES, PROJECT, make_desk, make_reviewed
from tools import review
from tools.production.batch_home import copy_line, find_original
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.pipeline import Circumstances, part_from_original, rejudge_batch
from tools.production.plan import read_plan, write_plan
from tools.production.request import Request
from tools.reviewing.carrying import carry_out
from tools.reviewing.desk import Wish


def quiet(text: str) -> None:
    pass


def make_recorded(root: Path, history: Path) -> BatchFolder:
    """A finished batch whose row is in the history, as its command left it."""
    folder = make_reviewed(root, command={"history_file": str(history)})
    rejudge_batch(Request(folder.root), load_thresholds(), circumstances(root))
    assert len(rows(history)) == 1
    return folder


def circumstances(root: Path) -> Circumstances:
    return Circumstances(root=PROJECT, history_file=root / "default.jsonl", cost_log=root / "cost.jsonl", note=quiet)


def rows(history: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]


def copied(folder: BatchFolder, name: str = "copy") -> BatchFolder:
    return BatchFolder(Path(shutil.copytree(folder.root, folder.root.with_name(name))))


def overrule(folder: BatchFolder) -> None:
    make_desk(folder).decide([Wish(NAMES[0], "rejected")])
    carry_out(folder, PROJECT, quiet)


def test_a_copy_is_reviewed_and_judged_again_without_touching_the_row_of_its_original(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    original = make_recorded(tmp_path, history)
    before = {path: path.read_bytes() for path in (history, *original.root.glob("*.json*"))}
    copy = copied(original)
    overrule(copy)
    assert (copy.root / "rejected" / NAMES[0]).is_file() and (original.root / "approved" / NAMES[0]).is_file()
    told: list[str] = []
    around = Circumstances(root=PROJECT, history_file=tmp_path / "default.jsonl", cost_log=tmp_path / "cost.jsonl", note=told.append)
    rejudge_batch(Request(copy.root), load_thresholds(), around)
    assert {path: path.read_bytes() for path in before} == before and not (tmp_path / "default.jsonl").exists()
    assert any(f"{copy.root} is a copy of {original.root.resolve()}" in line for line in told)
    overrule(original)
    assert len(rows(history)) == 2  # the original's own row follows as ever
    rejudge_batch(Request(copy.root, history_file=tmp_path / "asked.jsonl"), load_thresholds(), around)
    assert len(rows(tmp_path / "asked.jsonl")) == 1  # whoever names a history asks for the row


def test_a_moved_batch_goes_on_and_so_does_a_copy_whose_original_is_gone(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    original = make_recorded(tmp_path, history)
    copy = copied(original)
    moved = BatchFolder(original.root.rename(tmp_path / "moved"))
    assert copy_line(moved.root) == "" and find_original(copy.root) is None
    overrule(moved)
    assert [row["run_id"] for row in rows(history)] == ["batch_001", "batch_001"] and rows(history)[1]["supersedes"]


def test_what_lies_inside_the_batch_is_found_where_the_batch_lies_now(tmp_path: Path) -> None:
    """As in a demo, which holds its references and its history itself: the copy has its own."""
    own = tmp_path / "batch"
    original = make_recorded(tmp_path, own / "eval_history.jsonl")
    plan = read_plan(own)
    assert plan is not None
    copy = copied(original)
    overrule(copy)
    assert (len(rows(own / "eval_history.jsonl")), len(rows(copy.root / "eval_history.jsonl"))) == (1, 2)
    moved = own.rename(tmp_path / "moved")
    there = read_plan(moved)
    assert there is not None and there.command == {"history_file": str(moved.resolve() / "eval_history.jsonl")}
    assert there.reference_dir == plan.reference_dir  # outside: as recorded
    overrule(BatchFolder(moved))
    assert len(rows(moved / "eval_history.jsonl")) == 2 and not own.exists()


def test_a_copy_goes_on_naming_its_original_when_its_plan_is_written(tmp_path: Path) -> None:
    original = make_reviewed(tmp_path)
    copy = copied(original)
    plan = read_plan(copy.root)
    assert plan is not None
    write_plan(copy.root, plan)
    assert find_original(copy.root) == original.root.resolve()
    shutil.rmtree(original.root)
    write_plan(copy.root, plan)
    again = read_plan(copy.root)
    assert again is not None and again.directory == str(copy.root.resolve())


def test_another_batch_in_the_old_place_and_an_older_plan_make_no_copy(tmp_path: Path) -> None:
    original = make_reviewed(tmp_path)
    copy = copied(original)
    for path, change in ((original.root, {"batch_id": "another"}), (copy.root, {"directory": ""})):
        before = (path / "batch.json").read_text(encoding="utf-8")
        (path / "batch.json").write_text(json.dumps(json.loads(before) | change), encoding="utf-8")
        assert find_original(copy.root) is None
        (path / "batch.json").write_text(before, encoding="utf-8")
    assert find_original(copy.root) is not None


def test_a_copy_leaves_what_is_under_way_on_a_server_to_its_original(tmp_path: Path) -> None:
    """Once: what it sends itself afterwards is its own."""
    original = make_reviewed(tmp_path)
    with closing(Journal(original.root / JOURNAL_FILE)) as journal:
        journal.append("submitted", item=7, prompt_id="theirs", server="http://a")
    copy = copied(original)
    path = copy.root / JOURNAL_FILE
    state = part_from_original(copy, read_state(path), quiet)
    assert state.items[7].prompt_id is None and state.items[1].files
    with closing(Journal(path)) as journal:
        journal.append("submitted", item=7, prompt_id="ours", server="http://a")
    assert part_from_original(copy, read_state(path), quiet).items[7].prompt_id == "ours"
    assert part_from_original(original, read_state(original.root / JOURNAL_FILE), quiet).items[7].prompt_id == "theirs"


def test_the_review_of_a_copy_has_an_address_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = make_reviewed(tmp_path)

    def served(folder: BatchFolder) -> tuple[str, int]:
        from tools.reviewing.carrying import Carrier

        desk = make_desk(folder)
        with review.open_server(desk, Carrier(folder, PROJECT, quiet), None) as server:
            return server.token, server.port

    first = served(original)
    copy = copied(original)
    assert served(original) == first
    assert served(copy)[0] != first[0]


def test_decisions_of_a_copy_are_taken_over_by_the_step_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = make_reviewed(tmp_path)
    copy = copied(original)
    overrule(copy)
    assert f"tools/review.py {original.root.resolve()} --apply {copy.root / 'decisions.jsonl'}" in copy_line(copy.root)
    assert review.main([str(original.root), "--apply", str(copy.root / "decisions.jsonl")]) == EXIT_OK
    assert (original.root / "rejected" / NAMES[0]).is_file()
    capsys.readouterr()
    assert review.main([str(copy.root), "--apply", str(copy.root / "decisions.jsonl")]) == EXIT_OK
    assert "is a copy of" in capsys.readouterr().err


def test_a_copy_of_a_sweep_adds_no_rows(tmp_path: Path) -> None:
    """Its rounds are batches, each of which knows where it was made."""
    from unittest import mock

    from tools.sweep.sweep_report import record_runs

    original = make_reviewed(tmp_path / "sweep")
    original.root.rename(tmp_path / "sweep" / "rung_1")
    plan = read_plan(tmp_path / "sweep" / "rung_1")
    assert plan is not None
    write_plan(tmp_path / "sweep" / "rung_1", plan)
    (tmp_path / "sweep" / "sweep.json").write_text('{"base_seed": 1}', encoding="utf-8")
    shutil.copytree(tmp_path / "sweep", tmp_path / "copy")
    for name, recorded in (("copy", False), ("sweep", True)):
        sweep = mock.Mock(configs=[], request=mock.Mock(output_dir=tmp_path / name))
        record_runs(sweep, mock.Mock(shots=[], protocol={}), {}, tmp_path / "history.jsonl", "2026-11-30T00:00:00Z")
        assert ("recorded" in json.loads((tmp_path / name / "sweep.json").read_text(encoding="utf-8"))) is recorded
