"""A large set: what is kept of each picture, and that the order of the listing does not matter."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.dataset import hashing
from tools.dataset.cache import DatasetCache
from tools.dataset.checks import CheckSettings, check_dataset
from tools.dataset.manifest import build_manifest, manifest_lines
from tools.dataset.picture_header import PictureHeader
from tools.dataset.scan import ListedFile
from tools.dataset.training_set import Caption, PictureRecord, TrainingSet


def listing(count: int) -> Iterator[ListedFile]:
    for number in range(count):
        yield ListedFile("picture", f"img_{number:06d}.png", 1000, 1, 2 * number)
        yield ListedFile("caption", f"img_{number:06d}.txt", 30, 1, 2 * number + 1)


@pytest.fixture(autouse=True)
def files_that_lie_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(root: Path, file: ListedFile, buffer: bytearray, *, decode: bool) -> PictureRecord | Caption:
        digest = file.name.encode().hex().ljust(64, "0")
        header = PictureHeader("PNG", 1024, 1024)
        is_picture = file.kind == "picture"
        return PictureRecord(file.name, digest, file.size, header) if is_picture else Caption(file.name, digest, f"amiranoor, {file.name}")

    monkeypatch.setattr(hashing, "_read_file", read)


def read_listing(files: Iterator[ListedFile] | list[ListedFile]) -> TrainingSet:
    return hashing.read_training_set(Path("set"), files, ".txt", DatasetCache(None, Path(), started_ns=0), jobs=1)


def peak_of(count: int) -> int:
    """The most memory, in bytes, that Python's objects take while a set of so many pictures is read, checked and written."""
    tracemalloc.start()
    try:
        trained = read_listing(listing(count))
        notices = check_dataset(trained, CheckSettings(trigger_word="amiranoor"))
        for _ in manifest_lines(build_manifest(Path("set"), trained, created="x", notices=notices)):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_picture_takes_some_kilobytes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of 10,000 pictures, more than anybody trains a character on, fits into some 40 MB."""
    peak_of(10)  # what is built once
    assert (peak_of(3000) - peak_of(1000)) / 2000 < 4000


def test_the_listing_may_come_in_any_order() -> None:
    files = list(listing(5))
    assert read_listing(files) == read_listing(files[::-1])
    assert [record.name for record in read_listing(files).records] == [f"img_{number:06d}.png" for number in range(5)]


def test_a_caption_of_two_pictures_is_read_once_and_counts_twice() -> None:
    files = [ListedFile("picture", "a.png"), ListedFile("picture", "a.jpg"), ListedFile("caption", "a.txt"), ListedFile("caption", "b.txt")]
    trained = read_listing(files)
    assert [caption.name for caption in trained.captions] == ["a.txt", "a.txt"]
    assert trained.orphans == ("b.txt",)
