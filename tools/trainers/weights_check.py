"""Whether the numbers in a LoRA file are numbers: a training that has diverged saves NaN or infinity, and ends with return code 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lifeos.errors import InputError
from tools.trainers.safetensors_header import read_safetensors_header

UP_ENDINGS = (".lora_up.weight", ".lora_B.weight", ".lora_B.default.weight")
CHUNK_BYTES = 1 << 24
REMEMBERED = 1024
"""Of so many files the verdict is kept: more than a run saves."""

FLOATS: Mapping[str, tuple[str, int, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000, 0x000F_FFFF_FFFF_FFFF),
    "F32": ("<u4", 0x7F80_0000, 0x007F_FFFF),
    "F16": ("<u2", 0x7C00, 0x03FF),
    "BF16": ("<u2", 0x7F80, 0x007F),
    "F8_E5M2": ("u1", 0x7C, 0x03),
    "F8_E4M3": ("u1", 0x7F, 0xFF),  # it has no infinity: all bits of exponent and mantissa set is NaN
}
"""Types of safetensors that can hold what is no number: how its bits are read, the exponent that says so, and the mantissa that tells NaN
from infinity (IEEE 754; 8 bits: the OCP's FP8 formats)."""


@dataclass(frozen=True, slots=True)
class WeightsVerdict:
    """How many weights (tensors) a file has, and in how many of them stands NaN, or else infinity."""

    weights: int
    with_nan: int
    with_infinity: int
    ups: int = 0
    ups_of_zeros: int = 0
    """Of the matrices that write (`lora_up`, `lora_B`), which begin as zeros: how many there are, and how many still are."""

    @property
    def changes_nothing(self) -> bool:
        return self.ups > 0 and self.ups == self.ups_of_zeros

    @property
    def is_sound(self) -> bool:
        return not (self.with_nan or self.with_infinity)

    @property
    def fault(self) -> str:
        """What is wrong in a few words; empty if nothing is."""
        if self.is_sound:
            return ""
        parts = [f"{count} {what}" for count, what in ((self.with_nan, "NaN"), (self.with_infinity, "infinity")) if count]
        return f"of {self.weights} weights {' and '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells a file from a later one of the same name."""

    size: int
    mtime_ns: int


def stamp_of(path: Path) -> Stamp:
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns)


def check_weights(path: Path) -> WeightsVerdict:
    """Look at every number of a whole safetensors file; as long as it stays as it is, once for all who ask. Raises InputError if it is
    none, or cut off; OSError if it cannot be read."""
    try:
        stamp = stamp_of(path)
    except OSError:
        return read_weights(path)  # which says what is wrong with it
    return _read_once(path, stamp)


@lru_cache(maxsize=REMEMBERED)
def _read_once(path: Path, stamp: Stamp) -> WeightsVerdict:
    return read_weights(path)


def read_weights(path: Path) -> WeightsVerdict:
    """The same, from the file in any case."""
    import numpy as np

    with_nan = with_infinity = ups = zeros = 0
    header = read_safetensors_header(path)
    with open(path, "rb") as file:
        for name, weight in header.weights.items():
            if weight.dtype not in FLOATS:
                continue
            kind, exponent, mantissa = FLOATS[weight.dtype]
            file.seek(header.data_start + weight.start)
            left, nan, infinity, zero = weight.end - weight.start, False, False, True
            while left > 0 and not nan:
                chunk = file.read(min(CHUNK_BYTES, left))
                if len(chunk) < min(CHUNK_BYTES, left):
                    raise InputError(path, "is cut off: the header speaks of more than the file holds")
                left -= len(chunk)
                numbers = np.frombuffer(chunk[: len(chunk) // np.dtype(kind).itemsize * np.dtype(kind).itemsize], kind)
                odd = numbers[(numbers & exponent) == exponent]
                zero = zero and not (numbers & (exponent | mantissa)).any()
                nan = nan or bool((odd & mantissa).any())
                infinity = infinity or odd.size > 0
            is_up = name.endswith(UP_ENDINGS)
            ups, zeros = ups + is_up, zeros + (is_up and zero)
            with_nan += nan
            with_infinity += infinity and not nan
    return WeightsVerdict(len(header.weights), with_nan, with_infinity, ups, zeros)
