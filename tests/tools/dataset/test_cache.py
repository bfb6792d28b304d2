"""The cache saves reading and never lies: any change that size, time or inode show is seen, and young files are not trusted."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from lifeos.errors import InputError
from tests.tools.dataset.sets import make_set, picture_bytes
from tools.dataset import hashing
from tools.dataset.build import BuildRequest, build_dataset_manifest
from tools.dataset.cache import Cache, default_cache_file
from tools.dataset.scan import FoundFile, scan_dataset


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


def kept_names(cache: Path) -> list[str]:
    return [json.loads(line)[0] for line in cache.read_bytes().splitlines()[1:]]


def test_an_unchanged_set_is_not_read_again(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    first = ids(folder, tmp_path / "cache.json")
    assert len(reads) == 6
    reads.clear()
    assert ids(folder, tmp_path / "cache.json") == first
    assert reads == []


def test_switched_off_everything_is_read_and_nothing_kept(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    ids(folder, tmp_path / "cache.json")
    reads.clear()
    before = (tmp_path / "cache.json").read_bytes()
    ids(folder, None)
    assert len(reads) == 6
    assert (tmp_path / "cache.json").read_bytes() == before


def test_a_new_time_is_a_new_file(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    ids(folder, tmp_path / "cache.json")
    reads.clear()
    os.utime(folder / "img_001.png")
    ids(folder, tmp_path / "cache.json")
    assert reads == ["img_001.png"]


def test_a_replaced_file_of_equal_size_and_time_has_another_inode(folder: Path, tmp_path: Path) -> None:
    first = ids(folder, tmp_path / "cache.json")
    path = folder / "img_001.txt"
    info = path.stat()
    other = tmp_path / "other"
    other.write_bytes(path.read_bytes().replace(b"view 1", b"view 7"))
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_mtime_ns == info.st_mtime_ns
    assert ids(folder, tmp_path / "cache.json")["img_001.png"] != first["img_001.png"]


def test_a_file_as_young_as_the_run_is_not_trusted_next_time(folder: Path, tmp_path: Path) -> None:
    """Written again within one tick of the clock, it keeps size, time and inode: git's racy entry."""
    path = folder / "img_001.txt"
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    first = ids(folder, tmp_path / "cache.json", started_ns=now)
    with open(path, "r+b") as file:
        file.write(b"AMIRANOOR")
    os.utime(path, ns=(now, now))
    assert ids(folder, tmp_path / "cache.json")["img_001.png"] != first["img_001.png"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":1,"root":"x","files":{"a":3}}', b'{"version":99}', b"[" * 100_000])
def test_a_damaged_cache_counts_as_empty(folder: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache.json").write_bytes(content)
    assert ids(folder, tmp_path / "cache.json") == ids(folder, None)
    assert kept_names(tmp_path / "cache.json") == ["img_000.png", "img_001.png", "img_002.png"]


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b'["img_001.png"]', b'["img_001.png",3,null]', b'["img_001.png",[1,2,3,"zz","PNG",1,1,1,[],null],null]', b"[" * 100_000],
)
def test_a_damaged_line_costs_no_more_than_reading_again(folder: Path, tmp_path: Path, line: bytes) -> None:
    cache = tmp_path / "cache.json"
    first = ids(folder, cache)
    sound = cache.read_bytes()
    lines = sound.splitlines(keepends=True)
    cache.write_bytes(b"".join([*lines[:2], line + b"\n", *lines[3:]]))
    assert ids(folder, cache) == first
    assert cache.read_bytes() == sound


def test_a_torn_cache_is_made_whole(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    cache = tmp_path / "cache.json"
    ids(folder, cache)
    sound = cache.read_bytes()
    cache.write_bytes(sound[:-5])
    reads.clear()
    ids(folder, cache)
    assert sorted(reads) == ["img_002.png", "img_002.txt"]
    assert cache.read_bytes() == sound


def test_nothing_is_written_where_nothing_changed(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
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
    cache = tmp_path / "cache.json"
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
    monkeypatch.setattr(hashing, "PICTURES_AT_ONCE", 2)
    assert ids(folder, tmp_path / "cache.json") == whole
    reads.clear()
    assert ids(folder, tmp_path / "cache.json") == whole
    assert reads == []


def test_a_run_that_fails_leaves_the_old_cache_alone(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache.json"
    ids(folder, cache)
    before = cache.read_bytes()
    monkeypatch.setattr(hashing, "PICTURES_AT_ONCE", 1)
    os.utime(folder / "img_000.png", (1, 1))  # the first part is written anew, then the second fails
    (folder / "img_001.png").write_bytes(picture_bytes(seed=9))

    real = hashing._hash_stable

    def fail(path: Path, file: FoundFile, buffer: bytearray) -> str:
        if path.name == "img_001.png":
            raise InputError(path, "cannot be read")
        return real(path, file, buffer)

    monkeypatch.setattr(hashing, "_hash_stable", fail)
    with pytest.raises(InputError, match="img_001"):
        ids(folder, cache)
    assert cache.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache.json", "set"]


def test_the_cache_of_another_folder_is_not_used(folder: Path, tmp_path: Path) -> None:
    ids(folder, tmp_path / "cache.json")
    found = scan_dataset(folder).pictures[0]
    for root, is_known in ((folder, True), (tmp_path / "other", False)):
        with Cache(tmp_path / "cache.json", root, started_ns=time.time_ns()) as cache:
            assert (cache.find(found) is not None) is is_known
            cache.put(found, ["0" * 64, "PNG", 1, 1, 1, [], None], None, None)
        assert kept_names(tmp_path / "cache.json") == ["img_000.png"]
        (tmp_path / "cache.json").unlink()
        ids(folder, tmp_path / "cache.json")


def test_a_cache_that_cannot_be_kept_is_done_without(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert ids(folder, tmp_path / "file" / "cache.json") == ids(folder, None)
    assert "the cache was not kept" in capsys.readouterr().err


def test_it_lies_in_the_user_s_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_cache_file(tmp_path / "set").parent == tmp_path / "cache" / "lifeos" / "datasets"


def test_decoding_later_reads_again(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    """What was cached without decoding does not say that the picture is sound."""
    (folder / "img_000.png").write_bytes(picture_bytes(seed=3, size=(1024, 1024)))
    os.utime(folder / "img_000.png", (1, 1))
    ids(folder, tmp_path / "cache.json")
    reads.clear()
    request = BuildRequest(folder, cache_file=tmp_path / "cache.json", decode=True)
    build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=time.time_ns())
    assert sorted(reads) == ["img_000.png", "img_001.png", "img_002.png"]
