"""Which processes are work that is paid for: by program, script and parent, not by words in a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.cost.processes import Running, find_activity, list_processes, read_program


def _activity(*argv: str) -> frozenset[str]:
    return find_activity([Running(100, 1, argv)], own=1_000_000)


@pytest.mark.parametrize(
    "argv",
    [
        ("python", "sdxl_train_network.py", "--x"),
        ("/usr/bin/python3.11", "-u", "/workspace/sd-scripts/sdxl_train.py"),
        ("python", "-X", "utf8", "-W", "ignore", "train_network.py"),
        ("C:\\Python311\\python.exe", "D:\\sd-scripts\\sdxl_train_network.py"),
        ("python3", "/venv/bin/accelerate", "launch", "--num_processes", "1", "sdxl_train_network.py"),
        ("python", "-m", "tools.retrain_lora_v3"),
        ("python", "tools/retrain_lora.py", "--trainer", "x"),
    ],
)
def test_a_trainer(argv: tuple[str, ...]) -> None:
    assert _activity(*argv) == {"training"}


@pytest.mark.parametrize(
    "argv",
    [
        ("tail", "-f", "sdxl_train.log"),
        ("vim", "sdxl_train_network.py"),
        ("less", "train_network.py"),
        ("grep", "-r", "accelerate launch", "."),
        ("bash", "-c", "echo sdxl_train_network.py"),
        ("python", "-c", "print('sdxl_train_network.py')"),
        ("python", "plot_losses.py", "sdxl_train_network.py"),
        ("python", "-m", "tensorboard.main", "--logdir", "sdxl_train"),
        ("python", "-m", "pytest", "tests/test_scorecard.py", "scorecard.py"),
        ("man", "rsync"),
        ("rsync", "--daemon"),
        ("rclone", "mount", "drive:", "/mnt"),
        ("aws", "configure"),
        ("runpodctl", "get", "pod"),
        ("python",),
        ("", ""),
    ],
)
def test_words_in_a_command_line_are_no_work(argv: tuple[str, ...]) -> None:
    assert _activity(*argv) == frozenset()


@pytest.mark.parametrize(
    "argv",
    [
        ("rsync", "-a", "/workspace/out", "host:"),
        ("/usr/bin/curl", "-O", "https://example.org/x"),
        ("rclone", "--progress", "copy", "a", "b"),
        ("python3", "/usr/bin/aws", "s3", "sync", ".", "s3://x"),
        ("runpodctl", "send", "x"),
        ("python", "/venv/bin/hf", "download", "owner/name"),
        ("/usr/lib/openssh/sftp-server",),
    ],
)
def test_a_transfer(argv: tuple[str, ...]) -> None:
    assert _activity(*argv) == {"transfer"}


def test_what_a_tracker_started_is_not_work() -> None:
    tracker = Running(10, 1, ("python", "tools/runpod_cost_tracker.py", "--watch", "--on-idle", "rsync -a out host:"))
    shell = Running(11, 10, ("/bin/sh", "-c", "rsync -a out host:"))
    copy = Running(12, 11, ("rsync", "-a", "out", "host:"))
    assert find_activity([tracker, shell, copy], own=1_000_000) == frozenset()
    assert find_activity([shell, copy], own=11) == frozenset()
    assert find_activity([shell, copy], own=1_000_000) == {"transfer"}
    assert find_activity([Running(12, 13, copy.argv), Running(13, 12, ("sh",))], own=1_000_000) == {"transfer"}  # a circle ends


def test_the_script_of_an_interpreter() -> None:
    program = read_program(("python", "-Im", "evals.scorecard", "--generated", "x"))
    assert (program.name, program.is_script, program.arguments) == ("scorecard", True, ("--generated", "x"))


def test_real_processes_are_seen(tmp_path: Path) -> None:
    script = tmp_path / "sdxl_train_network.py"
    script.write_text("import time; print(1, flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as trainer:
        assert trainer.stdout is not None
        trainer.stdout.readline()
        ours = [one for one in list_processes() if one.pid == trainer.pid]
        trainer.kill()
    assert [(one.parent, one.argv[-1]) for one in ours] == [(os.getpid(), str(script))]
    assert find_activity(ours, own=1_000_000) == {"training"}
