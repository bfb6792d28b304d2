"""Read a training set: every picture's hash and header and every caption's hash and text, each file read once.

`hashlib` releases the interpreter while it hashes, so threads use every core; each thread reads into one buffer of its own,
and of each file only what the manifest and the checks need is kept.
"""

from __future__ import annotations

import codecs
import functools
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lifeos.errors import InputError
from lifeos.file_names import name_bytes, system_name
from lifeos.progress import Progress
from tools.dataset.cache import DatasetCache, Read
from tools.dataset.picture_header import PictureHeader, read_header
from tools.dataset.scan import ListedFile, caption_name
from tools.dataset.training_set import Caption, PictureRecord, TrainingSet

WHOLE_FILE_BYTES = 32 << 20
"""Larger files are hashed in pieces of this size; their header is read from the first piece."""

CAPTION_CHARACTERS = 20_000
"""Of a caption, this much is kept as text; its hash covers all of it."""

LOOK_SECONDS = 0.25
"""How often the thread that waits looks for results, and shows progress. Not more often: whoever takes thousands of small results takes
the interpreter from the threads that make them."""

_PENDING = object()

T = TypeVar("T")
R = TypeVar("R")


def read_training_set(
    root: Path, listing: Iterable[ListedFile], caption_extension: str, cache: DatasetCache, *, jobs: int | None = None, decode: bool = False
) -> TrainingSet:
    """Read every picture and caption of a listing that the cache does not know. `decode`: also decode each picture whole, to find
    damaged ones.

    Raises InputError for a file that cannot be read, is gone, or changes while it is read.
    """
    pictures, captions, skipped = _sort_listing(listing)
    caption_of = {name: caption_name(name, caption_extension) for name in pictures}
    wanted = {name: captions[name] for name in caption_of.values() if name in captions}
    orphans = tuple(sorted(captions.keys() - wanted.keys(), key=name_bytes))
    listed = pictures | wanted
    known: dict[str, Read] = {}
    unread = []
    for name in sorted(listed, key=name_bytes):  # captions between pictures: while one is opened, another thread hashes
        read = cache.recall(listed[name], decoded=decode)
        if read is None:
            unread.append(listed[name])
        else:
            known[name] = read
    try:
        with Progress(len(unread), "reading the dataset", unit="file") as bar:
            reading = functools.partial(_read_file, root, decode=decode)
            for file, read in zip(unread, run_threads(reading, unread, jobs, bar), strict=True):
                known[file.name] = read
                cache.keep(file, read)
    finally:
        cache.flush()  # what was read is not read again, however this ends
    cache.close(listed)
    records = []
    for name in sorted(pictures, key=name_bytes):
        record, caption = known[name], known.get(caption_of[name])
        assert isinstance(record, PictureRecord) and not isinstance(caption, PictureRecord)
        record.caption = caption
        records.append(record)
    return TrainingSet(records, caption_extension, orphans, skipped)


def _sort_listing(listing: Iterable[ListedFile]) -> tuple[dict[str, ListedFile], dict[str, ListedFile], dict[str, list[str]]]:
    """(pictures, captions, the names of all others by their kind)."""
    pictures: dict[str, ListedFile] = {}
    captions: dict[str, ListedFile] = {}
    skipped: dict[str, list[str]] = {}
    for file in listing:
        if file.kind == "picture":
            pictures[file.name] = file
        elif file.kind == "caption":
            captions[file.name] = file
        else:
            skipped.setdefault(file.kind, []).append(file.name)
    return pictures, captions, skipped


def _read_file(root: Path, file: ListedFile, buffer: bytearray, *, decode: bool) -> Read:
    digest = _hash_stable(root, file, buffer)
    if file.kind == "caption":
        return Caption(file.name, digest, *read_caption_text(bytes(memoryview(buffer)[: min(file.size, len(buffer))])))
    header = read_header(buffer, file.size) if file.size else PictureHeader("", 0, 0, faults=("unreadable",))
    damage = None
    if decode:
        path = root / system_name(file.name)
        data = bytes(memoryview(buffer)[: file.size]) if file.size <= len(buffer) else path.read_bytes()
        damage = _find_damage(data, path, digest)
    return PictureRecord(file.name, digest, file.size, header, damage=damage)


def hash_files(root: Path, names: Sequence[str], *, jobs: int | None = None) -> list[str | None]:
    """The SHA-256 of each file; None for one that cannot be read."""

    def digest(name: str, buffer: bytearray) -> str | None:
        try:
            return _hash_file(root / system_name(name), buffer)[0]
        except OSError:
            return None

    with Progress(len(names), "hashing", unit="file") as bar:
        return list(run_threads(digest, names, jobs, bar))


def default_jobs() -> int:
    """The processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_threads(work: Callable[[T, bytearray], R], items: Sequence[T], jobs: int | None, bar: Progress) -> Iterator[R]:
    """`work(item, buffer)` for every item in threads, results in order as they come. The first error stops all and is raised.

    Whoever takes the results does so while the threads go on.
    """
    results: list[Any] = [_PENDING] * len(items)
    turn = itertools.count()  # next() of it is one step of the interpreter: no two threads get the same
    errors: list[BaseException] = []

    def run() -> None:
        buffer = bytearray()
        try:
            while not errors and (index := next(turn)) < len(items):
                results[index] = work(items[index], buffer)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(jobs or default_jobs(), len(items)))]
    taken = 0
    try:
        for thread in threads:
            thread.start()
        while taken < len(items):
            for thread in threads:
                thread.join(LOOK_SECONDS / len(threads))
            if errors:
                raise errors[0]
            first = taken
            while taken < len(items) and results[taken] is not _PENDING:
                yield results[taken]
                results[taken] = None
                taken += 1
            bar.advance(taken - first)
    finally:
        errors.append(GeneratorExit())  # whoever takes the results wants no more


def _find_damage(data: bytes, path: Path, digest: str) -> str:
    from lifeos.images import ImageError, decode_picture

    try:
        decode_picture(data, path, sha256=digest)
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


def _hash_stable(root: Path, file: ListedFile, buffer: bytearray) -> str:
    """The hash of a file that is still the one that was listed; the buffer then holds its (first) bytes."""
    try:
        digest, size, mtime_ns = _hash_file(root / system_name(file.name), buffer)
    except FileNotFoundError:
        raise InputError(file.name, "vanished while the dataset was read", "run the same command again") from None
    except OSError as error:
        raise InputError(file.name, f"cannot be read: {error.strerror}", "make it readable, or take it out") from None
    if (size, mtime_ns) != (file.size, file.mtime_ns):
        raise InputError(file.name, "changed while the dataset was read", "run the same command again when nothing writes there")
    return digest


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
