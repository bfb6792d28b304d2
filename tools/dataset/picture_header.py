"""What the bytes of a PNG, JPEG, WebP or BMP file say of the picture, without decoding it.

Decoding a picture costs some forty times its hash, and Pillow is not there where the guardrails run. Sizes, orientation, colour
model, animation and a missing end are all in the file's structure. What only decoding shows (damage inside the compressed data)
is found by `hashing` when it is told to decode.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
EXIF_ORIENTATION = 0x0112
MAX_EXIF_ENTRIES = 512

Buffer = bytes | bytearray


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """`width` and `height` as stored (0 if unknown), `orientation` the EXIF value (1: upright), `faults`: words of `FAULTS`."""

    format: str
    width: int
    height: int
    orientation: int = 1
    faults: tuple[str, ...] = ()


FAULTS = ("unreadable", "truncated", "animated", "alpha", "palette", "grey", "cmyk", "sixteen_bit")


def read_header(data: Buffer, size: int) -> PictureHeader:
    """The header of the picture whose file begins with `data` and is `size` bytes long.

    `data` may be longer than the file (a reused buffer) and may be only its beginning (a huge file: then its end is not judged).
    """
    length = min(len(data), size)
    try:
        if data.startswith(PNG_SIGNATURE):
            return _read_png(data, length, whole=length == size)
        if data.startswith(b"\xff\xd8\xff"):
            return _read_jpeg(data, length, whole=length == size)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _read_webp(data, length, size)
        if data.startswith(b"BM"):
            return _read_bmp(data, size)
    except (struct.error, IndexError):  # the structure ends before the picture begins
        return PictureHeader("", 0, 0, faults=("truncated",))
    return PictureHeader("", 0, 0, faults=("unreadable",))


def _read_png(data: Buffer, length: int, *, whole: bool) -> PictureHeader:
    if length < 33 or data[12:16] != b"IHDR":
        return PictureHeader("PNG", 0, 0, faults=("truncated" if length < 33 else "unreadable",))
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    faults = set[str]()
    orientation, offset = 1, 33
    while offset + 8 <= length:
        (size,) = struct.unpack_from(">I", data, offset)
        kind = bytes(data[offset + 4 : offset + 8])
        if kind in (b"IDAT", b"IEND"):
            break
        if kind == b"tRNS":
            faults.add("alpha")
        elif kind == b"acTL":
            faults.add("animated")
        elif kind == b"eXIf":
            orientation = _exif_orientation(bytes(data[offset + 8 : offset + 8 + size]))
        offset += 12 + size
    faults |= {name for name, is_so in (("alpha", color in (4, 6)), ("palette", color == 3), ("grey", color in (0, 4))) if is_so}
    if depth == 16:
        faults.add("sixteen_bit")
    if whole and data.rfind(PNG_END, offset, length) < 0:
        faults.add("truncated")
    return PictureHeader("PNG", width, height, orientation, _ordered(faults))


def _read_jpeg(data: Buffer, length: int, *, whole: bool) -> PictureHeader:
    width = height = components = 0
    orientation, offset = 1, 2
    faults = set[str]()
    while offset + 4 <= length:
        if data[offset] != 0xFF:
            faults.add("unreadable")
            break
        marker = data[offset + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:  # fill bytes and markers without a length
            offset += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA:
            break
        (size,) = struct.unpack_from(">H", data, offset + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            precision, height, width, components = struct.unpack_from(">BHHB", data, offset + 4)
            if precision > 8:
                faults.add("sixteen_bit")
        elif marker == 0xE1 and data[offset + 4 : offset + 10] == b"Exif\x00\x00":
            orientation = _exif_orientation(bytes(data[offset + 10 : offset + 2 + size]))
        offset += 2 + size
    if components == 4:
        faults.add("cmyk")
    if components == 1:
        faults.add("grey")
    # inside the compressed data FF is always followed by 00 or RSTn, so FFD9 after the scan's start is the end
    if whole and not faults & {"unreadable"} and data.rfind(b"\xff\xd9", offset, length) < 0:
        faults.add("truncated")
    if not width and not faults:
        faults.add("unreadable")
    return PictureHeader("JPEG", width, height, orientation, _ordered(faults))


def _read_webp(data: Buffer, length: int, size: int) -> PictureHeader:
    (declared,) = struct.unpack_from("<I", data, 4)
    kind = bytes(data[12:16])
    faults = {"truncated"} if declared + 8 > size else set[str]()
    orientation = 1
    if kind == b"VP8X":
        flags = data[20]
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        faults |= {name for name, bit in (("animated", 0x02), ("alpha", 0x10)) if flags & bit}
        if flags & 0x08:
            orientation = _webp_orientation(data, length)
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if bits >> 28 & 1:
            faults.add("alpha")
    elif kind == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    else:
        return PictureHeader("WEBP", 0, 0, faults=("unreadable",))
    return PictureHeader("WEBP", width, height, orientation, _ordered(faults))


def _webp_orientation(data: Buffer, length: int) -> int:
    offset = 12
    while offset + 8 <= length:
        (size,) = struct.unpack_from("<I", data, offset + 4)
        if data[offset : offset + 4] == b"EXIF":
            block = bytes(data[offset + 8 : offset + 8 + size])
            return _exif_orientation(block.removeprefix(b"Exif\x00\x00"))
        offset += 8 + size + (size & 1)
    return 1


def _read_bmp(data: Buffer, size: int) -> PictureHeader:
    declared, _, pixels_at, header = struct.unpack_from("<IIII", data, 2)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    compression = 0 if header == 12 else struct.unpack_from("<I", data, 30)[0]
    rows = abs(height) * ((width * bits + 31) // 32 * 4) if compression == 0 else 0
    faults = set[str]()
    if size < max(pixels_at + rows, 0 if compression == 0 else declared):
        faults.add("truncated")
    if bits <= 8:
        faults.add("palette")
    return PictureHeader("BMP", max(width, 0), abs(height), 1, _ordered(faults))


def _exif_orientation(tiff: bytes) -> int:
    """The orientation of a TIFF block; 1 where there is none or the block is damaged: viewers do the same."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for index in range(min(count, MAX_EXIF_ENTRIES)):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, start + 2 + index * 12)
            if tag == EXIF_ORIENTATION and kind == 3:
                (value,) = struct.unpack_from(f"{order}H", tiff, start + 10 + index * 12)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _ordered(faults: set[str]) -> tuple[str, ...]:
    return tuple(name for name in FAULTS if name in faults)
