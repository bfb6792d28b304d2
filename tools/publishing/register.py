"""The register of published pictures: which picture each watermark id stands for, and what was published of it.

A JSON Lines file, append-only, one for all batches of a project (`publishing.register` of the policy). Two kinds of lines:

    {"schema": 1, "event": "claimed", "id": 305419896, "time": "2026-11-30T00:00:00Z", "picture": {"sha256": "…", "name": "0001_….png",
     "batch": "batch_20261130", "batch_id": "…", "run_id": "…"}}
    {"schema": 1, "event": "published", "id": 305419896, "time": "…", "publication": {"file": "0001.jpg", "sha256": "…", "format": "jpeg",
     "settings": {"quality": 90}, "labels": {"watermark": "verified"}, "certificate": "…"}}

How a publisher uses it:

    register = Register(path)
    mark_id = register.claim(RegisteredPicture(sha256, name, batch=batch_place(root), batch_id=plan.batch_id, run_id=plan.run_id))
    ...                                                  # mark, save, sign, verify
    register.record(mark_id, Publication("0001.jpg", sha256_of_the_copy, "jpeg", settings={}, labels={}))

and whoever holds a copy: `register.find(mark_id)`, `register.find(sha256)` (of the copy or of the original).

An id is on the disk before `claim` returns, so that no mark is ever made that nobody can explain. The same picture of the same batch gets
the same id again, also where its line was lost: ids are derived from the picture and its batch. Lines that cannot be used are named and
skipped; a last line that a crash tore stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lifeos import files, foreign, locks, times
from lifeos.errors import InputError
from lifeos.file_names import stored_path, system_path
from lifeos.files import warn
from lifeos.project import PROJECT_ROOT

REGISTER_FILE = "tools/published_register.jsonl"
"""The default of `publishing.register`."""
SCHEMA = 1
LARGEST_ID = 2**32 - 1
MAX_LINE_BYTES = 1 << 20
HEX_DIGITS = 64


@dataclass(frozen=True, slots=True)
class RegisteredPicture:
    """The picture that an id stands for: the file as it lies in approved/.

    `batch`: its directory, as `batch_place` tells it. `batch_id` is that of its plan, empty for a picture of no batch.
    """

    sha256: str
    name: str
    batch: str = ""
    batch_id: str = ""
    run_id: str = ""

    def __post_init__(self) -> None:
        _check_digest(self.sha256)
        if not self.name:
            raise ValueError("a picture has a name")

    @property
    def identity(self) -> tuple[str, str]:
        """What makes it the same picture of the same batch, wherever its directory was moved to."""
        return self.sha256, self.batch_id or self.run_id or self.batch


@dataclass(frozen=True, slots=True)
class Publication:
    """A copy that was published.

    `sha256` is that of the copy. `settings`: how it was made (quality, most pixels a side). `labels`: each label and its state, in words.
    `certificate`: the SHA-256 of the certificate that signed it, empty where nothing was signed.
    """

    file: str
    sha256: str
    format: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    certificate: str = ""

    def __post_init__(self) -> None:
        _check_digest(self.sha256)


@dataclass(frozen=True, slots=True)
class PublicationLine:
    """A publication and when it was written down."""

    time: str
    publication: Publication


@dataclass(frozen=True, slots=True)
class RegisterEntry:
    """What the register holds of one id, its copies oldest first."""

    id: int
    claimed: str
    picture: RegisteredPicture
    published: tuple[PublicationLine, ...] = ()


@dataclass(frozen=True, slots=True)
class _RegisterLine:
    """A line as it is read. Lines of other events are left alone: a newer version may write some."""

    event: str
    id: int
    time: str
    schema: int = SCHEMA
    picture: RegisteredPicture | None = None
    publication: Publication | None = None

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} found, {SCHEMA} wanted: it was written by another version")
        if not 1 <= self.id <= LARGEST_ID:
            raise ValueError(f"{self.id} is no id: 1 to {LARGEST_ID} wanted")
        if datetime.fromisoformat(self.time).tzinfo is None:
            raise ValueError("a time with its zone is wanted")
        if (self.event == "claimed" and self.picture is None) or (self.event == "published" and self.publication is None):
            raise ValueError(f"a line of the event {self.event} without what it tells of")


def _check_digest(text: str) -> None:
    if len(text) != HEX_DIGITS or not set(text) <= set("0123456789abcdef"):
        raise ValueError("a SHA-256 of 64 small hexadecimal digits is wanted")


def batch_place(root: Path, project_root: Path = PROJECT_ROOT) -> str:
    """How the register names a batch directory: inside the project by its path from there, so that a moved checkout still finds it."""
    whole = root.resolve()
    home = project_root.resolve()
    return stored_path(whole.relative_to(home) if whole.is_relative_to(home) else whole)


def batch_directory(place: str, project_root: Path = PROJECT_ROOT) -> Path | None:
    """Where the batch of a register line lay; None where the line names none."""
    return project_root / system_path(place) if place else None


class Register:
    """The register in a file, which need not be there yet. `on_warning` is told of lines that cannot be used, each once."""

    def __init__(self, path: Path, on_warning: Callable[[str], None] = warn) -> None:
        self.path = path
        self._on_warning = on_warning
        self._told: set[str] = set()
        self._size = -1
        self._by_id: dict[int, RegisterEntry] = {}

    def claim(self, picture: RegisteredPicture, now: Callable[[], str] = times.stamp) -> int:
        """The picture's id (1 to 2**32 - 1), on the disk when this returns. Raises OSError, LockedError."""
        with self._lock():
            known = self._read()
            own = next((entry.id for entry in known.values() if entry.picture.identity == picture.identity), None)
            if own is not None:
                return own
            mark_id = next(candidate for candidate in _candidates(picture) if candidate not in known)
            self._append("claimed", mark_id, now(), picture=asdict(picture))
            return mark_id

    def record(self, mark_id: int, publication: Publication, now: Callable[[], str] = times.stamp) -> None:
        """Write down a copy that was published under an id, on the disk when this returns; the same copy is written down once.

        Raises InputError for an id that nobody claimed, OSError, LockedError.
        """
        with self._lock():
            entry = self._read().get(mark_id)
            if entry is None:
                raise InputError(self.path, f"no picture has the id {mark_id}", "claim it first")
            if not any(line.publication == publication for line in entry.published):
                self._append("published", mark_id, now(), publication=asdict(publication))

    def find(self, sought: int | str) -> tuple[RegisterEntry, ...]:
        """The entries of a watermark id, or of a SHA-256: that of a copy, or of an original. Several batches may hold the same file."""
        known = self._read()
        if isinstance(sought, int):
            return (known[sought],) if sought in known else ()
        return tuple(
            entry
            for entry in known.values()
            if entry.picture.sha256 == sought or any(line.publication.sha256 == sought for line in entry.published)
        )

    def entries(self) -> tuple[RegisterEntry, ...]:
        """All of them, in the order in which they were claimed."""
        return tuple(self._read().values())

    def _lock(self) -> Any:
        return locks.hold(self.path.with_name(f".{self.path.name}.lock"), str(self.path), wait=True)

    def _append(self, event: Literal["claimed", "published"], mark_id: int, time: str, **told: Any) -> None:
        """The caller holds the lock and has read the file: what is added is all that is new in it."""
        written = {"schema": SCHEMA, "event": event, "id": mark_id, "time": time, **told}
        files.append_record(self.path, written)
        self._add(self._by_id, 0, foreign.convert(written, _RegisterLine, self.path, surrogates="keep"))
        self._size = self.path.stat().st_size

    def _read(self) -> dict[int, RegisterEntry]:
        """What stands in the file; read again where it has grown."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size != self._size:
            self._by_id = self._add_up() if size else {}
            self._size = size
        return self._by_id

    def _add_up(self) -> dict[int, RegisterEntry]:
        found: dict[int, RegisterEntry] = {}
        for number, line in self._lines():
            self._add(found, number, line)
        return found

    def _add(self, found: dict[int, RegisterEntry], number: int, line: _RegisterLine) -> None:
        known = found.get(line.id)
        if line.event == "claimed" and line.picture is not None:
            if known is None:
                found[line.id] = RegisterEntry(line.id, line.time, line.picture)
            elif known.picture.identity != line.picture.identity:
                self._warn(number, f"the id {line.id} stands for another picture already, which keeps it")
        elif line.event == "published" and line.publication is not None:
            if known is None:
                self._warn(number, f"a copy of the id {line.id}, which no line before it claims, is not counted")
            else:
                copies = (*known.published, PublicationLine(line.time, line.publication))
                found[line.id] = RegisterEntry(known.id, known.claimed, known.picture, copies)

    def _lines(self) -> Iterator[tuple[int, _RegisterLine]]:
        for line in foreign.read_lines(self.path, _RegisterLine, max_line_bytes=MAX_LINE_BYTES, surrogates="keep"):
            if isinstance(line, foreign.BadLine):
                self._warn(line.number, f"line skipped ({'torn by a crash?' if line.is_torn else line.error.why})")
            else:
                yield line.number, line.record

    def _warn(self, number: int, text: str) -> None:
        message = f"{self.path}:{number}: {text}"
        if message not in self._told:
            self._told.add(message)
            self._on_warning(message)


def _candidates(picture: RegisteredPicture) -> Iterator[int]:
    """The ids that a picture may have, its own first: never 0, which a reader of nothing but zeros would see."""
    attempt = 0
    while True:
        number = _number_of("\n".join((*picture.identity, str(attempt))))
        if number:
            yield number
        attempt += 1


def _number_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big")
