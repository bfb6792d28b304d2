"""The header of a safetensors file: its metadata, and the name, type, shape and place of each weight, without loading the weights.

The file begins with the header's length (8 bytes, little-endian), then the header as JSON, then the weights. A file that is something
else under this name (a web page, a Git LFS pointer, a pickle, nothing at all) is named as what it is.
"""

from __future__ import annotations

import json
import math
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError

MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library: anything longer is no header."""

MAX_DEPTH = 8
LONGEST_FILE = 1 << 50
MOST_DIMENSIONS = 16

BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
"""Bits of one number of each type that the safetensors library knows (version 0.8)."""

SNIFFED_BYTES = 512
BOM = b"\xef\xbb\xbf"
LFS_FIX = "fetch the file itself: git lfs pull"
OTHER_FILES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself", LFS_FIX),
    (b"GGUF", "is a GGUF file, not safetensors", "give the .safetensors file of this model"),
    (b"PK\x03\x04", "is a pickle or ZIP archive (.ckpt, .pt, .zip), not safetensors", "convert it to .safetensors"),
    (b"\x80\x02", "is a pickle (.ckpt, .pt), not safetensors", "convert it to .safetensors"),
    (b"\x1f\x8b", "is a gzip archive, not safetensors", "unpack it"),
    (b"7z\xbc\xaf", "is a 7z archive, not safetensors", "unpack it"),
    (b"Rar!", "is a RAR archive, not safetensors", "unpack it"),
    (b"\x89PNG", "is a PNG picture, not safetensors", ""),
    (b"\xff\xd8\xff", "is a JPEG picture, not safetensors", ""),
)
"""How files begin that are often found under the name of a model."""
PAGE_FIX = "download it again: the server answered with a page, often because it wants a login or a token"


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight: its type, its shape, and the bytes `start` to `end` counted from the end of the header. A number has the shape ()."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """A header as it stands. `metadata`: text, JSON where the writer left out to make it text. `size`: of the file, in bytes.

    `faults`: what the safetensors library refuses in such a file, though its weights can be told.
    """

    path: Path
    size: int
    header_bytes: int
    metadata: dict[str, str]
    weights: dict[str, Weight]
    faults: tuple[str, ...] = ()

    @property
    def data_start(self) -> int:
        """Where in the file the weights begin."""
        return 8 + self.header_bytes

    @property
    def declared_size(self) -> int:
        """How long the file should be."""
        return self.data_start + max((weight.end for weight in self.weights.values()), default=0)

    @property
    def missing_bytes(self) -> int:
        return max(0, self.declared_size - self.size)

    @property
    def extra_bytes(self) -> int:
        """Bytes after the last weight, which the header does not declare."""
        return max(0, self.size - self.declared_size)

    @property
    def has_scales(self) -> bool:
        """Whether its weights are to be multiplied by scales that stand beside them (scaled fp8): who only casts them reads noise."""
        return any(name.endswith((".scale_weight", ".weight_scale")) or name.split(".")[-1] == "scaled_fp8" for name in self.weights)

    def read_number(self, name: str) -> float | None:
        """The value of a weight that is a single number, such as an alpha; None for any other, or if it cannot be read."""
        weight = self.weights[name]
        code = {"F16": "<e", "F32": "<f", "F64": "<d", "BF16": "<f", "I32": "<i", "I64": "<q"}.get(weight.dtype)
        if weight.size != 1 or code is None:
            return None
        try:
            with open(self.path, "rb") as file:
                file.seek(self.data_start + weight.start)
                raw = file.read(weight.end - weight.start)
            value = float(struct.unpack(code, b"\0\0" + raw if weight.dtype == "BF16" else raw)[0])  # BF16: the upper half of a float
        except (OSError, struct.error):
            return None
        return value if math.isfinite(value) else None


def read_safetensors_header(path: Path, fix: str = "give a .safetensors file") -> SafetensorsHeader:
    """Read the header of a file. Raises InputError that says what the file is, if it is no safetensors file."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):  # a pipe would block for ever
            raise InputError(path, f"is a {'directory' if stat.S_ISDIR(info.st_mode) else 'pipe or device'}, not a file", fix)
        with open(path, "rb") as file:
            start, size = file.read(SNIFFED_BYTES), info.st_size
            length = _header_length(path, start, size, fix)
            file.seek(8)
            raw = file.read(length)
    except FileNotFoundError:
        raise InputError(path, "no such file", fix) from None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}", fix) from None
    try:
        document = foreign.decode(raw, dict, path, max_bytes=MAX_HEADER_BYTES, max_depth=MAX_DEPTH)
        weights = {str(name): _weight(path, name, value) for name, value in document.items() if name != "__metadata__"}
    except InputError as error:
        raise InputError(error.what, f"not a safetensors file: its header: {error.why}", fix) from None
    metadata = document.get("__metadata__") or {}
    if not isinstance(metadata, dict):
        raise InputError(path, "not a safetensors file: its metadata is no JSON object", fix)
    texts = {str(key): _as_text(value) for key, value in metadata.items()}
    return SafetensorsHeader(path, size, length, texts, weights, tuple(_find_faults(raw, metadata, weights)))


def _header_length(path: Path, start: bytes, size: int, fix: str) -> int:
    """The header's length in bytes. Raises InputError for what cannot be a safetensors file."""
    if not size:
        raise InputError(path, "is an empty file", "download or copy it again")
    for mark, what, how in OTHER_FILES:
        if start.startswith(mark):
            raise InputError(path, what, how or fix)
    text = start.removeprefix(BOM).lstrip().lower()
    if re.match(rb"<[a-z!?]", text):
        raise InputError(path, "is a web page (HTML), not a model file", PAGE_FIX)
    length = int.from_bytes(start[:8], "little")
    if text.startswith((b"{", b"[")) and size < MAX_HEADER_BYTES < length:
        raise InputError(path, "is a JSON text, not a model file", PAGE_FIX)
    if not any(start[:SNIFFED_BYTES]):
        raise InputError(
            path, f"holds nothing but zeros at its beginning ({size} bytes): a download that was never filled", "download it again"
        )
    if size <= SNIFFED_BYTES and length > size and _is_text(start):
        words = " ".join(start.decode("utf-8-sig").split())[:60]
        raise InputError(path, f'is a short text ("{words}"), not a model file' if words else "is blank", PAGE_FIX)
    if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
        raise InputError(path, f"not a safetensors file, or cut off: a header of {length} bytes in a file of {size}", fix)
    return length


def _is_text(data: bytes) -> bool:
    try:
        return data.decode("utf-8-sig").replace("\n", "").replace("\r", "").replace("\t", "").isprintable()
    except UnicodeDecodeError:
        return False


def _weight(path: Path, name: str, value: Any) -> Weight:
    """A weight's entry. Raises InputError for one that no program could read."""
    entry = value if isinstance(value, dict) else {}
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    where = f"weight {str(name)[:80]}"
    if not isinstance(dtype, str):
        raise InputError(path, f"{where} has no dtype")
    if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS or not all(map(_is_place, shape)):
        raise InputError(path, f"{where} has no usable shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_place, offsets)) or offsets[0] > offsets[1]:
        raise InputError(path, f"{where} has no usable data_offsets")
    return Weight(dtype, tuple(shape), *offsets)


def _is_place(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LONGEST_FILE


def _as_text(value: Any) -> str:
    """As trainers write it: `None` and `True` as Python does, lists and objects as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _find_faults(raw: bytes, metadata: Mapping[str, Any], weights: Mapping[str, Weight]) -> list[str]:
    """What the library would refuse: each kind once, with its first example."""
    found: list[str] = []
    if raw.startswith(BOM):
        found.append("the header begins with a byte order mark")
    other = next((key for key, value in metadata.items() if not isinstance(value, str)), None)
    if other is not None:
        found.append(f"the metadata's {str(other)[:80]} is no text")
    unknown = next((name for name, weight in weights.items() if weight.dtype not in BITS), None)
    if unknown is not None:
        found.append(f"weight {unknown[:80]} is of the unknown type {weights[unknown].dtype[:20]}")
    wrong = next((name for name, weight in weights.items() if not _fits_its_shape(weight)), None)
    if wrong is not None:
        found.append(f"weight {wrong[:80]} has another length than its type and shape make")
    end = 0
    for name, weight in sorted(weights.items(), key=lambda item: (item[1].start, item[1].end)):
        if weight.start != end:
            found.append(f"weight {name[:80]} {'overlaps the one before it' if weight.start < end else 'leaves a gap before it'}")
            break
        end = weight.end
    return found


def _fits_its_shape(weight: Weight) -> bool:
    bits = BITS.get(weight.dtype)
    return bits is None or weight.size * bits == (weight.end - weight.start) * 8
