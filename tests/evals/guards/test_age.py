"""The guard *age*: the youngest face decides, the model is known by its bytes, and without one nobody is approved in silence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from evals.faces import model_files
from evals.guards import age
from evals.judging.picture_verdict import verdict
from lifeos.errors import UnavailableError
from lifeos.free_models import AGE
from tests.evals.guards.people import engine, open_with, policy_with, saved, two_people
from tests.evals.portraits import noise, portrait

ON: dict[str, Any] = {"limit": 25}
YOUNG, OLD = 20, 40


def write_model(path: Path, size: int, weights: np.ndarray, bias: np.ndarray, *, softmax: bool) -> Path:
    """A model of one layer: pictures of 3 x size x size in, one number for each class out."""
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["raw" if softmax else "found"]),
    ]
    nodes += [helper.make_node("Softmax", ["raw"], ["found"], axis=1)] if softmax else []
    stored = [numpy_helper.from_array(each.astype(np.float32), name) for name, each in (("weights", weights), ("bias", bias))]
    shape: list[Any] = ["N", 3, size, size]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, ["N", len(bias)])],
        stored,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model that takes dark faces for 20 and light ones for 40, in the place of the real one."""
    weights = np.zeros((3 * 64 * 64, 81))
    weights[:, YOUNG], weights[:, OLD] = -1, 1
    path = write_model(tmp_path / AGE.name, 64, weights, np.where(np.isin(np.arange(81), (YOUNG, OLD)), 0.0, -1e6), softmax=True)
    known = replace(AGE, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(age, "AGE", known)
    monkeypatch.setenv("LIFEOS_MODELS", str(tmp_path))
    yield path


def darker(share: float) -> Any:
    return portrait().point(lambda level: level * share)


def test_the_younger_are_held_back_for_a_person_to_look_at(references: Path, tmp_path: Path, toy: Path) -> None:
    assessor, policy = open_with(references, age=ON), policy_with(age=ON)
    assert assessor.protocol["measures"]["age"].startswith(f"age/1 {AGE.name} ")
    old = assessor.assess(saved(portrait(), tmp_path / "old.png"))
    assert old.measures["age"].score == OLD and verdict(old, policy).reasons == ()
    young = assessor.assess(saved(darker(0.5), tmp_path / "young.png"))
    assert young.measures["age"].score == YOUNG
    assert "apparent age 20.00 is below 25.00: a person must look" in verdict(young, policy).reasons
    assert verdict(young, policy_with(age={"limit": 18})).grounds == verdict(young, policy_with()).grounds  # another limit, another verdict
    assert verdict(assessor.assess(saved(noise(), tmp_path / "empty.png")), policy).reasons == ("no face found",)


def test_the_youngest_face_in_the_picture_decides(references: Path, tmp_path: Path, toy: Path) -> None:
    picture = two_people()
    dark = picture.crop((20, 40, 170, 205)).point(lambda level: level * 0.35)
    picture.paste(dark, (20, 40))
    found = open_with(references, age=ON).assess(saved(picture, tmp_path / "two.png"))
    assert found.face.faces == 2 and found.measures["age"].score == YOUNG


def test_a_face_is_cut_out_upright_by_eyes_and_nose() -> None:
    """The eyes' middles and the base of the nose come to dlib's places: (.2273 + .2) / 1.4 of 64 pixels is 19.5."""
    rgb = np.zeros((400, 400, 3), dtype=np.uint8)
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    eyes_nose_mouth = np.array([[-50.0, 0], [50, 0], [0, 60], [-40, 93], [40, 93]]) @ turn + 200
    base = (eyes_nose_mouth[:2].mean(axis=0)) + age.NOSE_BASE * (eyes_nose_mouth[3:].mean(axis=0) - eyes_nose_mouth[:2].mean(axis=0))
    for x, y in (*eyes_nose_mouth[:2], base):
        rgb[round(y) - 6 : round(y) + 7, round(x) - 6 : round(x) + 7] = 255
    chip = age.cut_chip(rgb, eyes_nose_mouth)
    assert chip.shape == (64, 64, 3)
    for x, y in age.CHIP_POINTS:
        column, row = (round((value + 0.2) / 1.4 * 64) for value in (x, y))
        assert chip[row, column].min() > 100, (x, y)
    assert (chip > 100).mean() < 0.1


def test_without_a_model_nothing_is_judged_unless_the_policy_says_so(
    references: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "find", lambda file, folders=None: None)
    with pytest.raises(UnavailableError, match=r"gates\.age: has a limit, but no age model is here.*setup --age"):
        open_with(references, age=ON)
    lenient = {"limit": 25, "without_model": "report"}
    assessor = open_with(references, age=lenient)
    assert any("apparent age did not run" in line for line in assessor.warnings)
    assert assessor.protocol["measures"]["age"] == "age/1 without a model"
    found = assessor.assess(saved(portrait(), tmp_path / "a.png"))
    assert found.measures["age"].score is None and verdict(found, policy_with(age=lenient)).approved


def test_a_file_of_other_bytes_is_no_model(references: Path, toy: Path) -> None:
    toy.write_bytes(toy.read_bytes()[:-1] + b"x")
    with pytest.raises(UnavailableError, match="no age model is here"):
        open_with(references, age=ON)


def test_a_pack_of_insightface_brings_its_own(references: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its third number is the age in hundreds of years."""

    class Pack:
        folder = tmp_path

    monkeypatch.setattr(model_files, "find", lambda file, folders=None: None)
    monkeypatch.setattr(type(engine()), "pack", Pack, raising=False)
    write_model(tmp_path / age.GENDERAGE, 96, np.zeros((3 * 96 * 96, 3)), np.array([0.0, 1.0, 0.22]), softmax=False)
    assessor = open_with(references, age=ON)
    assert assessor.protocol["measures"]["age"].startswith("age/1 genderage.onnx ")
    assert assessor.assess(saved(portrait(), tmp_path / "a.png")).measures["age"].score == 22.0
    (tmp_path / age.GENDERAGE).write_bytes(b"no model")
    with pytest.raises(UnavailableError, match="the age model does not load"):
        open_with(references, age=ON)
