"""The cache saves reading and never lies: any change that size, time or inode show is seen, and young files are not trusted."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.tools.dataset.sets import make_set, picture_bytes
from tools.dataset import hashing
from tools.dataset.build import BuildRequest, build_dataset_manifest
from tools.dataset.cache import Cache, default_cache_file


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
    assert json.loads((tmp_path / "cache.json").read_bytes())["files"]


def test_the_cache_of_another_folder_is_not_used(folder: Path, tmp_path: Path) -> None:
    ids(folder, tmp_path / "cache.json")
    assert Cache(tmp_path / "cache.json", tmp_path / "other", started_ns=1).get("img_000.png", (0, 0, 0)) is None


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
