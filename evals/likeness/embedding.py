"""An embedding for clothes and places: 256 numbers of a picture, whose cosine tells how alike two pictures look as a whole.

MobileNetV2, trained on ImageNet, without its last layer: the mean of each of its 1280 channels over the picture, less what pictures have on
average (`data/average.json`), brought to length 1. A picture is reduced to about 160 x 160 pixels in its own shape, because what is
squashed looks like something else. A record keeps 256 fixed sums of these numbers in 8 bits: the cosine of two records differs from that
of all 1280 numbers by .04 (standard deviation, for cosines of .3 to .7), and a record is 347 letters long.

Measured by `benchmarks/likeness.py` (docs/benchmarks.md).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.faces import model_files
from lifeos.errors import UnavailableError
from lifeos.free_models import MOBILENET

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

METRIC = "m1"
"""Name and version of the embedding, before each record of one: only those of one version are compared."""
AREA_SIDE, STEP_SIDE = 160, 32
"""A picture has the area of a square of 160 pixels (the network was trained on squares of 224, which take twice as long and separate no
better); the last layer has a cell for every 32."""
LONGEST = 4 * AREA_SIDE
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet's pictures, red, green and blue: what the network was trained with."""
CHANNELS, KEPT = 1280, 256
SAME_SCENE = 0.40
"""From this cosine on two pictures have the same clothes and place."""
AVERAGE_FILE = Path(__file__).with_name("data") / "average.json"
FIX = "run: python -m lifeos setup"


class Embedder:
    """MobileNetV2 on one thread. Thread safe."""

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        from evals.faces.onnx_session import CPU, session_options

        self._session = onnxruntime.InferenceSession(model, session_options(1), providers=[CPU])

    def embed(self, rgb: NDArray[np.uint8]) -> Vector:
        """The embedding of a picture (height x width x 3): 1280 numbers of length 1."""
        import numpy as np

        (found,) = self._session.run(None, {"picture": _prepare(rgb)})
        return np.asarray(unit(found[0] - _average()), dtype=np.float32)


def open_embedder() -> Embedder:
    """The embedder with the file that set-up brought. Raises UnavailableError, with the fix, where it is missing or another."""
    from evals.likeness.onnx_writing import mobilenet
    from evals.likeness.weights import read_weights

    path = model_files.require(MOBILENET, fix=FIX)
    try:
        return Embedder(mobilenet(read_weights(path.read_bytes())))
    except (OSError, ValueError, KeyError) as error:  # changed since its SHA-256 was taken
        raise UnavailableError(path, f"cannot be read: {error}", FIX) from None


def unit(numbers: Any) -> Any:
    """The numbers at length 1; zeros stay zeros."""
    import numpy as np

    length = float(np.linalg.norm(numbers))
    return numbers / length if length > 0 else numbers


def to_record(embedding: Vector) -> str:
    """An embedding as a record keeps it: the version, a colon, 256 numbers of 8 bits in Base64."""
    import numpy as np

    sums = unit(embedding @ _sums())
    most = float(np.abs(sums).max()) or 1.0
    return f"{METRIC}:{base64.b64encode(np.rint(sums / most * 127).astype(np.int8).tobytes()).decode('ascii')}"


def read_record(record: str | None) -> Vector | None:
    """The numbers of a record, at length 1; None where there is none, or it is of another version."""
    import numpy as np

    version, _, digits = (record or "").partition(":")
    if version != METRIC:
        return None
    try:
        body = base64.b64decode(digits, validate=True)
    except binascii.Error:
        return None
    return None if len(body) != KEPT else np.asarray(unit(np.frombuffer(body, np.int8).astype(np.float32)))


def share_of_same_scenes(records: Sequence[Vector]) -> float | None:
    """The share of the pairs of pictures that have the same clothes and place; None with fewer than two."""
    import numpy as np

    if len(records) < 2:
        return None
    vectors = np.stack(records)
    same = 0
    for place, vector in enumerate(vectors[:-1]):
        same += int((vectors[place + 1 :] @ vector >= SAME_SCENE).sum())
    return same / (len(records) * (len(records) - 1) // 2)


def _prepare(rgb: NDArray[np.uint8]) -> Vector:
    """The picture as the network is fed: reduced, 1 x 3 x height x width."""
    import cv2
    import numpy as np

    height, width = rgb.shape[:2]
    factor = AREA_SIDE / math.sqrt(height * width)
    size = [min(LONGEST, max(STEP_SIDE, round(side * factor / STEP_SIDE) * STEP_SIDE)) for side in (width, height)]
    pixels: Any = rgb
    while min(width // (2 * size[0]), height // (2 * size[1])) >= 1:  # halving is four times as fast as one odd step
        width, height = width // 2, height // 2
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    small: Any = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = (small - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return np.ascontiguousarray(small.transpose(2, 0, 1)[None])


@cache
def _average() -> Vector:
    import numpy as np

    return np.array(json.loads(AVERAGE_FILE.read_text(encoding="utf-8"))["average"], dtype=np.float32)


@cache
def _sums() -> Vector:
    """1280 x 256 signs, the bits of a hash: the same on every machine and in every version of numpy."""
    import numpy as np

    bits = np.unpackbits(np.frombuffer(hashlib.shake_128(METRIC.encode("ascii")).digest(CHANNELS * KEPT // 8), np.uint8))
    return np.asarray(bits.reshape(CHANNELS, KEPT).astype(np.float32) * 2 - 1)
