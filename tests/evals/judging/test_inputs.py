"""Nothing is skipped in silence: what looks like a picture and is not judged is counted and named, with the reason."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from evals import face_similarity_eval, scorecard, skin_realism_eval
from evals.judging.inputs import left_out_document, left_out_lines, list_to_judge
from lifeos import picture_formats
from lifeos.errors import InputError
from lifeos.images import list_pictures
from tests.evals.portraits import portrait, write_references

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(80)


@pytest.fixture(autouse=True)
def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the package, whatever is installed on this one."""
    monkeypatch.setattr(picture_formats, "has_heif", lambda: False)


def fill(folder: Path) -> Path:
    """Two pictures that are judged, and one of everything that is not."""
    folder.mkdir(parents=True)
    portrait().resize((500, 500)).save(folder / "a.png")
    portrait().resize((480, 480)).save(folder / "b.avif", quality=95)
    (folder / "IMG_0001.HEIC").write_bytes(HEIC)
    (folder / "scan.psd").write_bytes(b"8BPS")
    shutil.copy(folder / "a.png", folder / "a.png.download")
    shutil.copy(folder / "a.png", folder / "no_ending")
    for name in ("notes.txt", "a.xyz", ".hidden.heic", "~lock.png", "model.safetensors"):
        (folder / name).write_bytes(b"no picture")
    return folder


LEFT_OUT = [
    {"file": "IMG_0001.HEIC", "why": "HEIC is read where pillow-heif is installed"},
    {"file": "a.png.download", "why": "holds a PNG picture under the ending .download: rename it"},
    {"file": "no_ending", "why": "holds a PNG picture: give it an ending"},
    {"file": "scan.psd", "why": ".psd pictures are not read: save it as PNG or JPEG"},
]


def test_a_folder_says_what_it_holds_and_what_not(tmp_path: Path) -> None:
    folder = fill(tmp_path / "set")
    listing = list_pictures(folder, recursive=True)
    assert [path.name for path in listing.pictures] == ["a.png", "b.avif"]
    assert left_out_document(listing.left_out, folder) == LEFT_OUT


@pytest.mark.usefixtures("links")
@pytest.mark.skipif(os.name != "posix", reason="links are made by everyone on POSIX only")
def test_links_are_told_of(tmp_path: Path) -> None:
    folder, other = tmp_path / "set", fill(tmp_path / "other")
    folder.mkdir()
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "linked").symlink_to(other)
    found = left_out_document(list_pictures(folder, recursive=True).left_out, folder)
    assert found == [
        {"file": "gone.png", "why": "no file: a link that leads nowhere, or a device"},
        {"file": "linked", "why": "a link to a folder is not followed"},
    ]


def test_sub_folders_that_are_not_looked_into(tmp_path: Path) -> None:
    fill(tmp_path / "refs" / "more")
    (tmp_path / "refs" / "texts").mkdir()
    found = left_out_document(list_pictures(tmp_path / "refs").left_out, tmp_path / "refs")
    assert found == [{"file": "more", "why": "pictures in sub-folders are not taken here"}]


def test_the_references_within_are_counted(tmp_path: Path) -> None:
    folder = fill(tmp_path / "set")
    write_references(folder / "refs")
    listing = list_to_judge(folder, folder / "refs", "--images")
    count = len(list_pictures(folder / "refs").pictures)
    assert len(listing.pictures) == 2
    assert left_out_document(listing.left_out, folder)[-1] == {"file": "refs", "why": f"the references, {count} of them, are not judged"}


def test_a_folder_of_nothing_but_others_says_so(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.heic").write_bytes(HEIC)
    with pytest.raises(InputError) as caught:
        list_to_judge(tmp_path, None, "--images")
    assert caught.value.why.startswith(
        "no pictures in it; 1 left out: IMG_1.heic (HEIC is read where pillow-heif is installed); to have HEIC"
    )
    assert caught.value.fix == "give --images a folder with PNG, JPEG, WebP, AVIF, TIFF, GIF or BMP pictures"


def test_many_are_counted_and_some_named(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.jxl").write_bytes(b"")
    (line,) = left_out_lines(list_pictures(tmp_path).left_out, tmp_path)
    assert line.startswith("8 left out: 0.jxl (.jxl pictures are not read: save it as PNG or JPEG), 1.jxl")
    assert line.endswith(" and 3 more") and "5.jxl" not in line


SCRIPTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "face": (face_similarity_eval, ()),
    "skin": (skin_realism_eval, ()),
    "scorecard": (scorecard, ("--run-id", "x", "--history-file", "h.jsonl", "--latest-report", "r.md")),
}


@pytest.mark.parametrize(("script", "more"), SCRIPTS.values(), ids=SCRIPTS)
def test_every_evaluation_counts_and_names_them(
    script: Any, more: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "pictures")
    write_references(tmp_path / "refs")
    (tmp_path / "refs" / "ref.heic").write_bytes(HEIC)
    folders = ["--generated-dir", "pictures", "--reference-dir", "refs", "--engine", "dlib"]
    assert script.main([*folders, *more, "--output-json", "out.json"]) == 0
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert document["left_out"] == LEFT_OUT
    assert document["images_left_out"] == 4
    assert document["references_left_out"] == ["reference ref.heic left out: HEIC is read where pillow-heif is installed"]
    assert len(document["per_image"]) == 2, "AVIF is judged"
    shown = "".join(capfd.readouterr())
    assert "4 left out: IMG_0001.HEIC (HEIC is read where pillow-heif is installed), a.png.download" in shown
    assert "note: reference ref.heic left out" in shown
    if more:
        report = (tmp_path / "r.md").read_text(encoding="utf-8")
        assert "4 left out: IMG_0001.HEIC" in report and "reference ref.heic left out" in report
