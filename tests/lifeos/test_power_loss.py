"""What is on the disk when a write returns: the fsync of the file, of its folder and of an appended line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifeos import files
from tests.power_loss import Disk


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path, monkeypatch)


def test_a_file_that_was_written_is_there_whole(tmp_path: Path, disk: Disk) -> None:
    files.write_text(tmp_path / "reports" / "report.md", "first\n")
    assert disk.after_power_loss()["reports/report.md"] == b"first\n"
    files.write_text(tmp_path / "reports" / "report.md", "second\n")
    assert disk.after_power_loss()["reports/report.md"] == b"second\n"
    assert disk.torn == []


def test_until_it_is_written_the_old_file_is_there_whole(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "state.json"
    files.write_text(path, "old\n")
    with files.replacing(path) as temporary:
        temporary.write_bytes(b"new, and not yet all of it")
        assert disk.after_power_loss()["state.json"] == b"old\n"
    assert disk.after_power_loss()["state.json"] == b"new, and not yet all of it"


def test_a_record_that_was_appended_is_there(tmp_path: Path, disk: Disk) -> None:
    log = tmp_path / "log.jsonl"
    for number in (1, 2):
        files.append_record(log, {"n": number})
        assert disk.after_power_loss()["log.jsonl"] == b'{"n": 1}\n{"n": 2}\n'[: number * 9]


def test_the_disk_of_these_tests_loses_what_was_not_synced(tmp_path: Path, disk: Disk) -> None:
    """Else they could not fail."""
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").replace(tmp_path / "b")
    assert (disk.after_power_loss(), disk.torn) == ({}, ["b"])
