"""sRGB pictures are left to the last bit; pictures of other colours are shown as they look, and training sets are warned of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from lifeos.color_profiles import foreign_colors
from lifeos.images import decode_picture
from tests.lifeos.display_profiles import PRIMARIES, matrix_of, profile_of
from tests.lifeos.odd_pictures import encoded, jpeg, noise, segment
from tools.dataset.picture_header import read_header


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
