"""Headers are read as Pillow reads them, for every kind of picture that a training set may hold."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tools.dataset.sets import picture_bytes
from tools.dataset.picture_header import PictureHeader, read_header


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def sixteen_bit_png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 6), 40_000, dtype=np.uint16)).save(stream, "PNG")
    return stream.getvalue()


def animated(kind: str) -> bytes:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (6, 8), color) for color in ("red", "blue")]
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


SIZE = (6, 8)
CASES: list[tuple[str, bytes, tuple[str, int, tuple[str, ...]]]] = [
    ("png", picture_bytes(size=SIZE), ("PNG", 1, ())),
    ("png rgba", picture_bytes(size=SIZE, mode="RGBA"), ("PNG", 1, ("alpha",))),
    ("png palette", picture_bytes(size=SIZE, mode="P"), ("PNG", 1, ("palette",))),
    ("png palette with transparency", picture_bytes(size=SIZE, mode="P", transparency=0), ("PNG", 1, ("alpha", "palette"))),
    ("png grey", picture_bytes(size=SIZE, mode="L"), ("PNG", 1, ("grey",))),
    ("png 16 bit", sixteen_bit_png(), ("PNG", 1, ("grey", "sixteen_bit"))),
    ("png exif", picture_bytes(size=SIZE, exif=exif(6)), ("PNG", 6, ())),
    ("apng", animated("PNG"), ("PNG", 1, ("animated",))),
    ("jpeg", picture_bytes("JPEG", size=SIZE), ("JPEG", 1, ())),
    ("jpeg progressive", picture_bytes("JPEG", size=SIZE, progressive=True), ("JPEG", 1, ())),
    ("jpeg cmyk", picture_bytes("JPEG", size=SIZE, mode="CMYK"), ("JPEG", 1, ("cmyk",))),
    ("jpeg grey", picture_bytes("JPEG", size=SIZE, mode="L"), ("JPEG", 1, ("grey",))),
    ("jpeg exif", picture_bytes("JPEG", size=SIZE, exif=exif(8)), ("JPEG", 8, ())),
    ("jpeg exif out of range", picture_bytes("JPEG", size=SIZE, exif=exif(99)), ("JPEG", 1, ())),
    ("jpeg then more", picture_bytes("JPEG", size=SIZE) + b"\0" * 100, ("JPEG", 1, ())),
    ("webp lossy", picture_bytes("WEBP", size=SIZE), ("WEBP", 1, ())),
    ("webp lossless", picture_bytes("WEBP", size=SIZE, lossless=True), ("WEBP", 1, ())),
    ("webp alpha", picture_bytes("WEBP", size=SIZE, mode="RGBA", lossless=True, exact=True), None),  # type: ignore[list-item]
    ("webp exif", picture_bytes("WEBP", size=SIZE, exif=exif(3)), ("WEBP", 3, ())),
    ("webp animated", animated("WEBP"), None),  # type: ignore[list-item]
    ("bmp", picture_bytes("BMP", size=SIZE), ("BMP", 1, ())),
    ("bmp palette", picture_bytes("BMP", size=SIZE, mode="P"), ("BMP", 1, ("palette",))),
]


@pytest.mark.parametrize(
    ("data", "wanted"), [(data, wanted) for _, data, wanted in CASES if wanted], ids=[case[0] for case in CASES if case[2]]
)
def test_reads_what_pillow_reads(data: bytes, wanted: tuple[str, int, tuple[str, ...]]) -> None:
    kind, orientation, faults = wanted
    assert read_header(data, len(data)) == PictureHeader(kind, *Image.open(io.BytesIO(data)).size, orientation, faults)


def test_names_animation_and_alpha_of_webp() -> None:
    stream = io.BytesIO()
    Image.new("RGBA", SIZE, (10, 20, 30, 40)).save(stream, "WEBP", lossless=True)
    assert "alpha" in read_header(stream.getvalue(), len(stream.getvalue())).faults
    moving = animated("WEBP")
    assert "animated" in read_header(moving, len(moving)).faults


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_every_cut_is_seen(kind: str) -> None:
    data = picture_bytes(kind, size=(40, 30))
    for length in (len(data) - 1, len(data) // 2, 40, 20, 12):
        faults = read_header(data[:length], length).faults
        assert {"truncated", "unreadable"} & set(faults), (kind, length)


def test_an_exif_thumbnail_is_no_end_of_the_picture() -> None:
    thumbnail = picture_bytes("JPEG", size=(8, 8))
    whole = picture_bytes("JPEG", size=(64, 64))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    cut = (whole[:2] + segment + whole[2:])[:-40]
    assert read_header(cut, len(cut)).faults == ("truncated",)


def test_a_reused_buffer_holds_older_bytes_behind_the_file() -> None:
    data = picture_bytes("PNG", size=(40, 30))
    buffer = bytearray(data)
    assert read_header(buffer, len(data) - 20).faults == ("truncated",)


@pytest.mark.parametrize("data", [b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"BM", b"GIF89a" + b"\0" * 50])
def test_no_picture(data: bytes) -> None:
    header = read_header(data, len(data))
    assert (header.width, header.height) == (0, 0)
    assert header.faults


def test_damaged_bytes_never_raise() -> None:
    rng = np.random.default_rng(5)
    sources: list[Any] = [data for _, data, _ in CASES]
    for number in range(3000):
        data = bytearray(sources[number % len(sources)])
        for place in rng.integers(0, len(data), 4):
            data[place] = rng.integers(0, 256)
        read_header(data, len(data))
