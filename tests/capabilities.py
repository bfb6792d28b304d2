"""What this machine and this folder can do, asked of them and not of a platform's name: tests skip by it.

`tests/without_posix.py` hides the first ones; a volume of another file system (`--basetemp` on exFAT, say) lacks the rest.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

POSIX = hasattr(os, "killpg")
"""Signals, groups of processes, flock, pipes, permission bits."""

LINUX = POSIX and sys.platform == "linux"


def can_link(folder: Path) -> bool:
    """Whether symbolic links can be made there: not on exFAT, and on Windows not by everybody."""
    try:
        (folder / ".link").symlink_to("nowhere")
        (folder / ".link").unlink()
    except (OSError, NotImplementedError):
        return False
    return True


def tells_cases_apart(folder: Path) -> bool:
    """Whether `A` and `a` are two files there: not on NTFS as Windows uses it, exFAT and a Mac's usual volume."""
    (folder / ".Case").touch()
    there = (folder / ".cASE").exists()
    (folder / ".Case").unlink()
    return not there


def takes(folder: Path, name: bytes | str) -> bool:
    """Whether a file may be called so there: bytes that are no UTF-8, line ends, `|` and the like are refused on many volumes."""
    try:
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name))))  # noqa: PTH118 - bytes
        path.touch()
        kept = os.fsencode(name) in os.listdir(os.fsencode(folder))  # noqa: PTH208 - bytes
        path.unlink()
    except (OSError, ValueError):
        return False
    return kept


def takes_any_name(folder: Path) -> bool:
    """Whether a name may hold bytes that are no UTF-8, line ends and signs that other systems keep for themselves."""
    return all(takes(folder, name) for name in (b"\xff.png", "a\nb|c", "a:*"))


def can_hold_pipes(folder: Path) -> bool:
    if not hasattr(os, "mkfifo"):
        return False
    try:
        os.mkfifo(folder / ".pipe")
        (folder / ".pipe").unlink()
    except OSError:
        return False
    return True


def keeps_permissions(folder: Path) -> bool:
    path = folder / ".mode"
    path.touch()
    path.chmod(0o640)
    kept = path.stat().st_mode & 0o777 == 0o640
    path.unlink()
    return POSIX and kept


def replaces_in_one_step(folder: Path) -> bool:
    """Whether a file that is replaced is there at every moment: the FUSE drivers of exFAT and NTFS remove the old one first."""
    path, spare = folder / ".replaced", folder / ".spare"
    path.touch()
    ended = threading.Event()

    def replace() -> None:
        for _ in range(300):
            spare.touch()
            spare.replace(path)
        ended.set()

    writer = threading.Thread(target=replace)
    writer.start()
    always = True
    while not ended.is_set():
        try:
            path.read_bytes()
        except FileNotFoundError:
            always = False
    writer.join()
    path.unlink()
    return always
