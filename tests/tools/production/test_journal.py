"""The journal, as a crash leaves it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tests.power_loss import Disk
from tools.production.journal import Journal, read_state

FILE = "0001_p001_v01_seed7_x.png"


def test_the_steps_of_a_picture_add_up(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append("started", servers=["http://a", "http://b"], rate_per_hr=0.6)
    journal.append("submitted", item=1, prompt_id="p1", server="http://a", durable=True)
    journal.append("downloaded", item=1, files=[{"file": FILE}], seconds=8.0, prompt_id="p1")
    journal.append("scored", item=1, file=FILE, approved=True, reasons=[], assessment={})
    journal.append("filed", item=1, file=FILE, place="approved")
    journal.append("submitted", item=2, prompt_id="p2", server="http://b")
    journal.append("failed", item=2, reason="out of memory")
    journal.append("submitted", item=3, prompt_id="p3", server="http://b")
    journal.close()
    state = read_state(path)
    assert state.items[1].files == (FILE,) and state.items[1].seconds == 8.0
    assert state.verdicts == {FILE: True} and state.filed == {FILE}
    assert state.items[2].failure == "out of memory"
    assert (state.items[3].prompt_id, state.items[3].server, state.items[3].files) == ("p3", "http://b", ())
    assert state.recorded is None


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"time": "2026-11-23T00:00:00.000Z", "event": "submitted", "item": 1, "prompt_id": "a", "server": "u"}\n{"ev')
    journal = Journal(path)
    journal.append("submitted", item=2, prompt_id="b", server="u")
    journal.close()
    warnings: list[str] = []
    state = read_state(path, warnings.append)
    assert {index: item.prompt_id for index, item in state.items.items()} == {1: "a", 2: "b"}
    assert len(warnings) == 1 and "journal.jsonl:2" in warnings[0]
    assert path.read_text().splitlines()[1] == '{"ev'  # never overwritten


def test_records_that_are_not_ours_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "submitted"}\n{"event": "from the future"}\n', encoding="utf-8")
    warnings: list[str] = []
    assert read_state(path, warnings.append).items == {}
    assert len(warnings) == 1 and "journal.jsonl:1" in warnings[0]


def test_the_pause_between_two_runs_is_nobodys_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    records = [
        {"time": "2026-11-20T10:00:00.000Z", "event": "started", "servers": ["u", "v"], "rate_per_hr": 0.6},
        {"time": "2026-11-20T11:00:00.000Z", "event": "filed", "file": "a"},  # killed here
        {"time": "2026-11-23T10:00:00.000Z", "event": "started", "servers": ["u"], "rate_per_hr": 0.6},
        {"time": "2026-11-23T10:30:00.000Z", "event": "ended", "why": "complete"},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    sessions = read_state(path).sessions
    assert [session.seconds for session in sessions] == [3600, 1800]
    assert [round(session.usd, 6) for session in sessions] == [1.2, 0.3]  # 1 h x 2 servers x 0.60; 0.5 h x 0.60


def test_a_durable_record_is_on_the_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path, monkeypatch)
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("submitted", item=1, prompt_id="a", server="u")
    assert disk.after_power_loss() == {}  # only a durable one waits for the disk
    journal.append("submitted", item=2, prompt_id="b", server="u", durable=True)
    kept = [json.loads(line)["item"] for line in disk.after_power_loss()["journal.jsonl"].splitlines()]
    journal.append("submitted", item=3, prompt_id="c", server="u")
    journal.close()
    assert kept == [1, 2]


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")

    def write(number: int) -> None:
        for index in range(50):
            journal.append("failed", item=number * 50 + index, reason="x" * 3000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert len(read_state(tmp_path / "journal.jsonl").items) == 200
