"""Ctrl-C, SIGTERM and a closed terminal while a batch runs. In a process of its own: a signal would else reach the tests."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.capabilities import POSIX
from tools.production.stopping import StopSignal

PROGRAM = """
import signal, sys
from tools.production.stopping import StopSignal

number = getattr(signal, sys.argv[1])
stop = StopSignal()
try:
    with stop:
        stop.graceful = sys.argv[2] != "interrupted"
        signal.raise_signal(number)
        print("requested", stop.requested, flush=True)
        if sys.argv[2] == "twice":
            signal.raise_signal(number)
            print("still here", flush=True)
except KeyboardInterrupt:
    print("interrupted", stop.requested)
before = (signal.default_int_handler, signal.SIG_DFL)
print("handlers as before", (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before)
"""

HANDLERS = "handlers as before True\n"


@pytest.mark.parametrize(
    "name", ["SIGINT", "SIGTERM", pytest.param("SIGHUP", marks=pytest.mark.skipif(not POSIX, reason="signals are POSIX"))]
)
@pytest.mark.parametrize(
    ("way", "code", "out", "told"),
    [
        ("once", 0, f"requested True\n{HANDLERS}", "stopping: what is done is kept (once more to stop at once)"),
        ("twice", 130, "requested True\n", "stopped at once; the same command continues"),
        ("interrupted", 0, f"interrupted True\n{HANDLERS}", ""),
    ],
    ids=["the first asks", "the second ends at once", "outside a graceful stretch it interrupts"],
)
def test_signals(name: str, way: str, code: int, out: str, told: str, project_root: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, name, way]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (code, out)
    assert told in done.stderr and (told or not done.stderr)


def test_outside_the_main_thread_it_can_still_be_asked() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def use() -> None:
        with StopSignal() as stop:
            stop.request()
            seen.append((stop.requested, signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == [(True, True)]
