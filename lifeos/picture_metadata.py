"""What lies around the pixels in a picture's file: orientation, colour profile, further frames, read in one place for all who need it.

Decoders read metadata too, and fail on it: an odd EXIF tag, a megabyte of text or a second picture in the file would make a sound
picture unreadable. So it is read here, from the file's structure, and `without_metadata` gives decoders the pixels alone. Nothing
here raises, and nothing but the standard library is used: the checks of training sets run the same code without decoding.

Orientation is the EXIF value, 1 to 8 (1: upright). EXIF is asked first: in JPEG (APP1), PNG (`eXIf`, or the text chunk `Raw profile
type exif` of older programs) and WebP. Where EXIF does not say, `tiff:Orientation` of XMP counts in PNG and WebP. In JPEG it does not:
browsers ignore it, and programs that turn a JPEG upright leave it behind. TIFF is turned by its decoder, AVIF and HEIC by their container.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

EXIF_ORIENTATION = 0x0112
MAX_EXIF_ENTRIES = 512
MAX_TEXT_BYTES = 1 << 20
"""Of a compressed text that holds EXIF or XMP, so much is unpacked. Pillow refuses a PNG with a longer one."""
MAX_PROFILE_BYTES = 4 << 20

MAX_CHUNKS = 1 << 19
"""A PNG of a gigabyte has fewer."""

PNG_START, JPEG_START = 8, 2
PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
PIXEL_SEGMENTS = frozenset({0xE0, 0xEE})
"""Of JPEG's application segments, JFIF and Adobe: they tell how colours are stored."""
SOS = 0xDA
NO_MARKER = -1

RAW_EXIF = (b"Raw profile type exif", b"Raw profile type APP1")
XMP_KEYWORD = b"XML:com.adobe.xmp"
XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")

Buffer = bytes | bytearray


@dataclass(frozen=True, slots=True)
class Metadata:
    """`orientation`: the EXIF value; `profile`: the bytes of the ICC colour profile, None where there is none; `is_animated`: whether a
    PNG or WebP has more than one frame."""

    orientation: int = 1
    profile: bytes | None = None
    is_animated: bool = False


def read_metadata(data: Buffer, kind: str, length: int | None = None) -> Metadata:
    """The metadata of the picture of that format in the first `length` bytes of `data`."""
    reader = {"PNG": _read_png, "JPEG": _read_jpeg, "WEBP": _read_webp}.get(kind)
    return reader(data, len(data) if length is None else min(length, len(data))) if reader else Metadata()


def png_chunks(data: Buffer, length: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the content of each chunk up to the last. One may end behind `length`, where the file is cut off."""
    at = PNG_START
    for _ in range(MAX_CHUNKS):
        if at + 8 > length:
            return
        size = int.from_bytes(data[at : at + 4], "big")
        name = bytes(data[at + 4 : at + 8])
        yield name, at + 8, at + 8 + size
        if name == b"IEND":
            return
        at += 12 + size


def jpeg_segments(data: Buffer, length: int) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the content of each segment up to and with the start of the scan; NO_MARKER where none stands."""
    at = JPEG_START
    while at + 4 <= length:
        if data[at] != 0xFF:
            yield NO_MARKER, at, at
            return
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:  # fill bytes and markers without a length
            at += 1 if marker == 0xFF else 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at + 4, at + 2 + size
        if marker == SOS:
            return
        at += 2 + max(size, 2)


def riff_chunks(data: Buffer, length: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the content of each chunk of a WebP file."""
    at = 12
    while at + 8 <= length:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield bytes(data[at : at + 4]), at + 8, at + 8 + size
        at += 8 + size + (size & 1)


def without_metadata(data: bytes, kind: str) -> bytes:
    """The file without all that its pixels do not need; the same bytes where there is nothing to take out, or the structure is broken."""
    if kind == "PNG":
        return _without_chunks(data)
    if kind == "JPEG":
        return _without_segments(data)
    return _without_items(data) if kind in ("AVIF", "HEIF") else data


def _without_chunks(data: bytes) -> bytes:
    chunks = list(png_chunks(data, len(data)))
    if all(name in PIXEL_CHUNKS for name, _, _ in chunks):
        return data
    return data[:PNG_START] + b"".join(data[start - 8 : end + 4] for name, start, end in chunks if name in PIXEL_CHUNKS)


def _without_segments(data: bytes) -> bytes:
    """Only whole application segments and comments go; what stands between segments stays."""
    parts, kept_to = [], 0
    for marker, start, end in jpeg_segments(data, len(data)):
        if marker == NO_MARKER:
            return data
        if (0xE0 <= marker <= 0xEF and marker not in PIXEL_SEGMENTS) or marker == 0xFE:
            parts.append(data[kept_to : start - 4])
            kept_to = end
    return b"".join(parts) + data[kept_to:] if parts else data


def _without_items(data: bytes) -> bytes:
    """EXIF stays in the file, under a name that no decoder looks for: the places of all else count from the file's start."""
    at = 0
    while at + 8 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name == b"meta" and size >= 8:
            return data[:at] + data[at : at + size].replace(b"Exif", b"free") + data[at + size :]
        if size < 8:  # to the end of the file, or of 64 bits: the index stands before such a box
            break
        at += size
    return data


def _read_png(data: Buffer, length: int) -> Metadata:
    exif: int | None = None
    raw: int | None = None
    xmp: int | None = None
    profile, frames = None, 0
    for name, start, end in png_chunks(data, length):
        if name == b"acTL":
            frames = int.from_bytes(data[start : start + 4], "big")
        elif name == b"eXIf" and exif is None:
            exif = exif_orientation(bytes(data[start:end]))
        elif name == b"iCCP" and profile is None:
            profile = _inflate(bytes(data[start:end]).partition(b"\0")[2][1:], MAX_PROFILE_BYTES)
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = bytes(data[start : min(end, start + 80)]).partition(b"\0")[0]
            if keyword in RAW_EXIF and raw is None:
                raw = _raw_profile_orientation(png_text(name, bytes(data[start:end])))
            elif keyword == XMP_KEYWORD and xmp is None:
                xmp = xmp_orientation(png_text(name, bytes(data[start:end])))
    return Metadata(_first(exif, raw, xmp), profile, frames > 1)


def _read_jpeg(data: Buffer, length: int) -> Metadata:
    exif: int | None = None
    has_exif = False
    parts: dict[int, bytes] = {}
    for marker, start, end in jpeg_segments(data, length):
        if marker == 0xE1 and not has_exif and data[start : start + 6] == b"Exif\0\0":
            has_exif, exif = True, exif_orientation(bytes(data[start + 6 : end]))
        elif marker == 0xE2 and data[start : start + 12] == b"ICC_PROFILE\0" and end - start > 14:
            parts.setdefault(data[start + 12], bytes(data[start + 14 : end]))
    return Metadata(_first(exif), b"".join(parts[number] for number in sorted(parts)) or None)


def _read_webp(data: Buffer, length: int) -> Metadata:
    exif: int | None = None
    xmp: int | None = None
    profile, frames = None, 0
    for name, start, end in riff_chunks(data, length):
        if name == b"ANMF":
            frames += 1
        elif name == b"EXIF" and exif is None:
            exif = exif_orientation(bytes(data[start:end]).removeprefix(b"Exif\0\0"))
        elif name == b"XMP " and xmp is None:
            xmp = xmp_orientation(bytes(data[start:end]))
        elif name == b"ICCP" and profile is None:
            profile = bytes(data[start:end])
    return Metadata(_first(exif, xmp), profile, frames > 1)


def _first(*orientations: int | None) -> int:
    return next((value for value in orientations if value is not None), 1)


def exif_orientation(tiff: bytes) -> int | None:
    """The orientation of an EXIF block, stored as SHORT or LONG; None where it says none, or is damaged before."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for index in range(min(count, MAX_EXIF_ENTRIES)):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, start + 2 + index * 12)
            if tag == EXIF_ORIENTATION and kind in (3, 4):
                (value,) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", tiff, start + 10 + index * 12)
                return value if 1 <= value <= 8 else None
    except struct.error:
        pass
    return None


def xmp_orientation(text: bytes) -> int | None:
    """The `tiff:Orientation` of an XMP packet, as attribute or element; None where it says none."""
    found = XMP_ORIENTATION.search(text)
    return int(found[1]) if found else None


def _raw_profile_orientation(text: bytes) -> int | None:
    """The orientation of `Raw profile type exif`: a name, a length, and the block in hexadecimal digits."""
    digits = b"".join(text.split(b"\n")[3:])
    try:
        return exif_orientation(bytes.fromhex(digits.decode("ascii", "replace")))
    except ValueError:
        return None


def png_text(name: bytes, content: bytes, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The text of a `tEXt`, `zTXt` or `iTXt` chunk, unpacked up to `limit` bytes; empty where it is damaged."""
    _, _, rest = content.partition(b"\0")
    if name == b"tEXt":
        return rest[:limit]
    if name == b"zTXt":
        return _inflate(rest[1:], limit) or b""
    is_packed, rest = rest[:1] == b"\x01", rest[2:]
    text = rest.partition(b"\0")[2].partition(b"\0")[2]  # after the language and the translated keyword
    return (_inflate(text, limit) or b"") if is_packed else text[:limit]


def _inflate(packed: bytes, limit: int) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(packed, limit)
    except zlib.error:
        return None
