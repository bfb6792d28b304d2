"""Published copies among pictures that are trained on or judged: found, refused, and let through only where that is asked for."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evals import face_similarity_eval, scorecard, skin_realism_eval
from lifeos import cli, picture_labels
from lifeos.errors import InputError
from tools import dataset_manifest, production_pipeline
from tools.production import choices
from tools.production.request import Request
from tools.publishing import marked_pictures
from tools.publishing.marked_pictures import carries_mark, find_marked, refuse_marked
from tools.publishing.watermark import mark

LABEL = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/{}"/></rdf:RDF></x:xmpmeta>'
)
AI = LABEL.format("trainedAlgorithmicMedia")


def scene(seed: int, side: int = 512) -> Any:
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(40, 215, (side // 8, side // 8, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    return np.clip(np.asarray(coarse) + random.normal(0, 4, (side, side, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def marked() -> Any:
    return mark(scene(1), 7)


def save(path: Path, rgb: Any, label: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture, kind = Image.fromarray(rgb), path.suffix.upper().lstrip(".").replace("JPG", "JPEG")
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", label, zip=len(label) % 2 == 1)
        picture.save(path, pnginfo=info if label else None)
    else:
        picture.save(path, kind, quality=95, **({"xmp": label.encode()} if label else {}))
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_the_label_is_read_without_decoding(tmp_path: Path, suffix: str) -> None:
    rgb = scene(3, 64)
    for name, label, expected in (
        ("ai", AI, True),
        ("packed", f"{AI} " if len(AI) % 2 == 0 else AI, True),
        ("composite", LABEL.format("compositeWithTrainedAlgorithmicMedia"), True),
        ("camera", LABEL.format("digitalCapture"), False),
        ("none", "", False),
    ):
        assert picture_labels.is_labelled(save(tmp_path / f"{name}{suffix}", rgb, label)) is expected, name
    assert picture_labels.is_labelled(tmp_path / "gone.png") is False
    data = save(tmp_path / f"cut{suffix}", rgb, AI).read_bytes()
    for length in range(0, len(data), max(1, len(data) // 200)):
        assert picture_labels.has_ai_label(data[:length]) in (True, False)


def test_only_a_mark_in_the_pixels_counts(tmp_path: Path, marked: Any) -> None:
    plain = save(tmp_path / "plain.png", scene(1))
    labelled = save(tmp_path / "labelled.png", scene(1), AI)
    copy = save(tmp_path / "copy.jpg", marked, AI)
    small = save(tmp_path / "small.jpg", np.asarray(Image.fromarray(marked).resize((384, 384), Image.Resampling.LANCZOS)), AI)
    stripped = save(tmp_path / "stripped.png", marked)
    assert find_marked([plain, labelled, copy, small, stripped]) == [copy, small]
    seen = {path.name: carries_mark(path.read_bytes(), path, unlabelled=True) for path in (plain, labelled, copy, small, stripped)}
    assert seen == {"plain.png": False, "labelled.png": False, "copy.jpg": True, "small.jpg": True, "stripped.png": True}
    assert not carries_mark(b"\x89PNG", tmp_path / "no.png", unlabelled=True)


def test_a_picture_without_a_label_is_not_decoded(tmp_path: Path, marked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marked_pictures, "decode_picture", lambda *_: pytest.fail("decoded"))
    assert find_marked([save(tmp_path / "stripped.png", marked)]) == []


def test_what_is_refused_is_named_with_the_way_round(tmp_path: Path, marked: Any) -> None:
    paths = [save(tmp_path / f"{name}.jpg", marked, AI) for name in "abcd"] + [save(tmp_path / "plain.png", scene(1))]
    refuse_marked(paths, "x", allow=True)
    refuse_marked(paths[4:], "x", allow=False)
    with pytest.raises(InputError) as caught:
        refuse_marked(paths, "x", allow=False)
    assert str(caught.value) == (
        "x: 4 of 5 pictures carry the watermark of a published copy: a.jpg, b.jpg, c.jpg and 1 more; the mark raises texture scores "
        "(use the originals in approved/, or give --allow-marked)"
    )


def run(script: ModuleType, *arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = cli.run(lambda: script.main([str(argument) for argument in arguments]))
    return code, out.getvalue()


@pytest.mark.parametrize("script", [scorecard, face_similarity_eval, skin_realism_eval])
def test_marked_pictures_are_judged_only_when_that_is_allowed(tmp_path: Path, marked: Any, script: ModuleType) -> None:
    save(tmp_path / "out" / "copy.jpg", marked, AI)
    save(tmp_path / "refs" / "face.png", scene(2))
    flags = ("--generated-dir", tmp_path / "out", "--reference-dir", tmp_path / "refs", "--engine", "dlib", "--project-root", tmp_path)
    code, said = run(script, *flags)
    assert code == 2
    assert "the pictures to judge: 1 of 1 picture carries the watermark of a published copy: copy.jpg" in said
    code, said = run(script, *flags, "--allow-marked")
    assert "no usable reference" in said  # the next thing that is wrong here
    (tmp_path / "out" / "copy.jpg").unlink()
    save(tmp_path / "out" / "plain.jpg", scene(4))
    save(tmp_path / "refs" / "copy.jpg", marked, AI)
    code, said = run(script, *flags)
    assert code == 2
    assert "refs: 1 of 2 pictures carries the watermark of a published copy: copy.jpg" in said


def test_marked_pictures_are_sorted_only_when_that_is_allowed(tmp_path: Path, marked: Any) -> None:
    save(tmp_path / "in" / "deep" / "copy.jpg", marked, AI)
    save(tmp_path / "refs" / "face.png", scene(2))
    flags = ("--images", tmp_path / "in", "--reference-dir", tmp_path / "refs", "--engine", "dlib", "--output-dir", tmp_path / "out")
    code, said = run(production_pipeline, *flags)
    assert (code, "--images: 1 of 1 picture carries the watermark" in said) == (2, True), said
    assert not (tmp_path / "out").exists()
    assert "no usable reference" in run(production_pipeline, *flags, "--allow-marked")[1]


def test_marked_references_of_a_batch_are_named(tmp_path: Path, marked: Any) -> None:
    save(tmp_path / "refs" / "copy.jpg", marked, AI)
    said: list[str] = []
    with pytest.raises(InputError):
        choices.choose_references(
            Request(output_dir=tmp_path / "out", reference_dir=tmp_path / "refs", engine="dlib"), policy(), tmp_path, said.append
        )
    assert said == [
        f"warning: {tmp_path / 'refs'}: 1 of 1 picture carries the watermark of a published copy: copy.jpg; use the originals as references"
    ]


def policy() -> Any:
    from evals.load_thresholds import load_thresholds

    return load_thresholds()


def test_a_marked_picture_is_trained_on_only_when_that_is_allowed(tmp_path: Path, marked: Any) -> None:
    folder = tmp_path / "set"
    for name, rgb, label in (("copy.jpg", marked, AI), ("stripped.png", marked, ""), ("plain.png", scene(5), AI)):
        save(folder / name, rgb, label)
        (folder / name).with_suffix(".txt").write_text(f"amiranoor, {name}")
    flags = ("--dataset-dir", folder, "--resolution", 512, "--no-cache")
    code, said = run(dataset_manifest, *flags)
    assert code == 1
    assert "not fit to train: 1 to mend (marked_picture)" in said
    assert "a published copy, whose watermark the LoRA would learn" in said and "--allow-marked" in said
    line = next(line for line in said.splitlines() if "a published copy" in line)
    assert "copy.jpg" in line and "stripped.png" in line and "plain.png" not in line
    code, said = run(dataset_manifest, *flags, "--allow-marked")
    assert code == 0 and "a published copy" in said
    empty = tmp_path / "plain"
    save(empty / "plain.png", scene(6))
    (empty / "plain.txt").write_text("amiranoor")
    code, said = run(dataset_manifest, "--dataset-dir", empty, "--reg-data-dir", folder, "--resolution", 512, "--no-cache")
    assert code == 1 and "regularisation: a published copy" in said
    code, said = run(dataset_manifest, *flags, "--no-near-duplicates")
    assert code == 0 and "a published copy" not in said
