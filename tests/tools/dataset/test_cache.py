"""The cache saves reading and never lies: any change that size, time or inode show is seen, and young files are not trusted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from tests.tools.dataset.sets import make_set, picture_bytes
from tools.dataset import cache as caches
from tools.dataset import hashing
from tools.dataset.build import BuildRequest, build_dataset_manifest
from tools.dataset.cache import default_cache_file
from tools.dataset.manifest import manifest_lines
from tools.dataset.scan import ListedFile

ROOT = Path(__file__).resolve().parents[3]


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

    def spy(path: Path, buffer: bytearray) -> tuple[str, int, int]:
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


def kept_names(cache: Path) -> list[str]:
    """The pictures that a cache knows, by its text."""
    lines = cache.read_text().splitlines()[1:]
    return sorted(name for name in (json.loads(line.partition(" ")[2])[0] for line in lines) if name.endswith(".png"))


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


def edit(cache: Path, old: bytes, new: bytes, count: int = 1) -> None:
    data = cache.read_bytes()
    assert old in data
    cache.write_bytes(data.replace(old, new, count))


DAMAGES: dict[str, tuple[Callable[[Path], object], int]] = {
    "empty": (lambda cache: cache.write_bytes(b""), 6),
    "of another version": (lambda cache: edit(cache, b"lifeos dataset cache 6 ", b"lifeos dataset cache 4 "), 6),
    "of another folder": (lambda cache: edit(cache, b"lifeos dataset cache 6 ", b"lifeos dataset cache 6 00"), 6),
    "the last line cut": (lambda cache: cache.write_bytes(cache.read_bytes()[:-5]), 1),
    "a size": (lambda cache: edit(cache, b", 1024, 1024, ", b", 1024, 1025, "), 1),
    "a caption": (lambda cache: edit(cache, b"view 1", b"view 7"), 1),
    "a name": (lambda cache: edit(cache, b'"img_001.png"', b'"img_002.png"'), 1),
    "no UTF-8": (lambda cache: edit(cache, b"view 1", b"view \xff"), 1),
    "scribbled over": (lambda cache: cache.write_bytes(cache.read_bytes()[:100] + b"\xa5" * 3000), 6),
}


@pytest.mark.parametrize(("damage", "read"), DAMAGES.values(), ids=list(DAMAGES))
def test_what_is_damaged_is_not_believed(
    folder: Path, tmp_path: Path, reads: list[str], capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], read: int
) -> None:
    """One bit of a file of hashes is one wrong answer about what a LoRA was made from."""
    cache = tmp_path / "cache"
    first = document_of(folder, cache)
    damage(cache)
    reads.clear()
    assert document_of(folder, cache) == first
    assert len(reads) == read
    assert kept_names(cache) == ["img_000.png", "img_001.png", "img_002.png"]
    reads.clear()
    assert document_of(folder, cache) == first
    assert (reads, capsys.readouterr().err) == ([], "")


def test_a_line_of_another_file_is_not_believed(folder: Path, tmp_path: Path) -> None:
    """A line with a right checksum, but of a file as it was earlier."""
    cache = tmp_path / "cache"
    first = ids(folder, cache)
    lines = cache.read_bytes()
    os.utime(folder / "img_001.txt", (5, 5))
    (folder / "img_001.txt").write_bytes((folder / "img_001.txt").read_bytes().replace(b"view 1", b"view 7"))
    os.utime(folder / "img_001.txt", (5, 5))
    assert ids(folder, cache)["img_001.png"] != first["img_001.png"]
    cache.write_bytes(cache.read_bytes() + b"".join(lines.splitlines(keepends=True)[1:]))
    assert ids(folder, cache)["img_001.png"] != first["img_001.png"]


def other_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mine(x)")


@pytest.mark.parametrize("make", [lambda path: path.write_text("my notes, which are not to be lost"), other_database])
def test_a_file_that_is_no_cache_is_left_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], object]
) -> None:
    make(tmp_path / "mine")
    before = (tmp_path / "mine").read_bytes()
    assert ids(folder, tmp_path / "mine") == ids(folder, None)
    assert "the file is no cache of this program: name another" in capsys.readouterr().err
    assert (tmp_path / "mine").read_bytes() == before


def test_a_cache_of_version_3_0_gives_way(folder: Path, tmp_path: Path, reads: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "cache")) as database:
        database.executescript(f"PRAGMA application_id = {0x4C4F5344}; CREATE TABLE picture(name)")
    assert ids(folder, tmp_path / "cache") == ids(folder, tmp_path / "cache")
    assert (len(reads), capsys.readouterr().err) == (6, "")


def test_two_runs_share_it(folder: Path, tmp_path: Path, reads: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Both found no cache and wrote theirs: what both learnt is known."""
    cache = tmp_path / "cache"
    first = ids(folder, cache)
    data = cache.read_bytes()
    cache.write_bytes(data + data)
    reads.clear()
    assert ids(folder, cache) == first
    assert (reads, capsys.readouterr().err) == ([], "")
    assert kept_names(cache) == ["img_000.png", "img_001.png", "img_002.png"]


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


def test_what_is_read_is_kept_while_more_is_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    real = caches.DatasetCache.keep

    def keep(self: caches.DatasetCache, *args: Any) -> None:
        real(self, *args)
        kept.append(len(kept_names(tmp_path / "cache")) if (tmp_path / "cache").exists() else 0)

    monkeypatch.setattr(caches, "LINES_AT_ONCE", 2)
    monkeypatch.setattr(caches.DatasetCache, "keep", keep)
    ids(folder, tmp_path / "cache")
    assert kept == [0, 1, 1, 2, 2, 3]


def test_a_run_that_fails_has_not_read_for_nothing(folder: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    real = hashing._hash_stable

    def fail(root: Path, file: ListedFile, buffer: bytearray) -> str:
        if file.name == "img_001.png":
            time.sleep(0.3)  # until the results before it are taken
            raise InputError(file.name, "cannot be read")
        return real(root, file, buffer)

    with monkeypatch.context() as patch:
        patch.setattr(hashing, "_hash_stable", fail)
        patch.setattr(hashing, "LOOK_SECONDS", 0.02)
        patch.setattr(hashing, "default_jobs", lambda: 1)
        with pytest.raises(InputError, match="img_001"):
            ids(folder, cache)
    reads.clear()
    assert ids(folder, cache) == ids(folder, None)
    assert sorted(reads[:4]) == ["img_001.png", "img_001.txt", "img_002.png", "img_002.txt"]


def test_a_line_that_a_kill_has_torn_costs_that_file_alone(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    cache = tmp_path / "cache"
    first = ids(folder, cache)
    lines = cache.read_bytes().splitlines(keepends=True)
    cache.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    reads.clear()
    assert ids(folder, cache) == first
    assert len(reads) == 4  # one was torn, three had not been written
    reads.clear()
    assert ids(folder, cache) == first
    assert reads == []


def test_a_repeated_command_says_and_leaves_the_same(folder: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "tools" / "dataset_manifest.py"),
        "--dataset-dir",
        str(folder),
        "--cache-file",
        str(tmp_path / "c"),
    ]
    (folder / "img_000.txt").write_bytes(b"")
    os.utime(folder / "img_000.txt", (1, 1))
    runs = []
    for _ in range(2):
        done = subprocess.run([*command, "--strict", "--output", str(tmp_path / "m.json")], capture_output=True, text=True, check=False)
        info = (tmp_path / "m.json").stat()
        runs.append((done.returncode, done.stdout, done.stderr, info.st_mtime_ns, info.st_ino))
    assert runs[0] == runs[1]
    assert (runs[0][0], runs[0][2]) == (1, "")


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
    assert reads == ["img_000.png"]  # a time to come is not trusted either


def test_a_cache_that_cannot_be_kept_is_done_without(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert ids(folder, tmp_path / "file" / "cache") == ids(folder, None)
    assert "the cache was not kept" in capsys.readouterr().err


def test_it_lies_in_the_user_s_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = default_cache_file(tmp_path / "set")
    assert found is not None and found.parent == tmp_path / "cache" / "lifeos" / "datasets"
    monkeypatch.delenv("XDG_CACHE_HOME")

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert default_cache_file(tmp_path / "set") is None


def test_decoding_later_reads_again(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    """What was cached without decoding does not say that the picture is sound."""
    (folder / "img_000.png").write_bytes(picture_bytes(seed=3, size=(1024, 1024)))
    os.utime(folder / "img_000.png", (1, 1))
    ids(folder, tmp_path / "cache")
    reads.clear()
    request = BuildRequest(folder, cache_file=tmp_path / "cache", decode=True)
    build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=time.time_ns())
    assert sorted(reads) == ["img_000.png", "img_001.png", "img_002.png"]
