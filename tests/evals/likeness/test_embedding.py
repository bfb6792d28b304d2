"""The embedding of whole pictures: torch's own numbers, alike for what looks alike, small in a record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from evals.faces import model_files
from evals.judging.assessor import open_assessor
from evals.judging.records import Assessment
from evals.likeness.embedding import (
    KEPT,
    SAME_SCENE,
    Embedder,
    open_embedder,
    read_record,
    share_of_same_scenes,
    to_record,
)
from evals.load_thresholds import load_thresholds
from lifeos.errors import UnavailableError
from lifeos.free_models import MOBILENET
from tests.evals.portraits import portrait, write_references


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"))


def test_the_network_gives_the_numbers_of_torch(embedder: Embedder) -> None:
    """torchvision 0.28 on the same input: `mobilenet_v2().features(x).mean([2, 3])` with this file's weights."""
    noise = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    (found,) = embedder._session.run(None, {"picture": noise})
    assert found.shape == (1, 1280)
    assert found[0, :5] == pytest.approx(FROM_TORCH[:5], abs=2e-4)
    assert float(found.sum()) == pytest.approx(FROM_TORCH[5], abs=0.02)


FROM_TORCH = (0.0681, 0.0, 2.3679, 0.0, 0.0, 363.61)
"""Its first five numbers, and the sum of all 1280."""


def test_what_looks_alike_is_alike(embedder: Embedder) -> None:
    original = Image.fromarray(skimage.data.astronaut())
    other = embedder.embed(pixels(Image.fromarray(skimage.data.coffee())))
    width, height = original.size
    changed = {
        "half": original.resize((width // 2, height // 2)),
        "mirrored": original.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "cut": original.crop((width // 8, 0, width * 7 // 8, height * 3 // 4)),
    }
    seen = embedder.embed(pixels(original))
    cosines = {name: float(seen @ embedder.embed(pixels(picture))) for name, picture in changed.items()}
    assert float(seen @ other) < SAME_SCENE < min(cosines.values())


@pytest.mark.parametrize("size", [(2, 2), (3000, 2), (1, 900)])
def test_pictures_of_any_shape_have_one(embedder: Embedder, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (*size, 3)).astype(np.uint8)
    assert float(np.linalg.norm(embedder.embed(noise))) == pytest.approx(1, abs=1e-5)


def test_a_record_is_small_and_keeps_cosines(embedder: Embedder) -> None:
    pictures = [portrait(), portrait().rotate(5), Image.fromarray(skimage.data.coffee()), Image.fromarray(skimage.data.rocket())]
    vectors = [embedder.embed(pixels(picture)) for picture in pictures]
    records = [to_record(vector) for vector in vectors]
    assert {len(record) for record in records} == {3 + 4 * -(-KEPT // 3)} == {347}
    for one, kept in zip(vectors, records, strict=True):
        for two, other in zip(vectors, records, strict=True):
            first, second = read_record(kept), read_record(other)
            assert first is not None and second is not None
            assert float(first @ second) == pytest.approx(float(one @ two), abs=0.15)


@pytest.mark.parametrize("record", [None, "", "m2:AAAA", "m1:", "m1:AAAA", "m1:not base64!", "AAAA"])
def test_a_record_of_another_version_or_kind_is_none(record: str | None) -> None:
    assert read_record(record) is None


def test_the_share_of_pairs_is_counted_once_each() -> None:
    same, other = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    assert share_of_same_scenes([same, same, same, other]) == 0.5  # 3 of 6 pairs
    assert share_of_same_scenes([same]) is None


def test_without_the_file_everything_else_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    references = write_references(tmp_path / "references")
    assessor = open_assessor(references, load_thresholds(), engine="dlib", model_root=tmp_path)
    picture = tmp_path / "a.png"
    portrait().save(picture)
    whole = assessor.assess(picture)
    assert read_record(whole.scene) is not None
    assert Assessment.from_json(whole.to_json()) == whole
    assert open_assessor(references, load_thresholds(), engine="dlib", model_root=tmp_path, want_skin=False).assess(picture).scene is None

    monkeypatch.setattr(model_files, "package_folders", lambda: [tmp_path / "packages"])
    monkeypatch.setattr(model_files, "model_folders", list)
    bare = open_assessor(references, load_thresholds(), engine="dlib", model_root=tmp_path)
    line = f"clothes and places are not compared: MobileNetV2: its model file {MOBILENET.name} is not here (run: python -m lifeos setup)"
    assert line in bare.warnings
    found = bare.assess(picture)
    assert found.scene is None and "scene" not in found.to_json()
    assert found.face.score is not None

    damaged = tmp_path / "packages" / MOBILENET.folder / MOBILENET.name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half")
    with pytest.raises(UnavailableError, match=r"damaged or another file: its SHA-256 is .*\(run: python -m lifeos setup\)$"):
        open_embedder()
