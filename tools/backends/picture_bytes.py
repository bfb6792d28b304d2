"""Whether the bytes of a downloaded picture are all there. A half-written PNG decodes to a half-black picture in many readers."""

from __future__ import annotations

import struct
import zlib

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
JPEG_HEAD, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


def find_damage(data: bytes) -> str | None:
    """What is wrong with the bytes of a PNG, JPEG or WebP file, or None when they are whole."""
    if data.startswith(PNG_HEAD):
        return _find_png_damage(data)
    if data.startswith(JPEG_HEAD):
        return None if data.rstrip(b"\0").endswith(JPEG_END) else "a JPEG without its end"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return None if len(data) >= 8 + int.from_bytes(data[4:8], "little") else "a WebP file shorter than it says"
    return "not a PNG, JPEG or WebP picture" if data else "no bytes at all"


OTHER_HEADS = (b"GIF8", b"II*\0", b"MM\0*", b"BM", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"\x1aE\xdf\xa3")
"""GIF, TIFF twice, BMP, JPEG XL twice, WebM."""


def is_other_format(data: bytes) -> bool:
    """Whether the bytes begin as a picture or film of a format that we do not take: sent again, it would be the same."""
    return data.startswith(OTHER_HEADS) or data[4:8] == b"ftyp"  # AVIF, HEIC, MP4


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
