"""The one image loader: upright 8-bit RGB in sRGB, a pixel limit, and a clear reason when a picture cannot be read.

Hash and decode come from the same bytes, read once. Decoders get the pixels alone (`picture_metadata`), and whatever they raise
becomes an ImageError. OpenCV never reads a file here: it returns half of a truncated JPEG without a word, and cannot open non-ASCII
paths on Windows.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifeos import picture_formats
from lifeos.color_profiles import foreign_colors, is_rgb_profile, to_srgb
from lifeos.errors import InputError
from lifeos.picture_formats import SUFFIXES as SUFFIXES
from lifeos.picture_metadata import EXIF_ORIENTATION, read_metadata, without_metadata
from lifeos.system_folders import SYSTEM_FOLDERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image as PillowImage

MAX_PIXELS = 100_000_000
"""Larger than any generated picture; a decompression bomb is far beyond."""

ANIMATED_FORMATS = frozenset({"GIF", "AVIF"})
"""Beside PNG and WebP, formats whose further frames are an animation. Those of TIFF are pages, those of JPEG and HEIC further pictures:
the first is meant."""

TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
"""What makes a picture of each EXIF orientation upright, by the names of Pillow's transpositions."""


class ImageError(InputError):
    """A picture that cannot be used. `reason` is a word for tables: `unreadable`, `truncated`, `too_large`, `animated`, `empty`."""

    def __init__(self, path: object, reason: str, why: str, fix: str = "") -> None:
        self.reason = reason
        super().__init__(path, why, fix)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture. `rgb` is uint8, height x width x 3, upright, in sRGB. `sha256` is that of the file's bytes.

    `profile`: the name of the colour profile that its colours were converted from, None where they were sRGB's.
    """

    path: Path
    sha256: str
    rgb: NDArray[np.uint8]
    format: str
    profile: str | None = None

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])


def read_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read and decode one picture. Raises ImageError with a reason; a missing file is `unreadable`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(path, "unreadable", error.strerror or "cannot be read") from None
    return decode_picture(data, path, max_pixels=max_pixels)


def decode_picture(data: bytes, path: Path, *, max_pixels: int = MAX_PIXELS, sha256: str = "") -> Picture:
    """Decode the bytes of one picture; `path` is where they came from or will go, `sha256` their hash if it is known. Raises ImageError."""
    import numpy as np

    with _decoding(path):
        opened = _open(data, path, max_pixels)
        opened.image.load()
        image, profile = _upright_srgb(opened)
        return Picture(path, sha256 or hashlib.sha256(data).hexdigest(), np.asarray(image), opened.format, profile)


def decode_in_own_colors(data: bytes, path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[Picture, bytes | None]:
    """As `decode_picture`, but a picture of a colour profile for RGB keeps its colours: the profile comes with it. Raises ImageError."""
    import numpy as np

    with _decoding(path):
        opened = _open(data, path, max_pixels)
        opened.image.load()
        profile = opened.profile if opened.image.mode in ("RGB", "RGBA", "P") and is_rgb_profile(opened.profile) else None
        image, converted = _upright_srgb(replace(opened, profile=None) if profile else opened)
        return Picture(path, hashlib.sha256(data).hexdigest(), np.asarray(image), opened.format, converted), profile


def decode_small(data: bytes, path: Path, size: tuple[int, int]) -> PillowImage.Image:
    """A picture made to fit (width, height), upright RGB: a JPEG is decoded at a fraction of its size. Raises ImageError."""
    from PIL import Image

    with _decoding(path):
        opened = _open(data, path, MAX_PIXELS)
        opened.image.draft("RGB", (size[0] * 2, size[1] * 2))
        small, _ = _upright_srgb(opened)
        small.thumbnail(size, Image.Resampling.BOX, reducing_gap=2.0)
        return small


@dataclass(frozen=True, slots=True)
class _Opened:
    """A picture whose header was read. `image` is Pillow's, not yet decoded."""

    image: PillowImage.Image
    format: str
    orientation: int
    profile: bytes | None


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Whatever a decoder raises becomes an ImageError; what it warns of is not heard."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of bombs at half its limit; ours is checked
            yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(path, "too_large", "there is not enough memory to decode it") from None
    except Exception as error:
        said = " ".join(str(error).split())
        reason = "truncated" if "truncated" in said or "broken" in said else "unreadable"
        raise ImageError(path, reason, f"cannot be decoded: {said or type(error).__name__}") from None


def _open(data: bytes, path: Path, max_pixels: int) -> _Opened:
    """Read a picture's header, and refuse what is none, or too large, or animated."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ImageError(path, "empty", "the file is empty")
    kind = picture_formats.format_of(data)
    _check_readable(kind, path)
    metadata = read_metadata(data, kind)
    try:
        image = Image.open(io.BytesIO(without_metadata(data, kind)), formats=(kind,))
    except UnidentifiedImageError:
        raise ImageError(path, "unreadable", f"begins like {picture_formats.title_of(kind)}, but is no picture") from None
    except Image.DecompressionBombError:
        raise ImageError(path, "too_large", f"over the limit of {max_pixels:,} pixels") from None
    if image.width * image.height > max_pixels:
        raise ImageError(path, "too_large", f"{image.width}x{image.height} is over the limit of {max_pixels:,} pixels")
    if metadata.is_animated or (kind in ANIMATED_FORMATS and getattr(image, "is_animated", False)):
        raise ImageError(path, "animated", "an animated picture, not a still one")
    orientation = metadata.orientation
    if kind == "AVIF":  # the decoder knows how the container turns it
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    profile = metadata.profile or image.info.get("icc_profile")
    return _Opened(image, kind, orientation, profile)


def _check_readable(kind: str, path: Path) -> None:
    if not kind:
        raise ImageError(path, "unreadable", f"not a {picture_formats.READABLE} picture")
    if not picture_formats.is_readable(kind):
        fix = picture_formats.how_to_read_heif() if kind == "HEIF" else "save it as PNG or JPEG"
        raise ImageError(path, "unreadable", f"{picture_formats.title_of(kind)} cannot be read here", fix)
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()


def _upright_srgb(opened: _Opened) -> tuple[PillowImage.Image, str | None]:
    """Turned upright, 16 bits scaled to 8, alpha composited on white, colours as sRGB; and the profile they were converted from."""
    from PIL import Image

    image = _eight_bits(opened.image)
    foreign = foreign_colors(opened.profile)
    if foreign and image.mode == "CMYK":
        image = _convert_colors(image, opened.profile)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")
    if foreign:
        image = _convert_colors(image, opened.profile)
    turn = TURNS.get(opened.orientation)
    return image.transpose(Image.Transpose[turn]) if turn else image, foreign


def _convert_colors(image: PillowImage.Image, profile: bytes | None) -> PillowImage.Image:
    """As sRGB; a profile that the colour engine refuses is ignored, as viewers do."""
    from PIL import ImageCms

    try:
        return to_srgb(image, profile or b"")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image


def _eight_bits(image: PillowImage.Image) -> PillowImage.Image:
    """Grey of 16 bits scaled to 8. `convert("RGB")` clips it at 255, which turns it white: 65535 / 257 = 255."""
    import numpy as np
    from PIL import Image

    if image.mode in ("F", "I"):
        raise ValueError(f"{'fractions' if image.mode == 'F' else '32 bits'} for each pixel: which of them is white is not known")
    if not image.mode.startswith("I"):
        return image
    levels: Any = np.asarray(image, dtype=np.float64)
    return Image.fromarray(np.clip(np.rint(levels / 257.0), 0, 255).astype(np.uint8))


def is_picture_name(path: Path) -> bool:
    """Whether the name is that of a picture: a known suffix, and no system or editor left-over."""
    return path.suffix.lower() in picture_formats.picture_suffixes() and not _is_hidden(path.name)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~")) or name.endswith("~")


def find_pictures(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The pictures in a folder, in natural order (`img_2` before `img_10`), hidden and system folders left out."""
    return list(list_pictures(folder, recursive=recursive).pictures)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder that looks like pictures and is none of those found. `why` is a clause for people."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds: the pictures in natural order, and what was left out, so that "N of N" is never said of a part."""

    pictures: tuple[Path, ...]
    left_out: tuple[LeftOut, ...] = ()


def list_pictures(folder: Path, *, recursive: bool = False) -> Listing:
    """The pictures in a folder and what was left out of them. Hidden files, left-overs and system folders are neither.

    Raises InputError for a folder that is none.
    """
    if not folder.is_dir():
        raise InputError(folder, "is a file, not a directory" if folder.exists() else "no such directory")
    pictures: list[Path] = []
    left_out: list[LeftOut] = []
    unlisted: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=unlisted.append):
        inner = [Path(parent, name) for name in folders if not name.startswith(".") and name not in SYSTEM_FOLDERS]
        why_not = "a link to a folder is not followed" if recursive else "pictures in sub-folders are not taken here"
        left_out += [LeftOut(path, why_not) for path in inner if (path.is_symlink() or not recursive) and _holds_pictures(path)]
        folders[:] = [path.name for path in inner] if recursive else []
        for path in (Path(parent, name) for name in names if not _is_hidden(name)):
            if is_picture_name(path) and path.is_file():
                pictures.append(path)
            elif why := _why_left_out(path):
                left_out.append(LeftOut(path, why))
    left_out += [LeftOut(Path(error.filename), f"the folder cannot be listed: {error.strerror}") for error in unlisted]
    return Listing(tuple(sorted(pictures, key=natural_key)), tuple(sorted(left_out, key=lambda item: natural_key(item.path))))


def _holds_pictures(folder: Path) -> bool:
    """Whether a picture lies directly in a folder."""
    with contextlib.suppress(OSError):
        return any(is_picture_name(path) for path in folder.iterdir())
    return False


def _why_left_out(path: Path) -> str | None:
    """Why a file that is not taken is none of the pictures; None where nobody would take it for one."""
    suffix = path.suffix.lower()
    looks_so = suffix in picture_formats.SUFFIXES | picture_formats.HEIF_SUFFIXES | picture_formats.OTHER_SUFFIXES
    if not path.is_file():
        return "no file: a link that leads nowhere, or a device" if looks_so else None
    if suffix in picture_formats.HEIF_SUFFIXES:
        return picture_formats.HEIF_UNREAD
    if looks_so:
        return f"{suffix} pictures are not read: save it as PNG or JPEG"
    if kind := picture_formats.hidden_format(path):
        title = picture_formats.title_of(kind)
        return f"holds a {title} picture under the ending {suffix}: rename it" if suffix else f"holds a {title} picture: give it an ending"
    return None


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorts runs of digits as numbers: the key of `find_pictures`."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(1, int(part), "") if part.isdecimal() and part.isascii() else (0, 0, part) for part in parts]
