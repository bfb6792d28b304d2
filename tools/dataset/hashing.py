"""Read a training set: every picture's hash and header and every caption's hash and text, each file read once.

`hashlib` releases the interpreter while it hashes, so threads use every core; each thread reads into one buffer of its own,
so memory does not grow with the set.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lifeos.errors import InputError
from lifeos.progress import Progress
from tools.dataset.cache import Cache, Known, facts_of
from tools.dataset.picture_header import PictureHeader, read_header
from tools.dataset.scan import FoundFile, FoundPicture, Scan

WHOLE_FILE_BYTES = 32 << 20
"""Larger files are hashed in pieces of this size; their header is read from the first piece."""

CAPTION_CHARACTERS = 20_000
"""Of a caption, this much is kept as text; its hash covers all of it."""

PICTURES_AT_ONCE = 4096
"""So many are read before their cache lines are written: what is in between is in memory in full."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Caption:
    """`text` without the final line end. `faults`: `empty`, `blank`, `bom`, `not_utf8`, `multi_line`, `very_long`."""

    name: str
    digest: bytes
    text: str
    faults: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        return self.digest.hex()


@dataclass(slots=True)
class PictureRecord:
    """One picture of the set. `damage`: None if it was not decoded, else what is wrong with its data, empty if nothing is.

    All of a set are in memory at once: hashes are bytes, half of their text, and equal headers are one object.
    """

    name: str
    digest: bytes
    size: int
    header: PictureHeader
    caption: Caption | None
    damage: str | None = None

    @property
    def sha256(self) -> str:
        return self.digest.hex()


def read_dataset(scan: Scan, cache: Cache, *, jobs: int | None = None, decode: bool = False) -> list[PictureRecord]:
    """Read every picture and caption of a scan, in its order. `decode`: also decode each picture whole, to find damaged ones.

    The pictures are taken out of the scan on the way: listing and records of a large set are not in memory together.

    Raises InputError for a file that cannot be read, is gone, or changes while it is read.
    """
    reader = _Reader(scan.root, decode)
    records: list[PictureRecord] = []
    with _without_collector(), Progress(len(scan.pictures), "reading the dataset", unit="file") as bar:
        while scan.pictures:
            part = scan.pictures[:PICTURES_AT_ONCE]
            del scan.pictures[:PICTURES_AT_ONCE]
            tasks = [reader.recall(found, cache.find(found)) for found in part]
            left = [task for task in tasks if not task.is_done]  # what is known needs no threads: there is nothing to wait for
            bar.advance(len(tasks) - len(left))
            fresh = iter(run_threads(reader.read, left, jobs, bar))
            for task in tasks:
                done = task if task.is_done else next(fresh)
                assert done.facts is not None
                if not (task.is_done and cache.keep(done.found, done.known)):
                    cache.put(done.found, done.facts, done.caption_facts, done.known)
                records.append(reader.record_of(done.found, done.facts, done.caption_facts))
    return records


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Records hold no cycles, and of many thousands each pass over them all takes longer than what it follows."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def hash_files(root: Path, names: Sequence[str], *, jobs: int | None = None) -> list[str | None]:
    """The SHA-256 of each file; None for one that cannot be read."""

    def digest(name: str, buffer: bytearray) -> str | None:
        try:
            return _hash_file(root / name, buffer)[0]
        except OSError:
            return None

    with Progress(len(names), "hashing", unit="file") as bar:
        return run_threads(digest, names, jobs, bar)


def default_jobs() -> int:
    """The processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_threads(work: Callable[[T, bytearray], R], items: Sequence[T], jobs: int | None, bar: Progress) -> list[R]:
    """`work(item, buffer)` for every item in threads, results in order. The first error stops all and is raised."""
    count = min(jobs or default_jobs(), len(items))
    results: list[Any] = [None] * len(items)
    done = [0] * count
    turn = itertools.count()  # next() of it is one step of the interpreter: no two threads get the same
    errors: list[BaseException] = []

    def run(number: int) -> None:
        buffer = bytearray()
        try:
            while not errors and (index := next(turn)) < len(items):
                results[index] = work(items[index], buffer)
                done[number] += 1
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    try:
        for thread in threads:
            thread.start()
        _show_until_done(threads, done, bar)
    except BaseException as error:
        errors.append(error)
        raise
    if errors:
        raise errors[0]
    return results


def _show_until_done(threads: list[threading.Thread], done: list[int], bar: Progress) -> None:
    shown = 0
    for thread in threads:
        while thread.is_alive():
            thread.join(0.1)
            now = sum(done)
            bar.advance(now - shown)
            shown = now


class _Task(NamedTuple):
    """A picture and what is known of it; facts of None are still to be read."""

    found: FoundPicture
    facts: list[Any] | None
    caption_facts: list[Any] | None
    known: Known | None
    is_done: bool


class _Reader:
    """Reads pictures and captions of one set."""

    def __init__(self, root: Path, decode: bool) -> None:
        self._root, self._decode = root, decode
        self._headers: dict[PictureHeader, PictureHeader] = {}

    def recall(self, found: FoundPicture, known: Known | None) -> _Task:
        """What the cache knows of a picture and its caption."""
        if known is None:
            return _Task(found, None, None, None, is_done=False)
        facts, caption_facts = facts_of(found.file, known.picture), facts_of(found.caption, known.caption)
        if facts is not None and self._decode and facts[6] is None:
            facts = None
        is_done = facts is not None and (found.caption is None or caption_facts is not None)
        return _Task(found, facts, caption_facts, known, is_done)

    def read(self, task: _Task, buffer: bytearray) -> _Task:
        """The same with everything known; only what is missing is read."""
        found, caption_facts = task.found, task.caption_facts
        if found.caption and caption_facts is None:
            caption_facts = self._read_caption(found.caption, buffer)
        facts = task.facts if task.facts is not None else self._read_picture(found.file, buffer)
        return _Task(found, facts, caption_facts, task.known, is_done=True)

    def record_of(self, found: FoundPicture, facts: list[Any], caption_facts: list[Any] | None) -> PictureRecord:
        caption = None
        if found.caption and caption_facts:
            sha256, text, caption_faults = caption_facts
            caption = Caption(found.caption.name, bytes.fromhex(sha256), text, tuple(caption_faults))
        sha256, kind, width, height, orientation, faults, damage = facts
        header = PictureHeader(kind, width, height, orientation, tuple(faults))
        header = self._headers.setdefault(header, header)
        return PictureRecord(found.file.name, bytes.fromhex(sha256), found.file.size, header, caption, damage)

    def _read_picture(self, file: FoundFile, buffer: bytearray) -> list[Any]:
        path = self._root / file.name
        sha256 = _hash_stable(path, file, buffer)
        header = read_header(buffer, file.size) if file.size else PictureHeader("", 0, 0, faults=("unreadable",))
        damage = None
        if self._decode:
            damage = _find_damage(bytes(memoryview(buffer)[: file.size]) if file.size <= len(buffer) else path.read_bytes(), path)
        return [sha256, header.format, header.width, header.height, header.orientation, list(header.faults), damage]

    def _read_caption(self, file: FoundFile, buffer: bytearray) -> list[Any]:
        sha256 = _hash_stable(self._root / file.name, file, buffer)
        text, faults = read_caption_text(bytes(memoryview(buffer)[: min(file.size, len(buffer))]))
        return [sha256, text, list(faults)]


def _find_damage(data: bytes, path: Path) -> str:
    from lifeos.images import ImageError, decode_picture

    try:
        decode_picture(data, path)
    except ImageError as error:
        return "" if error.reason in ("animated", "too_large") else error.why  # these two are judged from the header
    return ""


def read_caption_text(data: bytes) -> tuple[str, tuple[str, ...]]:
    """The text of a caption file as a person would read it, and what the trainer will stumble over."""
    if not data:
        return "", ("empty",)
    faults: list[str] = []
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        faults.append("not_utf8")
        text = data.decode("utf-16", errors="replace")
    else:
        if data.startswith(codecs.BOM_UTF8):
            faults.append("bom")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            faults.append("not_utf8")
            text = data.decode("latin-1")
    text = text.replace("\r\n", "\n").rstrip("\r\n")
    if not text.split("\n", 1)[0].strip():
        faults.append("blank")
    if "\n" in text.strip():
        faults.append("multi_line")
    if len(text) > CAPTION_CHARACTERS:
        faults.append("very_long")
        text = text[:CAPTION_CHARACTERS]
    return text, tuple(faults)


def _hash_stable(path: Path, file: FoundFile, buffer: bytearray) -> str:
    """The hash of a file that is still the one that was listed; the buffer then holds its (first) bytes."""
    try:
        sha256, size, mtime_ns = _hash_file(path, buffer)
    except FileNotFoundError:
        raise InputError(printable(file.name), "vanished while the dataset was read", "run the same command again") from None
    except OSError as error:
        raise InputError(printable(file.name), f"cannot be read: {error.strerror}", "make it readable, or take it out") from None
    if (size, mtime_ns) != (file.size, file.mtime_ns):
        raise InputError(printable(file.name), "changed while the dataset was read", "run the same command again when nothing writes there")
    return sha256


def _hash_file(path: Path, buffer: bytearray) -> tuple[str, int, int]:
    """(SHA-256, size, mtime_ns) of a file. The buffer grows to hold it, up to WHOLE_FILE_BYTES, and then holds its beginning."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        wanted = min(size, WHOLE_FILE_BYTES)
        if len(buffer) < wanted:
            buffer.extend(bytes(wanted - len(buffer)))
        with memoryview(buffer) as view:
            held = _fill(file, view[:wanted])
            digest = hashlib.sha256(view[:held])
        rest = bytearray(1 << 20) if held == wanted and size > wanted else None
        total = held
        while rest and (read := file.readinto(rest)):
            digest.update(memoryview(rest)[:read])
            total += read
        info = os.fstat(file.fileno())
    return digest.hexdigest(), total if total != size else info.st_size, info.st_mtime_ns


def _fill(file: Any, view: memoryview) -> int:
    held = 0
    while held < len(view) and (read := file.readinto(view[held:])):
        held += read
    return held


def printable(name: str) -> str:
    """A file name on one line of a terminal: line ends and control characters escaped, undecodable bytes shown."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
