"""Pictures of many kinds for the benchmarks, from what every installation has: the demo's renderer, packaged photos, made textures."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from lifeos.images import ImageError, find_pictures, read_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rgb = NDArray[np.uint8]

SIZES = ((832, 1216), (1024, 1024), (1216, 832), (896, 1152), (1344, 768), (832, 1216), (1664, 2432), (1001, 777))
"""Width and height, in turn: what SDXL makes, one that was enlarged twice, one that is odd."""
FOLDERS = (("skimage", "data"), ("insightface", "data/images"), ("matplotlib", "mpl-data/sample_data"))
LEAST_SIDE = 200
"""Of a packaged photo: smaller ones are icons."""
KINDS = ("rendered", "photo", "rendered", "texture")
"""What the pictures are, in turn."""


def make_picture(number: int) -> tuple[str, Rgb]:
    """The kind of picture `number` (from 0), and the picture: the same for the same number, another for each."""
    import numpy as np

    random = np.random.default_rng([20261129, number])
    width, height = SIZES[number // len(KINDS) % len(SIZES)]
    kind = KINDS[number % len(KINDS)]
    makers = {"rendered": _rendered, "photo": _photo, "texture": _texture}
    return kind, makers[kind](width, height, random)


def _rendered(width: int, height: int, random: np.random.Generator) -> Rgb:
    """A portrait as the embedded server makes them, flawless and filtered ones."""
    from tools.production.prompts import BUILT_IN
    from tools.stand_in.renderer import render
    from tools.stand_in.scene import Scene

    prompt = BUILT_IN[int(random.integers(len(BUILT_IN)))]
    seed = int(random.integers(2**31))
    return render(Scene(prompt, "", seed, 0, 30, 6.0, "dpmpp_2m", "karras", width, height))


def _photo(width: int, height: int, random: np.random.Generator) -> Rgb:
    """A part of a packaged photo, at the wanted size."""
    import cv2
    import numpy as np

    photos = _photos()
    rgb = read_picture(photos[int(random.integers(len(photos)))]).rgb
    share = float(random.uniform(0.6, 1.0)) * min(rgb.shape[1] / width, rgb.shape[0] / height)
    part = (max(1, int(width * share)), max(1, int(height * share)))
    left, top = (int(random.integers(whole - side + 1)) for whole, side in zip((rgb.shape[1], rgb.shape[0]), part, strict=True))
    cut = rgb[top : top + part[1], left : left + part[0]]
    kind = cv2.INTER_AREA if share > 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, (width, height), interpolation=kind), dtype=np.uint8)


@functools.cache
def _photos() -> list[Path]:
    found = []
    for package, folder in FOLDERS:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found += [path for path in find_pictures(Path(spec.origin).parent / folder) if _is_photo(path)]
    return found


def _is_photo(path: Path) -> bool:
    try:
        height, width = read_picture(path).rgb.shape[:2]
    except ImageError:  # skimage brings odd ones, to test its readers
        return False
    return bool(min(height, width) >= LEAST_SIDE)


def _texture(width: int, height: int, random: np.random.Generator) -> Rgb:
    """Coloured noise as rough as photos are, over a gradient, with shapes that have edges and stripes."""
    import cv2
    import numpy as np

    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    waves[0, 0] = 1
    rough = np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) / waves ** random.uniform(0.8, 1.6), (height, width))
    plane = rough / rough.std() * random.uniform(5, 45) + np.linspace(-40, 40, height)[:, None] * random.uniform(-1, 1)
    rgb = np.stack([plane * random.uniform(0.6, 1.2) + random.uniform(60, 190) for _ in range(3)], axis=-1).astype(np.float32)
    for _ in range(int(random.integers(0, 12))):
        center = (int(random.integers(width)), int(random.integers(height)))
        axes = (int(random.integers(20, width // 3)), int(random.integers(20, height // 3)))
        color = [float(value) for value in random.integers(0, 256, 3)]
        cv2.ellipse(rgb, center, axes, float(random.uniform(0, 180)), 0, 360, color, -1)
    if random.random() < 0.3:
        period = float(random.uniform(4, 90))
        rgb += (random.uniform(4, 40) * np.sign(np.sin(np.arange(width) * 2 * np.pi / period)))[None, :, None]
    return np.asarray(np.clip(np.rint(rgb), 0, 255), dtype=np.uint8)
