"""NaN and infinity are found in every type of number, wherever they stand, and nothing else is taken for them."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest

from lifeos.errors import InputError
from tests.tools.trainers.safetensors_files import write_weights
from tools.trainers import weights_check
from tools.trainers.weights_check import WeightsVerdict, check_weights


def bfloat(value: float) -> bytes:
    return struct.pack("<f", value)[2:]  # the upper half of a float


# largest numbers of each type: IEEE 754, and the OCP's FP8 formats (E4M3: 0x7E = 448; E5M2: 0x7B = 57344)
CASES = [
    ("F64", struct.pack("<3d", 1.0, -1.7e308, 5e-324), struct.pack("<d", math.nan), struct.pack("<d", -math.inf)),
    ("F32", struct.pack("<3f", 1.0, -3.4e38, 1e-45), struct.pack("<f", math.nan), struct.pack("<f", math.inf)),
    ("F16", struct.pack("<3e", 1.0, -65504.0, 6e-8), struct.pack("<e", math.nan), struct.pack("<e", -math.inf)),
    ("BF16", bfloat(1.0) + bfloat(-3.3e38) + bfloat(1e-38), bfloat(math.nan), bfloat(math.inf)),
    ("F8_E5M2", bytes([0x3C, 0x7B, 0xFB]), bytes([0x7E]), bytes([0xFC])),
    ("F8_E4M3", bytes([0x38, 0x7E, 0xFE]), bytes([0xFF]), b""),
]


@pytest.mark.parametrize(("dtype", "numbers", "nan", "infinity"), CASES, ids=[case[0] for case in CASES])
def test_each_type(tmp_path: Path, dtype: str, numbers: bytes, nan: bytes, infinity: bytes) -> None:
    path = tmp_path / "a.safetensors"
    assert check_weights(write_weights(path, good=(dtype, numbers))) == WeightsVerdict(1, 0, 0)
    verdict = check_weights(write_weights(path, good=(dtype, numbers), bad=(dtype, numbers + nan + numbers)))
    assert (verdict, verdict.fault) == (WeightsVerdict(2, 1, 0), "of 2 weights 1 NaN")
    if infinity:
        verdict = check_weights(write_weights(path, good=(dtype, numbers), bad=(dtype, infinity), worse=(dtype, infinity + nan)))
        assert (verdict, verdict.fault) == (WeightsVerdict(3, 1, 1), "of 3 weights 1 NaN and 1 infinity")


def test_whole_numbers_have_no_nan(tmp_path: Path) -> None:
    assert check_weights(write_weights(tmp_path / "a", a=("I64", b"\xff" * 16), b=("U8", b"\x7f"), c=("BOOL", b"\1"))).is_sound


@pytest.mark.parametrize("place", [0, 999, 1000, 1001, 2999])
def test_the_number_may_stand_anywhere(tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_check, "CHUNK_BYTES", 2000)  # of 1,000 numbers each
    numbers = np.linspace(-5, 5, 3000, dtype=np.float16)
    numbers[place] = np.nan
    assert check_weights(write_weights(tmp_path / "a", a=("F16", numbers.tobytes()))).with_nan == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0\0",
        b"<!DOCTYPE html>" * 20,
        struct.pack("<Q", 10) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + b'{"a": 5}',
        struct.pack("<Q", 1 << 40) + b"{}",
    ],
)
def test_what_is_no_such_file(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(InputError):
        check_weights(tmp_path / "a")


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "a", a=("F16", b"\0" * 100))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is cut off: the header speaks of more than the file holds"):
        check_weights(path)
