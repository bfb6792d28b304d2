"""Commands as people paste and type them, in each kind of shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifeos import shells
from lifeos.errors import InputError

COMMAND = [r"C:\Program Files\Python\python.exe", "tools\\x.py", "--prompt", "it's a cat & a dog", "--cfg", "-1", "--config", "a.yaml"]


def test_a_posix_shell_reads_back_what_is_shown() -> None:
    words = ["/opt/my python", "tools/x.py", "it's $HOME `now`", ""]
    if os.name == "posix":
        shown = shells.as_typed(["printf", "%s\\n", *words], ["printf", "end"])
        done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True)
        assert done.stdout.split("\n") == [*words, "end"]


def test_powershell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "running_shell", lambda: shells.POWERSHELL)
    assert shells.as_typed(COMMAND, ["git", "push"]) == (
        r"& 'C:\Program Files\Python\python.exe' tools\x.py --prompt 'it''s a cat & a dog' --cfg '-1' --config a.yaml; git push"
    )


def test_cmd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "running_shell", lambda: shells.CMD)
    assert shells.as_typed(COMMAND, ["git", "push"]) == (
        r'"C:\Program Files\Python\python.exe" tools\x.py --prompt "it' + "'" + r's a cat & a dog" --cfg -1 --config a.yaml && git push'
    )


@pytest.mark.parametrize(
    ("windows", "text", "words"),
    [
        (False, r"claude -p 'write it' \"x", ["claude", "-p", "write it", '"x']),
        (True, r'"C:\Program Files\claude.cmd" -p "write it" C:\new', [r"C:\Program Files\claude.cmd", "-p", "write it", r"C:\new"]),
        (True, "claude -p 'a # b'", ["claude", "-p", "a # b"]),
    ],
)
def test_a_typed_command_is_split_as_its_shell_would(monkeypatch: pytest.MonkeyPatch, windows: bool, text: str, words: list[str]) -> None:
    monkeypatch.setattr(shells, "WINDOWS", windows)
    assert shells.split_command(text) == words


def test_a_quote_that_is_not_closed_is_said() -> None:
    with pytest.raises(InputError, match="a quote in this command is not closed"):
        shells.split_command("claude 'x")


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("python3", "run: python3 -m lifeos setup, or python3 tools/demo.py"),
        ("py", "run: py -m lifeos setup, or py tools/demo.py"),
        ("python", "run: python -m lifeos setup, or python tools/demo.py"),
        ("evil; rm", "run: python -m lifeos setup, or python tools/demo.py"),
    ],
)
def test_hints_name_the_python_that_was_typed(monkeypatch: pytest.MonkeyPatch, word: str, shown: str) -> None:
    monkeypatch.setenv(shells.PYTHON_VARIABLE, word)
    assert shells.in_this_shell("run: python -m lifeos setup, or python tools/demo.py") == shown


def test_a_hint_at_the_end_of_a_command(project_root: Path) -> None:
    """As a machine without a `python` shows it."""
    environment = os.environ | {shells.PYTHON_VARIABLE: "python3"}
    command = [sys.executable, "-m", "lifeos", ""]
    done = subprocess.run(command, cwd=project_root, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: : no such verb or script (see python3 -m lifeos --help)\n")
