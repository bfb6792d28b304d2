"""Pictures with odd metadata, built byte by byte: what programs and phones write, and what nobody should."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

SHORT, LONG, TEXT, BYTE, RATIONAL = 3, 4, 2, 1, 5


def stored(size: tuple[int, int] = (32, 16), mode: str = "RGB") -> Image.Image:
    """As stored: red on the left, blue on the right. Turned by orientation 6, red comes to the top."""
    image = Image.new("RGB", size, (255, 0, 0))
    image.paste((0, 0, 255), (size[0] // 2, 0, *size))
    return image.convert(mode)


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or stored()).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(side: int = 48, seed: int = 4) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """A TIFF block of tags (tag, type, count, four bytes of value or offset)."""
    entries = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(32)


def turned(value: int, kind: int = SHORT) -> tuple[int, int, int, bytes]:
    """The orientation tag."""
    return 0x0112, kind, 1, struct.pack("<I", value)


def xmp(value: int) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>' % value
    )


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def jpeg(*segments: bytes, image: Image.Image | None = None, **options: Any) -> bytes:
    """A JPEG with these segments before its own."""
    data = encoded("JPEG", image, **options)
    return data[:2] + b"".join(segments) + data[2:]


def jpeg_exif(block: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + block)


def jpeg_xmp(packet: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks: bytes, image: Image.Image | None = None, at_end: bool = False, **options: Any) -> bytes:
    """A PNG with these chunks after its head, or before its end."""
    data = encoded("PNG", image, **options)
    at = len(data) - 12 if at_end else 33
    return data[:at] + b"".join(chunks) + data[at:]


def raw_profile(block: bytes, name: bytes = b"zTXt", keyword: bytes = b"Raw profile type exif") -> bytes:
    """What ImageMagick wrote before PNG had a chunk for EXIF."""
    content = b"Exif\0\0" + block
    text = b"\nexif\n%8d\n" % len(content) + content.hex().encode() + b"\n"
    packed = {b"zTXt": b"\0" + zlib.compress(text), b"tEXt": text, b"iTXt": b"\0\0\0\0" + text}[name]
    return chunk(name, keyword + b"\0" + packed)


def png_xmp(packet: bytes) -> bytes:
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)


def two_pictures(second: str = "JPEG") -> bytes:
    """A multi-picture JPEG as phones write it: index in an APP2 segment, the second picture behind the first."""
    main, more = encoded("JPEG", noise()), encoded("JPEG", noise(16, seed=5))
    index = b"II*\0" + struct.pack("<IH", 8, 3)
    index += struct.pack("<HHI", 0xB000, 7, 4) + b"0100"
    index += struct.pack("<HHII", 0xB001, 4, 1, 2)
    index += struct.pack("<HHII", 0xB002, 7, 32, 50) + struct.pack("<I", 0)
    entries = struct.pack("<IIIHH", 0x030000, len(main), 0, 0, 0) + struct.pack("<IIIHH", 0, len(more), len(main), 0, 0)
    return main[:2] + segment(0xE2, b"MPF\0" + index + entries) + main[2:] + (more if second == "JPEG" else b"")


ODD_TAGS = {
    "a resolution unit of 70000": (0x0128, LONG, 1, struct.pack("<I", 70000)),
    "a resolution as text": (0x011A, TEXT, 4, b"72\0\0"),
    "a maker note behind the end": (0x927C, 7, 1 << 30, struct.pack("<I", 1 << 31)),
    "a type that there is not": (0x0110, 99, 1, b"abcd"),
    "a sub-directory that is itself": (0x8769, LONG, 1, struct.pack("<I", 8)),
    "an artist of bytes": (0x013B, BYTE, 4, b"\xff\xfe\xfd\xfc"),
}
