"""sRGB pictures are left to the last bit; pictures of other colours are shown as they look, and training sets are warned of them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from lifeos.color_profiles import foreign_colors
from lifeos.images import decode_picture
from tests.lifeos.odd_pictures import encoded, jpeg, noise, segment
from tools.dataset.picture_header import read_header

D65_TO_D50 = np.array([[1.0478112, 0.0228866, -0.0501270], [0.0295424, 0.9904844, -0.0170491], [-0.0092345, 0.0150436, 0.7521316]])
"""Bradford."""
D65 = (0.3127, 0.3290)
PRIMARIES = {  # x, y of red, green, blue, and gamma
    "Display P3": (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), 2.4),
    "Adobe RGB (1998)": (((0.640, 0.330), (0.210, 0.710), (0.150, 0.060)), 2.19921875),
    "sRGB of gamma 2.2": (((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), 2.2),
    "sRGB of gamma 1.8": (((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), 1.8),
    "linear sRGB": (((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), 1.0),
}


def matrix_of(name: str) -> np.ndarray:
    """Linear RGB to XYZ under D65 (Lindbloom, RGB/XYZ matrices)."""
    primaries = PRIMARIES[name][0]
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([D65[0] / D65[1], 1.0, (1 - D65[0] - D65[1]) / D65[1]])
    return np.asarray(columns * np.linalg.solve(columns, white))


def profile_of(name: str) -> bytes:
    """A display profile of version 2 with these primaries and one curve."""
    gamma = PRIMARIES[name][1]
    columns = D65_TO_D50 @ matrix_of(name)
    text = name.encode() + b"\0"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(79), b"cprt": b"text\0\0\0\0none\0"}
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True):
        tags[key] = b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(value * 65536) for value in column))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    if name == "Display P3":  # the curve of sRGB, as Apple writes it
        numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para\0\0\0\0" + struct.pack(">HH5i", 3, 0, *(round(value * 65536) for value in numbers))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for key, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", key, at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s12s4s", 0, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp") + bytes(24 + 4)
    head = head + struct.pack(">iii", 63190, 65536, 54061) + bytes(128 - len(head) - 12)
    data = head + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(data)) + data[4:]


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


FLAT = Image.new("RGB", (16, 16), (200, 80, 60))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB (1998)"])
def test_wide_colours_are_shown_as_they_look(kind: str, name: str) -> None:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
    data = encoded(kind, FLAT, icc_profile=profile_of(name), **options.get(kind, {}))
    picture = decode_picture(data, Path("p"))
    assert picture.profile == name
    # to light, to XYZ, to the light of sRGB's primaries, to sRGB's levels (IEC 61966-2-1)
    levels = np.array([200, 80, 60]) / 255
    light = (
        levels ** PRIMARIES[name][1]
        if name != "Display P3"
        else np.where(levels > 0.04045, ((levels + 0.055) / 1.055) ** 2.4, levels / 12.92)
    )
    red_green_blue = np.linalg.solve(matrix_of("linear sRGB"), matrix_of(name) @ light)
    wanted = np.where(red_green_blue > 0.0031308, 1.055 * np.abs(red_green_blue) ** (1 / 2.4) - 0.055, 12.92 * red_green_blue) * 255
    assert np.abs(picture.rgb[8, 8] - wanted.clip(0, 255)).max() <= 3
    assert np.abs(wanted - [200, 80, 60]).max() > 8, "else the test would prove nothing"
    if kind in ("PNG", "JPEG", "WEBP"):
        assert read_header(data, len(data)).faults == ("wide_gamut",)


@pytest.mark.parametrize(
    "profile",
    [None, srgb_profile(), profile_of("sRGB of gamma 2.2"), b"", b"x" * 500, srgb_profile()[:200]],
    ids=["none", "sRGB", "gamma 2.2", "empty", "no profile", "cut off"],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_srgb_stays_to_the_last_bit(profile: bytes | None, kind: str) -> None:
    data = encoded(kind, noise(), icc_profile=profile, **({"lossless": True} if kind == "WEBP" else {}))
    picture = decode_picture(data, Path("p"))
    assert (picture.rgb == np.asarray(noise())).all()
    assert picture.profile is None and read_header(data, len(data)).faults == ()


@pytest.mark.parametrize("name", ["sRGB of gamma 1.8", "linear sRGB"])
def test_another_curve_is_another_profile(name: str) -> None:
    assert foreign_colors(profile_of(name)) == name


def test_a_profile_of_tables_goes_by_its_name() -> None:
    plain = profile_of("Display P3")
    assert foreign_colors(plain.replace(b"rTRC", b"xTRC")) == "Display P3"
    assert foreign_colors(profile_of("sRGB of gamma 1.8").replace(b"rTRC", b"xTRC")) is None


def test_alpha_and_rotation_go_with_it() -> None:
    wide = Image.new("RGBA", (16, 8), (200, 80, 60, 255))
    wide.putpixel((0, 0), (0, 0, 0, 0))
    tags = Image.Exif()
    tags[0x0112] = 6
    picture = decode_picture(encoded("PNG", wide, icc_profile=profile_of("Display P3"), exif=tags), Path("p"))
    assert (picture.width, picture.height) == (8, 16)
    assert picture.rgb[0, 7].tolist() == [255, 255, 255]
    assert picture.rgb[8, 4, 0] > 205


def test_a_profile_in_several_segments_and_out_of_order() -> None:
    profile = profile_of("Adobe RGB (1998)")
    parts = [
        segment(0xE2, b"ICC_PROFILE\0" + bytes((number, 2)) + profile[start:end]) for number, start, end in ((2, 300, 9999), (1, 0, 300))
    ]
    assert decode_picture(jpeg(*parts), Path("p")).profile == "Adobe RGB (1998)"


def test_a_profile_for_other_channels_is_ignored() -> None:
    grey = encoded("PNG", FLAT.convert("L"), icc_profile=profile_of("Display P3"))
    assert (decode_picture(grey, Path("p")).rgb == np.asarray(FLAT.convert("L"))[..., None]).all()
    cmyk = encoded("JPEG", FLAT.convert("CMYK"), icc_profile=profile_of("Display P3"), quality=95)
    assert decode_picture(cmyk, Path("p")).width == 16


def test_the_profiles_made_here_are_real_ones() -> None:
    for name in PRIMARIES:
        assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile_of(name)))).strip() == name
