"""MobileNetV2 without its last layer as an ONNX model, from its weights, without the package onnx.

The network (Sandler and others, 2018, arXiv 1801.04381): a convolution, 17 inverted residual blocks, a convolution to 1280 channels, the
mean of each channel over the picture. Every batch normalisation is folded into the convolution before it. (The format: onnx.proto; the
encoding: protobuf's wire format.)
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evals.faces.onnx_rewriting import varint, with_length

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Weights = Mapping[str, NDArray[np.float32]]

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and the first block's stride, of table 2 of the paper."""
IR_VERSION, OPSET = 6, 10
FLOAT, INTS, INT, FLOAT_VALUE = 1, 7, 2, 1
EPSILON = 1e-5
"""Of torch's batch normalisation."""
INPUT, OUTPUT = "picture", "embedding"


def mobilenet(weights: Weights) -> bytes:
    """The model: `picture` (1 x 3 x height x width, as ImageNet's networks are fed) to `embedding` (1 x 1280).

    Raises KeyError where a weight is missing.
    """
    graph = _Graph(weights)
    at = graph.convolve(INPUT, "features.0.0", "features.0.1", stride=2)
    number = 1
    for expansion, channels, blocks, first_stride in STAGES:
        for block in range(blocks):
            at = graph.block(at, f"features.{number}.conv", expansion, channels, first_stride if block == 0 else 1)
            number += 1
    at = graph.convolve(at, f"features.{number}.0", f"features.{number}.1")
    return graph.finish(graph.node("Flatten", [graph.node("GlobalAveragePool", [at])]))


class _Graph:
    """The nodes and weights of a model so far. Each method adds a node and returns the name of what it gives out."""

    def __init__(self, weights: Weights) -> None:
        self.weights, self.parts, self.count, self.channels = weights, list[bytes](), 0, dict[str, int]()

    def block(self, at: str, name: str, expansion: int, channels: int, stride: int) -> str:
        """An inverted residual block: widen, filter each channel by itself, narrow; added to what came in where both have one shape."""
        inside, place = at, 0
        if expansion != 1:
            inside, place = self.convolve(at, f"{name}.0.0", f"{name}.0.1"), 1
        inside = self.convolve(inside, f"{name}.{place}.0", f"{name}.{place}.1", stride=stride)
        inside = self.convolve(inside, f"{name}.{place + 1}", f"{name}.{place + 2}", bounded=False)
        if stride == 1 and self.channels.get(at) == channels:
            inside = self.node("Add", [at, inside])
        self.channels[inside] = channels
        return inside

    def convolve(self, at: str, name: str, norm: str, *, stride: int = 1, bounded: bool = True) -> str:
        """A convolution with the batch normalisation behind it, and unless told otherwise its values brought to 0 to 6."""
        import numpy as np

        kernel = self.weights[f"{name}.weight"]
        factor = self.weights[f"{norm}.weight"] / np.sqrt(self.weights[f"{norm}.running_var"] + EPSILON)
        self.tensor(f"{name}.kernel", kernel * factor[:, None, None, None])
        self.tensor(f"{name}.bias", self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * factor)
        size = kernel.shape[2]
        attributes = [
            _ints("kernel_shape", [size, size]),
            _ints("strides", [stride, stride]),
            _ints("pads", [size // 2] * 4),
            _int("group", kernel.shape[0] if kernel.shape[1] == 1 else 1),
        ]
        given = self.node("Conv", [at, f"{name}.kernel", f"{name}.bias"], attributes)
        return self.node("Clip", [given], [_float("min", 0.0), _float("max", 6.0)]) if bounded else given

    def node(self, kind: str, inputs: Sequence[str], attributes: Sequence[bytes] = ()) -> str:
        self.count += 1
        given = f"{kind}_{self.count}"
        fields = [*(_text(1, name) for name in inputs), _text(2, given), _text(4, kind), *(with_length(5, part) for part in attributes)]
        self.parts.append(with_length(1, b"".join(fields)))
        return given

    def tensor(self, name: str, values: Any) -> None:
        import numpy as np

        sizes = b"".join(_number(1, size) for size in values.shape)
        body = np.ascontiguousarray(values, dtype="<f4").tobytes()
        self.parts.append(with_length(5, sizes + _number(2, FLOAT) + _text(8, name) + with_length(9, body)))

    def finish(self, given: str) -> bytes:
        self.parts.append(with_length(1, _text(1, given) + _text(2, OUTPUT) + _text(4, "Identity")))
        given_in = with_length(11, _value(INPUT, (1, 3, "height", "width")))
        given_out = with_length(12, _value(OUTPUT, (1, 1280)))
        graph = b"".join([*self.parts, _text(2, "mobilenet_v2"), given_in, given_out])
        return _number(1, IR_VERSION) + with_length(7, graph) + with_length(8, _number(2, OPSET))


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    """A ValueInfoProto: a tensor of floats of that shape."""
    sides = b"".join(with_length(1, _number(1, side) if isinstance(side, int) else _text(2, side)) for side in shape)
    return _text(1, name) + with_length(2, with_length(1, _number(1, FLOAT) + with_length(2, sides)))


def _ints(name: str, values: Sequence[int]) -> bytes:
    return _text(1, name) + b"".join(_number(8, value) for value in values) + _number(20, INTS)


def _int(name: str, value: int) -> bytes:
    return _text(1, name) + _number(3, value) + _number(20, INT)


def _float(name: str, value: float) -> bytes:
    return _text(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, FLOAT_VALUE)


def _text(number: int, text: str) -> bytes:
    return with_length(number, text.encode("ascii"))


def _number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)
