"""Remove what a run needs no more, so that a kill in the middle leaves nothing that could be taken for a whole one."""

from __future__ import annotations

import shutil
from pathlib import Path

REMOVING = ".removing-"
"""How the name of a thing begins while it is removed."""


def remove(path: Path) -> None:
    """Remove a file or folder. Raises OSError if it cannot be."""
    if not path.name.startswith(REMOVING):
        aside = path.with_name(f"{REMOVING}{path.name}")
        if aside.exists():
            _delete(aside)
        path = path.rename(aside)
    _delete(path)


def find_half_removed(folder: Path) -> list[Path]:
    """What a kill left half removed there."""
    return sorted(folder.glob(f"{REMOVING}*"))


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
