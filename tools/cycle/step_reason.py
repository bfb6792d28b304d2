"""Why a step failed, in one line: what it said itself, and not the last lines of its log."""

from __future__ import annotations

import re
from pathlib import Path

LOG_TAIL_BYTES = 64 << 10
OWN_WORDS = re.compile(r"(?:error|fatal):\s")
ENDED = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b(?:: .*)?")
"""The last line of a traceback."""

GIT_LOCK = re.compile(r"fatal: Unable to create '(.+\.lock)': File exists\.?")
"""A git that works in the same repository, or one that was killed: git itself cannot tell which, and leaves the file to people."""


def find_reason(log: Path, start: int, code: int) -> str:
    """The reason in what a step has written behind byte `start` of its log: its first error line, with the number of further ones, else the
    exception of a traceback, else its exit code with its last line.
    """
    with open(log, "rb") as file:
        size = log.stat().st_size
        file.seek(max(start, size - LOG_TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = list(dict.fromkeys(line for line in lines if OWN_WORDS.match(line)))
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        if locked := GIT_LOCK.fullmatch(errors[0]):
            more = f" (another git is at work there, or one was killed: if none is, remove {locked[1]}, and give the same command again)"
        return errors[0] + more
    raised = [line for line in lines if ENDED.fullmatch(line)]
    if raised and any(line.startswith("Traceback ") for line in lines):
        return raised[-1]
    ended = f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
    return f"{ended}; its last line: {lines[-1]}" if lines else f"{ended} and gave no message"
