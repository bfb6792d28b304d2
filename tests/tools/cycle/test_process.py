"""Steps that hang, flood, die by signal and leave children: each ends, and its output is kept."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.capabilities import LINUX, POSIX
from tools.cycle import process
from tools.cycle.process import Ended, run_command

posix = pytest.mark.skipif(not POSIX, reason="process groups are POSIX")


def _run(program: str, tmp_path: Path, **options) -> tuple[Ended, bytes, bytes]:
    shown = io.BytesIO()
    log = tmp_path / "step.log"
    ended = run_command([sys.executable, "-c", program], tmp_path, log, show=shown, **options)
    return ended, shown.getvalue(), log.read_bytes()


def test_output_is_shown_and_kept_whole_with_its_code(tmp_path: Path) -> None:
    ended, shown, log = _run(
        "import sys; print('out'); print('err', file=sys.stderr); sys.stdout.buffer.write(b'\\xff'); sys.exit(3)", tmp_path
    )
    assert ended.code == 3
    assert sorted(shown) == sorted(log) and b"out" in log and b"err" in log and b"\xff" in log


def test_standard_input_comes_from_a_file_else_is_empty(tmp_path: Path) -> None:
    (tmp_path / "prompt.md").write_text("do it")
    program = "import sys; print(repr(sys.stdin.read()))"
    assert _run(program, tmp_path, stdin=tmp_path / "prompt.md")[1].strip() == b"'do it'"
    assert _run(program, tmp_path)[1].strip() == b"''"


def test_a_flood_is_cut_in_the_log_and_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_LOG_BYTES", 100_000)
    ended, shown, log = _run("print('x' * 3_000_000)", tmp_path)
    assert ended.code == 0
    assert len(shown) >= 3_000_000
    assert len(log) < 200_000 and log.endswith(b"wrote more than it may keep]\n")


def test_a_step_that_hangs_is_stopped_with_the_reason(tmp_path: Path) -> None:
    ended, shown, _ = _run(
        "import time; print('begun'); time.sleep(600)", tmp_path, watch=lambda seconds: "too long" if seconds > 0.5 else ""
    )
    assert ended.stopped == "too long" and ended.code != 0
    assert shown.strip() == b"begun"


@posix
def test_a_step_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.3)
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    shown: list[bool] = []

    def watch(seconds: float) -> str:
        shown.append(b"deaf" in (tmp_path / "step.log").read_bytes())
        return "too long" if shown[-1] else ""

    assert _run(program, tmp_path, watch=watch)[0].code == -signal.SIGKILL


@posix
def test_death_by_signal_is_a_negative_code(tmp_path: Path) -> None:
    assert _run("import os; os.kill(os.getpid(), 9)", tmp_path)[0].code == -9


@posix
def test_children_left_behind_are_stopped(tmp_path: Path) -> None:
    program = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    ended, shown, _ = _run(program, tmp_path)
    assert ended == Ended(0, ended.seconds, "", left_children=True)
    assert _is_gone(int(shown))


@posix
def test_an_interrupt_stops_the_whole_group(tmp_path: Path) -> None:
    pids: list[int] = []

    def watch(seconds: float) -> str:
        words = (tmp_path / "step.log").read_bytes().split()
        if len(words) == 2:
            pids.extend(int(word) for word in words)
            raise KeyboardInterrupt
        return ""

    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(os.getpid(), child.pid, flush=True); time.sleep(600)"
    )
    with pytest.raises(KeyboardInterrupt):
        _run(program, tmp_path, watch=watch)
    assert all(_is_gone(pid) for pid in pids)


@pytest.mark.skipif(not LINUX, reason="the parent-death signal is Linux")
def test_a_step_does_not_outlive_a_killed_cycle(tmp_path: Path, project_root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tools.cycle.process import run_command\n"
        f"step = [sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)']\n"
        f"run_command(step, Path('.'), Path({str(tmp_path / 'step.log')!r}), show=sys.stdout.buffer)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=project_root, stdout=subprocess.PIPE) as cycle:
        assert cycle.stdout is not None
        pid = int(cycle.stdout.readline())
        cycle.kill()
        cycle.communicate()
    assert _is_gone(pid)


def _is_gone(pid: int) -> bool:
    """Whether a process ends within ten seconds; a zombie that nobody reaps counts as gone."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
            if LINUX and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False
