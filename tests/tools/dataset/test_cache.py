"""The cache saves reading and never lies: any change that size, time or inode show is seen, and young files are not trusted."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from lifeos.errors import InputError
from tests.tools.dataset.sets import make_set, picture_bytes
from tools.dataset import catalogue, hashing
from tools.dataset.build import BuildRequest, build_dataset_manifest
from tools.dataset.cache import default_cache_file
from tools.dataset.catalogue import Unread
from tools.dataset.manifest import manifest_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set that is an hour old."""
    made = make_set(tmp_path / "set")
    hour_ago = time.time() - 3600
    for path in made.iterdir():
        os.utime(path, (hour_ago, hour_ago))
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are really read."""
    names: list[str] = []
    real = hashing._hash_file

    def spy(path: Path, buffer: bytearray) -> tuple[bytes, int, int]:
        names.append(path.name)
        return real(path, buffer)

    monkeypatch.setattr(hashing, "_hash_file", spy)
    return names


def ids(folder: Path, cache: Path | None, started_ns: int | None = None) -> dict[str, str]:
    request = BuildRequest(folder, use_cache=cache is not None, cache_file=cache)
    built = build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=started_ns or time.time_ns())
    return {image["filename"]: image["sha256"] + (image["caption_sha256"] or "") for image in built.document["images"]}


def document_of(folder: Path, cache: Path) -> bytes:
    request = BuildRequest(folder, cache_file=cache)
    built = build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=time.time_ns())
    return b"".join(manifest_lines(built.document))


def ask(cache: Path, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(cache)
    try:
        found = database.execute(query).fetchall()
        database.commit()
    finally:
        database.close()
    return found


def kept_names(cache: Path) -> list[str]:
    return [os.fsdecode(row[0]) for row in ask(cache, "SELECT name FROM picture ORDER BY name")]


def test_an_unchanged_set_is_not_read_again(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    first = ids(folder, tmp_path / "cache")
    assert len(reads) == 6
    reads.clear()
    assert ids(folder, tmp_path / "cache") == first
    assert reads == []


def test_switched_off_everything_is_read_and_nothing_kept(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    ids(folder, tmp_path / "cache")
    reads.clear()
    before = (tmp_path / "cache").read_bytes()
    ids(folder, None)
    assert len(reads) == 6
    assert (tmp_path / "cache").read_bytes() == before


def test_a_new_time_is_a_new_file(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    ids(folder, tmp_path / "cache")
    reads.clear()
    os.utime(folder / "img_001.png")
    ids(folder, tmp_path / "cache")
    assert reads == ["img_001.png"]


def test_a_replaced_file_of_equal_size_and_time_has_another_inode(folder: Path, tmp_path: Path) -> None:
    first = ids(folder, tmp_path / "cache")
    path = folder / "img_001.txt"
    info = path.stat()
    other = tmp_path / "other"
    other.write_bytes(path.read_bytes().replace(b"view 1", b"view 7"))
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_mtime_ns == info.st_mtime_ns
    assert ids(folder, tmp_path / "cache")["img_001.png"] != first["img_001.png"]


def test_a_file_as_young_as_the_run_is_not_trusted_next_time(folder: Path, tmp_path: Path) -> None:
    """Written again within one tick of the clock, it keeps size, time and inode: git's racy entry."""
    path = folder / "img_001.txt"
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    first = ids(folder, tmp_path / "cache", started_ns=now)
    with open(path, "r+b") as file:
        file.write(b"AMIRANOOR")
    os.utime(path, ns=(now, now))
    assert ids(folder, tmp_path / "cache")["img_001.png"] != first["img_001.png"]


def scribble(cache: Path) -> None:
    """Overwrite all pages but the first: the header still says what the file is."""
    data = cache.read_bytes()
    cache.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))


def cut(cache: Path) -> None:
    cache.write_bytes(cache.read_bytes()[:-5000])


def make_of_another_version(cache: Path) -> None:
    ask(cache, "PRAGMA user_version = 99")


@pytest.mark.parametrize("damage", [lambda cache: cache.write_bytes(b""), scribble, cut, make_of_another_version])
def test_a_damaged_cache_counts_as_empty(folder: Path, tmp_path: Path, reads: list[str], damage: Callable[[Path], object]) -> None:
    cache = tmp_path / "cache"
    first = ids(folder, cache)
    damage(cache)
    reads.clear()
    assert ids(folder, cache) == first
    assert len(reads) == 6
    assert kept_names(cache) == ["img_000.png", "img_001.png", "img_002.png"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE picture SET sha256 = X'00'",
        "UPDATE picture SET sha256 = (SELECT sha256 FROM picture LIMIT 1)",
        "UPDATE picture SET width = 7 WHERE name = CAST('img_001.png' AS BLOB)",
        "UPDATE caption SET text = 'another'",
        "UPDATE caption SET text = CAST(X'ff' AS TEXT) WHERE name = CAST('img_002.txt' AS BLOB)",
    ],
)
def test_a_row_that_is_damaged_is_not_believed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str) -> None:
    """One bit of a file of hashes is one wrong answer about what a LoRA was made from."""
    cache = tmp_path / "cache"
    first = document_of(folder, cache)
    ask(cache, change)
    assert document_of(folder, cache) == first
    assert document_of(folder, cache) == first
    assert capsys.readouterr().err == ""


def test_damage_that_is_found_late_costs_one_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = ids(folder, cache)

    def spoil_then_count() -> int:
        """Called when the cache was asked already."""
        data = cache.read_bytes()
        cache.write_bytes(data[:24] + b"\0\0\0\x77" + data[28:])  # SQLite's change counter: it reads the pages anew
        scribble(cache)
        return 1

    with monkeypatch.context() as patch:
        patch.setattr(hashing, "default_jobs", spoil_then_count)
        os.utime(folder / "img_001.png", (7, 7))
        assert ids(folder, cache) == first
    assert "the cache was not kept" in capsys.readouterr().err
    assert ids(folder, cache) == first
    assert capsys.readouterr().err == ""
    assert kept_names(cache) == ["img_000.png", "img_001.png", "img_002.png"]


def other_database(path: Path) -> None:
    ask(path, "CREATE TABLE mine(x)")


@pytest.mark.parametrize("make", [lambda path: path.write_text("my notes, which are not to be lost"), other_database])
def test_a_file_that_is_no_cache_is_left_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], object]
) -> None:
    make(tmp_path / "mine")
    before = (tmp_path / "mine").read_bytes()
    assert ids(folder, tmp_path / "mine") == ids(folder, None)
    assert "the file is no cache of this program: name another" in capsys.readouterr().err
    assert (tmp_path / "mine").read_bytes() == before


def test_two_runs_share_it(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    """While another run is writing, this one does without, or waits; what the other knew it still knows."""
    cache = tmp_path / "cache"
    first = ids(folder, cache)
    other = sqlite3.connect(cache, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    reads.clear()
    assert ids(folder, cache) == first
    assert reads == []
    other.execute("ROLLBACK")
    other.close()


def test_nothing_is_written_where_nothing_changed(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ids(folder, cache)
    before = cache.stat()
    ids(folder, cache)
    after = cache.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    ("gone", "come", "read"),
    [
        (["img_000"], [], []),
        (["img_001"], [], []),
        (["img_002"], [], []),
        ([], ["a"], ["a.png", "a.txt"]),
        ([], ["img_000b"], ["img_000b.png", "img_000b.txt"]),
        (["img_000", "img_001"], ["z"], ["z.png", "z.txt"]),
    ],
    ids=["first gone", "middle gone", "last gone", "new first", "new in the middle", "two gone, new last"],
)
def test_the_others_are_still_known(
    folder: Path, tmp_path: Path, reads: list[str], gone: list[str], come: list[str], read: list[str]
) -> None:
    cache = tmp_path / "cache"
    ids(folder, cache)
    for stem in gone:
        (folder / f"{stem}.png").unlink()
        (folder / f"{stem}.txt").unlink()
    for stem in come:
        for suffix, data in ((".png", picture_bytes(seed=40)), (".txt", b"amiranoor, new")):
            (folder / f"{stem}{suffix}").write_bytes(data)
            os.utime(folder / f"{stem}{suffix}", (1, 1))
    reads.clear()
    found = ids(folder, cache)
    assert sorted(reads) == read
    left = {"img_000", "img_001", "img_002"} - set(gone) | set(come)
    assert kept_names(cache) == sorted(found) == sorted(f"{stem}.png" for stem in left)
    reads.clear()
    assert ids(folder, cache) == found == ids(folder, None)
    assert len(reads) == 2 * len(found)  # all by the run without a cache


def test_a_large_set_is_read_in_parts(folder: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ids(folder, None)
    reads.clear()
    monkeypatch.setattr(catalogue, "FILES_AT_ONCE", 2)
    assert ids(folder, tmp_path / "cache") == whole
    assert len(reads) == 6
    reads.clear()
    assert ids(folder, tmp_path / "cache") == whole
    assert reads == []


def test_a_run_that_fails_has_not_read_for_nothing(folder: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr(catalogue, "FILES_AT_ONCE", 2)
    real = hashing._hash_stable

    def fail(root: Path, file: Unread, buffer: bytearray) -> bytes:
        if file.name == "img_001.png":
            raise InputError(file.name, "cannot be read")
        return real(root, file, buffer)

    with monkeypatch.context() as patch:
        patch.setattr(hashing, "_hash_stable", fail)
        with pytest.raises(InputError, match="img_001"):
            ids(folder, cache)
    reads.clear()
    assert ids(folder, cache) == ids(folder, None)
    assert sorted(reads[:4]) == ["img_001.png", "img_001.txt", "img_002.png", "img_002.txt"]


def test_the_cache_of_another_folder_is_not_used(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    """A file copied with its time may have the inode of another by chance; under another root nothing is the same file."""
    ids(folder, tmp_path / "cache")
    moved = Path(shutil.move(folder, tmp_path / "moved"))
    reads.clear()
    ids(moved, tmp_path / "cache")
    assert len(reads) == 6
    reads.clear()
    ids(moved, tmp_path / "cache")
    assert reads == []


def test_inodes_and_times_of_all_64_bits(folder: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.dataset import build as building

    real = building.scan_dataset

    def far(*args: object, **named: object) -> Iterable[object]:
        return (found._replace(inode=found.inode + (1 << 64) - (1 << 40)) for found in real(*args, **named))  # type: ignore[arg-type]

    monkeypatch.setattr(building, "scan_dataset", far)
    os.utime(folder / "img_000.png", ns=(0, 9_300_000_000_000_000_000))  # the year 2264
    first = ids(folder, tmp_path / "cache")
    reads.clear()
    assert ids(folder, tmp_path / "cache") == first
    assert reads == []


def test_a_cache_that_cannot_be_kept_is_done_without(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert ids(folder, tmp_path / "file" / "cache") == ids(folder, None)
    assert "the cache was not kept" in capsys.readouterr().err


def test_it_lies_in_the_user_s_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_cache_file(tmp_path / "set").parent == tmp_path / "cache" / "lifeos" / "datasets"


def test_decoding_later_reads_again(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    """What was cached without decoding does not say that the picture is sound."""
    (folder / "img_000.png").write_bytes(picture_bytes(seed=3, size=(1024, 1024)))
    os.utime(folder / "img_000.png", (1, 1))
    ids(folder, tmp_path / "cache")
    reads.clear()
    request = BuildRequest(folder, cache_file=tmp_path / "cache", decode=True)
    build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=time.time_ns())
    assert sorted(reads) == ["img_000.png", "img_001.png", "img_002.png"]
