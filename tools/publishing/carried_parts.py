"""What a PNG, JPEG or WebP file carries beside its pixels: each chunk or segment with its name and its content, unpacked.

A published copy may hold a colour profile, one XMP packet and content credentials. Anything else, bytes behind the picture included, is
what might tell of the prompt.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from lifeos.picture_formats import format_of
from lifeos.picture_metadata import JPEG_START, PIXEL_CHUNKS, SOS, XMP_KEYWORD, png_chunks, png_text, riff_chunks

PROFILE, XMP, CREDENTIALS = "colour profile", "XMP", "content credentials (C2PA)"
ALLOWED = frozenset({PROFILE, XMP, CREDENTIALS})
BEHIND = "bytes behind the picture"
TEXT_BYTES = 16 << 20
"""Of a compressed text so much is unpacked."""

XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
LONG_XMP_SEGMENT = b"http://ns.adobe.com/xmp/extension/\0"
PIXEL_RIFF = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH"})
RIFF_PARTS = {b"ICCP": PROFILE, b"XMP ": XMP, b"C2PA": CREDENTIALS, b"EXIF": "EXIF", b"ANIM": "animation", b"ANMF": "animation"}
JFIF_BYTES = 14
"""Of a JFIF segment without a thumbnail."""
END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The first marker behind a scan's data."""
EOI = 0xD9


@dataclass(frozen=True, slots=True)
class CarriedPart:
    """One thing that a file carries. `content` is unpacked."""

    name: str
    content: bytes


def carried_parts(data: bytes) -> list[CarriedPart]:
    """Everything but the pixels, in the order of the file. Raises ValueError for another format, or a structure that is broken."""
    readers = {"PNG": _png_parts, "JPEG": _jpeg_parts, "WEBP": _webp_parts}
    reader = readers.get(format_of(data))
    if reader is None:
        raise ValueError("no PNG, JPEG or WebP picture")
    return reader(data)


def _png_parts(data: bytes) -> list[CarriedPart]:
    parts, at, last = [], 8, b""
    for last, start, end in png_chunks(data, len(data)):
        if end + 4 > len(data):
            raise ValueError("cut off")
        content, at = data[start:end], end + 4
        if zlib.crc32(data[start - 4 : end]).to_bytes(4, "big") != data[end:at]:
            raise ValueError(f"the checksum of its chunk {last.decode('latin-1')} is wrong")
        if last not in PIXEL_CHUNKS:
            parts.append(_png_part(last, content))
    if last != b"IEND":
        raise ValueError("cut off")
    return parts + _behind(data[at:])


def _png_part(name: bytes, content: bytes) -> CarriedPart:
    if name == b"iCCP":
        return CarriedPart(PROFILE, content + _unpacked(content.partition(b"\0")[2][1:]))
    if name == b"caBX":
        return CarriedPart(CREDENTIALS, content)
    if name in (b"tEXt", b"zTXt", b"iTXt"):
        keyword = content.partition(b"\0")[0]
        is_xmp = name == b"iTXt" and keyword == XMP_KEYWORD
        text = png_text(name, content, TEXT_BYTES)
        return CarriedPart(XMP, text) if is_xmp else CarriedPart(f"text {keyword.decode('latin-1')[:40]!r}", keyword + b"\0" + text)
    return CarriedPart({b"eXIf": "EXIF"}.get(name, f"chunk {name.decode('latin-1')!r}"), content)


def _unpacked(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, TEXT_BYTES)
    except zlib.error:
        return b""


def _jpeg_parts(data: bytes) -> list[CarriedPart]:
    parts: list[CarriedPart] = []
    at = JPEG_START
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            raise ValueError("bytes that belong to no segment")
        marker = data[at + 1]
        if marker == EOI:
            return parts + _behind(data[at + 2 :])
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        parts += _jpeg_part(marker, data[at + 4 : end])
        if marker == SOS:
            found = END.search(data, end)
            end = found.start() if found else len(data)
        at = end
    raise ValueError("cut off")


def _jpeg_part(marker: int, content: bytes) -> list[CarriedPart]:
    if marker == 0xFE:
        return [CarriedPart("comment", content)]
    if not 0xE0 <= marker <= 0xEF or marker == 0xEE:
        return []
    if marker == 0xE0 and content[:5] == b"JFIF\0":
        return [CarriedPart("JFIF thumbnail", content)] if len(content) > JFIF_BYTES else []
    heads = {
        (0xE1, XMP_SEGMENT): XMP,
        (0xE1, LONG_XMP_SEGMENT): "more XMP",
        (0xE1, b"Exif\0"): "EXIF",
        (0xE2, b"ICC_PROFILE\0"): PROFILE,
        (0xEB, b"JP"): CREDENTIALS,
        (0xED, b"Photoshop"): "Photoshop's data",
    }
    for (kind, head), name in heads.items():
        if marker == kind and content.startswith(head):
            return [CarriedPart(name, content.removeprefix(XMP_SEGMENT) if name == XMP else content)]
    return [CarriedPart(f"segment APP{marker - 0xE0}", content)]


def _webp_parts(data: bytes) -> list[CarriedPart]:
    length = 8 + int.from_bytes(data[4:8], "little")
    if length > len(data):
        raise ValueError("cut off")
    parts = []
    for name, start, end in riff_chunks(data, length):
        if end > length:
            raise ValueError("cut off")
        if name not in PIXEL_RIFF:
            parts.append(CarriedPart(RIFF_PARTS.get(name, f"chunk {name.decode('latin-1')!r}"), data[start:end]))
    return parts + _behind(data[length + (length & 1) :])


def _behind(rest: bytes) -> list[CarriedPart]:
    return [CarriedPart(BEHIND, rest)] if rest else []
