"""ICC colour profiles: whether one means other colours than sRGB, and pictures of such colours as sRGB.

Untagged pictures, and those whose profile is sRGB's, are left as they are to the last bit. The judgement needs the standard library
alone, so that the checks of training sets, which do not decode, make it too. The layout is that of ICC.1:2022 (www.color.org).
"""

from __future__ import annotations

import contextlib
import io
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image as PillowImage

SRGB_COLUMNS = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
"""XYZ of sRGB's red, green and blue under D50 (IEC 61966-2-1, adapted as ICC wants it)."""
COLUMN_TOLERANCE = 0.02
"""Profiles that call themselves sRGB differ by rounding, below 0.005; Display P3 by 0.08, Adobe RGB by 0.17."""
TESTED_LEVELS = (0.25, 0.5, 0.75)
CURVE_TOLERANCE = 0.02
"""In linear light. A gamma of 2.2 differs from sRGB's curve by 0.006, one of 1.8 by 0.07."""
SHOWN_CHARACTERS = 40
PARAMETERS = (1, 3, 4, 5, 7)
"""How many numbers a parametric curve of each kind has."""


def foreign_colors(profile: bytes | None) -> str | None:
    """The name of a profile whose pictures look wrong where it is ignored; None for sRGB, for grey, and where there is none.

    A damaged profile is none: viewers ignore it.
    """
    if profile is None or len(profile) < 132 or profile[36:40] != b"acsp" or profile[16:20] not in (b"RGB ", b"CMYK"):
        return None
    try:
        tags = _read_tags(profile)
        name = _read_name(tags.get(b"desc", b""))
        if profile[16:20] == b"RGB " and _is_srgb(tags, name):
            return None
    except (struct.error, IndexError, ValueError, ArithmeticError):
        return None
    return name or "an unnamed colour profile"


def is_rgb_profile(profile: bytes | None) -> bool:
    """Whether these bytes are a profile of RGB colours whose tags can be read."""
    if profile is None or len(profile) < 132 or profile[36:40] != b"acsp" or profile[16:20] != b"RGB ":
        return False
    with contextlib.suppress(struct.error):
        return bool(_read_tags(profile))
    return False


def to_srgb(image: PillowImage.Image, profile: bytes) -> PillowImage.Image:
    """The picture with its colours as sRGB; as it is where the profile does not fit it. Raises what the colour engine raises."""
    from PIL import ImageCms

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    modes = {"RGB ": ("RGB",), "CMYK": ("CMYK",)}.get(source.profile.xcolor_space, ())
    if image.mode not in modes:
        return image
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    target = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(source, target, image.mode, "RGB", intent, ImageCms.Flags.BLACKPOINTCOMPENSATION)
    return transform.apply(image)


def _read_tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for index in range(min(count, 100)):
        name, start, size = struct.unpack_from(">4sII", profile, 132 + index * 12)
        tags[name] = profile[start : start + size]
    return tags


def _read_name(tag: bytes) -> str:
    """The description of a profile, of version 2 (`desc`) or 4 (`mluc`)."""
    if tag[:4] == b"mluc":
        size, start = struct.unpack_from(">II", tag, 20)
        text = tag[start : start + size].decode("utf-16-be", "replace")
    else:
        (size,) = struct.unpack_from(">I", tag, 8)
        text = tag[12 : 12 + size].decode("latin-1")
    return "".join(char for char in text if char.isprintable()).strip()[:SHOWN_CHARACTERS]


def _is_srgb(tags: dict[bytes, bytes], name: str) -> bool:
    columns = [tags.get(key) for key in (b"rXYZ", b"gXYZ", b"bXYZ")]
    curves = [tags.get(key) for key in (b"rTRC", b"gTRC", b"bTRC")]
    if None in columns or None in curves:  # made of tables: its name is all there is
        return "srgb" in name.lower()
    for column, wanted in zip(columns, SRGB_COLUMNS, strict=True):
        found = [value / 65536 for value in struct.unpack_from(">iii", column or b"", 8)]
        if any(abs(value - right) > COLUMN_TOLERANCE for value, right in zip(found, wanted, strict=True)):
            return False
    return all(abs(_curve(curve or b"", level) - _srgb_curve(level)) <= CURVE_TOLERANCE for curve in curves for level in TESTED_LEVELS)


def _srgb_curve(level: float) -> float:
    return float(((level + 0.055) / 1.055) ** 2.4)


def _curve(tag: bytes, level: float) -> float:
    """A `curv` or `para` tag at a level between 0 and 1 (ICC.1:2022, 10.6 and 10.18)."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return level
        if count == 1:
            return float(level ** (struct.unpack_from(">H", tag, 12)[0] / 256))
        place = level * (count - 1)
        low = min(int(place), count - 2)
        first, second = struct.unpack_from(">HH", tag, 12 + 2 * low)
        return float(first + (second - first) * (place - low)) / 65535
    (kind,) = struct.unpack_from(">H", tag, 8)
    numbers = [value / 65536 for value in struct.unpack_from(f">{PARAMETERS[kind]}i", tag, 12)]
    gamma, slope, shift, linear, border, above, below = _seven_numbers(kind, numbers)
    return float(linear * level + below if level < border else max(slope * level + shift, 0.0) ** gamma + above)


def _seven_numbers(kind: int, numbers: list[float]) -> list[float]:
    """The numbers of the fullest kind of curve, (a x + b)^g + e from d on and c x + f below, for a curve of any kind."""
    if kind == 0:
        return [*numbers, 1, 0, 0, -1, 0, 0]
    if kind in (1, 2):  # no straight part; the second kind adds c
        return [*numbers[:3], 0, -1, sum(numbers[3:]), 0]
    return [*numbers, *[0.0] * (7 - len(numbers))]
