"""The batch directory: room on the disk, what may be written, and one place for each picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lifeos.errors import InputError, UnavailableError
from tests.power_loss import Disk
from tools.production.filing import BatchFolder, check_room, check_writable, nearest_existing, suffix_of


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    made = BatchFolder(tmp_path / "batch")
    made.prepare()
    return made


def set_free(monkeypatch: pytest.MonkeyPatch, folder: Path, free: int) -> None:
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))


def test_a_batch_needs_the_room_that_the_policy_wants(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    set_free(monkeypatch, folder.root, 5_000_000_000)
    check_room(folder, 5.0)
    set_free(monkeypatch, folder.root, 4_949_999_999)
    with pytest.raises(UnavailableError) as caught:
        check_room(folder, 5.0)
    assert str(caught.value) == (
        f"{folder.root}: 4.9 GB free on the disk, 5 GB wanted "
        "(free some room, choose another --output-dir, or lower production.min_free_disk_gb)"
    )


def test_room_is_asked_of_the_disk_that_the_folder_will_be_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or usage)
    assert BatchFolder(tmp_path / "not" / "yet").free_bytes() == usage.free
    assert asked == [tmp_path]


@pytest.mark.parametrize("name", ["0001.png", "0001_2.png"])
@pytest.mark.parametrize("approved", [True, False])
def test_a_picture_moves_to_its_place_once(folder: BatchFolder, name: str, approved: bool) -> None:
    place, other = ("approved", "rejected") if approved else ("rejected", "approved")
    folder.take_in([(name, b"data")])
    assert folder.place_of(name) == "incoming"
    assert folder.file(name, approved=approved) == place
    assert folder.place_of(name) == place and (folder.root / place / name).read_bytes() == b"data"
    assert folder.file(name, approved=not approved) == place  # filed already: it stays, and its place is told
    assert not (folder.root / other / name).exists()
    assert folder.place_of("another.png") is None


def test_when_the_first_picture_of_an_item_is_on_the_disk_all_are(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["0001.png", "0001_2.png", "0001_3.png"]
    disk, seen = Disk(folder.root, monkeypatch), []
    keep = disk._keep_names_of

    def watch(place: Path) -> None:
        keep(place)
        seen.append({path.rpartition("/")[2] for path, data in disk.after_power_loss().items() if data == b"data"})

    monkeypatch.setattr(disk, "_keep_names_of", watch)
    folder.take_in([(name, b"data") for name in names])
    assert [moment >= set(names) for moment in seen if "0001.png" in moment] == [True]
    assert disk.torn == []


def test_preparing_removes_what_is_half_written_and_nothing_else(folder: BatchFolder) -> None:
    places = [folder.incoming, folder.thumbnails, folder.root, folder.root / "approved", folder.root / "rejected"]
    for place in places:
        (place / ".0001.png.0a1b.tmp").write_bytes(b"half")
        (place / "0002.png").write_bytes(b"whole")
        (place / ".hidden").write_bytes(b"theirs")
        (place / "notes.tmp").write_bytes(b"theirs")
    folder.prepare()
    for place in places:
        assert {path.name for path in place.iterdir() if path.is_file()} == {"0002.png", ".hidden", "notes.tmp"}


def test_the_work_that_is_left_is_never_removed(folder: BatchFolder) -> None:
    folder.take_in([("0001.png", b"data")])
    folder.remove_empty_work()
    assert folder.place_of("0001.png") == "incoming"
    folder.file("0001.png", approved=True)
    folder.remove_empty_work()
    assert not folder.incoming.exists() and folder.thumbnails.is_dir()


def test_a_file_in_the_way_of_the_output_directory(tmp_path: Path) -> None:
    (tmp_path / "batches").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        check_writable(tmp_path / "batches" / "one")
    assert str(caught.value) == (
        f"{tmp_path / 'batches' / 'one'}: {tmp_path / 'batches'} is a file, not a directory (choose another --output-dir)"
    )
    check_writable(tmp_path / "new" / "one")


@pytest.mark.usefixtures("links")
def test_the_nearest_folder_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    assert nearest_existing(tmp_path) == tmp_path
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path
    assert nearest_existing(Path("a/b")) == tmp_path
    assert nearest_existing(tmp_path / "dangling" / "b") == tmp_path / "dangling"  # in the way, though it leads nowhere


@pytest.mark.parametrize(
    ("data", "suffix"),
    [(b"\x89PNG\r\n", ".png"), (b"\xff\xd8\xff\xe0", ".jpg"), (b"RIFF....WEBP", ".webp"), (b"BM..", ".bmp"), (b"?", ".png"), (b"", ".png")],
)
def test_a_suffix_follows_the_bytes(data: bytes, suffix: str) -> None:
    assert suffix_of(data) == suffix
