"""A model that asks for its own weights runs once the inputs that nobody can give are left out. Real onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from evals.faces.onnx_rewriting import without_spare_inputs


def _old_model() -> bytes:
    """y = x * w + b, with the weights listed as inputs, and one input (`raw`) that quantising left behind, without a value."""
    helper = onnx.helper

    def value(name: str) -> object:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2])

    weights = [onnx.numpy_helper.from_array(np.array(numbers, np.float32), name) for name, numbers in (("w", [2, 3]), ("b", [1, 1]))]
    nodes = [helper.make_node("Mul", ["x", "w"], ["t"]), helper.make_node("Add", ["t", "b"], ["y"])]
    graph = helper.make_graph(nodes, "old", [value(name) for name in ("x", "w", "raw", "b")], [value("y")], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=6)
    return bytes(model.SerializeToString())


def _run(model: bytes) -> list[float]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [float(number) for number in session.run(None, {"x": np.array([10, 100], np.float32)})[0]]


def test_a_model_asks_only_for_what_must_be_given() -> None:
    with pytest.raises(ValueError, match=r"Required inputs \(\['raw'\]\) are missing"):
        _run(_old_model())
    model = without_spare_inputs(_old_model())
    assert [entry.name for entry in onnx.load_from_string(model).graph.input] == ["x"]
    assert _run(model) == [21.0, 301.0]


def test_nothing_else_is_changed() -> None:
    before, after = (onnx.load_from_string(data) for data in (_old_model(), without_spare_inputs(_old_model())))
    del before.graph.input[1:]
    assert after == before
    assert without_spare_inputs(without_spare_inputs(_old_model())) == without_spare_inputs(_old_model())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it holds no graph"),
        (b"<html>a login page</html>", "begins no field"),
        (b"\x08\x06", "it holds no graph"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "has no end"),
        (b"\x3a\x10half", "it ends in the middle of a field"),
    ],
    ids=["empty", "a web page", "no graph", "an endless number", "cut"],
)
def test_what_is_no_model_is_refused_and_says_why(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        without_spare_inputs(data)


def test_every_cut_is_refused_or_a_smaller_model_never_another_fault() -> None:
    whole = _old_model()
    for end in range(len(whole)):
        try:
            without_spare_inputs(whole[:end])
        except ValueError:
            continue
