"""The one line that says why a step failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.cycle.step_reason import find_reason

TRACEBACK = """Traceback (most recent call last):
  File "agent.py", line 3, in <module>
    raise ValueError("no plan")
ValueError: no plan
"""


@pytest.mark.parametrize(
    ("log", "code", "reason"),
    [
        pytest.param("working\nerror: x: is empty (give another)\nbye\n", 2, "error: x: is empty (give another)", id="its own line"),
        pytest.param("error: a:1: old\nerror: b:1: old\nerror: a:1: old\n", 1, "error: a:1: old (and 1 more)", id="the first of several"),
        pytest.param("hint: x\nfatal: not a git repository\nhint: y\n", 128, "fatal: not a git repository", id="git"),
        pytest.param(
            "fatal: Unable to create '/p/.git/index.lock': File exists.\n\nAnother git process seems to be running in this repository\n",
            128,
            "fatal: Unable to create '/p/.git/index.lock': File exists. (another git is at work there, or one was killed: if none is, "
            "remove /p/.git/index.lock, and give the same command again)",
            id="a git that was killed",
        ),
        pytest.param(f"{TRACEBACK}\nCleaning up\n", 1, "ValueError: no plan", id="an exception, and what was printed after it"),
        pytest.param("a\nb\nc\n", 1, "it ended with exit code 1; its last line: c", id="no words of its own"),
        pytest.param(
            "errors: 0\nKeyError of somebody: fine\n",
            7,
            "it ended with exit code 7; its last line: KeyError of somebody: fine",
            id="like an error",
        ),
        pytest.param("", 3, "it ended with exit code 3 and gave no message", id="silent"),
        pytest.param("a\n", -9, "it was ended by signal 9; its last line: a", id="killed"),
    ],
)
def test_reason(tmp_path: Path, log: str, code: int, reason: str) -> None:
    (tmp_path / "log").write_text(log)
    assert find_reason(tmp_path / "log", 0, code) == reason


def test_an_earlier_run_in_the_same_log_is_not_the_reason(tmp_path: Path) -> None:
    """A cycle that goes on appends to the log of the step."""
    before = "error: the disk: full\n"
    (tmp_path / "log").write_text(f"{before}now another\n")
    assert find_reason(tmp_path / "log", len(before), 1) == "it ended with exit code 1; its last line: now another"


def test_a_log_of_any_size(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff" * 200_000 + b"\nerror: at the end\n")
    assert find_reason(tmp_path / "log", 0, 1) == "error: at the end"
