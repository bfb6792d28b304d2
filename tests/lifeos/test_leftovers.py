"""Temporary files of killed processes are removed; those of living ones, and everybody else's files, are not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifeos import files, leftovers
from tests.capabilities import POSIX, takes

KILLED = """
import sys, os; from pathlib import Path; from lifeos import files
with files.replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def nothing_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_swept", set())


@pytest.mark.skipif(not POSIX, reason="kill -9 is POSIX")
def test_what_a_killed_process_left_is_gone_with_the_next_write_into_its_folder(tmp_path: Path, project_root: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "report.md")]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert [path.name for path in tmp_path.iterdir()] == [done.stdout.strip()]
    files.write_text(tmp_path / "another.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["another.json"]


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "report.md") as temporary:
        leftovers._swept.clear()
        files.write_text(tmp_path / "another.json", "{}")
        assert temporary.exists()


@pytest.mark.parametrize(
    ("name", "hours", "gone"),
    [
        (".latest_report.md.a1b2c3d4e5f6.tmp", 2, True),  # version 3.0
        (".latest_report.md.a1b2c3d4e5f6.tmp", 0, False),
        (".report\nof two lines.md.a1b2c3d4e5f6.tmp", 2, True),
        ("latest_report.md.a1b2c3d4e5f6.tmp", 2, False),
        (".latest_report.md.tmp", 2, False),
        (".latest_report.md.a1b2c3d4e5f6.tmp.bak", 2, False),
        (".notes.tmp", 2, False),
    ],
)
def test_which_files_are_ours(tmp_path: Path, name: str, hours: float, gone: bool) -> None:
    path = tmp_path / name
    if not takes(tmp_path, name):
        pytest.skip("this volume takes not every name")
    path.write_text("half")
    os.utime(path, (time.time() - hours * 3601, time.time() - hours * 3601))
    files.write_text(tmp_path / "another", "1")
    assert path.exists() is not gone


@pytest.mark.usefixtures("links")
def test_a_link_is_left(tmp_path: Path) -> None:
    target = tmp_path / "theirs"
    target.write_text("1")
    link = tmp_path / ".x.a1b2c3d4e5f6.tmp"
    link.symlink_to(target)
    os.utime(link, (0, 0), follow_symlinks=False)
    files.write_text(tmp_path / "another", "1")
    assert link.is_symlink() and target.exists()
