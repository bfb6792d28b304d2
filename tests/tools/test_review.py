"""The command: what it says, its exit codes, that it ends cleanly, and that a review survives kill -9 of its server."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from lifeos import locks
from lifeos.errors import InputError, UnavailableError
from tests.tools.reviewing.scenes_of_review import NAMES, PROJECT, kills, make_desk, make_reviewed, placed, running, written
from tools import review
from tools.production.filing import BatchFolder
from tools.reviewing.desk import Wish


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return make_reviewed(tmp_path)


@kills
@pytest.mark.usefixtures("permission_bits")  # the address is kept where its owner alone may read it
def test_a_review_survives_kill_9_and_goes_on_at_the_same_address(folder: BatchFolder) -> None:
    with running(folder, "--reviewer", "anna") as (process, caller, first):
        assert caller.ask("/api/decide", [{"name": NAMES[2], "verdict": "approved"}]).status == 200
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert written(folder) == ["anna 3 approved"]
    with running(folder, "--reviewer", "anna") as (process, caller, second):
        assert second["address"] == first["address"]
        document = caller.ask("/api/batch").json
        assert document["undo"] == 1 and sum(item["own"] is not None for item in document["items"]) == 1
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "1 of 6 pictures decided by anna, 1 against the gates" in said
    assert placed(folder) == "aaarar" and '"decided": 1' in (folder.root / "batch_report.json").read_text(encoding="utf-8")


@kills
def test_another_reviewer_never_gets_an_address_that_was_somebody_s(folder: BatchFolder) -> None:
    with running(folder, "--reviewer", "anna") as (_, _, anna):
        pass
    with running(folder, "--reviewer", "ben") as (_, _, ben):
        assert ben["address"] != anna["address"] and ben["reviewer"] == "ben"
    with running(folder, "--reviewer", "anna", "--blind") as (_, _, blind):
        assert blind["address"] != anna["address"]


@kills
def test_a_review_opened_twice_gets_two_ports(folder: BatchFolder) -> None:
    with running(folder) as (_, one, _), running(folder) as (_, other, _):
        assert one.port != other.port
        assert one.ask("/api/decide", [{"name": NAMES[0], "verdict": "rejected"}]).status == 200
        assert other.ask("/api/batch").json["undo"] == 1


def test_the_address_is_kept_for_its_owner_alone(folder: BatchFolder, permission_bits: None) -> None:
    with running(folder):
        [path] = (folder.root / ".work").glob("review_*.json")
        assert path.stat().st_mode & 0o777 == 0o600
        assert review._read_address(path, str(folder.root.resolve())) is not None
        path.chmod(0o644)
        assert review._read_address(path, str(folder.root.resolve())) is None  # somebody else may have read it


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"port": 0, "token": "' + "x" * 24 + '"}',
        '{"port": 80, "token": "short"}',
        '{"port": 80, "token": "a b\\n' + "x" * 24 + '"}',
    ],
)
def test_a_damaged_address_is_no_address(tmp_path: Path, text: str) -> None:
    path = tmp_path / "review.json"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    assert review._read_address(path, "") is None


def test_a_port_that_is_taken_is_one_clear_line(folder: BatchFolder) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=rf"port {port}: cannot be used: .* \(name another with --port, or leave it out"):
            review.main([str(folder.root), "--port", str(port)])


def test_what_is_no_batch_is_named_with_what_to_name_instead(folder: BatchFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(f"holds no batch: there is no batch.json (name {folder.root})")):
        review.main([str(tmp_path)])
    with pytest.raises(InputError, match="no such directory"):
        review.main([str(tmp_path / "nowhere")])
    folder.root.rename(tmp_path / "rung_1")
    with pytest.raises(
        InputError, match=re.escape(f"holds a sweep, of which each round is a batch: rung_1 (name one: {tmp_path / 'rung_1'})")
    ):
        review.main([str(tmp_path)])


def test_a_batch_of_another_version_or_without_a_score_is_one_clear_line(folder: BatchFolder) -> None:
    (folder.root / "journal.jsonl").unlink()
    with pytest.raises(InputError, match=r"no picture of this batch was scored yet \(continue it with the command that began it\)"):
        review.main([str(folder.root)])
    plan = json.loads((folder.root / "batch.json").read_text(encoding="utf-8"))
    (folder.root / "batch.json").write_text(json.dumps({**plan, "schema": 99}), encoding="utf-8")
    with pytest.raises(InputError, match=r"batch\.json"):
        review.main([str(folder.root)])


def test_what_to_know_of_a_batch_is_said_first(folder: BatchFolder) -> None:
    (folder.root / "rejected" / NAMES[3]).unlink()
    (folder.root.parent / "references" / "r1.png").unlink()
    (folder.root.parent / "references").rmdir()
    with locks.hold(folder.lock, str(folder.root)):
        lines = review.circumstances(make_desk(folder).batch)
    assert [line.partition(" ")[0] for line in lines] == ["the", "1", "the"]
    assert lines[0].startswith("the batch is at work") and "is gone" in lines[1] and "references are not here" in lines[2]


def test_a_mixture_of_protocols_is_said(folder: BatchFolder) -> None:
    from tools.production.journal import Journal

    journal = Journal(folder.root / "journal.jsonl")
    journal.append("rescored", item=1, file=NAMES[0], approved=True, protocol_id="f" * 16)
    journal.close()
    [line] = review.circumstances(make_desk(folder).batch)
    assert line.startswith("the batch is being scored under another protocol (1 of 6 pictures done)")


def test_apply_says_what_it_took_and_what_it_left_out(folder: BatchFolder, capsys: pytest.CaptureFixture[str]) -> None:
    make_desk(folder, "anna").decide([Wish(NAMES[0], "rejected")])
    path = folder.root.parent / "decisions.json"
    entries = [
        {"picture": {"name": name}, "verdict": verdict, "by": "anna"}
        for name, verdict in ((NAMES[2], "approved"), (NAMES[0], "rejected"), ("x.png", "approved"))
    ]
    document = {"schema": 1, "kind": "lifeos decisions", "batch_id": "b" * 32, "decisions": entries}
    path.write_text(json.dumps(document), encoding="utf-8")
    assert review.main([str(folder.root), "--apply", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == "1 decision taken: 1 approved, 0 rejected or taken back; 1 stood already; 1 left out\n"
    assert f"left out: {path}: decision 3: no picture of this batch is called x.png" in err
    assert placed(folder) == "raarar"
    path.write_text(json.dumps({**document, "decisions": entries[:2]}), encoding="utf-8")
    assert review.main([str(folder.root), "--apply", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "applied": [], "already": 2, "left_out": [], "remarks": []}


def test_apply_carries_out_what_a_killed_run_had_only_written_down(folder: BatchFolder) -> None:
    make_desk(folder, "anna").decide([Wish(NAMES[0], "rejected")])
    path = folder.root.parent / "decisions.json"
    said = {"picture": {"name": NAMES[0]}, "verdict": "rejected", "by": "anna"}
    path.write_text(json.dumps({"schema": 1, "kind": "lifeos decisions", "batch_id": "b" * 32, "decisions": [said]}), encoding="utf-8")
    assert placed(folder)[0] == "a"
    assert review.main([str(folder.root), "--apply", str(path)]) == 0
    assert placed(folder)[0] == "r" and (folder.root / "batch_report.html").exists()


def test_apply_while_the_batch_is_at_work_waits_for_its_end(folder: BatchFolder, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder.root.parent / "decisions.json"
    entry = {"picture": {"name": NAMES[2]}, "verdict": "approved"}
    path.write_text(json.dumps({"kind": "lifeos decisions", "batch_id": "b" * 32, "decisions": [entry]}), encoding="utf-8")
    with locks.hold(folder.lock, str(folder.root)):
        assert review.main([str(folder.root), "--apply", str(path)]) == 0
    assert "is at work: what you decide is written down" in capsys.readouterr().err
    assert placed(folder) == "aarrar" and written(folder) == ["owner 3 approved"]


@pytest.mark.parametrize("flags", [["--blind"], ["--sample", "3"], ["--open"], ["--port", "0"]])
def test_apply_serves_nothing(folder: BatchFolder, flags: list[str]) -> None:
    with pytest.raises(InputError, match="serves nothing"):
        review.main([str(folder.root), "--apply", "x.json", *flags])


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_what_is_no_port_is_refused(folder: BatchFolder, port: str) -> None:
    with pytest.raises(InputError, match="--port"):
        review.main([str(folder.root), f"--port={port}"])


def test_the_history_follows_a_review_and_is_written_once(folder: BatchFolder, tmp_path: Path) -> None:
    from lifeos.files import read_records
    from tests.tools.production.scenes import finish
    from tests.tools.reviewing.scenes_of_review import plan_of
    from tools.reviewing.carrying import carry_out

    history = tmp_path / "history.jsonl"
    finish(plan_of(tmp_path), folder, history=history)
    report = json.loads((folder.root / "batch_report.json").read_text(encoding="utf-8"))
    make_desk(folder, "anna").decide([Wish(NAMES[2], "approved")])
    for _ in range(2):
        carry_out(folder, PROJECT, lambda text: None)
    _, newest = (record.data for record in read_records(history))
    assert [image.get("decided_by") for image in newest["images"]] == [None, None, "anna", None, None, None]
    assert json.loads((folder.root / "batch_report.json").read_text(encoding="utf-8"))["settings"] == report["settings"]
    history.unlink()
    notes: list[str] = []
    make_desk(folder, "anna").undo()
    carry_out(folder, PROJECT, notes.append)
    assert not history.exists() and any("is not here; its row keeps the verdicts that it has" in note for note in notes)


def test_a_batch_that_never_had_a_row_gets_none(folder: BatchFolder, tmp_path: Path) -> None:
    """A round of a sweep, or a batch that was interrupted."""
    from tools.reviewing.carrying import carry_out

    make_desk(folder).decide([Wish(NAMES[2], "approved")])
    before = set(tmp_path.iterdir())
    carry_out(folder, PROJECT, lambda text: None)
    assert set(tmp_path.iterdir()) == before
