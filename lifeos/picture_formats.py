"""Formats of pictures: which there are, how a file's first bytes and its name tell them, and which of them can be read here.

What is read is decided by the bytes; what is listed, by the name. Standard library only.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
"""The endings of pictures that are read everywhere."""

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
"""Read where the package pillow-heif is installed."""

OTHER_SUFFIXES = frozenset(
    {
        ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".psd", ".psb", ".xcf", ".kra", ".svg", ".eps", ".ico", ".icns", ".tga", ".pcx", ".ppm",
        ".pgm", ".pnm", ".exr", ".hdr", ".qoi", ".dds", ".apng", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".raf",
        ".rw2", ".pef", ".srw", ".x3f",
    }
)  # fmt: skip
"""The endings of pictures that are not read. Films are no pictures."""

PLAIN_SUFFIXES = frozenset(
    {
        ".txt", ".caption", ".json", ".jsonl", ".csv", ".tsv", ".md", ".html", ".htm", ".xml", ".xmp", ".aae", ".yaml", ".yml", ".toml",
        ".ini", ".log", ".py", ".sh", ".safetensors", ".ckpt", ".pt", ".pth", ".npz", ".npy", ".zip", ".mp4", ".mov", ".webm", ".mkv",
        ".lock", ".tmp", ".part", ".crdownload", ".bak", ".db",
    }
)  # fmt: skip
"""The endings of what is no picture: such a file is not opened to see."""

HEIF_PACKAGE = "pillow-heif"
HEIF_UNREAD = f"HEIC is read where {HEIF_PACKAGE} is installed"
READ_WITH_PILLOW = frozenset({"PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"})
READABLE = "PNG, JPEG, WebP, AVIF, TIFF, GIF or BMP"
"""What is read everywhere, for messages."""

TITLES = {"JXL": "JPEG XL", "JPEG2000": "JPEG 2000", "HEIF": "HEIC", "PSD": "Photoshop", "WEBM": "WebM", "MP4": "MP4", "WEBP": "WebP"}
"""Names for people, of the formats that people call otherwise."""

_HEADS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"8BPS", "PSD"),
    (b"\x1aE\xdf\xa3", "WEBM"),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"})
SURE_FORMATS = frozenset({"PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF", "JPEG2000", "PSD"})
"""Formats of pictures whose first bytes no other file has by chance."""
HEAD_BYTES = 64
"""So much of a file tells its format."""


def format_of(data: bytes | bytearray) -> str:
    """The format of a file from its first bytes, by Pillow's name where it has one; empty where they are of none that we know."""
    if data[:4] == b"RIFF":
        return "WEBP" if data[8:12] == b"WEBP" else ""
    if data[4:8] == b"ftyp":
        end = min(max(int.from_bytes(data[:4], "big"), 16), HEAD_BYTES)
        brands = {bytes(data[at : at + 4]) for at in (8, *range(16, end, 4))}
        return "AVIF" if brands & _AVIF_BRANDS else "HEIF" if brands & _HEIF_BRANDS else "MP4"
    return next((name for head, name in _HEADS if data[: len(head)] == head), "")


def hidden_format(path: Path) -> str:
    """The format of a picture whose ending is that of none; empty for other files, and for those that nobody would take for pictures."""
    if path.suffix.lower() in PLAIN_SUFFIXES:
        return ""
    try:
        with open(path, "rb") as file:
            kind = format_of(file.read(HEAD_BYTES))
    except OSError:
        return ""
    return kind if kind in SURE_FORMATS else ""


def title_of(name: str) -> str:
    """A format's name for people."""
    return TITLES.get(name, name)


def is_readable(name: str) -> bool:
    """Whether pictures of a format can be decoded here."""
    return name in READ_WITH_PILLOW or (name == "HEIF" and has_heif())


@functools.cache
def has_heif() -> bool:
    """Whether the package that reads HEIC is installed; it is no part of LifeOS."""
    return importlib.util.find_spec("pillow_heif") is not None


def how_to_read_heif() -> str:
    """What makes HEIC readable, in the environment that runs this."""
    import sys

    return f'save it as PNG or JPEG, or install the package once: "{sys.executable}" -m pip install {HEIF_PACKAGE}'


def picture_suffixes() -> frozenset[str]:
    """The endings, in small letters, of pictures that are read here."""
    return SUFFIXES | HEIF_SUFFIXES if has_heif() else SUFFIXES
