"""What earlier runs learnt of files that have not changed since: trusted only for equal (name, size, mtime_ns, inode).

A file written in the same tick of the file system's clock as it was read could change again without its time changing (git's
"racy" entries): a file younger than RACY_NS when the run began is read again next time. A cache only saves time: one that is
damaged counts as empty, one that cannot be written or is not ours is done without.

It is an SQLite database, attached to the tables of a `Catalogue` as `cache`. What is learnt is kept lot by lot, so a run that
is killed has not read for nothing, and two runs may share it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lifeos import files
from tools.dataset.unchanged import user_cache_folder

CACHE_VERSION = 4
APPLICATION_ID = 0x4C4F5344
"""In the header of the file, so that no other database is taken for a cache, or removed for a damaged one."""
SQLITE_MAGIC, HEADER_BYTES = b"SQLite format 3\0", 100
RACY_NS = 2_000_000_000
"""FAT keeps times in steps of two seconds, the coarsest in use."""

FACTS = {
    "picture": "sha256, format, width, height, orientation, faults, damage",
    "caption": "sha256, text, faults",
}
"""What is learnt of a file. Beside it stands its `seal`, so that a damaged row is not believed."""
STAMP = "name, size, mtime_ns, inode"
_TABLES = f"""
PRAGMA cache.application_id = {APPLICATION_ID};
PRAGMA cache.user_version = {CACHE_VERSION};
CREATE TABLE cache.about(root BLOB);
CREATE TABLE cache.picture(name BLOB PRIMARY KEY, size, mtime_ns, inode, {FACTS["picture"]}, seal) WITHOUT ROWID;
CREATE TABLE cache.caption(name BLOB PRIMARY KEY, size, mtime_ns, inode, {FACTS["caption"]}, seal) WITHOUT ROWID;
"""


_OUTSIDE = frozenset({"BUSY", "LOCKED", "READONLY", "IOERR", "FULL", "CANTOPEN", "PERM"})


def _is_outside(error: sqlite3.Error) -> bool:
    """Whether an error says nothing against what is in a file: it is in use, or cannot be reached or written."""
    return error.sqlite_errorname.split("_")[1] in _OUTSIDE


def seal(*row: object) -> bytes:
    """A checksum of name, size, time and facts. A row whose text is damaged does not even reach it."""
    return hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=8).digest()


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that the body changes, or nothing."""
    database.execute("BEGIN")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # SQLite ends it itself where the disk is full
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


class Cache:
    """`recall` what is known, `keep` what was learnt, `forget_gone` at the end. A path of None knows and keeps nothing.

    `started_ns`: the clock before the set was listed.
    """

    def __init__(self, path: Path | None, root: Path, *, started_ns: int) -> None:
        self._path = path
        self._root = os.fsencode(root.resolve())
        self._racy_from = started_ns - RACY_NS

    @property
    def is_kept(self) -> bool:
        return self._path is not None

    def recall(self, database: sqlite3.Connection, *, decoded: bool) -> None:
        """Fill in what is known of files that are unchanged. `decoded`: only of pictures that were decoded whole."""
        if self._path is None:
            return
        try:
            try:
                self._attach(self._path, database)
                self._fill_in(database, decoded=decoded)
            except sqlite3.Error as error:
                if _is_outside(error):
                    raise
                self._remove(self._path, database)
                self._attach(self._path, database)
        except (sqlite3.Error, OSError) as error:
            self._give_up(database, error)

    def _fill_in(self, database: sqlite3.Connection, *, decoded: bool) -> None:
        database.create_function("seal", -1, seal, deterministic=True)
        with transaction(database):
            for table, facts in FACTS.items():
                if database.execute(f"SELECT 1 FROM cache.{table}").fetchone() is None:
                    continue  # a first run: no row to change
                same = " AND ".join(f"k.{column} = {table}.{column}" for column in STAMP.split(", "))
                only = " AND k.damage IS NOT NULL" if decoded and table == "picture" else ""
                sealed = ", ".join(f"k.{column}" for column in f"name, size, mtime_ns, {facts}".split(", "))
                known = f"SELECT {facts}, seal FROM cache.{table} AS k WHERE {same}{only} AND k.seal = seal({sealed})"
                database.execute(f"UPDATE {table} SET ({facts}, seal) = ({known})")

    def keep(self, database: sqlite3.Connection, *, first: bytes, last: bytes) -> None:
        """Keep what was learnt of the files from one name to another, but for those too young to be told from a later change."""
        for table, facts in FACTS.items():
            columns = f"{STAMP}, {facts}, seal"
            learnt = "sha256 IS NOT NULL AND mtime_ns < :racy AND name BETWEEN :first AND :last"
            keep = f"INSERT OR REPLACE INTO cache.{table} SELECT {columns} FROM main.{table} WHERE {learnt}"
            self._run(database, keep, {"racy": self._racy_from, "first": first, "last": last})

    def forget_gone(self, database: sqlite3.Connection) -> None:
        """Drop what is known of files that are no longer there."""
        for table in FACTS:
            gone = f"FROM cache.{table} WHERE name NOT IN (SELECT name FROM main.{table})"
            if self._run(database, f"SELECT 1 {gone} LIMIT 1"):  # mostly there is none, and nothing need be locked
                self._run(database, f"DELETE {gone}")

    def _run(self, database: sqlite3.Connection, statement: str, parameters: Mapping[str, object] | None = None) -> list[Any]:
        if self._path is None:
            return []
        try:
            return database.execute(statement, parameters or {}).fetchall()
        except sqlite3.Error as error:
            self._give_up(database, error)
            return []

    def _attach(self, path: Path, database: sqlite3.Connection) -> None:
        """Open the cache, as an empty one where it is of another version or of another folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        version = _version_of(path)
        if version == CACHE_VERSION:
            self._open(path, database)
            if database.execute("SELECT root FROM cache.about").fetchone() == (self._root,):
                return
        if version is not None:
            self._remove(path, database)
        self._open(path, database)
        database.executescript(f"BEGIN; {_TABLES} INSERT INTO cache.about VALUES (X'{self._root.hex()}'); COMMIT;")

    def _open(self, path: Path, database: sqlite3.Connection) -> None:
        database.execute("ATTACH ? AS cache", (os.fsencode(path),))  # as bytes: a name need not be UTF-8

    def _remove(self, path: Path, database: sqlite3.Connection) -> None:
        self._detach(database)
        for left in (path, path.with_name(f"{path.name}-journal")):
            left.unlink(missing_ok=True)

    def _detach(self, database: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            database.execute("DETACH cache")

    def _give_up(self, database: sqlite3.Connection, error: sqlite3.Error | OSError) -> None:
        assert self._path is not None
        why = error.strerror if isinstance(error, OSError) else error
        files.warn(f"{self._path}: the cache was not kept: {why} (the next run hashes every file again)")
        if isinstance(error, sqlite3.Error) and not _is_outside(error):
            self._remove(self._path, database)
        self._path = None
        self._detach(database)


def _version_of(path: Path) -> int | None:
    """The version of a cache of ours, 0 for an empty file, None if there is none. Raises FileExistsError for a file that is not ours."""
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER_BYTES)
    except FileNotFoundError:
        return None
    if not header:
        return 0
    version, _, application = struct.unpack_from(">iii", header.ljust(HEADER_BYTES, b"\0"), 60)
    if not header.startswith(SQLITE_MAGIC) or application != APPLICATION_ID:
        raise FileExistsError(errno.EEXIST, "the file is no cache of this program: name another")
    return int(version)


def default_cache_file(root: Path) -> Path:
    """The cache of one dataset folder, in the user's own cache folder."""
    digest = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()
    return Path(user_cache_folder()) / f"{digest[:24]}.sqlite"
