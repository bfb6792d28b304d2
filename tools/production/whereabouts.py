"""Where the pictures of a batch lie: in approved/ and rejected/, in folders inside them, under other names; and what else lies there."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lifeos import files
from lifeos.images import is_picture_name
from tools.production.batch_state import BatchState
from tools.production.filing import APPROVED, REJECTED, BatchFolder

PUBLISHED = "published"
"""A picture itself that was moved here was found good enough; the copies that are made for publishing hold other bytes."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the filed pictures of a batch lie: for each that is there its path in the directory, `/`-separated.

    `doubled` lie in both places. `strangers`: paths of pictures that are none of this batch; somebody put them there.
    """

    paths: Mapping[str, str]
    doubled: frozenset[str] = frozenset()
    strangers: tuple[str, ...] = ()

    def folder_of(self, name: str) -> str | None:
        """`approved`, `rejected`, a folder inside one of them, or None: it is gone."""
        path = self.paths.get(name)
        return None if path is None else path.rpartition("/")[0]

    def is_approved(self, name: str) -> bool | None:
        """Whether it lies where approved pictures do; None where it is gone."""
        path = self.paths.get(name)
        return None if path is None else not path.startswith(f"{REJECTED}/")


def find_pictures_of(folder: BatchFolder, state: BatchState) -> Whereabouts:
    """Look for every filed picture in approved/ and rejected/ and the folders inside them; a renamed one is known by its bytes."""
    paths: dict[str, str] = {}
    doubled: set[str] = set()
    strangers: list[str] = []
    for place in (APPROVED, REJECTED):
        for parent, _, names in os.walk(folder.root / place):
            inside = Path(parent).relative_to(folder.root).as_posix()
            for name in names:
                if name not in state.filed:
                    strangers.append(f"{inside}/{name}")
                elif name in paths and not paths[name].startswith(f"{place}/"):
                    doubled.add(name)
                elif name not in paths:  # the folder itself comes before those inside it
                    paths[name] = f"{inside}/{name}"
    for name in doubled:  # a copy decides nothing: the place that we know of is the picture's
        known = f"{state.places.get(name, APPROVED)}/{name}"
        paths[name] = known if (folder.root / known).is_file() else paths[name]
    renamed = _find_renamed(folder.root, state, state.filed - paths.keys(), strangers)
    unknown = sorted(path for path in set(strangers) - set(renamed.values()) if is_picture_name(Path(path)))
    return Whereabouts(paths | renamed, frozenset(doubled), tuple(unknown))


def _find_renamed(root: Path, state: BatchState, missing: Collection[str], strangers: Sequence[str]) -> dict[str, str]:
    """Picture -> path, of those that are not under their names: among the strangers, and in the folder of what is published."""
    sought = {known.sha256: name for name in sorted(missing) if (known := state.scored.get(name)) is not None and known.sha256}
    sizes = {state.scored[name].bytes for name in sought.values()}
    published = root / PUBLISHED
    copies = sorted(path.name for path in published.iterdir() if path.is_file()) if sought and published.is_dir() else ()
    found: dict[str, str] = {}
    for path in (*strangers, *(f"{PUBLISHED}/{name}" for name in copies)):
        if not sought:
            break
        if (name := sought.pop(_digest(root / path, sizes), None)) is not None:
            found[name] = path
    return found


def _digest(path: Path, sizes: Collection[int | None]) -> str:
    """The SHA-256 of a file; empty where it cannot be read, or is of none of these sizes (None: of any), which may be so of thousands."""
    try:
        return files.sha256_file(path) if None in sizes or path.stat().st_size in sizes else ""
    except OSError:
        return ""
