"""The file formats in which savers write, each from RGB pixels to the bytes of a file.

Three are what no reader of ours reads, as there are such savers: JPEG XL and OpenEXR have the right beginning and noise behind it, and a
film is a film.
"""

from __future__ import annotations

import io
import json
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Texts = Mapping[str, str]
"""What a saver writes into the file beside the pixels: prompt, workflow, and what reached the sampler, as JSON each."""

Encode = Callable[["Pixels", Texts], bytes]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_CHUNK_BYTES = 25
"""IHDR: 4 length + 4 name + 13 data + 4 checksum. Text chunks follow it."""

JXL_BOX, EXR_MAGIC = b"\0\0\0\x0cJXL \r\n\x87\n", b"\x76\x2f\x31\x01\x02\0\0\0"
EXIF_FIRST_TAG = 0x010F
"""ComfyUI writes its texts as `name:JSON` into the EXIF text fields from here downwards, the prompt one above."""


def encode_png(pixels: Pixels) -> bytes:
    """At the level where this machine's time matters more than a tenth of the size."""
    import cv2

    done, data = cv2.imencode(
        ".png", pixels[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    )
    if not done:
        raise OSError("a picture could not be encoded as PNG")
    return bytes(data)


def png(pixels: Pixels, texts: Texts) -> bytes:
    return _with_chunks(encode_png(pixels), texts)


def png_16bit(pixels: Pixels, texts: Texts) -> bytes:
    """The same picture in 16 bits a channel."""
    import numpy as np

    return _with_chunks(encode_png(pixels.astype(np.uint16) * 257), texts)  # type: ignore[arg-type]


def with_pillow(format: str, **options: Any) -> Encode:
    """A format that Pillow writes; the texts go into its EXIF block."""

    def encode(pixels: Pixels, texts: Texts) -> bytes:
        from PIL import Image

        exif = Image.Exif()
        for number, (name, text) in enumerate(texts.items()):
            exif[EXIF_FIRST_TAG - number + (1 if name == "prompt" else 0)] = f"{name}:{text}"
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format, **({"exif": exif} if format != "GIF" else {}), **options)
        return buffer.getvalue()

    return encode


def animated_webp(pictures: Sequence[Pixels], texts: Texts, *, frames_per_second: float, **options: Any) -> bytes:
    """One file of all pictures; of one picture it is a plain WebP."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0110] = f"prompt:{texts.get('prompt', '')}"
    first, *rest = [Image.fromarray(pixels) for pixels in pictures]
    buffer = io.BytesIO()
    more = {"save_all": True, "append_images": rest, "duration": int(1000 / frames_per_second)} if rest else {}
    first.save(buffer, "WEBP", exif=exif, **more, **options)
    return buffer.getvalue()


def unreadable(head: bytes) -> Encode:
    """The beginning of a format, and noise that is the picture's own."""

    def encode(pixels: Pixels, texts: Texts) -> bytes:
        seed = zlib.crc32(pixels.tobytes())
        return head + random.Random(seed).randbytes(20_000)

    return encode


def film(pictures: Sequence[Pixels], frames_per_second: float) -> bytes:
    """An MP4 of the pictures."""
    import cv2

    height, width = pictures[0].shape[:2]
    with tempfile.TemporaryDirectory(prefix="lifeos-film-") as folder:
        path = Path(folder) / "film.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), frames_per_second, (width, height))
        for pixels in pictures:
            writer.write(pixels[:, :, ::-1].copy())
        writer.release()
        return path.read_bytes() if path.is_file() else b"\0\0\0\x18ftypmp42"


def texts_of(values: Mapping[str, object]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in values.items()}


def _with_chunks(data: bytes, texts: Texts) -> bytes:
    start = len(PNG_SIGNATURE) + HEADER_CHUNK_BYTES
    return data[:start] + b"".join(_text_chunk(name, text) for name, text in texts.items()) + data[start:]


def _text_chunk(key: str, text: str) -> bytes:
    """A PNG text chunk: tEXt where Latin-1 holds the text, else iTXt (PNG specification, 11.3.4)."""
    name = key.encode("latin-1", "replace")[:79]
    try:
        return _chunk(b"tEXt", name + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return _chunk(b"iTXt", name + b"\0\0\0\0\0" + text.encode("utf-8"))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
