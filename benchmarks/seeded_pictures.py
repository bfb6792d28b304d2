"""Small pictures that tell from which seed they are: what a simulated server hands out, and a benchmark knows again."""

from __future__ import annotations

import struct
import zlib

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
SIDE = 64


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_picture(seed: int) -> bytes:
    """A PNG of 64 x 64 pixels, its own for each seed; its text chunk names the seed."""
    row = b"\0" + struct.pack(">Q", seed % (1 << 64)) * (SIDE * 3 // 8)
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    return PNG_HEAD + head + _chunk(b"tEXt", b"seed\0%d" % seed) + _chunk(b"IDAT", zlib.compress(row * SIDE, 1)) + _chunk(b"IEND", b"")


def seed_in(data: bytes) -> int:
    """The seed that a picture of `make_picture` names."""
    return int(data.partition(b"tEXtseed\0")[2].partition(b"IDAT")[0][:-8])
