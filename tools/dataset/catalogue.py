"""A training set as tables: what was listed, read and recalled of every picture and caption.

The tables are a temporary SQLite database, in memory up to CACHE_KB and in a file of the system's temporary folder beyond (SQLite's
SQLITE_TMPDIR or TMPDIR names another), gone when it is closed. So a set of a million pictures takes no more memory than one of a
thousand, and whoever asks about the set as a whole (what is there twice?) asks in SQL.

Names are stored as the file system's bytes, hashes as 32 bytes. Pictures come in the order of their names' bytes.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from lifeos.errors import UnavailableError
from tools.dataset.cache import Cache, seal, transaction
from tools.dataset.picture_header import PictureHeader
from tools.dataset.scan import Found, caption_name

CACHE_KB = 2048
FILES_AT_ONCE = 4096
"""So many are read before what was learnt of them is stored: what is in between is in memory in full."""

_TABLES = """
CREATE TABLE listed(kind TEXT, name BLOB, size INTEGER, mtime_ns INTEGER, inode INTEGER, caption BLOB);
CREATE TABLE picture(
    name BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, caption BLOB,
    sha256 BLOB, format TEXT, width INTEGER, height INTEGER, orientation INTEGER, faults TEXT, damage TEXT, seal BLOB
) WITHOUT ROWID;
CREATE TABLE caption(
    name BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, sha256 BLOB, text TEXT, faults TEXT, seal BLOB
) WITHOUT ROWID;
CREATE TABLE orphan(name BLOB PRIMARY KEY) WITHOUT ROWID;
"""
# sorted here and not on insertion: a b-tree beyond the cache that grows at random places rereads its pages
_TAKE = """
INSERT INTO picture(name, size, mtime_ns, inode, caption)
    SELECT name, size, mtime_ns, inode, caption FROM listed WHERE kind = 'picture' ORDER BY name;
INSERT INTO caption(name, size, mtime_ns, inode)
    SELECT name, size, mtime_ns, inode FROM listed WHERE kind = 'caption' AND name IN (SELECT caption FROM picture) ORDER BY name;
INSERT INTO orphan SELECT name FROM listed WHERE kind = 'caption' AND name NOT IN (SELECT name FROM caption) ORDER BY name;
DROP TABLE listed;
"""
PAIRS = "picture AS p LEFT JOIN caption AS c ON c.name = p.caption"
# captions between the pictures: opening and reading them fills the time in which other threads hash pictures
_UNREAD = """
SELECT 'picture' AS kind, name, size, mtime_ns FROM picture WHERE sha256 IS NULL AND name > :last
UNION ALL
SELECT 'caption', name, size, mtime_ns FROM caption WHERE sha256 IS NULL AND name > :last
"""
_LEARN_PICTURE = """
UPDATE picture SET sha256 = ?, format = ?, width = ?, height = ?, orientation = ?, faults = ?, damage = ?, seal = ? WHERE name = ?
"""
_RECORD = f"""
SELECT p.name, p.sha256, p.size, p.format, p.width, p.height, p.orientation, p.faults, p.damage, c.name, c.sha256, c.text, c.faults
FROM {PAIRS} ORDER BY p.name
"""


@dataclass(slots=True)
class Caption:
    """`text` without the final line end. `faults`: `empty`, `blank`, `bom`, `not_utf8`, `multi_line`, `very_long`."""

    name: str
    sha256: str
    text: str
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class PictureRecord:
    """One picture of the set. `damage`: None if it was not decoded, else what is wrong with its data, empty if nothing is."""

    name: str
    sha256: str
    size: int
    header: PictureHeader
    caption: Caption | None
    damage: str | None = None


class Unread(NamedTuple):
    """A file of which only the listing is known. `kind`: `picture` or `caption`."""

    kind: str
    name: str
    size: int
    mtime_ns: int


class PictureFacts(NamedTuple):
    """What was read of a picture."""

    sha256: bytes
    header: PictureHeader
    damage: str | None


class CaptionFacts(NamedTuple):
    """What was read of a caption."""

    sha256: bytes
    text: str
    faults: tuple[str, ...]


class Catalogue:
    """The tables of one set: `take` a listing, read what is `unread` and `learn` it, then ask.

    Raises UnavailableError where the tables find no room.
    """

    def __init__(self) -> None:
        # used by one thread, but the collector may run, and end it, in another
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self.skipped: dict[str, list[str]] = {}
        """Names that are no part of the set, by why not; see `Found`."""
        self.caption_extension = ".txt"
        self._database.executescript(f"PRAGMA cache_size = -{CACHE_KB}; {_TABLES}")
        self._cache: Cache | None = None

    def __del__(self) -> None:
        self._database.close()

    def take(self, listing: Iterable[Found], caption_extension: str, cache: Cache, *, decoded: bool) -> None:
        """Note every file of a listing, and what the cache knows of it. `decoded`: knowledge counts only of pictures decoded whole."""
        self.caption_extension = caption_extension
        with naming_a_full_disk(), transaction(self._database):
            self._database.executemany("INSERT INTO listed VALUES (?, ?, ?, ?, ?, ?)", self._rows_of(listing))
        with naming_a_full_disk():
            self._database.executescript(_TAKE)
        self._cache = cache
        cache.recall(self._database, decoded=decoded)

    def _rows_of(self, listing: Iterable[Found]) -> Iterator[tuple[Any, ...]]:
        for found in listing:
            if found.kind not in ("picture", "caption"):
                self.skipped.setdefault(found.kind, []).append(found.name)
                continue
            caption = os.fsencode(caption_name(found.name, self.caption_extension)) if found.kind == "picture" else None
            yield found.kind, os.fsencode(found.name), found.size, signed(found.mtime_ns), signed(found.inode), caption

    def count_unread(self) -> int:
        """How many files are left to be read."""
        return int(self.value(f"SELECT COUNT(*) FROM ({_UNREAD})", {"last": b""}))

    def unread(self) -> Iterator[list[Unread]]:
        """The files left to be read, FILES_AT_ONCE at a time in order of name; learn each lot before the next is taken."""
        last = b""
        while lot := list(self.rows(f"{_UNREAD} ORDER BY name LIMIT {FILES_AT_ONCE}", {"last": last})):
            yield [Unread(kind, os.fsdecode(name), size, mtime_ns) for kind, name, size, mtime_ns in lot]
            last = lot[-1][1]

    def learn(self, lot: Sequence[Unread], facts: Iterable[PictureFacts | CaptionFacts]) -> None:
        """Store what is read of a lot, in its order and as it comes, here and in the cache."""
        with naming_a_full_disk(), transaction(self._database):
            for file, fact in zip(lot, facts, strict=True):
                if isinstance(fact, CaptionFacts):
                    values: tuple[object, ...] = (fact.sha256, fact.text, " ".join(fact.faults))
                    update = "UPDATE caption SET sha256 = ?, text = ?, faults = ?, seal = ? WHERE name = ?"
                else:
                    header = fact.header
                    size = (header.width, header.height, header.orientation)
                    values = (fact.sha256, header.format, *size, " ".join(header.faults), fact.damage)
                    update = _LEARN_PICTURE
                name = os.fsencode(file.name)
                self._database.execute(update, (*values, seal(name, file.size, file.mtime_ns, *values), name))
        if self._cache:
            self._cache.keep(self._database, first=os.fsencode(lot[0].name), last=os.fsencode(lot[-1].name))

    def finish(self) -> None:
        """Everything is read: make ready to be asked by content, and let the cache forget files that are gone."""
        with naming_a_full_disk():
            self._database.execute("CREATE INDEX content ON picture(sha256)")
        if self._cache:
            self._cache.forget_gone(self._database)

    @property
    def is_cached(self) -> bool:
        """Whether what was learnt is kept for the next run."""
        return self._cache is not None and self._cache.is_kept

    @property
    def records(self) -> Records:
        return Records(self)

    def rows(self, query: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query. The tables: `picture`, `caption` (of a picture), `orphan` (a caption of none), PAIRS of the first two."""
        with naming_a_full_disk():
            yield from self._database.execute(query, parameters)

    def each_name(self) -> Iterator[str]:
        """The pictures' names, in order."""
        return (os.fsdecode(name) for (name,) in self.rows("SELECT name FROM picture ORDER BY name"))

    def names(self, query: str) -> tuple[str, ...]:
        """The names that a query gives."""
        return tuple(os.fsdecode(row[0]) for row in self.rows(query))

    def value(self, query: str, parameters: Mapping[str, object] | None = None) -> Any:
        """The first value of a query."""
        return next(self.rows(query, parameters or {}))[0]

    def add_function(self, name: str, function: Callable[[Any], Any]) -> None:
        """Make a function of one argument known to queries."""
        self._database.create_function(name, 1, function, deterministic=True)


class Records:
    """The pictures of a catalogue with their captions, in order of name: each made when it is asked for, as often as it is."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def __len__(self) -> int:
        return int(self._catalogue.value("SELECT COUNT(*) FROM picture"))

    def __iter__(self) -> Iterator[PictureRecord]:
        return map(_record, self._catalogue.rows(_RECORD))

    def __getitem__(self, index: int) -> PictureRecord:
        found = next(islice(self, index, None), None)
        if index < 0 or found is None:
            raise IndexError(index)
        return found


def _record(row: tuple[Any, ...]) -> PictureRecord:
    name, sha256, size, kind, width, height, orientation, faults, damage, caption, caption_sha256, text, caption_faults = row
    header = PictureHeader(kind, width, height, orientation, tuple(faults.split()))
    found = Caption(os.fsdecode(caption), caption_sha256.hex(), text, tuple(caption_faults.split())) if caption is not None else None
    return PictureRecord(os.fsdecode(name), sha256.hex(), size, header, found, damage)


def signed(value: int) -> int:
    """A number of 64 bits as SQLite stores it: some file systems' inodes, and times after 2262, take all of them."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


@contextlib.contextmanager
def naming_a_full_disk() -> Iterator[None]:
    """Raise UnavailableError where temporary tables find no room."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            raise
        fix = "free some room there, or name another folder in SQLITE_TMPDIR"
        raise UnavailableError("the temporary folder", f"cannot hold the tables of this dataset: {error}", fix) from None


def sort_lines(lines: Iterable[str]) -> Iterator[str]:
    """ASCII lines in order, however many there are."""
    with naming_a_full_disk(), contextlib.closing(sqlite3.connect("", isolation_level=None)) as database:
        database.executescript(f"PRAGMA cache_size = -{CACHE_KB}; CREATE TABLE line(text TEXT); BEGIN")
        database.executemany("INSERT INTO line VALUES (?)", ((line,) for line in lines))
        for (line,) in database.execute("SELECT text FROM line ORDER BY text"):
            yield line
