"""Where a batch was made, and whether the directory that is looked at is that one, the same one moved, or a copy of it.

`batch.json` holds the directory in which the batch was made (`directory`). Where the batch lies elsewhere now, it was moved if nothing of
it is left there, and its own files (references, a history) are looked for in the new place. If that directory still holds the same batch,
this one is a copy: its pictures, decisions and reports are its own, and what belongs to the original (its row in the evaluation history,
its prompts on a server) is left alone. A copy becomes the batch as soon as the original is moved away or deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError
from lifeos.shells import as_typed, python_word

BATCH_FILE = "batch.json"


@dataclass(frozen=True, slots=True)
class BatchIdentityNote:
    """What tells one batch from another, in batch.json. `directory`: empty in batches of older versions, of which nothing is known."""

    batch_id: str
    directory: str = ""


def find_original(root: Path) -> Path | None:
    """The directory of which `root` is a copy; None where it is none, or nothing is known."""
    own = _read(root)
    if own is None or not own.directory or is_same_folder(own.directory, root):
        return None
    there = _read(Path(own.directory))
    return Path(own.directory) if there is not None and there.batch_id == own.batch_id else None


def home_of(root: Path) -> str:
    """What `directory` is to hold in the plan of `root`: a copy goes on naming its original."""
    return str(find_original(root) or root.resolve())


def is_same_folder(first: str, second: Path) -> bool:
    try:
        return Path(first).samefile(second)
    except (OSError, ValueError):
        return False


def relocated(path: str, directory: str, root: Path) -> str:
    """A path that a batch recorded, as it is now: what lay inside the directory of the batch lies inside `root`."""
    if not directory or is_same_folder(directory, root):
        return path
    try:
        inside = Path(path).relative_to(directory)
    except ValueError:
        return path
    return str(root.resolve() / inside)


def relocated_all(values: Mapping[str, Any], directory: str, root: Path) -> dict[str, Any]:
    """The same of every text among the values of a recorded command."""
    return {name: relocated(value, directory, root) if isinstance(value, str) else value for name, value in values.items()}


def history_to_record(root: Path, history: Path | None, *, asked: bool) -> Path | None:
    """The evaluation history that may get a row of the batch in `root`: a copy leaves its original's row alone, unless somebody asked for
    that history, or it lies in the copy itself."""
    if history is None or asked or history.resolve().is_relative_to(root.resolve()) or find_original(root) is None:
        return history
    return None


def copy_line(root: Path) -> str:
    """What to know of a copy, and what can be done about it; empty for a directory that is none."""
    original = find_original(root)
    if original is None:
        return ""
    command = as_typed([python_word(), "tools/review.py", str(original), "--apply", str(root / "decisions.jsonl")])
    return (
        f"{root} is a copy of {original}: what is decided or made here stays here, and the original's row in the evaluation history is not "
        f"touched. To take decisions over into the original: {command}. To make this "
        "directory the batch: move the original away or delete it"
    )


def _read(root: Path) -> BatchIdentityNote | None:
    try:
        return foreign.read_file(root / BATCH_FILE, BatchIdentityNote, surrogates="keep")
    except (InputError, OSError):
        return None
