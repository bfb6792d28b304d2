"""What earlier runs learnt of files that have not changed since: trusted only for equal (name, size, mtime_ns, inode).

A file written in the same tick of the file system's clock as it was read could change again without its time changing (git's
"racy" entries): a file younger than RACY_NS when the run began is read again next time. A cache that cannot be read counts
as empty, one that cannot be written is done without: it only saves time.

The file is a line of JSON for each picture, in the order of the pictures' names. It is read and written side by side with the
listing, which has the same order, so neither the old nor the new one is ever in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lifeos import files
from tools.dataset.scan import FoundFile, FoundPicture

CACHE_VERSION = 3
RACY_NS = 2_000_000_000
"""FAT keeps times in steps of two seconds, the coarsest in use."""

PICTURE_FACTS, CAPTION_FACTS = 7, 3
"""How many facts are kept of each; the first is its SHA-256."""

COPY_BYTES = 1 << 20

# one encoder for all lines: json.dumps with options builds a new one for each
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_DECODE = json.JSONDecoder().decode


@dataclass(slots=True)
class Known:
    """A line of the old cache: what it knows of a picture and its caption, as [size, mtime_ns, inode, *facts]."""

    name: str
    picture: list[Any] | None
    caption: list[Any] | None
    line: bytes
    offset: int


class Cache:
    """`find(picture)` for pictures in order of their names, and `put` in the same order; the file changes when the body has succeeded.

    `with Cache(path, root, started_ns=now) as cache:`; a path of None keeps nothing.
    """

    def __init__(self, path: Path | None, root: Path, *, started_ns: int) -> None:
        self._path = path
        self._head = _ENCODE({"version": CACHE_VERSION, "root": str(root.resolve())}).encode("ascii") + b"\n"
        self._racy_from = started_ns - RACY_NS
        self._old = self._open_old()
        self._offset = self._same = len(self._head)  # so much of the old file was read; so much of it the new one begins with
        self._next: Known | None = None
        self._new: IO[bytes] | None = None
        self._stack = contextlib.ExitStack()
        self._read_line()

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self._path is not None:
            self._finish()
        if self._old is not None:
            self._old.close()
        self._stack.__exit__(kind, error, trace)  # the unfinished file goes when the body fails

    def find(self, found: FoundPicture) -> Known | None:
        """What is known of a picture, whether or not it still holds: see `facts_of`. Names must come in order."""
        while self._next is not None and self._next.name < found.file.name:
            self._read_line()
        return self._next if self._next is not None and self._next.name == found.file.name else None

    def keep(self, found: FoundPicture, known: Known | None) -> bool:
        """Keep the old line of a picture all of whose facts hold, if it stays where it is; else False: `put` it."""
        if known is None or known.offset != self._same or self._new is not None:
            return False
        if (found.caption is None) != (known.caption is None) or found.file.mtime_ns >= self._racy_from:
            return False
        if found.caption is not None and found.caption.mtime_ns >= self._racy_from:
            return False
        self._same += len(known.line)
        return True

    def put(self, found: FoundPicture, facts: list[Any], caption_facts: list[Any] | None, known: Known | None) -> None:
        """Keep what this run knows of a picture. `known`: what `find` gave for it."""
        if self._path is None:
            return
        picture, caption = self._part(found.file, facts), self._part(found.caption, caption_facts)
        if picture is None and caption is None:
            return
        if known is not None and known.picture == picture and known.caption == caption and known.offset == self._same and self._new is None:
            self._same += len(known.line)  # young files among them, which were not kept the last time either
            return
        self._write(_ENCODE([found.file.name, picture, caption]).encode("ascii") + b"\n")

    def _part(self, file: FoundFile | None, facts: list[Any] | None) -> list[Any] | None:
        if file is None or facts is None or file.mtime_ns >= self._racy_from:
            return None
        return [file.size, file.mtime_ns, file.inode, *facts]

    def _open_old(self) -> IO[bytes] | None:
        if self._path is None:
            return None
        try:
            old = open(self._path, "rb")  # noqa: SIM115 - closed by __exit__
        except OSError:
            return None
        if old.readline(len(self._head)) == self._head:
            return old
        old.close()
        return None

    def _read_line(self) -> None:
        self._next = None
        if self._old is None:
            return
        try:
            line = self._old.readline()
            entry = _DECODE(line.decode("ascii")) if line.endswith(b"\n") else None
        except (OSError, ValueError, RecursionError):
            return
        if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[0], str):
            return
        self._next = Known(entry[0], _sound(entry[1], PICTURE_FACTS), _sound(entry[2], CAPTION_FACTS), line, self._offset)
        self._offset += len(line)

    def _write(self, line: bytes) -> None:
        try:
            self._begin().write(line)
        except OSError as error:
            self._give_up(error)

    def _begin(self) -> IO[bytes]:
        """The new file, with what it has in common with the old one."""
        if self._new is None:
            assert self._path is not None
            temporary = self._stack.enter_context(files.replacing(self._path))
            self._new = self._stack.enter_context(temporary.open("wb"))
            self._new.write(self._head)
            left = self._same - len(self._head)
            if left and self._path is not None:
                with open(self._path, "rb") as old:
                    old.seek(len(self._head))
                    while left and (block := old.read(min(left, COPY_BYTES))):
                        self._new.write(block)
                        left -= len(block)
        return self._new

    def _finish(self) -> None:
        try:
            if self._new is None and self._old is not None and self._same != os.fstat(self._old.fileno()).st_size:
                self._begin()  # the pictures at its end are gone
            if self._old is not None:
                self._old.close()  # Windows replaces no open file
            self._stack.close()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        files.warn(f"{self._path}: the cache was not kept: {error.strerror} (the next run hashes every file again)")
        self._path = None
        with contextlib.suppress(OSError):
            self._stack.__exit__(type(error), error, error.__traceback__)


def facts_of(file: FoundFile | None, part: list[Any] | None) -> list[Any] | None:
    """The facts of a file that is still the one they were learnt of."""
    if file is None or part is None or part[0] != file.size or part[1] != file.mtime_ns or part[2] != file.inode:
        return None
    return part[3:]


def _sound(part: object, length: int) -> list[Any] | None:
    if not isinstance(part, list) or len(part) != 3 + length or not isinstance(part[3], str):
        return None
    try:
        return part if len(bytes.fromhex(part[3])) == 32 else None
    except ValueError:
        return None


def default_cache_file(root: Path) -> Path:
    """The cache of one dataset folder, in the user's own cache folder: a dataset is never written into."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return base / "lifeos" / "datasets" / f"{digest[:24]}.json"
