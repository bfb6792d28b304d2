"""The files below a folder, and one hash of how they are listed: the part of reading a set that a repeated command needs too.

Imported before anything else of ours is: no `re`, `pathlib` or `typing`, each of which takes longer to import than a thousand
pictures to list.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator

from lifeos.system_folders import SYSTEM_FOLDERS


def walk(root: str, leave_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(name, entry) of everything below a folder but folders, as the system lists it; a name has `/` between folders.

    Hidden and system folders are not entered, nor are links to folders, which come as entries. `leave_out`: real paths of files
    that are not named. Raises OSError for a folder that cannot be listed.
    """
    kept_out = {os.path.basename(path) for path in leave_out}
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(os.path.join(root, prefix)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") and entry.name not in SYSTEM_FOLDERS:
                        pending.append(f"{prefix}{entry.name}/")
                elif entry.name not in kept_out or os.path.realpath(entry.path) not in leave_out:
                    yield prefix + entry.name, entry


def stat_of(entry: os.DirEntry[str]) -> os.stat_result:
    """The entry's own state, with its inode: Windows lists files without."""
    info = entry.stat(follow_symlinks=False)
    return info if info.st_ino else os.stat(entry.path, follow_symlinks=False)


class Fingerprint:
    """One hash over names, sizes, times, inodes and kinds of files, in the order in which they are listed.

    An unchanged folder is listed in an unchanged order. Where it is not, the fingerprint is another one and no harm is done.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.newest_ns = 0
        self.has_links = False
        """What a link leads to can change without the link changing."""

    def add(self, name: str, info: os.stat_result) -> None:
        self._digest.update(repr((name, info.st_size, info.st_mtime_ns, info.st_ino, info.st_mode)).encode())
        self.newest_ns = max(self.newest_ns, info.st_mtime_ns)
        self.has_links = self.has_links or stat.S_ISLNK(info.st_mode)

    def add_folder(self, root: str, leave_out: frozenset[str] = frozenset()) -> None:
        """Add all that `walk` finds."""
        for name, entry in walk(root, leave_out):
            self.add(name, stat_of(entry))

    @property
    def value(self) -> str:
        return self._digest.hexdigest()
