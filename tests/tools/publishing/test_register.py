"""The register of published pictures: one id for one picture, on the disk before the mark, whatever else happens."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from lifeos import files
from lifeos.errors import InputError
from tests.checkouts import ROOT
from tests.examples import EXAMPLES
from tests.fuzzing import foreign_lines
from tools.publishing import register as subject
from tools.publishing.register import Publication, Register, RegisteredPicture, batch_directory, batch_place

NOW = "2026-11-30T00:00:00Z"
COPY = {"file": "x.png", "sha256": "0" * 64, "format": "png"}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def picture(text: str = "a", batch: str = "one") -> RegisteredPicture:
    return RegisteredPicture(digest(text), f"{text}.png", batch, batch_id=f"id of {batch}", run_id=batch)


def copy(text: str = "copy") -> Publication:
    return Publication(f"{text}.jpg", digest(text), "jpeg", {"quality": 90}, {"watermark": "verified"}, digest("certificate"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_claim_is_on_the_disk_when_it_returns_and_the_copies_follow(tmp_path: Path) -> None:
    path = tmp_path / "register.jsonl"
    register = Register(path)
    mark_id = register.claim(picture(), now=lambda: NOW)
    claimed = {"sha256": digest("a"), "name": "a.png", "batch": "one", "batch_id": "id of one", "run_id": "one"}
    assert lines(path) == [{"schema": 1, "event": "claimed", "id": mark_id, "time": NOW, "picture": claimed}]
    register.record(mark_id, copy(), now=lambda: NOW)
    assert lines(path)[1]["publication"]["sha256"] == digest("copy")
    for sought in (mark_id, digest("a"), digest("copy")):
        (entry,) = Register(path).find(sought)
        assert (entry.id, entry.claimed, entry.picture) == (mark_id, NOW, picture())
        assert [line.publication for line in entry.published] == [copy()]
    assert Register(path).find(digest("nobody's")) == Register(path).find(mark_id ^ 1) == ()


def test_a_batch_reads_the_register_once_whatever_it_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register = Register(tmp_path / "register.jsonl")
    register.claim(picture("first"))
    reads = []
    whole = Register._lines
    monkeypatch.setattr(Register, "_lines", lambda self: (reads.append(self), whole(self))[1])
    for number in range(5):
        register.record(register.claim(picture(str(number))), copy(str(number)))
    assert reads == [] and register.entries() == Register(tmp_path / "register.jsonl").entries()
    Register(tmp_path / "register.jsonl").claim(picture("somebody else's"))
    assert len(register.entries()) == 7 and len(reads) == 3, "each of the two others, and this one again"


def test_the_id_is_the_picture_s_own_and_the_same_again(tmp_path: Path) -> None:
    register = Register(tmp_path / "register.jsonl")
    # the first 32 bits of SHA-256 over "SHA-256 of the picture \n id of its batch \n 0"
    expected = int(digest(f"{digest('a')}\nid of one\n0")[:8], 16)
    assert register.claim(picture()) == expected == register.claim(picture()) == Register(register.path).claim(picture())
    assert Register(tmp_path / "lost.jsonl").claim(picture()) == expected
    moved = RegisteredPicture(digest("a"), "a.png", "elsewhere", batch_id="id of one")
    assert register.claim(moved) == expected
    assert register.claim(picture(batch="two")) != expected
    assert len(lines(register.path)) == 2
    assert len(register.find(digest("a"))) == 2


def test_an_id_that_another_picture_has_is_given_to_no_second(tmp_path: Path) -> None:
    path = tmp_path / "register.jsonl"
    first, second = islice(subject._candidates(picture("b")), 2)
    files.append_record(path, {"event": "claimed", "id": first, "time": NOW, "picture": {"sha256": digest("a"), "name": "a.png"}})
    assert Register(path).claim(picture("b")) == second != first
    assert [entry.picture.name for entry in Register(path).find(first)] == ["a.png"]


def test_zero_is_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([0, 0, 256])
    monkeypatch.setattr(subject, "_number_of", lambda text: next(numbers))
    assert next(subject._candidates(picture())) == 256


def test_a_torn_line_is_left_and_the_next_has_one_of_its_own(tmp_path: Path) -> None:
    path, said = tmp_path / "register.jsonl", list[str]()
    mark_id = Register(path).claim(picture())
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"schema": 1, "event": "claimed", "id": 77')
    register = Register(path, said.append)
    other = register.claim(picture("b"))
    assert path.read_bytes().startswith(whole + b'{"schema": 1, "event": "claimed", "id": 77\n{')
    assert [register.find(number)[0].picture.name for number in (mark_id, other)] == ["a.png", "b.png"]
    assert said[0].endswith("2: line skipped (torn by a crash?)")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"schema": 2, "event": "claimed", "id": 5, "time": "T"}', "schema 2 found, 1 wanted"),
        ('{"schema": 1, "event": "claimed", "id": 0, "time": "T"}', "0 is no id"),
        ('{"schema": 1, "event": "claimed", "id": 4294967296, "time": "T"}', "4294967296 is no id"),
        ('{"schema": 1, "event": "claimed", "id": 5, "time": "T"}', "without what it tells of"),
        ('{"schema": 1, "event": "claimed", "id": 5, "time": "2026-11-30T00:00:00"}', "a time with its zone is wanted"),
        ('{"schema": 1, "event": "claimed", "id": 5, "time": "T", "picture": {"sha256": "AB", "name": "x"}}', "a SHA-256 of 64"),
        (f'{{"event": "published", "id": 5, "time": "T", "publication": {json.dumps(COPY)}}}', "which no line before it claims"),
        ("[1]", "an object is wanted"),
        ('{"a": "' + "x" * (1 << 20) + '"}', "at most 1.0 MiB are read"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_once_and_the_others_count(tmp_path: Path, line: str, why: str) -> None:
    path, said = tmp_path / "register.jsonl", list[str]()
    path.write_text(line.replace('"T"', f'"{NOW}"') + "\n")
    register = Register(path, said.append)
    mark_id = register.claim(picture())
    assert [entry.id for entry in register.entries()] == [mark_id]
    assert len(said) == 1
    assert said[0].startswith(f"{path}:1: ")
    assert why in said[0]


def test_events_of_later_versions_are_left_alone(tmp_path: Path) -> None:
    path, said = tmp_path / "register.jsonl", list[str]()
    path.write_text(f'{{"schema": 1, "event": "withdrawn", "id": 5, "time": "{NOW}"}}\n')
    assert Register(path, said.append).entries() == ()
    assert said == []


def test_an_id_that_stands_for_two_pictures_stays_with_the_first(tmp_path: Path) -> None:
    path, said = tmp_path / "register.jsonl", list[str]()
    for name in ("a", "b"):
        files.append_record(path, {"event": "claimed", "id": 9, "time": NOW, "picture": {"sha256": digest(name), "name": name}})
    assert [entry.picture.name for entry in Register(path, said.append).find(9)] == ["a"]
    assert said == [f"{path}:2: the id 9 stands for another picture already, which keeps it"]


def test_a_copy_is_written_down_once_and_only_for_an_id_that_is_known(tmp_path: Path) -> None:
    register = Register(tmp_path / "register.jsonl")
    with pytest.raises(InputError, match="no picture has the id 5"):
        register.record(5, copy())
    mark_id = register.claim(picture())
    for each in (copy(), copy(), copy("another")):
        register.record(mark_id, each)
    assert [line.publication.file for line in register.find(mark_id)[0].published] == ["copy.jpg", "another.jpg"]


def test_a_register_that_another_process_writes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "register.jsonl"
    ours = Register(path)
    first = ours.claim(picture())
    theirs = Register(path).claim(picture("b"))
    assert {entry.id for entry in ours.entries()} == {first, theirs}
    assert ours.claim(picture("b")) == theirs


CLAIMS = """
import sys
from pathlib import Path
from tools.publishing.register import Register, RegisteredPicture
register = Register(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    register.claim(RegisteredPicture(f"{number:064x}", f"{number}.png", batch_id=sys.argv[2]))
    print(number, flush=True)
"""


def start(path: Path, batch: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CLAIMS, str(path), batch, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_processes_at_once_give_each_picture_one_id(tmp_path: Path) -> None:
    path = tmp_path / "register.jsonl"
    for process in [start(path, batch, 12) for batch in ("same", "same", "another")]:
        process.communicate(timeout=60)
        assert process.returncode == 0
    entries = Register(path).entries()
    assert len(entries) == len(lines(path)) == len({entry.id for entry in entries}) == 24


def test_what_was_claimed_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "register.jsonl"
    process = start(path, "killed", 10_000)
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(3)]
    process.kill()
    process.communicate(timeout=60)
    said = list[str]()
    register = Register(path, said.append)
    assert {f"{number}.png" for number in told} <= {entry.picture.name for entry in register.entries()}
    assert register.claim(picture()) == register.claim(picture())  # its lock went with it


def test_a_batch_is_named_from_the_project_s_folder(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "volume" / "batch"
    assert batch_place(project / "batch_1", project) == "batch_1"
    assert batch_place(outside, project) == outside.resolve().as_posix()
    assert batch_directory("batch_1", project) == project / "batch_1"
    assert batch_directory(outside.as_posix(), project) == outside
    assert batch_directory("", project) is None


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=foreign_lines([{"schema": 1, "event": "claimed", "id": 5, "time": NOW, "picture": {"sha256": "0" * 64, "name": "x"}}]))
def test_whatever_the_file_holds_an_id_is_given(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "register.jsonl"
        path.write_bytes(data)
        register = Register(path, lambda text: None)
        mark_id = register.claim(picture())
        assert register.find(mark_id)[0].picture == picture()
        assert path.read_bytes().startswith(data)
