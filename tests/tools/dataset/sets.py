"""Training sets made for tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def make_picture(path: Path, *, seed: int = 0, size: tuple[int, int] = (64, 64), mode: str = "RGB", **save: Any) -> Path:
    """A picture of smooth colours, other for every seed. `save` goes to Pillow; `format` overrides that of the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = save.pop("format", None) or {".jpg": "JPEG"}.get(path.suffix, path.suffix[1:].upper())
    path.write_bytes(picture_bytes(kind, seed=seed, size=size, mode=mode, **save))
    return path


def picture_bytes(kind: str = "PNG", *, seed: int = 0, size: tuple[int, int] = (64, 64), mode: str = "RGB", **save: Any) -> bytes:
    if save:
        return _encode(kind, seed, size, mode, **save)
    key = (kind, seed, size, mode)
    if key not in _MADE:  # the same few pictures serve hundreds of tests
        _MADE[key] = _encode(*key)
    return _MADE[key]


_MADE: dict[tuple[str, int, tuple[int, int], str], bytes] = {}


def _encode(kind: str, seed: int, size: tuple[int, int], mode: str, **save: Any) -> bytes:
    stream = io.BytesIO()
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST).convert(mode).save(stream, kind, **save)
    return stream.getvalue()


def make_set(folder: Path, count: int = 3, *, first_seed: int = 0, size: tuple[int, int] = (1024, 1024), word: str = "amiranoor") -> Path:
    """`count` pictures `img_000.png`, … with captions that name the word and differ."""
    for index in range(count):
        make_picture(folder / f"img_{index:03d}.png", seed=first_seed + index, size=size)
        (folder / f"img_{index:03d}.txt").write_bytes(f"{word}, a woman, view {index}\n".encode())
    return folder
