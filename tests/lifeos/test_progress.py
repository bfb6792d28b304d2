"""The bar is there for a person at a terminal, whatever that says of itself, and for nobody else."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capabilities import POSIX

ROOT = Path(__file__).resolve().parents[2]
COUNT = "from lifeos.progress import track\nfor _ in track(range(3), 'counting', unit='thing'): pass\n"


@pytest.mark.skipif(not POSIX, reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize("columns", [0, 60, 200])
def test_a_terminal_of_any_width_shows_it(columns: int) -> None:
    """Many containers have terminals of no width."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run([sys.executable, "-c", COUNT], cwd=ROOT, stderr=theirs, env=environ, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "counting: 100%" in shown
    assert "3/3" in shown


BATCH = """
from lifeos.progress import Progress
with Progress(240, "pictures", unit="picture", initial=20, estimates=False) as bar:
    bar.advance(1, approved=117, left="2 h 05 min", spent="$12.34")
"""


@pytest.mark.skipif(not POSIX, reason="pseudo-terminals are POSIX")
def test_one_estimate_fits_80_columns() -> None:
    """The caller knows better what is left: tqdm's own figure beside it was another one, and pushed it off the line."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run([sys.executable, "-c", BATCH], cwd=ROOT, stderr=theirs, env=environ, check=True)
    os.close(theirs)
    *_, last = (line for line in os.read(ours, 10_000).decode().replace("\r", "\n").split("\n") if line.strip())
    os.close(ours)
    assert len(last) <= 80
    assert last.startswith("pictures 21/240 |") and last.endswith(", approved=117, left=2 h 05 min, spent=$12.34")
    assert "<" not in last and "picture/s" not in last


def test_off_a_terminal_nothing_is_printed() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], cwd=ROOT, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
