"""Who holds a directory, and that a dead holder does not hold it."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lifeos import locks
from lifeos.errors import LockedError
from tests.capabilities import POSIX

if POSIX:
    import fcntl

HOLDER = (
    "import sys; from pathlib import Path; from lifeos import locks\n"
    "with locks.hold(Path(sys.argv[1]), 'batch'):\n    print('held', flush=True); sys.stdin.read()"
)


def _start_holder(lock: Path, root: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"held"
    return child


def test_a_second_holder_is_told_who_has_it(tmp_path: Path, project_root: Path) -> None:
    lock = tmp_path / "batch.lock"
    with _start_holder(lock, project_root) as child:
        holder = rf"^batch: in use by process {child.pid} on \S+ since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ \("
        with pytest.raises(LockedError, match=holder), locks.hold(lock, "batch"):
            pytest.fail("two holders")
        child.communicate()
    with locks.hold(lock, "batch"):
        pass


def test_a_killed_holder_does_not_hold(tmp_path: Path, project_root: Path) -> None:
    lock = tmp_path / "batch.lock"
    with _start_holder(lock, project_root) as child:
        child.kill()
        child.communicate()
    with locks.hold(lock, "batch"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert lock.read_text() == ""


@pytest.mark.parametrize(
    ("host", "age", "held"),
    [
        ("another-pod", 0, True),
        ("another-pod", locks.STALE_SECONDS + 60, False),
        (socket.gethostname(), 0, False),
    ],
    ids=["another machine, alive", "another machine, gone", "this machine, died"],
)
def test_a_record_on_a_network_volume(tmp_path: Path, host: str, age: float, held: bool) -> None:
    lock = tmp_path / "batch.lock"
    lock.write_text(json.dumps({"pid": 1, "host": host, "since": "2026-01-01"}))
    stamp = time.time() - age
    os.utime(lock, (stamp, stamp))
    if held:
        with pytest.raises(LockedError, match="on another-pod since 2026-01-01"), locks.hold(lock, "batch"):
            pytest.fail("taken from a living holder")
        assert json.loads(lock.read_text())["host"] == host
    else:
        with locks.hold(lock, "batch"):
            pass


def test_refresh_keeps_the_record_young(tmp_path: Path) -> None:
    lock = tmp_path / "batch.lock"
    with locks.hold(lock, "batch") as held:
        os.utime(lock, (0, 0))
        held.refresh()
        assert time.time() - lock.stat().st_mtime < locks.STALE_SECONDS


def test_who_waits_gets_it_when_the_holder_ends(tmp_path: Path, project_root: Path) -> None:
    lock, got = tmp_path / "deep" / "er" / "batch.lock", []

    def wait_for_it() -> None:
        with locks.hold(lock, "batch", wait=True):
            got.append(json.loads(lock.read_text())["pid"])

    with _start_holder(lock, project_root) as child:
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        thread.join(0.1)
        assert got == []
        child.communicate()
        thread.join()
    assert got == [os.getpid()]


def test_what_was_written_under_an_exclusive_lock_is_seen_by_the_next(tmp_path: Path) -> None:
    """Though the first still has its file open: it is flushed, and the lock let go, when the body ends."""
    path = tmp_path / "log"
    with open(path, "a+", encoding="utf-8") as first, open(path, "a+", encoding="utf-8") as second:
        with locks.exclusive(first):
            first.write("a line")
            assert not locks._lock(second, wait=False)
        with locks.exclusive(second):
            second.seek(0)
            assert second.read() == "a line"


@pytest.mark.parametrize("record", ["", "{torn", "[1]", '"text"'])
def test_a_holder_that_cannot_be_read_is_another_process(tmp_path: Path, record: str, project_root: Path) -> None:
    lock = tmp_path / "batch.lock"
    with _start_holder(lock, project_root) as child:
        lock.write_text(record)
        with pytest.raises(LockedError) as caught, locks.hold(lock, "batch"):
            pytest.fail("two holders")
        child.communicate()
    assert str(caught.value) == "batch: in use by another process (wait for it to end, or stop it)"


@pytest.mark.skipif(not POSIX, reason="flock is POSIX")
@pytest.mark.parametrize(
    ("number", "held"), [(errno.ENOLCK, True), (errno.EOPNOTSUPP, True), (errno.EIO, False)], ids=["no locks", "not supported", "broken"]
)
def test_a_volume_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, held: bool) -> None:
    """Where there are none, the record alone guards the folder; a disk that fails is no such volume."""

    def refuse(file: object, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    if held:
        with locks.hold(tmp_path / "batch.lock", "batch"):
            assert json.loads((tmp_path / "batch.lock").read_text())["host"] == socket.gethostname()
    else:
        with pytest.raises(OSError, match=os.strerror(number)), locks.hold(tmp_path / "batch.lock", "batch"):
            pytest.fail("held on a broken disk")


def test_a_full_disk_costs_only_the_holder_s_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_root: Path) -> None:
    def full(record: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks.json, "dumps", full)
    with locks.hold(tmp_path / "batch.lock", "batch"):
        assert (tmp_path / "batch.lock").read_text() == ""
        done = subprocess.run(
            [sys.executable, "-c", HOLDER, str(tmp_path / "batch.lock")], cwd=project_root, capture_output=True, check=False
        )
    assert done.returncode == 1 and b"LockedError" in done.stderr


def test_refreshing_a_lock_whose_file_was_taken_away_harms_nobody(tmp_path: Path) -> None:
    with locks.hold(tmp_path / "batch.lock", "batch") as held:
        (tmp_path / "batch.lock").unlink()
        held.refresh()


def test_who_only_looks_learns_whether_it_is_held(tmp_path: Path, project_root: Path) -> None:
    lock = tmp_path / "batch.lock"
    assert not locks.is_held(lock) and not lock.exists()
    with _start_holder(lock, project_root) as child:
        assert locks.is_held(lock)
        child.kill()
        child.wait()
    assert not locks.is_held(lock)  # its owner's name still stands there
    with locks.hold(lock, "batch"):
        assert locks.is_held(lock)
    assert not locks.is_held(lock)
    lock.write_text(json.dumps({"pid": 1, "host": "another"}))
    assert locks.is_held(lock)  # touched just now
    os.utime(lock, (time.time() - locks.STALE_SECONDS - 1,) * 2)
    assert not locks.is_held(lock)
