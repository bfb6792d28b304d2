"""What earlier runs learnt of files that have not changed since: keyed by name, trusted only for equal (size, mtime_ns, inode).

A file written in the same tick of the file system's clock as it was read could change again without its time changing (git's
"racy" entries): a file younger than RACY_NS when the run began is read again next time. A cache that cannot be read counts
as empty, one that cannot be written is done without: it only saves time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from lifeos import files

CACHE_VERSION = 2
RACY_NS = 2_000_000_000
"""FAT keeps times in steps of two seconds, the coarsest in use."""


class Cache:
    """`get(name, size, mtime_ns, inode)` gives what `put` was told, or None."""

    def __init__(self, path: Path | None, root: Path, *, started_ns: int) -> None:
        self._path, self._root = path, str(root.resolve())
        self._racy_from = started_ns - RACY_NS
        self._old: dict[str, list[Any]] = self._read() if path else {}
        self._new: dict[str, list[Any]] = {}

    def get(self, name: str, key: tuple[int, int, int]) -> list[Any] | None:
        """The facts of a file whose key is unchanged. `key` is (size, mtime_ns, inode)."""
        entry = self._old.get(name)
        return entry[3:] if entry is not None and tuple(entry[:3]) == key else None

    def put(self, name: str, key: tuple[int, int, int], facts: list[Any]) -> None:
        if self._path and key[1] < self._racy_from:
            old = self._old.get(name)
            same = old is not None and tuple(old[:3]) == key and old[3:] == facts
            self._new[name] = old if same and old is not None else [*key, *facts]

    def save(self) -> None:
        """Keep what this run put, if anything differs from what was there."""
        if self._path is None or self._new == self._old:
            return
        head = json.dumps({"version": CACHE_VERSION, "root": self._root})
        try:
            with files.replacing(self._path) as temporary, open(temporary, "w", encoding="ascii") as file:
                file.write(f'{head[:-1]}, "files": {{')
                for number, (name, entry) in enumerate(self._new.items()):
                    file.write(f"{',' if number else ''}\n{json.dumps(name)}: {json.dumps(entry)}")
                file.write("\n}}\n")
        except OSError as error:
            files.warn(f"{self._path}: the cache was not kept: {error.strerror} (the next run hashes every file again)")

    def _read(self) -> dict[str, list[Any]]:
        assert self._path is not None
        try:
            document = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(document, dict) or document.get("version") != CACHE_VERSION or document.get("root") != self._root:
            return {}
        entries = document.get("files")
        return entries if isinstance(entries, dict) and all(_is_entry(entry) for entry in entries.values()) else {}


def _is_entry(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) > 3 and all(type(value) is int for value in entry[:3])


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
