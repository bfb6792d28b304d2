"""Pictures with faces for tests: the public-domain portrait of scikit-image, changed, and the group picture in InsightFace's wheel."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image, ImageEnhance


@cache
def portrait() -> Image.Image:
    """512 x 512, one face of about 90 x 115 pixels."""
    astronaut: Any = skimage.data.astronaut
    return Image.fromarray(astronaut())


def tight_close_up() -> Image.Image:
    """The face alone, with no margin: detectors miss it as it is."""
    return portrait().crop((170, 70, 275, 185)).resize((630, 690), Image.Resampling.BICUBIC)


def group() -> Image.Image:
    """Six other people, none of them the portrait's."""
    spec = importlib.util.find_spec("insightface")
    assert spec is not None and spec.origin is not None
    with Image.open(Path(spec.origin).parent / "data" / "images" / "t1.jpg") as image:
        return image.convert("RGB")


def noise(width: int = 320, height: int = 320) -> Image.Image:
    """No face, on any engine."""
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8))


def write_references(folder: Path) -> Path:
    """Three usable references."""
    folder.mkdir(parents=True, exist_ok=True)
    portrait().save(folder / "r1.png")
    portrait().crop((90, 0, 390, 300)).resize((600, 600), Image.Resampling.BICUBIC).save(folder / "r2.png")
    ImageEnhance.Brightness(portrait().crop((50, 0, 450, 400))).enhance(0.9).save(folder / "r3.png")
    return folder


def write_few(folder: Path) -> Path:
    """One reference in `refs` and one good picture in `out`: the least that a command can be run on."""
    (folder / "refs").mkdir(parents=True)
    (folder / "out").mkdir()
    portrait().crop((90, 0, 390, 300)).save(folder / "refs" / "r1.png")
    red, green, blue = portrait().split()
    warmer = Image.merge("RGB", (red.point(lambda level: level * 1.1), green, blue.point(lambda level: level * 0.8)))
    leaning = warmer.rotate(8, Image.Resampling.BICUBIC).crop((60, 0, 400, 340)).resize((400, 400))
    leaning.save(folder / "out" / "step1500_str0.80_0001_p001_v01_seed11_a.png")
    return folder


def write_generated(folder: Path) -> Path:
    """Two configurations: the first good, the second with strangers, a scene without a face and a file cut off."""
    folder.mkdir(parents=True, exist_ok=True)
    good, bad = "step1500_str0.80", "step2000_str0.75"
    portrait().resize((640, 640), Image.Resampling.BICUBIC).save(folder / f"{good}_0001_p001_v01_seed11_a.png")
    ImageEnhance.Brightness(portrait()).enhance(1.1).save(folder / f"{good}_0002_p002_v01_seed12_b.png")
    group().save(folder / f"{bad}_0003_p001_v01_seed11_a.png")
    noise().save(folder / f"{bad}_0004_p002_v01_seed12_b.png")
    whole = (folder / f"{good}_0002_p002_v01_seed12_b.png").read_bytes()
    (folder / f"{bad}_0005_p003_v01_seed13_c.png").write_bytes(whole[: len(whole) // 2])
    return folder
