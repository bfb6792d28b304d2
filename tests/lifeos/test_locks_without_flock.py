"""Volumes that have no locks (some FUSE and NFS mounts): a claim that only one process can create stands for the lock."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lifeos import files, locks
from lifeos.errors import LockedError
from tests.capabilities import POSIX

if not POSIX:
    pytest.skip("flock is POSIX", allow_module_level=True)

import fcntl

NO_FLOCK = (
    "import errno, fcntl, sys\nfrom pathlib import Path\n"
    "def refuse(file, how):\n    raise OSError(errno.{number}, 'no locks here')\n"
    "fcntl.flock = refuse\n"
    "from lifeos import files, locks\n"
)
HOLD = "with locks.hold(Path(sys.argv[1]), 'batch'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
APPEND = "[files.append_record(Path(sys.argv[1]), {'n': n, 'by': sys.argv[2]}) for n in range(40)]\n"


def start(program: str, *arguments: str, root: Path, number: str = "ENOSYS") -> subprocess.Popen[bytes]:
    text = NO_FLOCK.replace("{number}", number) + program
    return subprocess.Popen([sys.executable, "-c", text, *arguments], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.fixture(autouse=True)
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, how: int) -> None:
        raise OSError(errno.ENOSYS, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.parametrize("number", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_only_one_of_two_processes_gets_it(tmp_path: Path, project_root: Path, number: str) -> None:
    lock = tmp_path / "batch.lock"
    with start(HOLD, str(lock), root=project_root, number=number) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"in use by process {child.pid} on "), locks.hold(lock, "batch"):
            pytest.fail("two holders")
        child.communicate()
    with locks.hold(lock, "batch"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["batch.lock"]


def test_a_killed_holder_does_not_hold(tmp_path: Path, project_root: Path) -> None:
    lock = tmp_path / "batch.lock"
    with start(HOLD, str(lock), root=project_root) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        child.kill()
        child.communicate()
    with locks.hold(lock, "batch"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def test_a_pid_that_another_process_has_now_is_no_owner(tmp_path: Path) -> None:
    claim = tmp_path / "batch.lock.claim"
    claim.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": "an earlier boot"}))
    with locks.hold(tmp_path / "batch.lock", "batch"):
        pass


@pytest.mark.parametrize(("age", "held"), [(0, True), (locks.STALE_SECONDS + 60, False)], ids=["fresh", "stale"])
@pytest.mark.parametrize("text", ['{"pid": 1, "host": "another-pod"}', "", "{torn"], ids=["another machine", "empty", "torn"])
def test_a_claim_that_nobody_here_owns_counts_while_it_is_fresh(tmp_path: Path, age: int, held: bool, text: str) -> None:
    claim = tmp_path / "batch.lock.claim"
    claim.write_text(text)
    os.utime(claim, (time.time() - age, time.time() - age))
    if held:
        with pytest.raises(LockedError), locks.hold(tmp_path / "batch.lock", "batch"):
            pytest.fail("two holders")
    else:
        with locks.hold(tmp_path / "batch.lock", "batch"):
            pass


def test_a_long_holder_keeps_its_claim_fresh(tmp_path: Path) -> None:
    with locks.hold(tmp_path / "batch.lock", "batch") as held:
        claim = tmp_path / "batch.lock.claim"
        os.utime(claim, (0, 0))
        held.refresh()
        assert time.time() - claim.stat().st_mtime < locks.STALE_SECONDS


def test_two_that_append_at_once_lose_no_line(tmp_path: Path, project_root: Path) -> None:
    log = tmp_path / "log.jsonl"
    children = [start(APPEND, str(log), name, root=project_root) for name in ("a", "b", "c")]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    for child in children:
        child.communicate()
    records = [record.data for record in files.read_records(log, on_warning=pytest.fail)]
    assert sorted((one["by"], one["n"]) for one in records) == [(name, n) for name in "abc" for n in range(40)]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_of_several_that_take_over_the_claim_of_the_dead_only_one_succeeds(tmp_path: Path, project_root: Path) -> None:
    """Each waits its turn on the log; the dead one's claim lies in front of them."""
    log = tmp_path / "log.jsonl"
    dead = {"pid": 999_999_999, "host": socket.gethostname(), "started": ""}
    (tmp_path / "log.jsonl.claim").write_text(json.dumps(dead))
    children = [start(APPEND, str(log), name, root=project_root) for name in ("a", "b", "c", "d")]
    for child in children:
        child.communicate(timeout=60)
    assert len(list(files.read_records(log, on_warning=pytest.fail))) == 160


def test_another_error_is_said_and_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: Any, how: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output error") as caught, locks.hold(tmp_path / "batch.lock", "batch", wait=True):
        pytest.fail("held on a broken disk")
    assert caught.value.filename == str(tmp_path / "batch.lock")
