"""Held-out pictures: named before training, chosen alike every time, trained on by nobody, and known wherever a manifest is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from lifeos.errors import InputError
from tests.tools.dataset.sets import make_picture, make_set
from tests.tools.training.standin_runs import Place
from tools import dataset_manifest
from tools.dataset.compare import compare_manifests, render_comparison
from tools.dataset.hold_out import find_hold_out
from tools.dataset.manifest import read_manifest
from tools.dataset.verify import verify_manifest


def build(folder: Path, output: Path, *more: object, code: int = 0) -> dict[str, Any]:
    arguments = ["--dataset-dir", folder, "--output", output, "--no-cache", "--no-near-duplicates", *more]
    assert cli.run(lambda: dataset_manifest.main([str(item) for item in arguments])) == code
    return read_manifest(output) if code == 0 else {}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_set(tmp_path_factory.mktemp("held") / "set", 9, size=(64, 64))
    shutil.copyfile(folder / "img_004.png", folder / "img_copy.png")  # the middle of nine, twice
    return folder


def test_the_id_is_of_what_is_trained_and_nothing_is_moved(pictures: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in pictures.iterdir())
    document = build(pictures, tmp_path / "m.json", "--hold-out", 3)
    # of the eight that are there once, the places (2k + 1) * 8 // 6 for k = 0, 1, 2: 1, 4, 6
    assert document["held_out"] == ["img_001.png", "img_005.png", "img_007.png"]
    assert [image["filename"] for image in document["held_out_images"]] == document["held_out"]
    assert document["total_images"] == len(document["images"]) == 7
    rest = tmp_path / "rest"
    shutil.copytree(pictures, rest, ignore=shutil.ignore_patterns(*(name.replace(".png", ".*") for name in document["held_out"])))
    assert build(rest, tmp_path / "rest.json")["dataset_id"] == document["dataset_id"]
    assert "held_out" not in read_manifest(tmp_path / "rest.json")
    assert sorted(path.name for path in pictures.iterdir()) == before


def test_named_files_come_first_and_a_copy_goes_with_its_picture(pictures: Path, tmp_path: Path) -> None:
    document = build(pictures, tmp_path / "m.json", "--hold-out", 2, "--hold-out-file", "img_copy.png")
    assert {"img_004.png", "img_copy.png"} < set(document["held_out"])
    assert len(document["held_out"]) == 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--hold-out", 99], "error: --hold-out: 99 of 10 pictures cannot be held out (hold fewer pictures out)"),
        (["--hold-out", 9], "error: --hold-out: nothing is left to train of 10 pictures (hold fewer pictures out)"),
        (["--hold-out-file", "x.png"], "error: --hold-out-file: x.png is no picture of the set (name it as the manifest does, "),
    ],
)
def test_what_cannot_be_held_out_is_refused(pictures: Path, tmp_path: Path, flags: list[Any], said: str, capsys: Any) -> None:
    build(pictures, tmp_path / "m.json", *flags, code=2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "m.json").exists()


def test_verify_and_compare_know_the_held_out_ones(pictures: Path, tmp_path: Path) -> None:
    plain, held = build(pictures, tmp_path / "plain.json"), build(pictures, tmp_path / "held.json", "--hold-out", 1)
    assert verify_manifest(held, pictures).is_same
    changed = shutil.copytree(pictures, tmp_path / "changed")
    make_picture(changed / held["held_out"][0], seed=77)
    assert verify_manifest(held, changed).changed == tuple(held["held_out"])
    text = render_comparison(compare_manifests(plain, held), "old", "new")
    assert f"held out: 0 -> 1 picture\n  from now on: {held['held_out'][0]}\n" in text


@pytest.mark.parametrize("fault", ["by hand", "trained too"])
def test_a_manifest_whose_held_out_pictures_are_trained_on_is_refused(pictures: Path, tmp_path: Path, fault: str) -> None:
    file = tmp_path / "m.json"
    document = build(pictures, file, "--hold-out", 1)
    if fault == "by hand":
        document["held_out"].append("img_000.png")
    else:
        document["held_out_images"][0] = document["images"][0]
        document["held_out"] = [document["images"][0]["filename"]]
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="does not name the pictures" if fault == "by hand" else "held out and trained on at once"):
        read_manifest(file)


def test_a_near_twin_of_a_held_out_picture_is_named(tmp_path: Path) -> None:
    from PIL import Image, ImageEnhance

    folder = make_set(tmp_path / "set", 4, size=(128, 128))
    ImageEnhance.Brightness(Image.open(folder / "img_002.png")).enhance(0.95).save(folder / "img_twin.png")
    chosen = build(folder, tmp_path / "m.json", "--hold-out", 2, "--near-duplicates")["held_out"]
    assert chosen == ["img_000.png", "img_003.png"], "of three without a twin, places 3 // 4 = 0 and 9 // 4 = 2"
    named = build(folder, tmp_path / "m.json", "--hold-out-file", "img_002.png", "--near-duplicates")
    warning = next(item for item in named["warnings"] if item["check"] == "held_out_twin")
    assert warning["files"] == ["img_twin.png"]


@pytest.mark.parametrize("where", ["inside the set", "named"])
def test_a_training_leaves_them_out(tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    manifest = place.set / "manifest.json" if where == "inside the set" else tmp_path / "m.json"
    held = build(place.set, manifest, "--hold-out", 1)
    capsys.readouterr()
    more = [] if where == "inside the set" else ["--dataset-manifest", manifest]
    assert place.run("--dry-run", "--json", *more) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dataset"]["dataset_id"] == held["dataset_id"]
    assert document["pictures_per_epoch"] == 4, "two of three pictures, shown twice each"


def test_a_renamed_picture_stays_held_out_and_a_lost_one_is_said(pictures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pictures, tmp_path / "set")
    held = build(folder, folder / "dataset_manifest.json", "--hold-out", 1)
    (folder / held["held_out"][0]).rename(folder / "renamed.png")
    wanted = find_hold_out(folder, None)
    from tools.dataset.build import BuildRequest, build_dataset_manifest

    request = BuildRequest(folder, use_cache=False, hold_out=wanted)
    built = build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=0)
    assert built.document["held_out"] == ["renamed.png"]
    (folder / "renamed.png").unlink()
    with pytest.raises(InputError, match=r"is held out by it, and is no picture of this set"):
        build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=0)
