"""Pictures of a batch that are gone before anybody saw them, or damaged: found at each start, so that they are made again each time.

What a person deleted is no loss: a picture that was filed whole and is there no more stays away (`decisions.Settled.gone`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lifeos.images import ImageError, decode_picture
from lifeos.picture_formats import HEAD_BYTES, format_of
from tools.backends.picture_bytes import find_damage
from tools.production.batch_state import BatchState, forget
from tools.production.filing import APPROVED, REJECTED, BatchFolder
from tools.production.journal import Journal
from tools.production.stopping import Note
from tools.production.whereabouts import find_pictures_of

TAIL_BYTES = 12
TAILS = {"PNG": b"\0\0\0\0IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}


@dataclass(frozen=True, slots=True)
class Loss:
    """A picture that must be made again, and what became of it. `path` in the directory is what is left of it."""

    index: int
    file: str
    why: str
    path: str | None = None


def find_losses(folder: BatchFolder, state: BatchState) -> Iterator[Loss]:
    """Every picture that was downloaded and is not there whole, though nobody took it away."""
    found = find_pictures_of(folder, state)
    for index, item in sorted(state.items.items()):
        for name in item.files:
            if name in item.lost:
                continue
            path = found.paths.get(name)
            if name not in state.filed:
                if folder.place_of(name) is None:
                    yield Loss(index, name, "it vanished before it was filed")
            elif path is not None and is_damaged(folder.root / path, state, name):
                yield Loss(index, name, "its file is damaged", path)


def is_damaged(path: Path, state: BatchState, name: str) -> bool:
    """Whether a picture that could be read when it was scored cannot be read now. Only doubtful files are read as a whole."""
    scored = state.scored.get(name)
    if scored is None or scored.reason is not None or _looks_whole(path, scored.bytes):
        return False
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() == scored.sha256:
        return False
    if (format_of(data) == "PNG" or not data[-TAIL_BYTES:].strip(b"\0")) and find_damage(data):
        return True  # Pillow would fill the rest of such a file with grey
    try:
        decode_picture(data, path)
    except ImageError:
        return True
    return False


def _looks_whole(path: Path, wanted: int | None) -> bool:
    """Whether a file is as long as it was, with a beginning and an end; where that length is not known, those of PNG, JPEG or WebP.

    A file that cannot be looked at counts as whole.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            tail = file.read()
    except OSError:
        return True
    kind = format_of(head)
    if wanted is not None:
        return size == wanted and kind != "" and tail.strip(b"\0") != b""
    if kind == "WEBP":
        return size >= 8 + int.from_bytes(head[4:8], "little")
    return kind in TAILS and tail.endswith(TAILS[kind])


def give_up_lost(folder: BatchFolder, state: BatchState, journal: Journal, note: Note) -> None:
    """Record what is lost, so that this run makes it again, and move aside what is left of it."""
    for item in state.items.values():
        for name in item.lost:  # of a run that was killed between the record and the move
            _set_aside(folder, name)
    for loss in list(find_losses(folder, state)):
        journal.append("lost", item=loss.index, file=loss.file, why=loss.why, durable=True)
        state.items[loss.index].lost += (loss.file,)
        forget(state, loss.file)
        if loss.path is not None:
            folder.set_aside(loss.path, loss.file)
        note(f"{loss.file}: {loss.why}; it is made again")


def _set_aside(folder: BatchFolder, name: str) -> None:
    for place in (APPROVED, REJECTED):
        if (folder.root / place / name).is_file():
            folder.set_aside(f"{place}/{name}", name)
