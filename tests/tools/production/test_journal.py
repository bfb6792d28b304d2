"""The journal, as a crash leaves it."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.power_loss import Disk
from tools.production.batch_state import ENDINGS, ScoredFile
from tools.production.item_state import ItemState
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


START = {"event": "started", "time": "2026-11-20T10:00:00.000Z", "servers": ["u", "v"], "rate_per_hr": 0.6}
EVENTS: dict[str, tuple[list[dict[str, Any]], dict[str, object]]] = {
    "nothing": ([], {"sessions": [], "ending": "interrupted", "recorded": None, "rejudged": 0, "paused": False}),
    "charged": ([START, {"event": "charged", "usd": 0.25}, {"event": "charged", "usd": 0.5}], {"usd": [0.75]}),
    "charged before any run": ([{"event": "charged", "usd": 0.25}], {"sessions": []}),
    "a run without servers and rate": (
        [{"event": "started", "time": "2026-11-20T10:00:00Z"}, {"event": "ended", "why": "complete", "time": "2026-11-20T11:00:00Z"}],
        {"usd": [0.0], "ending": "complete"},
    ),
    "a clock that was set back": ([START, {"event": "filed", "file": "a", "time": "2026-11-20T09:00:00Z"}], {"usd": [0.0]}),
    "killed after it ended once": ([START, {"event": "ended", "why": "complete"}, START], {"ending": "interrupted"}),
    "recorded": ([{"event": "recorded", "pictures": 40}], {"recorded": 40}),
    "recorded by an older version": ([{"event": "recorded"}], {"recorded": 0}),
    "judged again": (
        [
            {"event": "scored", "item": 1, "file": "a", "approved": True},
            {"event": "scored", "item": 2, "file": "b", "approved": True},
            {"event": "recorded", "pictures": 2},
            {"event": "rejudged", "policy": {"x": 1}, "changed": {"a": False}, "moves": ["a", "of no picture"]},
        ],
        {"verdicts": {"a": False, "b": True}, "moves": {"a": False}, "recorded": None, "rejudged": 1, "policy": {"x": 1}},
    ),
    "where pictures were put and seen": (
        [
            {"event": "filed", "item": 1, "file": "a", "place": "approved"},
            {"event": "filed", "item": 2, "file": "b", "place": "rejected"},
            {"event": "placed", "places": {"b": "approved/best", "c": "rejected"}},
        ],
        {"filed": {"a", "b"}, "places": {"a": "approved", "b": "approved/best", "c": "rejected"}, "paused": True},
    ),
    "lost": (
        [
            {"event": "downloaded", "item": 1, "files": [{"file": "a"}, {"file": "b"}]},
            *({"event": "scored", "item": 1, "file": name, "approved": True, "assessment": {"sha256": name}} for name in "ab"),
            *({"event": "filed", "item": 1, "file": name, "place": "approved"} for name in "ab"),
            *[{"event": "lost", "item": 1, "file": "b"}] * 2,
        ],
        {
            "filed": {"a"},
            "places": {"a": "approved"},
            "verdicts": {"a": True},
            "scored": {"a": ScoredFile("a")},
            "items": {1: ItemState(files=("a", "b"), lost=("b",))},
        },
    ),
    "lost and made again": (
        [
            {"event": "downloaded", "item": 1, "files": [{"file": "a"}]},
            {"event": "lost", "item": 1, "file": "a"},
            {"event": "downloaded", "item": 1, "files": [{"file": "a", "node": "9"}]},
        ],
        {"items": {1: ItemState(files=("a",), nodes={"a": "9"})}},
    ),
    "judged again and moved": (
        [
            {"event": "scored", "item": 1, "file": "a", "approved": True},
            {"event": "rejudged", "policy": {}, "changed": {"a": False}, "moves": ["a"]},
            {"event": "refiled"},
        ],
        {"moves": {}, "paused": True, "rejudged": 1, "places": {"a": "rejected"}},
    ),
}


@pytest.mark.parametrize(("records", "state"), EVENTS.values(), ids=EVENTS)
def test_what_events_add_up_to(tmp_path: Path, records: list[dict[str, Any]], state: dict[str, object]) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    found = read_state(path)
    told = {name: getattr(found, name) for name in state if name != "usd"}
    assert told | {"usd": [session.usd for session in found.sessions]} == {"usd": [s.usd for s in found.sessions]} | state


@pytest.mark.parametrize(
    ("accepted", "handle"), [("p1", "theirs"), ("an earlier one", None)], ids=["of this prompt", "of a prompt that was sent before"]
)
def test_a_server_s_own_name_belongs_to_one_prompt(tmp_path: Path, accepted: str, handle: str | None) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("submitted", item=1, prompt_id="p1", server="u")
    journal.append("accepted", item=1, prompt_id=accepted, handle="theirs")
    assert read_state(tmp_path / "journal.jsonl").items[1].handle == handle
    journal.append("submitted", item=1, prompt_id="p2", server="u")  # a new prompt has no name there yet
    journal.close()
    assert read_state(tmp_path / "journal.jsonl").items[1].handle is None


def test_a_whole_journal_goes_on_without_a_blank_line_and_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for item in (1, 2):
        journal = Journal(path)
        with pytest.raises(ValueError):
            journal.append("failed", item=item, reason="x", seconds=float("nan"))
        journal.append("failed", item=item, reason="Ámira")
        journal.close()
    assert [json.loads(line)["item"] for line in path.read_bytes().splitlines()] == [1, 2]
    assert "Ámira".encode() in path.read_bytes()
    with pytest.raises(ValueError):
        journal.append("failed", item=3, reason="after its end")


def test_an_empty_journal_begins_without_a_blank_line(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").touch()
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("failed", item=1, reason="x")
    journal.close()
    assert (tmp_path / "journal.jsonl").read_bytes()[:1] == b"{"


def test_each_line_that_is_left_out_says_why(tmp_path: Path) -> None:
    path, said = tmp_path / "journal.jsonl", []
    lines = [
        '{"event": "filed", "file": 5}',
        '{"event": "filed", "time": "2026-11-20T10:00:00", "file": "a"}',
        '{"event": "filed"}',
        '{"ev',
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_state(path, said.append).filed == set()
    assert said == [
        f"{path}:1: line skipped (text or null is wanted, not a whole number)",
        f"{path}:2: line skipped (a time with its zone is wanted)",
        f"{path}:3: record skipped (not one of ours: file is missing)",
        f"{path}:4: line skipped (torn by a crash?)",
    ]


def test_a_name_that_is_not_utf8_comes_back_as_it_was(tmp_path: Path) -> None:
    name = b"a\xff.png".decode("utf-8", "surrogateescape")
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("scored", item=1, file=name, approved=True)
    journal.close()
    assert read_state(tmp_path / "journal.jsonl").verdicts == {name: True}


def test_threads_whose_writes_are_cut_do_not_mix_their_lines(tmp_path: Path) -> None:
    """A write to a file may take only a part of what it is given; the rest must follow before another thread's line."""
    journal = Journal(tmp_path / "journal.jsonl")
    whole = journal._file

    class Slow:
        def write(self, data: memoryview) -> int:
            time.sleep(0.0001)
            return whole.write(data[:20])

        def close(self) -> None:
            whole.close()

    journal._file = Slow()  # type: ignore[assignment]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda item: journal.append("failed", item=item, reason="x" * 100), range(20)))
    journal.close()
    assert sorted(read_state(tmp_path / "journal.jsonl", pytest.fail).items) == list(range(20))


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


def test_an_ending_of_another_program_is_named_and_skipped(tmp_path: Path) -> None:
    """The report has words for the endings that are ours."""
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "started"}\n{"event": "ended", "why": ""}\n{"event": "ended", "why": "tired"}\n', encoding="utf-8")
    said: list[str] = []
    assert read_state(path, said.append).ending in ENDINGS
    assert [line.partition("journal.jsonl:")[2] for line in said][-2:] == [
        "2: record skipped (not one of ours: unknown ending '')",
        "3: record skipped (not one of ours: unknown ending 'tired')",
    ]


def test_finding_duplicates_ends_no_run_s_time(tmp_path: Path) -> None:
    """Within a run its cost goes on: 10 seconds, not the 4 until pictures moved. Moves that the next command finishes are nobody's time."""
    path = tmp_path / "journal.jsonl"
    steps = [("started", 0), ("duplicates", 4), ("moved", 4), ("ended", 10), ("refiled", 50)]
    more = {"started": {"servers": ["http://a"]}, "duplicates": {"duplicates": {}}, "ended": {"why": "complete"}}
    lines = [{"time": f"2026-11-20T10:00:{at:02d}Z", "event": event, **more.get(event, {})} for event, at in steps]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert read_state(path, pytest.fail).sessions[0].seconds == 10


def test_duplicates_are_rejected_until_another_record_says_otherwise(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    for name in "ab":
        journal.append("scored", item=1, file=name, approved=True)
        journal.append("filed", item=1, file=name, place="approved")
    journal.append("duplicates", duplicates={"b": {"file": "a", "how": "same_file"}}, moves=["b"])
    state = read_state(tmp_path / "journal.jsonl", pytest.fail)
    assert (state.approves("a"), state.approves("b"), state.verdicts["b"]) == (True, False, True)
    assert (state.moves, state.places["b"]) == ({"b": False}, "approved")
    journal.append("moved", pictures=1)
    journal.append("duplicates", duplicates={}, moves=["b"])
    journal.close()
    state = read_state(tmp_path / "journal.jsonl", pytest.fail)
    assert state.approves("b") and (state.moves, state.places["b"]) == ({"b": True}, "rejected")


def test_a_picture_s_name_is_held_once(tmp_path: Path) -> None:
    """Each record that is read has strings of its own: of 100,000 pictures they are some 30 MB."""
    journal = Journal(tmp_path / "journal.jsonl")
    for index in (1, 2):
        journal.append("submitted", item=index, prompt_id=f"p{index}", server="http://pod:8188")
        journal.append("downloaded", item=index, files=[{"file": f"picture_{index}.png", "node": "9"}])
        journal.append("scored", item=index, file=f"picture_{index}.png", approved=True)
        journal.append("filed", item=index, file=f"picture_{index}.png", place="approved")
    journal.close()
    state = read_state(tmp_path / "journal.jsonl")
    name = state.items[1].files[0]
    held = [next(iter(known)) for known in (state.verdicts, state.scored, state.places)] + [next(iter(state.filed - {"picture_2.png"}))]
    assert all(each is name for each in held)
    assert state.places["picture_1.png"] is state.places["picture_2.png"]
    assert state.items[1].server is state.items[2].server
