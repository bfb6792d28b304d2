"""Any ONNX embedder: what it is fed by its row of the policy, and what is refused because it does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals import face_similarity_eval
from evals.faces import model_files
from evals.faces.engines import choose_engine
from evals.faces.onnx_embedder import OnnxEmbedder, Recipe
from evals.faces.onnx_rewriting import without_spare_inputs
from lifeos.errors import InputError, LifeosError, UnavailableError
from tests.evals.portraits import portrait, write_few

POINTS = np.array([[203.0, 102.0], [247.0, 104.0], [222.0, 126.0], [202.0, 141.0], [243.0, 143.0]])
ROW = {"stranger": 0.1, "warn": 0.4, "pass": 0.5, "same": 1.0}
SFACE_INPUT = {"mean": 0.0, "std": 1.0}


def policy_with(row: dict[str, Any], name: str = "own") -> dict[str, Any]:
    return {"face_similarity": {"engines": {f"onnx_{name}": row}}}


@pytest.fixture(scope="module")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face model that somebody brings: SFace's weights in a file that the project does not know."""
    path = tmp_path_factory.mktemp("models") / "own.onnx"
    path.write_bytes(without_spare_inputs(model_files.require(model_files.SFACE).read_bytes()))
    return path


def write_model(path: Path, shape: list[Any], outputs: dict[str, int], kind: int = 1, *, planar: bool = True) -> Path:
    """A little network: the picture's mean colours, times a fixed matrix, for each output of so many numbers."""
    import onnx
    from onnx import helper, numpy_helper

    number = {1: np.float32, 10: np.float16, 2: np.uint8}[kind]
    nodes, weights = [], []
    axes = [2, 3] if planar else [1, 2]
    nodes.append(helper.make_node("ReduceMean", ["data"], ["colours"], axes=axes, keepdims=0))
    for name, length in outputs.items():
        channels = shape[1] if planar and isinstance(shape[1], int) else 3
        matrix = np.random.default_rng(3).normal(size=(channels, length)).astype(number)
        weights.append(numpy_helper.from_array(matrix, f"{name}_weight"))
        nodes.append(helper.make_node("MatMul", ["colours", f"{name}_weight"], [name]))
    told = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("data", kind, shape)], told, weights)
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def test_a_file_and_its_row_make_an_engine(own_model: Path) -> None:
    engine = choose_engine("onnx", policy_with({**ROW, "input": SFACE_INPUT}), face_model=own_model)
    identity = engine.identity()
    assert (identity["engine"], identity["model_pack"], engine.scale_key) == ("onnx", "own", "onnx_own")
    assert identity["input"] | {"points": None} == {"size": 112, "channels": "rgb", "mean": 0.0, "std": 1.0, "points": None}
    assert "stranger_mean" not in identity
    other = choose_engine("onnx", policy_with({**ROW, "input": {"channels": "bgr"}}), face_model=own_model).identity()
    assert other["models"] == identity["models"] and other != identity, "other settings are another protocol"


def test_auto_takes_the_file_that_is_named(own_model: Path) -> None:
    assert choose_engine("auto", policy_with(ROW), face_model=own_model).scale_key == "onnx_own"


def test_a_folder_is_scored_with_it(own_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_few(tmp_path)
    (tmp_path / "project" / "evals").mkdir(parents=True)
    row = json.dumps({**ROW, "input": SFACE_INPUT})
    policy = f"face_similarity:\n  engines:\n    onnx_own: {row}\n"
    (tmp_path / "project" / "evals" / "thresholds.yaml").write_text(policy, encoding="utf-8")
    command = ["--generated", str(folder / "out"), "--reference", str(folder / "refs"), "--json", "--face-model", str(own_model)]
    assert face_similarity_eval.main([*command, "--project-root", str(tmp_path / "project")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["protocol"]["engine"], told["protocol"]["scale"]) == ("onnx", ROW)
    assert told["per_image"][0]["pass"] is True


@pytest.mark.parametrize(
    ("shape", "planar", "kind"),
    [([1, 3, 112, 112], True, 1), (["n", 3, "h", "w"], True, 1), (["n", 112, 112, 3], False, 1), ([2, 3, 112, 112], True, 10)],
    ids=["one at a time", "any number and size", "colours last", "half precision, two at a time"],
)
def test_models_of_different_shapes(shape: list[Any], planar: bool, kind: int, tmp_path: Path) -> None:
    """The network answers with its matrix times the mean colours: of a grey picture, mean 27.5 and divided by 100, all are 1."""
    path = write_model(tmp_path / "m.onnx", shape, {"vector": 64}, kind, planar=planar)
    embedder = OnnxEmbedder(path, Recipe(mean=27.5, std=100.0))
    grey = np.full((300, 300, 3), 127, dtype=np.uint8)
    expected = np.random.default_rng(3).normal(size=(3, 64)).sum(axis=0)
    found = embedder.embed(grey, np.array(POINTS))
    assert float(found @ expected / np.linalg.norm(expected)) > 0.999
    assert embedder.length == 64


def test_colours_are_ordered_as_the_row_says(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", [1, 3, 112, 112], {"vector": 64})
    red = np.zeros((300, 300, 3), dtype=np.uint8)
    red[..., 0] = 200
    matrix = np.random.default_rng(3).normal(size=(3, 64))
    for channels, row in (("rgb", 0), ("bgr", 2)):
        found = OnnxEmbedder(path, Recipe(mean=0.0, channels=channels)).embed(red, POINTS)
        assert float(found @ matrix[row] / np.linalg.norm(matrix[row])) > 0.999, channels


@pytest.mark.parametrize(
    ("shape", "outputs", "kind", "says"),
    [
        ([1, 1, 112, 112], {"v": 64}, 1, "its input (data 1x1x112x112 tensor(float)) does not fit: one picture of 3 x 112 x 112"),
        ([1, 3, 160, 160], {"v": 64}, 1, "write `size: 160` into the `input` of its row"),
        ([5, 3, 112, 112], {"v": 64}, 1, "wants 5 pictures at once"),
        ([1, 3, 112, 112], {"v": 2}, 1, "its outputs (1x2) are not one vector of 32 numbers or more for each face"),
        ([1, 3, 112, 112], {"v": 64, "w": 128}, 1, "its outputs (1x64, 1x128) are not one vector"),
        ([1, 3, 112, 112], {"v": 64, "norm": 1}, 1, ""),
    ],
    ids=["grey", "another size", "five at once", "a class", "two vectors", "a vector and its norm"],
)
def test_what_does_not_fit_is_refused(shape: list[Any], outputs: dict[str, int], kind: int, says: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", shape, outputs, kind)
    if not says:
        assert OnnxEmbedder(path, Recipe()).length == 64
        return
    with pytest.raises(InputError) as caught:
        OnnxEmbedder(path, Recipe())
    assert str(caught.value).startswith(f"{path}: ") and says in str(caught.value)


def test_a_detector_is_no_embedder() -> None:
    with pytest.raises(UnavailableError, match="is it a face embedder"):
        OnnxEmbedder(model_files.require(model_files.YUNET_INT8), Recipe(size=640))


@pytest.mark.parametrize(("content", "says"), [(b"", "not a usable ONNX model"), (b"no model at all", "not a usable ONNX model")])
def test_a_file_that_is_no_model(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(UnavailableError, match=says):
        OnnxEmbedder(tmp_path / "m.onnx", Recipe())


def test_a_truncated_model(own_model: Path, tmp_path: Path) -> None:
    data = own_model.read_bytes()
    (tmp_path / "m.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnavailableError, match=r"m\.onnx: "):
        OnnxEmbedder(tmp_path / "m.onnx", Recipe())


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    """The file that is hashed must be the model: its weights could be changed and the protocol would not tell."""
    import onnx

    model = onnx.load_model(str(write_model(tmp_path / "m.onnx", [1, 3, 112, 112], {"v": 4096})))
    onnx.save_model(model, str(tmp_path / "split.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(LifeosError, match=r"split\.onnx: its weights lie in another file \(save it as one file"):
        OnnxEmbedder(tmp_path / "split.onnx", Recipe())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"engine": "onnx"}, "--engine onnx: no model file is named (name an ONNX face model: --face-model FILE)"),
        ({"engine": "onnx", "model_pack": "mini"}, "--model-pack: the engine onnx takes one file"),
        ({"engine": "dlib", "face_model": "own"}, "--face-model: dlib has one model of its own"),
        ({"engine": "insightface", "face_model": "own"}, "--face-model: InsightFace takes a model pack"),
        ({"engine": "onnx", "face_model": "gone"}, "gone.onnx: no such file (give --face-model an existing file)"),
        ({"engine": "onnx", "face_model": "own"}, "face engine onnx: the policy has no thresholds for it"),
    ],
)
def test_wrong_wishes(wanted: dict[str, Any], message: str, own_model: Path, tmp_path: Path) -> None:
    files = {"own": own_model, "gone": tmp_path / "gone.onnx"}
    given = {**wanted, **({"face_model": files[wanted["face_model"]]} if "face_model" in wanted else {})}
    with pytest.raises(InputError) as caught:
        choose_engine(policy=policy_with(ROW, "another"), **given)
    assert message in str(caught.value)


def test_the_policy_says_how_the_template_lies() -> None:
    assert np.allclose(Recipe.from_policy({"size": 224}).points, Recipe().points * 2)
    own = [[30, 30], [80, 30], [55, 60], [35, 85], [75, 85]]
    assert Recipe.from_policy({"points": own}).points.tolist() == own
    assert portrait().size == (512, 512)
