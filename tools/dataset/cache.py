"""What earlier runs learnt of files that have not changed since: used only for equal (name, size, mtime_ns, inode).

Files modified within the last two seconds are always re-read: written again in the same tick of the file system's clock, they could
change without their time changing. `--no-cache` re-reads everything. A cache only saves time: a line of it that is damaged is not
believed, and a cache that cannot be written, or a file that is none, is done without.

It is a text file. The first line says of which folder it is; each other line is one file of the set, with a checksum before it. Lines
are appended while the set is read, so a run that is killed has not read for nothing, and two runs may share a cache.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lifeos import files
from tools.dataset.picture_header import PictureHeader
from tools.dataset.scan import ListedFile
from tools.dataset.training_set import Caption, PictureRecord

MAGIC = b"lifeos dataset cache "
CACHE_VERSION = 6
OLD_MAGIC, OLD_APPLICATION = b"SQLite format 3\0", b"LOSD"
"""Until version 3.0 it was an SQLite database with this application id at byte 68."""
RACY_NS = 2_000_000_000
"""FAT keeps times in steps of two seconds, the coarsest in use."""
LINES_AT_ONCE = 500

Read = PictureRecord | Caption


class DatasetCache:
    """`recall` what is known of a file, `keep` what was read of it, `close` at the end. A path of None knows and keeps nothing.

    `started_ns`: the clock before the set was listed.
    """

    def __init__(self, path: Path | None, root: Path, *, started_ns: int) -> None:
        self._path = path
        self._head = MAGIC + f"{CACHE_VERSION} {os.fsencode(root.resolve()).hex()}\n".encode()
        self._racy_from = started_ns - RACY_NS
        self._known: dict[str, list[Any]] = {}
        self._new: list[bytes] = []
        self._is_empty = True
        self._has_old_lines = False
        if path is not None:
            try:
                self._load(path)
            except OSError as error:
                self._give_up(error)

    def recall(self, file: ListedFile, *, decoded: bool) -> Read | None:
        """What is known of a file that is unchanged. `decoded`: a picture counts only if it was decoded whole."""
        entry = self._known.get(file.name)
        if entry is None:
            return None
        if tuple(entry[:4]) != _stamp(file) or (decoded and len(entry) > 7 and entry[-1] is None):
            self._has_old_lines = True
            return None
        del self._known[file.name]
        return _as_read(entry)

    def keep(self, file: ListedFile, read: Read) -> None:
        """Keep what was read of a file, unless it is too young to be told from a later change."""
        if self._path is not None and file.mtime_ns < self._racy_from:
            self._new.append(_line([*_stamp(file), *_facts(read)]))
            if len(self._new) >= LINES_AT_ONCE:
                self.flush()

    def flush(self) -> None:
        """Append what was learnt, in one step."""
        if self._path is None or not self._new:
            return
        try:
            with open(self._path, "wb" if self._is_empty else "ab", buffering=0) as file:
                file.write((self._head if self._is_empty else b"") + b"".join(self._new))
        except OSError as error:
            self._give_up(error)
        self._is_empty = False
        self._new = []

    def close(self, listed: Mapping[str, ListedFile]) -> None:
        """At the end of a run: `listed` is the whole set. Lines of files that are gone or were changed are dropped."""
        self.flush()
        if self._path is None or not (self._has_old_lines or self._known):
            return
        try:
            with files.replacing(self._path) as temporary, open(temporary, "wb") as file:
                file.write(self._head)
                file.writelines(_lines_of(self._path, listed))
        except OSError as error:
            self._give_up(error)

    def _load(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "rb") as file:
                head = file.readline(1 << 16)
                if not head.startswith(MAGIC) and head:
                    file.seek(0)
                    start = file.read(72)
                    if not (start.startswith(OLD_MAGIC) and start[68:72] == OLD_APPLICATION):
                        raise FileExistsError(errno.EEXIST, "the file is no cache of this program: name another")
                if head != self._head:  # of another folder or version, or of none
                    return
                self._is_empty = False
                last = head
                for last in file:
                    entry = _entry(last)
                    if entry is None or entry[0] in self._known:
                        self._has_old_lines = True
                    if entry is not None:
                        self._known[entry[0]] = entry
                if not last.endswith(b"\n"):  # torn by a kill: what comes begins on a line of its own
                    self._new.append(b"\n")
        except FileNotFoundError:
            return

    def _give_up(self, error: OSError) -> None:
        files.warn(f"{self._path}: the cache was not kept: {error.strerror} (the next run reads every file again)")
        self._path, self._new = None, []


def _stamp(file: ListedFile) -> tuple[str, int, int, int]:
    return file.name, file.size, file.mtime_ns, file.inode


def _facts(read: Read) -> list[Any]:
    if isinstance(read, Caption):
        return [read.sha256, read.text, " ".join(read.faults)]
    header = read.header
    size = [header.width, header.height, header.orientation]
    return [read.sha256, header.format, *size, " ".join(header.faults), read.damage]


def _as_read(entry: list[Any]) -> Read:
    name, size, _, _, sha256, *facts = entry
    if len(facts) == 2:
        text, faults = facts
        return Caption(name, sha256, text, tuple(faults.split()))
    kind, width, height, orientation, faults, damage = facts
    header = PictureHeader(sys.intern(kind), width, height, orientation, tuple(faults.split()))
    return PictureRecord(name, sha256, size, header, damage=damage)


def _line(entry: list[Any]) -> bytes:
    text = _ENCODE(entry).encode("ascii")
    return _checksum(text) + b" " + text + b"\n"


def _entry(line: bytes) -> list[Any] | None:
    """The entry of a line, None for a damaged one."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if checksum != _checksum(text):
        return None
    entry: list[Any] = json.loads(text)
    return entry


def _lines_of(path: Path, listed: Mapping[str, ListedFile]) -> Iterable[bytes]:
    """The lines of a cache that are true of the files listed: of each file its last."""
    lines: dict[str, bytes] = {}
    with open(path, "rb") as file:
        for line in file:
            entry = _entry(line)
            if entry is not None and entry[0] in listed and tuple(entry[:4]) == _stamp(listed[entry[0]]):
                lines[entry[0]] = line
    return lines.values()


def _checksum(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode("ascii")


_ENCODE = json.JSONEncoder().encode


def default_cache_file(root: Path) -> Path | None:
    """The cache of one dataset folder, in the user's own cache folder: a dataset is never written into. None for a user without one."""
    try:
        base = _user_cache_folder()
    except RuntimeError:  # no home
        return None
    digest = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()
    return base / "lifeos" / "datasets" / f"{digest[:24]}.jsonl"


def _user_cache_folder() -> Path:
    system: str = sys.platform
    if system == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if system == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
