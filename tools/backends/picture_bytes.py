"""Whether the bytes of a downloaded picture are all there. A half-written PNG decodes to a half-black picture in many readers."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from lifeos import picture_formats
from lifeos.images import ImageError, decode_picture
from lifeos.picture_metadata import SOS, jpeg_segments

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
JPEG_END = b"\xff\xd9"
JUDGED_LATER = ("animated", "too_large")
"""Reasons of the loader that are no damage: the picture is whole, and is rejected for them."""


def find_damage(data: bytes) -> str | None:
    """What is wrong with the bytes of a picture's file, or None when they are whole."""
    kind = picture_formats.format_of(data)
    if not data:
        return "no bytes at all"
    if not kind:
        return f"not a {picture_formats.READABLE} picture"
    if is_other_format(data):
        return f"{picture_formats.title_of(kind)} cannot be read here"
    if kind == "PNG":
        return _find_png_damage(data)
    if kind == "JPEG":
        return _find_jpeg_damage(data)
    if kind == "WEBP":
        return None if len(data) >= 8 + int.from_bytes(data[4:8], "little") else "a WebP file shorter than it says"
    return _find_damage_by_decoding(data)


def is_other_format(data: bytes) -> bool:
    """Whether the bytes begin as a picture or film of a format that cannot be read here: sent again, it would be the same."""
    kind = picture_formats.format_of(data)
    return bool(kind) and not picture_formats.is_readable(kind)


def _find_jpeg_damage(data: bytes) -> str | None:
    """Within a scan FF is always followed by 00 or RSTn, so that FFD9 after its start is the end. A second picture may follow."""
    scan = next((start for marker, start, _ in jpeg_segments(data, len(data)) if marker == SOS), len(data))
    return None if data.find(JPEG_END, scan) >= 0 else "a JPEG without its end"


def _find_damage_by_decoding(data: bytes) -> str | None:
    """The formats that tell their end nowhere."""
    try:
        decode_picture(data, Path("picture"))
    except ImageError as error:
        return None if error.reason in JUDGED_LATER else f"a picture that {error.why}"
    return None


def _find_png_damage(data: bytes) -> str | None:
    """Walks the chunks: length, name, content, CRC over name and content (PNG specification, section 5)."""
    at = len(PNG_HEAD)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return "a PNG with a damaged chunk"
        if data[at + 4 : at + 8] == b"IEND":
            return None
        at = end
    return "a PNG without its end"
