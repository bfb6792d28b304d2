"""Whether a process lives, and what tells it from a later one of the same id."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifeos import liveness
from tests.capabilities import LINUX, POSIX


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_a_process_lives_until_it_is_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    assert liveness.is_alive(os.getpid()) and liveness.is_alive(child.pid)
    child.wait()
    assert not liveness.is_alive(child.pid)
    assert not liveness.is_alive(1 << 80)


def test_where_nobody_can_be_asked_each_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows os.kill would end the process instead of asking for it."""
    monkeypatch.setattr(liveness.os, "name", "nt")
    alive = liveness.is_alive(999_999_999)
    monkeypatch.undo()
    assert alive


@pytest.mark.skipif(not LINUX, reason="/proc is Linux")
def test_two_processes_of_one_boot_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        mine, other = liveness.birth(os.getpid()), liveness.birth(child.pid)
        assert mine == liveness.birth(os.getpid()) != "" and other and mine != other
        (tmp_path / "boot").write_text("another boot\n")
        monkeypatch.setattr(liveness, "BOOT_ID", tmp_path / "boot")
        assert liveness.birth(os.getpid()).split() == ["another", "boot", mine.split()[-1]]
        child.communicate()


def test_a_process_that_is_not_there_has_no_birth() -> None:
    assert (liveness.start_ticks(999_999_999), liveness.birth(999_999_999)) == (None, "")


def test_where_there_is_no_proc_the_system_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS tells its start by a command; elsewhere nothing is started."""
    monkeypatch.setattr(liveness, "BOOT_ID", tmp_path / "none")
    monkeypatch.setattr(liveness, "BOOT_COMMAND", (sys.executable, "-c", "print('5F2A')"))
    for platform, told in (("darwin", "5F2A"), ("win32", "")):
        monkeypatch.setattr(liveness.sys, "platform", platform)
        assert liveness.boot_id() == told
    monkeypatch.setattr(liveness.sys, "platform", "darwin")
    monkeypatch.setattr(liveness, "BOOT_COMMAND", (str(tmp_path / "none"),))
    assert liveness.boot_id() == ""
