"""The image loader: every format and oddity to upright 8-bit RGB, and a reason for every picture that cannot be used."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from lifeos.errors import InputError
from lifeos.images import ImageError, decode_picture, decode_small, find_pictures, is_picture_name, natural_key, read_picture

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(mode: str = "RGB") -> Image.Image:
    """32 x 16, red on the left and blue on the right: a picture whose turns and flips show."""
    image = Image.new("RGB", (32, 16), RED)
    image.paste(BLUE, (16, 0, 32, 16))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(size: tuple[int, int] = (64, 64)) -> Image.Image:
    levels = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(levels)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
        ("GIF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 4),
    ],
    ids=["png", "bmp", "webp", "jpeg", "gif", "tiff", "avif"],
)
def test_reads_each_format(kind: str, options: dict[str, Any], tolerance: int, tmp_path: Path) -> None:
    data = encoded(quarters(), kind, **options)
    path = tmp_path / "picture"
    path.write_bytes(data)
    picture = read_picture(path)
    assert (picture.width, picture.height, picture.format) == (32, 16, kind)
    assert picture.rgb.dtype == np.uint8
    assert np.abs(picture.rgb[8, 2].astype(int) - RED).max() <= tolerance
    assert np.abs(picture.rgb[8, 30].astype(int) - BLUE).max() <= tolerance
    assert picture.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("orientation", "size", "red_at", "blue_at"),
    [
        (1, (32, 16), (0, 0), (31, 0)),
        (2, (32, 16), (31, 0), (0, 0)),  # mirrored
        (3, (32, 16), (31, 0), (0, 0)),  # upside down
        (6, (16, 32), (0, 0), (0, 31)),  # a quarter to the right brings the left side to the top
        (8, (16, 32), (0, 31), (0, 0)),  # a quarter to the left brings it to the bottom
    ],
)
def test_applies_exif_rotation(orientation: int, size: tuple[int, int], red_at: tuple[int, int], blue_at: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode_picture(encoded(quarters(), "PNG", exif=exif), Path("turned.png"))
    assert (picture.width, picture.height) == size
    assert tuple(picture.rgb[red_at[1], red_at[0]]) == RED
    assert tuple(picture.rgb[blue_at[1], blue_at[0]]) == BLUE


def test_scales_16_bit_grey_to_8() -> None:
    levels = np.array([[0, 257, 32896, 65278, 65535]], dtype=np.uint16)  # 257 levels of 16 bits make one of 8
    picture = decode_picture(encoded(Image.fromarray(levels), "PNG"), Path("deep.png"))
    assert picture.rgb[0, :, 0].tolist() == [0, 1, 128, 254, 255]


def alpha_picture() -> Image.Image:
    image = Image.new("RGBA", (4, 1), (*RED, 255))
    image.putpixel((1, 0), (*RED, 0))
    image.putpixel((2, 0), (0, 0, 0, 51))  # a fifth of black over white: 255 * 0.8 = 204
    return image


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(alpha_picture(), "PNG"), [RED, WHITE, (204, 204, 204), RED]),
        (encoded(Image.new("LA", (1, 1), (0, 0)), "PNG"), [WHITE]),
        (encoded(Image.new("P", (1, 1), 0).convert("P"), "PNG", transparency=0), [WHITE]),
        (encoded(Image.new("1", (1, 1), 1), "PNG"), [WHITE]),
        (encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG", quality=95), [WHITE] * 8),
    ],
    ids=["rgba", "grey with alpha", "palette with transparency", "one bit", "cmyk"],
)
def test_composites_and_converts(data: bytes, expected: list[tuple[int, int, int]]) -> None:
    picture = decode_picture(data, Path("odd.png"))
    assert [tuple(pixel) for pixel in picture.rgb[0].tolist()] == expected


def animated(kind: str) -> bytes:
    return encoded(quarters(), kind, save_all=True, append_images=[noise((32, 16))])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not a picture", "unreadable"),
        (b"\xff\x0a" + bytes(80), "unreadable"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(80), "unreadable"),
        (animated("PNG"), "animated"),
        (animated("WEBP"), "animated"),
        (animated("GIF"), "animated"),
        (animated("AVIF"), "animated"),
        (encoded(noise(), "PNG")[:-6000], "truncated"),
        (encoded(noise(), "JPEG")[:-1500], "truncated"),
        (encoded(noise((65, 64)), "PNG"), "too_large"),
        (encoded(noise(), "PNG")[:16], "unreadable"),
    ],
    ids=[
        "empty",
        "garbage",
        "jpeg xl",
        "heic",
        "animated png",
        "animated webp",
        "animated gif",
        "animated avif",
        "cut png",
        "cut jpeg",
        "a pixel too wide",
        "header only",
    ],
)
def test_names_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_picture(data, Path("bad.png"), max_pixels=64 * 64)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("bad.png: ")
    assert caught.value.exit_code == 2


DECODER_ERRORS = [
    TypeError("bad operand"), struct.error("unpack"), OverflowError("too large"), SyntaxError("broken"), zlib.error("bad"), EOFError(),
    AttributeError("x"), RecursionError("deep"), IndexError("x"), KeyError("x"), ZeroDivisionError("x"), AssertionError(), MemoryError(),
    Image.DecompressionBombError("bomb"), RuntimeError("decoder"),
]  # fmt: skip


@pytest.mark.parametrize("error", DECODER_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", ["open", "load"])
def test_whatever_a_decoder_raises_is_a_reason(error: Exception, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    data = encoded(noise(), "PNG")
    monkeypatch.setattr(*((Image, "open") if step == "open" else (PngImageFile, "load")), fail)
    for decode in (decode_picture, lambda data, path: decode_small(data, path, (8, 8))):
        with pytest.raises(ImageError, match=r"^dir/odd\.png: ") as caught:
            decode(data, Path("dir/odd.png"))
        assert caught.value.reason in ("unreadable", "truncated", "too_large")


def test_a_fault_in_the_structure_is_a_reason() -> None:
    data = bytearray(encoded(noise((300, 300)), "PNG"))
    second = data.index(b"IDAT", data.index(b"IDAT") + 4)
    data[second : second + 4] = b"\0\0\0\0"  # Pillow: SyntaxError
    with pytest.raises(ImageError):
        decode_picture(bytes(data), Path("odd.png"))


def test_refuses_a_bomb_by_its_header_alone() -> None:
    """A file of 40 KB that would unpack to 400 million pixels."""
    bomb = encoded(Image.new("1", (20000, 20000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match="over the limit of 100,000,000 pixels"):
        decode_picture(bomb, Path("bomb.png"))


@pytest.mark.parametrize("name", ["missing.png", "."], ids=["missing", "a folder"])
def test_unreadable_files(name: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(tmp_path / name)
    assert caught.value.reason == "unreadable"


def test_reads_a_name_outside_ascii(tmp_path: Path) -> None:
    path = tmp_path / "Ünïcode 写真 🎉.png"
    quarters().save(path)
    assert read_picture(path).width == 32


@pytest.mark.parametrize(
    ("name", "is_picture"),
    [
        ("a.png", True), ("a.JPG", True), ("a.jpeg", True), ("a.WebP", True), ("a.bmp", True), ("a.b.png", True),
        ("a.avif", True), ("a.TIF", True),
        ("a.jxl", False), ("a.png.txt", False), ("png", False), (".hidden.png", False), ("._a.png", False), ("~a.png", False),
        ("a.png~", False), ("Thumbs.db", False), (".DS_Store", False),
    ],
)  # fmt: skip
def test_picture_names(name: str, is_picture: bool) -> None:
    assert is_picture_name(Path(name)) is is_picture


def test_finds_pictures_in_natural_order(tmp_path: Path) -> None:
    for name in ("img_10.png", "img_2.png", "b/img_1.png", "@eaDir/img_1.png", ".git/img_1.png", "._img_2.png", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in find_pictures(tmp_path)] == ["img_2.png", "img_10.png"]
    deep = [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path, recursive=True)]
    assert deep == ["b/img_1.png", "img_2.png", "img_10.png"]


def test_natural_order_takes_any_name() -> None:
    names = ["a10", "a9", "9", "10", "é1", "²", "a"]
    assert sorted(map(Path, names), key=natural_key)  # superscripts are digits that int() refuses


@pytest.mark.parametrize(("name", "why"), [("missing", "no such directory"), ("file", "is a file, not a directory")])
def test_a_folder_that_is_none(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=why):
        find_pictures(tmp_path / name)
