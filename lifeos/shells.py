"""Commands as the shell that is running takes them: what a person can paste, and what a person has typed as one text."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import PurePath

from lifeos.errors import InputError

WINDOWS = os.name == "nt"
POSIX_SHELL, CMD, POWERSHELL = "sh", "cmd", "powershell"
PYTHON_VARIABLE = "LIFEOS_PYTHON"
"""The word that started the launcher (`python`, `python3`, `py`): its children are started by a full path, and would not know it."""

OUR_COMMAND = re.compile(r"\bpython(?= (?:-m lifeos|(?:tools|evals|wheels|benchmarks)/))")
FLAG = re.compile(r"--?[a-zA-Z][\w-]*")
PLAIN_WORD = re.compile(r"[\w@%+=:,./\\-]+")


def as_typed(*commands: Sequence[str]) -> str:
    """Commands, one after the other, as one line for the shell that is running."""
    shell = running_shell()
    if shell == POWERSHELL:
        return "; ".join(" ".join([*_call(command[0]), *map(_quote_for_powershell, command[1:])]) for command in commands)
    if shell == CMD:
        return " && ".join(subprocess.list2cmdline(command) for command in commands)
    return " && ".join(shlex.join(command) for command in commands)


def split_command(text: str) -> list[str]:
    """The words of a command that was typed as one text. Raises InputError for a quote that is not closed.

    On Windows a backslash separates folders; it quotes nothing.
    """
    words = shlex.shlex(text, posix=True, punctuation_chars="")
    words.whitespace_split, words.commenters = True, ""
    if WINDOWS:
        words.escape = ""
    try:
        return list(words)
    except ValueError:
        raise InputError(text, "a quote in this command is not closed", "close it") from None


@cache
def running_shell() -> str:
    """The shell of this process: the nearest one among those that started it. On Windows without psutil: cmd."""
    if not WINDOWS:
        return POSIX_SHELL
    try:
        import psutil
    except ModuleNotFoundError:  # a dry run by a Python alone
        return CMD
    names = [PurePath(parent.name()).stem.lower() for parent in psutil.Process().parents()]
    known = {"cmd": CMD, "powershell": POWERSHELL, "pwsh": POWERSHELL, "bash": POSIX_SHELL, "sh": POSIX_SHELL}
    return next((known[name] for name in names if name in known), CMD)


def python_word() -> str:
    """The word that starts Python here: the one that was typed."""
    typed = os.environ.get(PYTHON_VARIABLE) or PurePath(sys.orig_argv[0] if sys.orig_argv else "").name
    return typed if re.fullmatch(r"py|python[\d.]*(?:\.exe)?", typed) else "python"


def in_this_shell(hint: str) -> str:
    """A hint whose commands of ours begin with the word that starts Python here."""
    word = python_word()
    return hint if word == "python" else OUR_COMMAND.sub(word, hint)


def _call(program: str) -> list[str]:
    """PowerShell takes a quoted text for a text, unless `&` stands before it."""
    return [program] if PLAIN_WORD.fullmatch(program) else ["&", _quote_for_powershell(program)]


def _quote_for_powershell(word: str) -> str:
    """A flag or a plain word as it is; `@` and `-1` mean something to PowerShell."""
    plain = PLAIN_WORD.fullmatch(word) and word[0] not in "@-"
    return word if plain or FLAG.fullmatch(word) else "'" + word.replace("'", "''") + "'"
