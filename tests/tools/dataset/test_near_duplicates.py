"""Near-duplicates without a face engine: changed a little, mirrored, cut out; other pictures are none, aligned faces included.

The pictures are scikit-image's photographs and its hundred aligned faces of as many people (25 x 25 pixels, enlarged).
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from evals.likeness.grey_looks import GreyLook, Pair, find_pairs, make_look
from lifeos import cli
from tests.tools.dataset.sets import make_set
from tools import dataset_manifest
from tools.dataset import build as building
from tools.dataset.build import BuildRequest, build_dataset_manifest

Change = Callable[[Image.Image], Image.Image]


def photograph(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def stored(picture: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def look(name: str, picture: Image.Image, kind: str = "PNG") -> GreyLook:
    found = make_look(name, name, stored(picture, kind))
    assert found is not None
    return found


def cut(left: float, top: float, right: float, bottom: float) -> Change:
    return lambda picture: picture.crop(
        (int(left * picture.width), int(top * picture.height), int(right * picture.width), int(bottom * picture.height))
    )


def as_jpeg(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=60)
    return Image.open(stream).convert("RGB")


CHANGES: dict[str, tuple[Change, bool, float]] = {
    "jpeg": (as_jpeg, False, 1),
    "half the size": (lambda picture: picture.resize((picture.width // 2, picture.height // 2)), False, 1),
    "brighter": (lambda picture: ImageEnhance.Brightness(picture).enhance(1.3), False, 1),
    "less colour": (lambda picture: ImageEnhance.Color(picture).enhance(0.3), False, 1),
    "blurred": (lambda picture: picture.filter(ImageFilter.GaussianBlur(2)), False, 1),
    "mirrored": (ImageOps.mirror, True, 1),
    "a border cut off": (cut(0.05, 0.02, 0.95, 0.92), False, 0.9),
    "a corner": (cut(0.22, 0.04, 0.92, 0.74), False, 0.7),
    "another shape": (cut(0, 0.1, 0.7, 0.95), False, 0.85),
    "cut and mirrored": (lambda picture: ImageOps.mirror(cut(0.1, 0.05, 0.85, 0.8)(picture)), True, 0.75),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_a_changed_picture_is_found(name: str, change: str) -> None:
    make, mirrored, share = CHANGES[change]
    (pair,) = find_pairs([look("a", photograph(name), "JPEG"), look("b", make(photograph(name)))])
    assert (pair.mirrored, pair.share) == (mirrored, pytest.approx(share, abs=0.03))
    assert share == 1 or pair.first == "a", "the larger picture holds the smaller one"


def test_different_pictures_are_none() -> None:
    faces = np.load(Path(skimage.data.__file__).with_name("lfw_subset.npy"))[:60]
    pictures = {str(place): Image.fromarray((face * 255).astype(np.uint8)).resize((160, 160)) for place, face in enumerate(faces)}
    pictures |= {name: photograph(name) for name in ("astronaut", "chelsea", "coffee", "rocket", "camera", "brick", "page")}
    assert find_pairs([look(name, picture.convert("RGB")) for name, picture in pictures.items()]) == []


def test_equal_files_and_empty_walls_are_none() -> None:
    twice = look("a", photograph("coffee"))
    assert find_pairs([twice, GreyLook("b", twice.sha256, twice.grey)]) == []
    assert make_look("wall", "x", stored(Image.new("RGB", (300, 400), (128, 128, 128)))) is None
    assert find_pairs([]) == []
    assert look("thin", Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 3, 3), dtype=np.uint8))).size == (8, 96)


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (Pair("a", "b", False, 1.0, 0.99), "b is nearly a"),
        (Pair("a", "b", True, 1.0, 0.99), "b is a mirrored"),
        (Pair("a", "b", False, 0.8, 0.99), "b is cut out of a"),
        (Pair("a", "b", True, 0.8, 0.99), "b is cut out of a, mirrored"),
    ],
)
def test_words(pair: Pair, text: str) -> None:
    assert pair.text == text


def write_set(folder: Path) -> Path:
    folder.mkdir()
    coffee = photograph("coffee")
    for name, picture in (("a", coffee), ("b", ImageOps.mirror(coffee)), ("c", photograph("chelsea"))):
        picture.resize((1024, 1024)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"amiranoor, view {name}")
    return folder


def test_the_command_says_which_are_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--dataset-dir", str(write_set(tmp_path / "set")), "--no-cache"]
    assert cli.run(lambda: dataset_manifest.main(arguments)) == 0
    shown = capsys.readouterr().out
    assert "warning: nearly the same picture more than once: b.png is a.png mirrored: a.png, b.png (keep one of each" in shown
    assert shown.splitlines()[-1] == "fit to train: 3 pictures, 1 warning (near_duplicate)"
    assert cli.run(lambda: dataset_manifest.main([*arguments, "--no-near-duplicates"])) == 0
    assert "nearly the same" not in capsys.readouterr().out


def build(folder: Path, **more: Any) -> building.BuiltManifest:
    request = BuildRequest(folder, use_cache=False, **more)
    return build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=time.time_ns())


def test_a_large_set_is_looked_at_only_if_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "MOST_PICTURES", 2)
    folder = write_set(tmp_path / "set")
    untold = build(folder, near_duplicates=None)
    assert (untold.notices, "more than 2 pictures: give --near-duplicates" in untold.not_looked) == ([], True)
    assert [notice.rule for notice in build(folder, near_duplicates=True).notices] == ["near_duplicate"]
    assert build(folder, near_duplicates=False).not_looked == ""


def test_a_picture_that_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    folder = make_set(tmp_path, 2)
    data = bytearray((folder / "img_000.png").read_bytes())
    at = data.index(b"IDAT") + 40
    data[at : at + 8] = os.urandom(8)
    (folder / "img_000.png").write_bytes(data)
    assert build(folder, near_duplicates=True).notices == []
