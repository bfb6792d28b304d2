"""Who holds a directory, and that a dead holder does not hold it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifeos import locks
from lifeos.errors import LockedError

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
        with pytest.raises(LockedError, match=f"^batch: in use by process {child.pid} on "), locks.hold(lock, "batch"):
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
