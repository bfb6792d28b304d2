"""Weights out of a file that torch wrote: the numbers as they are, and nothing that the file asks for is run."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.likeness.weights import MAGIC, VERSION, read_weights

NAMES = {"tensor": ("torch._utils", "_rebuild_tensor_v2"), "floats": ("torch", "FloatStorage"), "longs": ("torch", "LongStorage")}


class Named:
    """Stands for a name of torch: pickled as that name."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.module, self.name, self.arguments = module, name, arguments


class Writer(pickle._Pickler):
    """Writes what torch writes: names of its own functions, storages as persistent ids."""

    def save(self, item: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(item, Named):
            self.write(pickle.GLOBAL + f"{item.module}\n{item.name}\n".encode())
            if item.arguments:
                self.save(tuple(item.arguments))
                self.write(pickle.REDUCE)
            return None
        return super().save(item, save_persistent_id)  # type: ignore[misc]

    def persistent_id(self, item: Any) -> Any:
        return item[1:] if isinstance(item, tuple) and item[:1] == ("persistent",) else None


def dumped(item: Any) -> bytes:
    body = io.BytesIO()
    Writer(body, 2).dump(item)
    return body.getvalue()


def storage(kind: str, name: str, count: int) -> tuple[Any, ...]:
    return ("persistent", "storage", Named(*NAMES[kind]), name, "cpu", count, None)


def tensor(kind: str, name: str, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, count: int = 6) -> Named:
    return Named(*NAMES["tensor"], storage(kind, name, count), offset, shape, strides, False, OrderedDict())


def torch_file(tensors: dict[str, Any], storages: dict[str, Any]) -> bytes:
    head = b"".join(dumped(item) for item in (MAGIC, VERSION, {"little_endian": True}, OrderedDict(tensors), list(storages)))
    return head + b"".join(len(numbers).to_bytes(8, "little") + numbers.tobytes() for numbers in storages.values())


SIX = np.arange(6, dtype="<f4") / 4
COUNTS = np.array([7], dtype="<i8")
SOUND = torch_file(
    {"a": tensor("floats", "one", (2, 3), (3, 1)), "b": tensor("floats", "one", (2,), (1,), 4), "n": tensor("longs", "two", (), (), 0, 1)},
    {"two": COUNTS, "one": SIX},
)


def test_tensors_of_floats_are_read_each_in_its_shape() -> None:
    found = read_weights(SOUND)
    assert set(found) == {"a", "b"}  # how many batches there were is no weight
    assert found["a"].tolist() == [[0.0, 0.25, 0.5], [0.75, 1.0, 1.25]]
    assert found["b"].tolist() == [1.0, 1.25]


def test_a_file_that_calls_a_function_is_refused_before_it_is_called(tmp_path: Path) -> None:
    mark = tmp_path / "called"
    for module, name in (("os", "mkdir"), ("builtins", "eval"), ("torch", "load")):
        harmful = torch_file({"a": Named(module, name, str(mark))}, {})
        with pytest.raises(ValueError, match=rf"it names {module}\.{name}, which no file of weights needs"):
            read_weights(harmful)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is no file of weights"),
        (b"PK\x03\x04", "it is no file of weights"),
        (dumped(1), "before version 1.6"),
        (SOUND[:-3], "it is cut off"),
        (SOUND[:200], "it is no file of weights"),
        (torch_file({"a": tensor("floats", "one", (2, 3), (1, 2))}, {"one": SIX}), "does not lie in one piece"),
        (torch_file({"a": tensor("floats", "one", (9, 9), (9, 1))}, {"one": SIX}), "cannot reshape"),
    ],
    ids=["empty", "a zip", "another pickle", "cut", "cut early", "turned", "more than there is"],
)
def test_what_is_no_such_file_is_said(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_weights(data)
