"""Starting a program by its name, and finding what a command left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifeos.process_group import ProcessGroup, find_program, is_group_alive
from tests.capabilities import POSIX


def test_the_program_that_is_found_is_the_one_that_is_started(tmp_path: Path) -> None:
    """On PATH of the environment it is given, under the name that is found (on Windows `agent.cmd`)."""
    if os.name == "nt":
        (tmp_path / "agent.cmd").write_text("@echo started %1\r\n")
    else:
        (tmp_path / "agent").write_text("#!/bin/sh\necho started $1\n")
        (tmp_path / "agent").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    group = ProcessGroup(["agent", "now"], tmp_path, environment)
    assert group.process.communicate()[0].split() == [b"started", b"now"]
    assert group.process.args == [find_program("agent", environment), "now"]
    assert Path(find_program("agent", environment)).parent == tmp_path


def test_a_path_stays_a_path() -> None:
    assert find_program(sys.executable, os.environ) == sys.executable
    assert find_program("no-such-program-anywhere", os.environ) == "no-such-program-anywhere"


@pytest.mark.skipif(not POSIX, reason="process groups are POSIX")
def test_what_a_dead_leader_left_behind_is_found(tmp_path: Path) -> None:
    program = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], stdout=subprocess.DEVNULL)"
    group = ProcessGroup([sys.executable, "-c", program], tmp_path, os.environ, stderr=subprocess.DEVNULL)
    group.process.wait(30)
    assert is_group_alive(group.id) and group.is_alive()
    group.stop()
    until = time.monotonic() + 10
    while is_group_alive(group.id) and time.monotonic() < until:
        time.sleep(0.05)
    assert not group.is_alive()
    assert group.process.stdout is not None
    group.process.stdout.close()
