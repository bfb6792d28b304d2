"""The tables of a training set: what they hold does not depend on how many pictures there are, and they fail in one line."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import UnavailableError
from tools.dataset import catalogue as catalogues
from tools.dataset.cache import Cache
from tools.dataset.catalogue import CaptionFacts, Catalogue, PictureFacts, sort_lines
from tools.dataset.checks import CheckSettings, check_dataset
from tools.dataset.manifest import build_manifest, manifest_lines
from tools.dataset.picture_header import PictureHeader
from tools.dataset.scan import Found


def listing(count: int) -> Iterator[Found]:
    for number in range(count):
        yield Found("picture", f"img_{number:06d}.png", 1000, 1, 2 * number)
        yield Found("caption", f"img_{number:06d}.txt", 30, 1, 2 * number + 1)


def fill(count: int) -> Catalogue:
    """A catalogue of a set that lies nowhere, as if it had been read."""
    made = Catalogue()
    made.take(listing(count), ".txt", Cache(None, Path(), started_ns=0), decoded=False)
    header = PictureHeader("PNG", 1024, 1024)
    for lot in made.unread():
        facts: list[PictureFacts | CaptionFacts] = []
        for file in lot:
            digest = file.name.encode().ljust(32)[:32]
            is_picture = file.kind == "picture"
            facts.append(PictureFacts(digest, header, None) if is_picture else CaptionFacts(digest, f"amiranoor, {file.name}", ()))
        made.learn(lot, facts)
    made.finish()
    return made


def peak_of(count: int) -> int:
    """The most memory, in bytes, that Python's objects take while a set of so many pictures is listed, checked and written."""
    tracemalloc.start()
    try:
        made = fill(count)
        notices = check_dataset(made, CheckSettings(trigger_word="amiranoor"))
        for _ in manifest_lines(build_manifest(Path("set"), made, created="x", notices=notices)):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogues, "FILES_AT_ONCE", 64)
    peak_of(10)  # what is built once
    assert peak_of(4000) < 1.2 * peak_of(400)


def test_the_listing_may_come_in_any_order() -> None:
    files = list(listing(5))
    shuffled = Catalogue()
    shuffled.take(iter(files[::-1]), ".txt", Cache(None, Path(), started_ns=0), decoded=False)
    assert list(shuffled.each_name()) == sorted(file.name for file in files if file.kind == "picture")
    assert [file.name for lot in shuffled.unread() for file in lot] == sorted(file.name for file in files)


def test_records_are_made_when_asked_for() -> None:
    records = fill(3).records
    assert len(records) == 3
    assert [record.name for record in records] == [record.name for record in records]
    assert records[2].name == "img_000002.png"
    with pytest.raises(IndexError):
        records[3]


def test_lines_are_sorted_wherever_they_find_room() -> None:
    lines = [f"{number * 7919 % 100_000:06d} {'x' * 100}\n" for number in range(30_000)]
    assert list(sort_lines(iter(lines))) == sorted(lines)


def test_no_room_for_the_tables_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect

    def connect_to_a_small_disk(*args: Any, **named: Any) -> sqlite3.Connection:
        database = real(*args, **named)
        database.execute("PRAGMA max_page_count = 20")
        return database

    monkeypatch.setattr(sqlite3, "connect", connect_to_a_small_disk)
    with pytest.raises(UnavailableError, match=r"temporary folder: cannot hold .* full .*SQLITE_TMPDIR") as caught:
        fill(2000)
    assert caught.value.exit_code == 3
