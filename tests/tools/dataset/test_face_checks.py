"""What faces say of a training set: judged from made-up measurements, and measured on real pictures with a real engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from evals.judging.records import Geometry
from evals.load_thresholds import load_thresholds
from lifeos import cli
from tests.evals.portraits import noise, portrait
from tools import dataset_manifest
from tools.dataset.bucketing import BucketSettings, bucket_sizes, place_picture
from tools.dataset.face_checks import FaceMeasurement, cut_share, judge_faces

POLICY = load_thresholds()
BUCKET = BucketSettings(1024, 256, 2048, 64)


class Engine:
    scale_key = "dlib_centred"

    def identity(self) -> dict[str, Any]:
        return {"engine": "made up"}


def face(number: int, *, person: int = 0, yaw: float | None = None, shot: str = "close-up", **more: Any) -> FaceMeasurement:
    """A face of a person: embeddings of one person have a cosine of about .8, of two about 0."""
    rng = np.random.default_rng(1000 + number)
    own = np.random.default_rng(person).normal(size=128)
    vector = own / np.linalg.norm(own) + 0.5 * (noise_vector := rng.normal(size=128)) / np.linalg.norm(noise_vector)
    turn = float(rng.uniform(-40, 40)) if yaw is None else yaw
    geometry = Geometry(turn, 0.0, 0.1, 0.5, 0.5, 0.4, shot, ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.42, 0.6), (0.58, 0.6)))
    values: dict[str, Any] = {"width": 1024, "height": 1024, "dhash": f"{rng.integers(0, 2**63):016x}", "faces": 1, "sharpness": 20.0}
    values |= {"box": (300, 200, 700, 700), "geometry": geometry, "embedding": vector / np.linalg.norm(vector), **more}
    return FaceMeasurement(f"{number}.png", f"{number:064x}", **values)


SHOTS = ("close-up", "medium close-up", "medium shot", "full shot")
SOUND = [face(number, shot=SHOTS[number % 4]) for number in range(12)]


def judged(measured: list[FaceMeasurement], references: list[FaceMeasurement] | None = None) -> dict[str, tuple[str, ...]]:
    report = judge_faces(measured, references or [], Engine(), POLICY, BUCKET)  # type: ignore[arg-type]
    return {notice.rule: notice.files for notice in report.notices}


def test_a_sound_set_has_no_notice() -> None:
    assert judged(SOUND) == {}


CASES: list[tuple[str, list[FaceMeasurement], tuple[str, ...]]] = [
    ("no_face", [*SOUND, FaceMeasurement("empty.png", "e" * 64, 64, 64, "0" * 16)], ("empty.png",)),
    ("several_faces", [*SOUND, face(50, faces=2)], ("50.png",)),
    ("identity_outlier", [*SOUND, face(51, person=7), face(52, person=8)], ("51.png", "52.png")),
    ("blurred", [*SOUND, face(53, sharpness=5.0)], ("53.png",)),
    ("face_cut_off", [*SOUND, face(54, width=3000, height=200, box=(600, 0, 800, 200))], ("54.png",)),
    ("one_shot_size", [face(number, shot="close-up") for number in range(12)], ()),
    ("one_pose", [face(number, yaw=10 + number % 3, shot=SHOTS[number % 4]) for number in range(12)], ()),
]


@pytest.mark.parametrize(("check", "measured", "files"), CASES, ids=[case[0] for case in CASES])
def test_each_finding(check: str, measured: list[FaceMeasurement], files: tuple[str, ...]) -> None:
    assert judged(measured) == {check: files}


def test_references_are_held_out() -> None:
    same_bytes, same_look = SOUND[3], face(70, dhash=SOUND[5].dhash)
    assert judged(SOUND, [same_bytes, same_look, face(71)]) == {"reference_overlap": ("3.png", "5.png")}


def test_few_faces_make_no_centre() -> None:
    assert judged([face(0), face(1, person=5), face(2, person=6)]) == {}


def test_the_part_of_a_face_that_is_cropped() -> None:
    placement = place_picture(3000, 200, BUCKET, bucket_sizes(BUCKET))
    assert placement is not None
    assert placement.bucket == (2048, 256)
    # scaled to 3840 x 256: 896 columns of 3840 go at either side, 700 of the picture's 3000
    assert cut_share((600, 0, 800, 200), 3000, 200, placement) == pytest.approx(0.5)
    assert cut_share((1400, 0, 1600, 200), 3000, 200, placement) == 0
    assert cut_share((0, 0, 200, 200), 3000, 200, placement) == 1


def test_on_real_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One portrait in five croppings, one of them blurred, and one picture of nothing; another is an evaluation reference."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole = portrait().convert("RGB")
    folder, references = tmp_path / "set", tmp_path / "references"
    folder.mkdir()
    references.mkdir()
    (tmp_path / "none").mkdir()
    width, height = whole.size
    for number in range(5):
        cut = number * 3
        whole.crop((cut, 0, width - 2 * cut, height - cut)).save(folder / f"{number}.png")
    whole.filter(ImageFilter.GaussianBlur(2)).save(folder / "soft.png")
    Image.fromarray(np.asarray(noise())).save(folder / "nothing.png")
    damaged = bytearray((folder / "0.png").read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 8] = bytes(8)  # within the compressed data: its header is sound
    (folder / "damaged.png").write_bytes(damaged)
    whole.save(references / "held_out.jpg", quality=90)
    args = ["--dataset-dir", str(folder), "--faces", "--engine", "dlib", "--model-root", str(tmp_path / "none")]
    assert cli.run(lambda: dataset_manifest.main([*args, "--reference-dir", str(references), "--json"])) == 1  # the damaged one is an error
    document = json.loads(capsys.readouterr().out)
    found = {item["check"]: item["files"] for item in document["warnings"]}
    assert found["no_face"] == ["nothing.png"]
    assert found["face_unseen"] == ["damaged.png"]
    assert "soft.png" in found["blurred"]
    assert "0.png" in found["reference_overlap"]
    assert "nothing.png" not in found["reference_overlap"]
    assert document["faces"]["sameness"]["faces"] == 6
    assert min(document["faces"]["likeness"].values()) > 0.5


def test_an_engine_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("set", "none"):
        (tmp_path / name).mkdir()
    args = ["--dataset-dir", str(tmp_path / "set"), "--faces", "--engine", "insightface", "--model-root", str(tmp_path / "none")]
    assert cli.run(lambda: dataset_manifest.main(args)) == 3
