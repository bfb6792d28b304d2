"""The guard *memorised*: a training picture is found whatever was done to it, another picture is not, and a bad folder is one line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import skimage.data
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from evals.judging import assessor as assessing
from evals.judging.assessor import Assessor
from evals.judging.picture_verdict import verdict
from lifeos.errors import InputError, UnavailableError
from lifeos.picture_labels import is_labelled
from tests.evals.guards.people import open_with, policy_with, saved, strangers
from tests.evals.portraits import portrait

LIMIT = 0.95


def on(folder: Path) -> dict[str, object]:
    return {"limit": LIMIT, "folder": str(folder)}


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, a scene without a face, and a file that is none."""
    folder = tmp_path_factory.mktemp("training")
    saved(portrait(), folder / "10_person" / "portrait.png")
    saved(strangers()[1], folder / "10_person" / "other.png")
    saved(Image.fromarray(skimage.data.coffee()), folder / "cup.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture(scope="module")
def guarded(references: Path, training: Path) -> Assessor:
    return open_with(references, memorised=on(training))


def as_jpeg(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


def cut(left: float, top: float, right: float, bottom: float) -> Callable[[Image.Image], Image.Image]:
    return lambda picture: picture.crop(
        (int(left * picture.width), int(top * picture.height), int(right * picture.width), int(bottom * picture.height))
    )


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 50": as_jpeg,
    "half size": lambda picture: picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(2)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "mirrored": ImageOps.mirror,
    "25 % cut off": cut(0.1, 0.0, 0.85, 0.75),
    "half cut off": cut(0.15, 0.0, 0.65, 0.5),
    "4:5": cut(0.1, 0.0, 0.9, 1.0),
    "cut, mirrored, JPEG": lambda picture: as_jpeg(ImageOps.mirror(cut(0.15, 0.0, 0.9, 0.75)(picture))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_training_picture_is_found_and_named(guarded: Assessor, training: Path, tmp_path: Path, change: str) -> None:
    found = guarded.assess(saved(CHANGES[change](portrait()), tmp_path / "new.png"))
    reading, judged = found.measures["memorised"], verdict(found, policy_with(memorised=on(training)))
    assert reading.score is not None and reading.score > LIMIT
    reason = next(text for text in judged.reasons if text.startswith("likeness to a training picture"))
    assert "nearest is 10_person/portrait.png" in reason and ("mirrored" in reason) is ("mirrored" in change)
    assert not any("portrait.png" in text for text in judged.public_reasons)


def test_the_same_file_is_named_as_such(guarded: Assessor, training: Path) -> None:
    reading = guarded.assess(training / "cup.png").measures["memorised"]
    assert (reading.score, reading.note) == (1.0, "nearest is cup.png, the same file")


def test_a_scene_without_a_face_is_found_too(guarded: Assessor, tmp_path: Path) -> None:
    cup = Image.fromarray(skimage.data.coffee())
    reading = guarded.assess(saved(as_jpeg(cut(0.1, 0.1, 0.9, 0.9)(cup)), tmp_path / "cup.png")).measures["memorised"]
    assert reading.score is not None and reading.score > LIMIT and "cup.png" in (reading.note or "")


def test_other_pictures_pass(guarded: Assessor, training: Path, tmp_path: Path) -> None:
    """Another person; the same person turned before another background; nothing at all."""
    turned = ImageOps.expand(portrait().rotate(12).crop((130, 40, 330, 260)), 90, fill="navy")
    flat = Image.new("RGB", (200, 300), "white")
    for number, picture in enumerate((strangers()[3], turned, flat)):
        found = guarded.assess(saved(picture, tmp_path / f"{number}.png"))
        score = found.measures["memorised"].score
        assert score is not None and score < LIMIT, (number, score)


def test_another_face_in_the_same_scene_is_another_picture(guarded: Assessor, tmp_path: Path) -> None:
    """The head is replaced: the rest correlates, the face does not."""
    picture = portrait().copy()
    picture.paste(strangers()[3].crop((60, 60, 260, 300)).resize((140, 168)), (155, 40))
    reading = guarded.assess(saved(picture, tmp_path / "other.png")).measures["memorised"]
    assert reading.score is not None and reading.score < LIMIT


def test_what_cannot_be_compared_is_said(guarded: Assessor, references: Path, tmp_path: Path) -> None:
    assert "training pictures: 1 file cannot be compared, and what repeats it passes" in guarded.warnings
    assert any(line.startswith("training picture left out: broken.png (") for line in guarded.for_owner)
    assert "memorised/1 training " in guarded.protocol["measures"]["memorised"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"none")
    for folder, why in (
        (None, "has a limit, but no folder of training pictures (name it: --training-dir DIR"),
        (tmp_path / "nowhere", "--training-dir"),
        (tmp_path / "empty", "no pictures in it (name the folder of the training pictures)"),
        (tmp_path / "bad", "no training picture can be read: a.png ("),
    ):
        with pytest.raises(InputError) as caught:
            open_with(references, memorised={"limit": LIMIT, **({"folder": str(folder)} if folder else {})})
        assert why in str(caught.value)


def test_a_labelled_training_picture_is_a_warning(references: Path, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    information = PngInfo()
    information.add_itxt("XML:com.adobe.xmp", "<x>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia</x>")
    (tmp_path / "set").mkdir()
    portrait().save(tmp_path / "set" / "copy.png", pnginfo=information)
    assert is_labelled(tmp_path / "set" / "copy.png")
    warnings = open_with(references, memorised=on(tmp_path / "set")).warnings
    assert any("1 of 1 picture carries the label of AI-made pictures" in line and "train on the originals" in line for line in warnings)


def test_without_the_model_the_guard_cannot_run(references: Path, training: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evals.faces import model_files

    monkeypatch.setattr(assessing, "_find_embedder", lambda: (None, ()))
    monkeypatch.setattr(model_files, "package_folders", list)
    monkeypatch.setattr(model_files, "model_folders", list)
    with pytest.raises(UnavailableError, match=r"MobileNetV2: its model file .* is not here"):
        open_with(references, memorised=on(training))
