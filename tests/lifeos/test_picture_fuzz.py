"""Whatever bytes a picture has, the loader gives a picture or an ImageError, and no other reader of pictures raises anything.

LIFEOS_TEST_EXAMPLES=20000 python -m lifeos test tests/lifeos/test_picture_fuzz.py
"""

from __future__ import annotations

import struct
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from lifeos.images import ImageError, decode_picture
from lifeos.pages.small_pictures import make_small
from tests.examples import EXAMPLES
from tests.lifeos.odd_pictures import (
    chunk,
    encoded,
    exif,
    jpeg,
    jpeg_exif,
    jpeg_xmp,
    noise,
    png,
    png_xmp,
    raw_profile,
    segment,
    turned,
    two_pictures,
    xmp,
)
from tools.backends.picture_bytes import find_damage
from tools.dataset.picture_header import read_header

SMALL = noise(24)
TAGS = (turned(6), (0x011A, 5, 1, struct.pack("<I", 50)), (0x8769, 4, 1, struct.pack("<I", 38)))
ORIENTED = Image.Exif()
ORIENTED[0x0112] = 6

PICTURES = (
    png(chunk(b"eXIf", exif(*TAGS)), png_xmp(xmp(6)), raw_profile(exif(*TAGS)), image=SMALL),
    png(image=SMALL.convert("P"), transparency=0),
    encoded("PNG", SMALL.convert("LA")),
    encoded("PNG", SMALL, save_all=True, append_images=[noise(24, seed=8)]),
    jpeg(jpeg_exif(exif(*TAGS)), jpeg_xmp(xmp(6)), segment(0xE2, b"ICC_PROFILE\0\x01\x01" + bytes(140)), image=SMALL),
    jpeg(jpeg_exif(exif(*TAGS)), image=SMALL, progressive=True),
    jpeg(image=SMALL.convert("CMYK")),
    two_pictures(),
    encoded("WEBP", SMALL, exif=exif(*TAGS), xmp=xmp(6)),
    encoded("WEBP", SMALL, lossless=True),
    encoded("WEBP", SMALL, save_all=True, append_images=[noise(24, seed=8)]),
    encoded("TIFF", SMALL, exif=ORIENTED, compression="tiff_lzw"),
    encoded("TIFF", SMALL, exif=ORIENTED),
    encoded("TIFF", SMALL, compression="jpeg"),
    encoded("TIFF", SMALL, save_all=True, append_images=[noise(16)]),
    encoded("AVIF", SMALL, exif=ORIENTED),
    encoded("AVIF", SMALL),
    encoded("GIF", SMALL),
    encoded("GIF", SMALL, save_all=True, append_images=[noise(24, seed=8)]),
    encoded("BMP", SMALL),
)
ODD_BYTES = st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"II*\0", b"Exif"])


@st.composite
def spoilt_pictures(draw: st.DrawFn) -> bytes:
    """A picture with some bytes changed, taken out, doubled, or cut off; most of the changes in its head, where the structure is."""
    data = bytearray(draw(st.sampled_from(PICTURES)))
    for _ in range(draw(st.integers(1, 4))):
        reach = min(len(data), draw(st.sampled_from([64, 300, len(data)])))
        at = draw(st.integers(0, max(reach - 1, 0)))
        what = draw(st.sampled_from(["change", "change", "change", "cut", "take out", "double", "insert"]))
        patch = draw(ODD_BYTES | st.binary(min_size=1, max_size=4))
        if what == "change":
            data[at : at + len(patch)] = patch
        elif what == "cut":
            del data[at:]
        elif what == "take out":
            del data[at : at + draw(st.integers(1, 40))]
        elif what == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        else:
            data[at:at] = patch
    return bytes(data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_pictures())
def test_nothing_leaks_but_an_image_error(data: bytes) -> None:
    try:
        picture = decode_picture(data, Path("odd"), max_pixels=1_000_000)
    except ImageError as error:
        assert str(error).startswith("odd: ") and error.reason in ("unreadable", "truncated", "too_large", "animated", "empty")
    else:
        assert picture.rgb.ndim == 3 and picture.rgb.dtype == "uint8"
    header = read_header(data, len(data))
    assert 1 <= header.orientation <= 8
    find_damage(data)
    if header.width * header.height < 1_000_000:  # a thumbnail is made of larger ones too, which takes its time
        make_small(data)


ODD_TAGS = st.tuples(
    st.sampled_from([0x011A, 0x0128, 0x0110, 0x8769, 0x8825, 0x927C, 0x0213, 0x9C9B, 0x4746]) | st.integers(0, 0xFFFF),
    st.integers(0, 14) | st.integers(0, 0xFFFF),
    st.integers(0, 4) | st.sampled_from([1 << 16, 0xFFFFFFFF]),
    st.binary(min_size=4, max_size=4),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    tags=st.lists(ODD_TAGS, max_size=6),
    place=st.integers(0, 6),
    kind=st.sampled_from([3, 4]),
    build=st.sampled_from(["JPEG", "PNG", "raw profile", "WEBP"]),
)
def test_odd_tags_never_keep_a_picture_from_being_turned(
    tags: list[tuple[int, int, int, bytes]], place: int, kind: int, build: str
) -> None:
    assume(all(tag[0] != 0x0112 for tag in tags))
    block = exif(*tags[:place], turned(6, kind), *tags[place:])
    data = {
        "JPEG": lambda: jpeg(jpeg_exif(block)),
        "PNG": lambda: png(chunk(b"eXIf", block)),
        "raw profile": lambda: png(raw_profile(block)),
        "WEBP": lambda: encoded("WEBP", exif=block),
    }[build]()
    picture = decode_picture(data, Path("odd"))
    assert (picture.width, picture.height) == (16, 32)
    assert read_header(data, len(data)).orientation == 6
