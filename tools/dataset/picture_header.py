"""What the bytes of a PNG, JPEG, WebP or BMP file say of the picture, without decoding it.

Decoding a picture costs some forty times its hash, and Pillow is not there where the guardrails run. Sizes, orientation, colour
model, animation and a missing end are all in the file's structure. What only decoding shows (damage inside the compressed data)
is found by `hashing` when it is told to decode. Orientation, colour profile and animation are read by the one reader that the loader
uses too (`lifeos/picture_metadata.py`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lifeos.color_profiles import foreign_colors
from lifeos.picture_formats import format_of
from lifeos.picture_metadata import NO_MARKER, SOS, Buffer, jpeg_segments, png_chunks, png_text, read_metadata

PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
PILLOW_TEXT_BYTES = 1 << 20
"""PngImagePlugin.MAX_TEXT_CHUNK: with a longer compressed text or profile Pillow, and so the trainer, refuses the picture."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """`width` and `height` as stored (0 if unknown), `orientation` the EXIF value (1: upright), `faults`: words of `FAULTS`."""

    format: str
    width: int
    height: int
    orientation: int = 1
    faults: tuple[str, ...] = ()


FAULTS = (
    *("unreadable", "truncated", "animated", "alpha", "palette", "grey", "cmyk", "sixteen_bit", "sixteen_bit_color", "wide_gamut"),
    "long_text",
)


def read_header(data: Buffer, size: int) -> PictureHeader:
    """The header of the picture whose file begins with `data` and is `size` bytes long.

    `data` may be longer than the file (a reused buffer) and may be only its beginning (a huge file: then its end is not judged).
    """
    length = min(len(data), size)
    kind = format_of(data)
    try:
        if kind == "PNG":
            return _read_png(data, length, whole=length == size)
        if kind == "JPEG":
            return _read_jpeg(data, length, whole=length == size)
        if kind == "WEBP":
            return _read_webp(data, length, size)
        if kind == "BMP":
            return _read_bmp(data, size)
    except (struct.error, IndexError):  # the structure ends before the picture begins
        return PictureHeader("", 0, 0, faults=("truncated",))
    return PictureHeader("", 0, 0, faults=("unreadable",))


def _read_png(data: Buffer, length: int, *, whole: bool) -> PictureHeader:
    if length < 33 or data[12:16] != b"IHDR":
        return PictureHeader("PNG", 0, 0, faults=("truncated" if length < 33 else "unreadable",))
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    faults, pixels_at = set[str](), length
    for name, start, end in png_chunks(data, length):
        if name == b"tRNS":
            faults.add("alpha")
        elif name == b"IDAT":
            pixels_at = min(pixels_at, start)
        elif name in (b"zTXt", b"iTXt", b"iCCP") and _is_long_text(name, bytes(data[start : min(end, length)])):
            faults.add("long_text")
    faults |= {name for name, is_so in (("alpha", color in (4, 6)), ("palette", color == 3), ("grey", color in (0, 4))) if is_so}
    if depth == 16:
        faults.add("sixteen_bit" if color == 0 else "sixteen_bit_color")
    if whole and data.rfind(PNG_END, pixels_at, length) < 0:
        faults.add("truncated")
    return _with_metadata(PictureHeader("PNG", width, height), data, length, faults)


def _is_long_text(name: bytes, content: bytes) -> bool:
    """Whether Pillow refuses to unpack a chunk: a profile is packed as a `zTXt` is, an `iTXt` may be packed."""
    if name == b"iTXt" and content.partition(b"\0")[2][:1] != b"\x01":
        return False
    kind = b"zTXt" if name == b"iCCP" else name
    return len(png_text(kind, content, PILLOW_TEXT_BYTES + 1)) > PILLOW_TEXT_BYTES


def _read_jpeg(data: Buffer, length: int, *, whole: bool) -> PictureHeader:
    width = height = components = 0
    scan_at = length
    faults = set[str]()
    for marker, start, _ in jpeg_segments(data, length):
        if marker == NO_MARKER:
            faults.add("unreadable")
        elif marker == SOS:
            scan_at = start
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            precision, height, width, components = struct.unpack_from(">BHHB", data, start)
            if precision > 8:  # no decoder of the trainer's reads it
                faults.add("unreadable")
    if components == 4:
        faults.add("cmyk")
    if components == 1:
        faults.add("grey")
    # inside the compressed data FF is always followed by 00 or RSTn, so FFD9 after the scan's start is the end
    if whole and not faults & {"unreadable"} and data.rfind(b"\xff\xd9", scan_at, length) < 0:
        faults.add("truncated")
    if not width and not faults:
        faults.add("unreadable")
    return _with_metadata(PictureHeader("JPEG", width, height), data, length, faults)


def _with_metadata(header: PictureHeader, data: Buffer, length: int, faults: set[str]) -> PictureHeader:
    """The header with orientation and faults, those included that the metadata shows."""
    metadata = read_metadata(data, header.format, length)
    if metadata.is_animated:
        faults.add("animated")
    if "cmyk" not in faults and foreign_colors(metadata.profile):
        faults.add("wide_gamut")
    return PictureHeader(header.format, header.width, header.height, metadata.orientation, _ordered(faults))


def _read_webp(data: Buffer, length: int, size: int) -> PictureHeader:
    (declared,) = struct.unpack_from("<I", data, 4)
    kind = bytes(data[12:16])
    faults = {"truncated"} if declared + 8 > size else set[str]()
    if kind == b"VP8X":
        flags = data[20]
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        if flags & 0x10:
            faults.add("alpha")
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if bits >> 28 & 1:
            faults.add("alpha")
    elif kind == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    else:
        return PictureHeader("WEBP", 0, 0, faults=("unreadable",))
    return _with_metadata(PictureHeader("WEBP", width, height), data, length, faults)


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


def _ordered(faults: set[str]) -> tuple[str, ...]:
    return tuple(name for name in FAULTS if name in faults)
