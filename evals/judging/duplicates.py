"""Pictures that a run holds more than once: of those that are the same file one is approved, the one that comes first in the plan.

Nothing here opens a picture. Which pictures are nearly the same is told from outside, and counts only where the policy rejects them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from evals.judging.picture_verdict import DUPLICATE, Reason

SAME_FILE: Final = "same_file"
REPAIRED: Final = "repaired"
HOW: Final = {
    SAME_FILE: "the same file as",
    "near": "nearly the same picture as",
    "mirrored": "the mirror image of",
    "part": "the same picture, cut otherwise, as",
    REPAIRED: "a repair that is no longer needed of",
}
"""How a picture is like another, by the word in records, for people."""
GROUPS: Final = {SAME_FILE: "the same file as another picture", REPAIRED: "a repair of a picture that is approved itself"}
NEARLY: Final = "nearly the same as another picture"


@dataclass(frozen=True, slots=True)
class CopyOf:
    """What a picture is a duplicate of: the file that is kept, and `how` they are alike (a key of `HOW`)."""

    file: str
    how: str = SAME_FILE

    @property
    def text(self) -> str:
        """`the same file as 0002_….png`."""
        return f"{HOW.get(self.how, HOW['near'])} {self.file}"

    @property
    def reason(self) -> Reason:
        """Why such a picture is rejected."""
        return Reason(DUPLICATE, DUPLICATE, GROUPS.get(self.how, NEARLY), f"duplicate: {self.text}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture that the gates approve. Only pictures of one `group` (a configuration of a sweep) can be duplicates of each other."""

    file: str
    sha256: str | None
    group: Hashable = None


Alike = Mapping[tuple[str, str], str]
"""Pairs of files, in either order, that are nearly the same, and how."""


def find_copies(approved: Iterable[Entry], alike: Alike | None = None) -> dict[str, CopyOf]:
    """Which of these pictures are duplicates, and of which. They come in the order of the plan; whoever comes first is kept.

    A picture that is like one of `alike` is a duplicate of the first kept one that it is like; being like a duplicate alone is nothing.
    """
    neighbours: dict[str, list[tuple[str, str]]] = {}
    for (first, second), how in (alike or {}).items():
        neighbours.setdefault(first, []).append((second, how))
        neighbours.setdefault(second, []).append((first, how))
    copies: dict[str, CopyOf] = {}
    seen: dict[tuple[Hashable, str], str] = {}
    kept: dict[str, tuple[int, Hashable]] = {}
    for place, entry in enumerate(approved):
        known = seen.setdefault((entry.group, entry.sha256), entry.file) if entry.sha256 else entry.file
        if known != entry.file:
            copies[entry.file] = copies.get(known, CopyOf(known))
            continue
        near = [(kept[file][0], file, how) for file, how in neighbours.get(entry.file, ()) if file in kept and kept[file][1] == entry.group]
        if near:
            _, file, how = min(near)
            copies[entry.file] = CopyOf(file, how)
        else:
            kept[entry.file] = place, entry.group
    return copies
