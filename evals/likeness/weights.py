"""The weights of a network out of a file that torch wrote, without torch, and without running anything of what the file asks for.

Before version 1.6 torch wrote five pickles (a magic number, a version, what machine it was, the tensors as names of storages, the names in
the order in which they lie there), then the storages: a length of 8 bytes and the numbers, little-endian each. A pickle can call any
function by its name; this reads those of a tensor of floats and of the dictionary that holds them, and refuses every other name.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
LENGTH_BYTES = 8
KINDS = {"FloatStorage": "<f4", "LongStorage": "<i8"}


@dataclass(frozen=True, slots=True)
class _Storage:
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]


def read_weights(data: bytes) -> dict[str, NDArray[np.float32]]:
    """The tensors of floats by name, each in its shape. Raises ValueError for anything else than such a file."""
    try:
        return _read(io.BytesIO(data))
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001  # a damaged pickle raises whatever its bytes lead to
        raise ValueError(f"it is no file of weights: {error}") from None


def _read(file: io.BytesIO) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    if _load(file) != MAGIC or _load(file) != VERSION:
        raise ValueError("it is no file of weights that torch wrote before version 1.6")
    _load(file)  # the machine it was written on
    tensors, order = _load(file), _load(file)
    kinds = {tensor.storage.name: tensor.storage.kind for tensor in tensors.values()}
    numbers: dict[str, Any] = {}
    for name in order:
        count = int.from_bytes(file.read(LENGTH_BYTES), "little")
        kind = np.dtype(KINDS[kinds[name]])
        body = file.read(count * kind.itemsize)
        if len(body) != count * kind.itemsize:
            raise ValueError("it is cut off")
        numbers[name] = np.frombuffer(body, kind)
    floats = {name: tensor for name, tensor in tensors.items() if tensor.storage.kind == "FloatStorage"}
    return {name: _shaped(numbers[tensor.storage.name], tensor) for name, tensor in floats.items()}


def _shaped(numbers: Any, tensor: _Tensor) -> Any:
    return numbers[tensor.offset : tensor.offset + math.prod(tensor.shape)].reshape(tensor.shape)


def _load(file: io.BytesIO) -> Any:
    return _Reader(file).load()


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _Tensor:
    dense = tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))
    if strides != dense:
        raise ValueError("a tensor in it does not lie in one piece")
    return _Tensor(storage, offset, shape)


ALLOWED: Mapping[tuple[str, str], Callable[..., Any] | str] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{("torch", kind): kind for kind in KINDS},
}
"""What a pickle may name, and what stands for it here."""


class _Reader(pickle.Unpickler):
    """Reads one pickle; every name that is not in ALLOWED is an error."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise ValueError(f"it names {module}.{name}, which no file of weights needs")
        return ALLOWED[module, name]

    def persistent_load(self, saved: Any) -> _Storage:
        _, kind, name, *_ = saved
        if kind not in KINDS:
            raise ValueError("it holds numbers of another kind")
        return _Storage(str(name), kind)
