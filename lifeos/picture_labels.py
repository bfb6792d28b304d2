"""Whether a picture's file says that a model made it: IPTC's digital source type in its XMP. Read from the file's structure, undecoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lifeos.picture_formats import format_of
from lifeos.picture_metadata import XMP_KEYWORD, jpeg_segments, png_chunks, png_text, riff_chunks

XMP_OF_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
AI_MADE = b"rainedAlgorithmicMedia"
"""The end of two source types of the IPTC: trainedAlgorithmicMedia, and compositeWithTrainedAlgorithmicMedia."""


def has_ai_label(data: bytes) -> bool:
    """Whether the bytes of a PNG, JPEG or WebP file carry the label. Says nothing of one that was taken out."""
    return any(AI_MADE in packet for packet in _packets(data))


def is_labelled(path: Path) -> bool:
    """The same of a file; False for one that cannot be read."""
    try:
        return has_ai_label(path.read_bytes())
    except OSError:
        return False


def _packets(data: bytes) -> Iterator[bytes]:
    kind = format_of(data)
    if kind == "PNG":
        for name, start, end in png_chunks(data, len(data)):
            content = data[start:end]
            if name in (b"tEXt", b"zTXt", b"iTXt") and content.partition(b"\0")[0] == XMP_KEYWORD:
                yield png_text(name, content)
    elif kind == "JPEG":
        for marker, start, end in jpeg_segments(data, len(data)):
            if marker == 0xE1 and data[start:end].startswith(XMP_OF_JPEG):
                yield data[start:end]
    elif kind == "WEBP":
        yield from (data[start:end] for name, start, end in riff_chunks(data, len(data)) if name == b"XMP ")
