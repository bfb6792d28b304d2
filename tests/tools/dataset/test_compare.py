"""Two manifests are told apart by what changed: added, removed, changed, renamed, captions, resolutions, repeats."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.tools.dataset.sets import make_picture, make_set
from tools.dataset.build import BuildRequest, build_dataset_manifest
from tools.dataset.compare import (
    CaptionChange,
    Renamed,
    RepeatsChange,
    ResolutionChange,
    Shift,
    compare_manifests,
    render_comparison,
    word_diff,
)
from tools.dataset.contact_sheet import write_contact_sheet


def manifest_of(folder: Path, regularisation: Path | None = None) -> dict[str, Any]:
    request = BuildRequest(folder, regularisation_dir=regularisation, use_cache=False)
    return build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=time.time_ns()).document


def test_each_kind_of_change(tmp_path: Path) -> None:
    old_dir = make_set(tmp_path / "old", 5)
    new_dir = Path(shutil.copytree(old_dir, tmp_path / "new"))
    make_picture(new_dir / "added.png", seed=50, size=(1024, 1024))  # without a caption
    for path in new_dir.glob("img_000.*"):
        path.unlink()
    make_picture(new_dir / "img_001.png", seed=51, size=(832, 1216))
    for suffix in (".png", ".txt"):
        (new_dir / f"img_002{suffix}").rename(new_dir / f"portrait{suffix}")
    (new_dir / "img_003.txt").write_text("amiranoor, a young woman, view 3")
    result = compare_manifests(manifest_of(old_dir), manifest_of(new_dir))
    assert result.images_added == ("added.png",)
    assert result.images_removed == ("img_000.png",)
    assert result.images_changed == ("img_001.png",)
    assert result.images_renamed == (Renamed("img_002.png", "portrait.png"),)
    diff = "amiranoor, a {+young+} woman, view 3"
    assert result.captions_changed == (
        CaptionChange("img_003.png", "amiranoor, a woman, view 3", "amiranoor, a young woman, view 3", diff),
    )
    assert result.resolution_changes == (ResolutionChange("img_001.png", "1024x1024", "832x1216"),)
    assert Shift("a young woman", 0.0, 0.2) in result.word_shift  # 1 of 5
    assert result.resolution_shift == (Shift("1024x1024", 1.0, 0.8), Shift("832x1216", 0.0, 0.2))
    text = render_comparison(result, "old", "new")
    for line in ("pictures renamed: 1", "  img_002.png -> portrait.png", f"  img_003.png: {diff}", "  img_001.png: 1024x1024 -> 832x1216"):
        assert line in text.splitlines()


def test_the_same_is_the_same(tmp_path: Path) -> None:
    document = manifest_of(make_set(tmp_path / "set"))
    result = compare_manifests(document, document)
    assert result.same
    assert render_comparison(result, "a", "b").splitlines()[1].startswith("the same dataset")


def test_other_repeats_are_the_same_dataset_and_are_told(tmp_path: Path) -> None:
    old = manifest_of(make_set(tmp_path / "old" / "10_amiranoor").parent)
    new = manifest_of(make_set(tmp_path / "new" / "20_amiranoor").parent)
    result = compare_manifests(old, new)
    assert result.same
    assert result.repeats_changed == (RepeatsChange("amiranoor", 10, 20),)
    assert "repeats of amiranoor: 10 -> 20" in render_comparison(result, "a", "b")


def test_swapped_names_are_changes_not_renames(tmp_path: Path) -> None:
    old_dir = make_set(tmp_path / "old", 2)
    new_dir = Path(shutil.copytree(old_dir, tmp_path / "new"))
    first, second = new_dir / "img_000.png", new_dir / "img_001.png"
    first_bytes = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(first_bytes)
    result = compare_manifests(manifest_of(old_dir), manifest_of(new_dir))
    assert (result.images_changed, result.images_renamed) == (("img_000.png", "img_001.png"), ())


def test_regularisation_is_compared_too(tmp_path: Path) -> None:
    folder, regularisation = make_set(tmp_path / "set"), make_set(tmp_path / "reg", 2, first_seed=70, word="woman")
    old = manifest_of(folder, regularisation)
    (regularisation / "img_000.png").unlink()
    result = compare_manifests(old, manifest_of(folder, regularisation))
    assert not result.same
    assert result.images_removed == ("regularisation/img_000.png",)


@pytest.mark.parametrize(
    ("old", "new", "diff"),
    [
        ("a b c", "a c", "a [-b-] c"),
        ("", "new words", "{+new words+}"),
        ("gone", "", "[-gone-]"),
        ("x " * 300, "y " * 300, "[-300 words-] {+300 words+}"),
    ],
)
def test_word_diff(old: str, new: str, diff: str) -> None:
    assert word_diff(old, new) == diff


def test_contact_sheet_shows_what_came_and_went(tmp_path: Path) -> None:
    old_dir, new_dir = make_set(tmp_path / "old", 1), make_set(tmp_path / "new", 1, first_seed=9)
    (old_dir / "img_000.png").rename(old_dir / "gone.png")
    Image.new("RGB", (1024, 1024), (250, 10, 10)).save(new_dir / "img_000.png")
    old, new = manifest_of(old_dir), manifest_of(new_dir)
    shutil.rmtree(old_dir)
    write_contact_sheet(tmp_path / "sheet.png", compare_manifests(old, new), old, new)
    sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
    # two groups of one row each: 8 + 2 * (18 + 8 + 200 + 18 + 8)
    assert sheet.size == (6 * 208 + 8, 512)
    assert sheet.getpixel((108, 134)) == (250, 10, 10)  # the middle of the first tile
    assert sheet.getpixel((108, 420)) == (224, 224, 224)  # the removed picture is no longer there: an empty tile
