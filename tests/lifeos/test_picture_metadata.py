"""Orientation is read in one place: the loader, the manifest's header and the thumbnail agree for every way of storing it."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from lifeos.images import decode_picture, read_picture
from lifeos.pages.small_pictures import make_small
from lifeos.picture_metadata import png_text, read_metadata, without_metadata
from tests.lifeos.odd_pictures import (
    LONG,
    ODD_TAGS,
    TEXT,
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
    stored,
    turned,
    two_pictures,
    xmp,
)
from tools.dataset.picture_header import read_header

CASES: dict[str, tuple[bytes, int]] = {
    "JPEG, EXIF": (jpeg(jpeg_exif(exif(turned(6)))), 6),
    "JPEG, EXIF as LONG": (jpeg(jpeg_exif(exif(turned(6, LONG)))), 6),
    "JPEG, EXIF of big-endian order": (jpeg(jpeg_exif(b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, 8, 0))), 8),
    "JPEG, a value that there is not": (jpeg(jpeg_exif(exif(turned(9)))), 1),
    "JPEG, the first of two EXIF blocks": (jpeg(jpeg_exif(exif(turned(3))), jpeg_exif(exif(turned(6)))), 3),
    "JPEG, upright with old XMP": (jpeg(jpeg_exif(exif(turned(1))), jpeg_xmp(xmp(6))), 1),
    "JPEG, old XMP alone": (jpeg(jpeg_xmp(xmp(6))), 1),
    "JPEG, old XMP beside EXIF without orientation": (jpeg(jpeg_exif(exif((0x0110, TEXT, 4, b"cam\0"))), jpeg_xmp(xmp(6))), 1),
    "PNG, eXIf": (png(chunk(b"eXIf", exif(turned(6)))), 6),
    "PNG, eXIf at the end": (png(chunk(b"eXIf", exif(turned(8))), at_end=True), 8),
    "PNG, eXIf with a JPEG's head": (png(chunk(b"eXIf", b"Exif\0\0" + exif(turned(6)))), 6),
    "PNG, raw profile": (png(raw_profile(exif(turned(6)))), 6),
    "PNG, raw profile not compressed": (png(raw_profile(exif(turned(6, LONG)), b"tEXt")), 6),
    "PNG, raw profile as international text": (png(raw_profile(exif(turned(6)), b"iTXt")), 6),
    "PNG, raw profile of the older name": (png(raw_profile(exif(turned(6)), keyword=b"Raw profile type APP1")), 6),
    "PNG, raw profile of no digits": (png(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\nzzzz\n")), 1),
    "PNG, XMP": (png(png_xmp(xmp(6))), 6),
    "PNG, upright EXIF beside old XMP": (png(chunk(b"eXIf", exif(turned(1))), png_xmp(xmp(6))), 1),
    "WebP, EXIF": (encoded("WEBP", exif=b"Exif\0\0" + exif(turned(6)), lossless=True), 6),
    "WebP, EXIF without a JPEG's head": (encoded("WEBP", exif=exif(turned(6, LONG)), lossless=True), 6),
    "WebP, XMP": (encoded("WEBP", xmp=xmp(6), lossless=True), 6),
    "WebP, upright EXIF beside old XMP": (encoded("WEBP", exif=exif(turned(1)), xmp=xmp(6), lossless=True), 1),
    **{f"JPEG, {name}": (jpeg(jpeg_exif(exif(turned(6), tag))), 6) for name, tag in ODD_TAGS.items()},
    **{f"PNG, {name}": (png(chunk(b"eXIf", exif(turned(6), tag))), 6) for name, tag in ODD_TAGS.items()},
    **{f"WebP, {name}": (encoded("WEBP", exif=exif(turned(6), tag), lossless=True), 6) for name, tag in ODD_TAGS.items()},
}


@pytest.mark.parametrize(("data", "orientation"), CASES.values(), ids=CASES)
def test_everyone_reads_one_orientation(data: bytes, orientation: int) -> None:
    picture = decode_picture(data, Path("p"))
    size = (16, 32) if orientation >= 5 else (32, 16)
    assert (picture.width, picture.height) == size
    red_at = {1: (0, 0), 3: (31, 15), 6: (0, 0), 8: (0, 31)}[orientation]  # where the left upper corner of the stored picture goes
    red = picture.rgb[red_at[1], red_at[0]]
    assert red[0] > 200 > 60 > red[2]
    assert read_header(data, len(data)).orientation == orientation
    thumbnail = make_small(data)
    assert thumbnail is not None and Image.open(io.BytesIO(thumbnail)).size == size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_orientation_of_every_format(kind: str, orientation: int) -> None:
    """What makes it upright is what EXIF 2.32 (4.6.5, tag 274) says: the row and the column that are first when it is shown."""
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste((255, 0, 0), (0, 0, 24, 16))  # its left upper quarter
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions, by number, that lay it down so
    laid = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    tags = Image.Exif()
    tags[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "AVIF": {"quality": 95}}.get(kind, {})
    picture = decode_picture(encoded(kind, laid, exif=tags, **options), Path("p"))
    assert picture.rgb.shape == (32, 48, 3)
    assert [tuple(int(level > 128) for level in picture.rgb[y, x]) for x, y in ((4, 4), (44, 4), (4, 28), (44, 28))] == [
        (1, 0, 0),
        (1, 1, 1),
        (1, 1, 1),
        (1, 1, 1),
    ]


def test_the_main_picture_of_several() -> None:
    picture = decode_picture(two_pictures(), Path("phone.jpg"))
    assert (picture.width, picture.height, picture.format) == (48, 48, "JPEG")
    assert "animated" not in read_header(two_pictures(), len(two_pictures())).faults
    gain_map = jpeg(jpeg_xmp(b'<x hdrgm:Version="1.0"/>'), image=noise()) + encoded("JPEG", noise(16))
    assert decode_picture(gain_map, Path("ultra_hdr.jpg")).width == 48


@pytest.mark.parametrize("damage", [segment(0xE2, b"MPF\0" + b"\xff" * 40), segment(0xE2, b"MPF\0II*\0"), segment(0xE2, b"MPF\0")])
def test_a_broken_index_of_pictures_is_ignored(damage: bytes) -> None:
    assert decode_picture(jpeg(damage), Path("phone.jpg")).width == 32


def test_pages_and_single_frames_are_no_animation() -> None:
    pages = encoded("TIFF", save_all=True, append_images=[noise(16)])
    assert decode_picture(pages, Path("scan.tif")).width == 32
    single = png(chunk(b"acTL", struct.pack(">II", 1, 0)), chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 32, 16, 0, 0, 1, 10, 0, 0)))
    assert decode_picture(single, Path("one_frame.png")).width == 32
    assert read_header(single, len(single)).faults == ()


LONG_TEXT = b"workflow\0\0" + zlib.compress(b"x" * (2 << 20))


@pytest.mark.parametrize(
    "data",
    [
        png(chunk(b"zTXt", LONG_TEXT)),
        png(chunk(b"zTXt", LONG_TEXT), at_end=True),
        png(chunk(b"iTXt", b"workflow\0\x01\0\0\0" + zlib.compress(b"x" * (2 << 20)))),
        png(chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(2 << 20)))),
    ],
    ids=["ztxt", "ztxt at the end", "itxt", "profile"],
)
def test_long_text_hides_no_picture_but_stops_the_trainer(data: bytes) -> None:
    assert decode_picture(data, Path("p.png")).width == 32
    assert read_header(data, len(data)).faults == ("long_text",)
    with pytest.raises(ValueError, match="too large"):  # what the trainer does: it opens and converts the picture with Pillow
        Image.open(io.BytesIO(data)).convert("RGB")


def test_a_broken_profile_hides_no_picture() -> None:
    broken = [png(chunk(b"iCCP", b"p\0\0" + b"\xff" * 50)), jpeg(segment(0xE2, b"ICC_PROFILE\0\x01\x01" + b"acsp" * 50))]
    broken.append(jpeg(segment(0xE2, b"ICC_PROFILE\0\x02\x01abc"), segment(0xE2, b"ICC_PROFILE\0")))
    for data in broken:
        assert decode_picture(data, Path("p")).profile is None
        assert read_header(data, len(data)).faults == ()


def test_a_text_that_packs_a_thousandfold_is_not_unpacked_whole() -> None:
    bomb = png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(200 << 20), 9)))
    assert len(bomb) < 300_000
    assert decode_picture(bomb, Path("p.png")).width == 32
    assert len(png_text(b"zTXt", b"k\0\0" + zlib.compress(bytes(5000)), limit=1000)) == 1000


def test_odd_tags_do_not_keep_avif_from_being_turned() -> None:
    """The container says how it is turned; Pillow would write that into the EXIF block, and fail."""
    plain = encoded("AVIF", noise(48).crop((0, 0, 48, 24)), exif=b"Exif\0\0" + exif(turned(6), (0x0110, TEXT, 4, b"cam\0")))
    entry = b"\x10\x01\x02\x00\x04\x00\x00\x00cam\x00"
    assert plain.count(entry) == 1
    odd = plain.replace(entry, b"\x1a\x01" + entry[2:])  # a resolution as text
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(odd))
    assert decode_picture(odd, Path("p.avif")).rgb.shape == (48, 24, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"])
def test_pixels_are_those_with_metadata(kind: str) -> None:
    data = encoded(kind, noise())
    assert without_metadata(data, kind) is data or kind in ("AVIF",)
    assert (decode_picture(data, Path("p")).rgb == Image.open(io.BytesIO(data)).convert("RGB")).all()


def test_nothing_but_metadata_is_taken_out() -> None:
    plain = encoded("JPEG", noise())
    dressed = jpeg(jpeg_exif(exif(turned(6))), segment(0xFE, b"a comment"), segment(0xED, b"Photoshop"), image=noise())
    assert without_metadata(dressed, "JPEG") == plain
    plain = encoded("PNG", noise())
    assert without_metadata(png(chunk(b"tEXt", b"a\0b"), chunk(b"eXIf", exif()), image=noise()), "PNG") == plain
    assert read_metadata(plain, "PNG").orientation == 1


def test_the_cases_that_went_wrong(cases_root: Path) -> None:
    folder = cases_root / "pictures"
    upright = {
        "exif_resolutionunit_70000.jpg": (416, 608),
        "exif_xresolution_as_text.jpg": (416, 608),
        "two_frames_mpo.jpg": (416, 608),
        "turned_raw_profile_exif.png": (208, 304),
        "rgb_16bit.png": (208, 304),
        "ztxt_2MB.png": (208, 304),
        "saver_output.avif": (208, 304),
    }
    for name, size in upright.items():
        picture = read_picture(folder / name)
        assert (picture.width, picture.height) == size, name
    faults = {name: read_header((folder / name).read_bytes(), (folder / name).stat().st_size) for name in upright if "avif" not in name}
    assert {name: header.faults for name, header in faults.items() if header.faults} == {
        "rgb_16bit.png": ("sixteen_bit_color",),
        "ztxt_2MB.png": ("long_text",),
    }
    assert faults["turned_raw_profile_exif.png"].orientation == 6


def test_stored_pictures_are_not_upright() -> None:
    assert stored().getpixel((0, 0)) == (255, 0, 0), "else the cases above would prove nothing"
