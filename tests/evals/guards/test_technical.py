"""The guard *technical*: each fault is found and named; what only looks like one, such as night, snow and blurred backgrounds, passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from evals.guards import technical
from evals.guards.technical import BLANK, BLOWN_OUT, BLURRED, BORDER, CUT_OFF, find_faults
from evals.judging.picture_verdict import verdict
from tests.evals.guards.people import open_with, policy_with, saved
from tests.evals.portraits import portrait

Rgb = NDArray[np.uint8]
FACE = (180.0, 70.0, 270.0, 190.0)
"""The portrait's face, in its 512 x 512 pixels."""


def astronaut() -> Rgb:
    return np.asarray(portrait())


def lit(factor: float) -> Rgb:
    """As by so many times the light, clipped as a sensor clips."""
    return np.asarray((np.clip((astronaut() / 255.0) ** 2.2 * factor, 0, 1) ** (1 / 2.2)) * 255, dtype=np.uint8)


def soft(sigma: float) -> Rgb:
    return np.asarray(cv2.GaussianBlur(astronaut(), (0, 0), sigma), dtype=np.uint8)


def cut(level: int, share: float, quality: int | None = None) -> Rgb:
    picture = astronaut().copy()
    picture[round(512 * (1 - share)) :] = level
    if quality is None:
        return picture
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR), dtype=np.uint8)


def framed(level: int, depth: int, *sides: str) -> Rgb:
    picture = astronaut().copy()
    views = {"top": picture, "bottom": picture[::-1], "left": picture.swapaxes(0, 1), "right": picture[:, ::-1].swapaxes(0, 1)}
    for side in sides:
        views[side][:depth] = level
    return picture


def captioned(level: int, ink: int, side: str = "bottom") -> Rgb:
    image = Image.fromarray(framed(level, 40, side))
    font = ImageFont.load_default(size=20)
    ImageDraw.Draw(image).text((30, 478 if side == "bottom" else 8), "EXAMPLE STUDIO  www.example.com", fill=(ink,) * 3, font=font)
    return np.asarray(image)


def snow() -> Rgb:
    """The person before pure white, down to the edges."""
    picture = astronaut().copy()
    away = np.ones((512, 512), dtype=bool)
    cv2.circle(mask := np.zeros((512, 512), dtype=np.uint8), (230, 260), 190, 1, -1)
    picture[away & (mask == 0)] = 255
    return picture


def bokeh() -> Rgb:
    """Sharp within the face and shoulders alone."""
    blurred, mask = soft(9), np.zeros((512, 512), dtype=np.float32)
    cv2.ellipse(mask, (225, 200), (110, 190), 0, 0, 360, 1.0, -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 12), dtype=np.float32)[..., None]
    return np.asarray(astronaut() * mask + blurred * (1 - mask), dtype=np.uint8)


def studio() -> Rgb:
    """A person before a wall of one colour that reaches all edges."""
    cv2.ellipse(mask := np.zeros((512, 512), dtype=np.uint8), (225, 330), (140, 300), 0, 0, 360, 1, -1)
    return np.where(mask[..., None] > 0, astronaut(), np.uint8(60))


FAULTY: dict[str, tuple[Callable[[], Rgb], str]] = {
    "one grey": (lambda: np.full((512, 512, 3), 90, dtype=np.uint8), BLANK),
    "black": (lambda: np.zeros((512, 512, 3), dtype=np.uint8), BLANK),
    "grey with grain": (lambda: np.random.default_rng(1).normal(90, 3, (512, 512, 3)).astype(np.uint8), BLANK),
    "the lower third is grey": (lambda: cut(128, 0.3), CUT_OFF),
    "the lower third is black, saved as JPEG": (lambda: cut(0, 0.3, 85), CUT_OFF),
    "nearly all is grey": (lambda: cut(128, 0.9), CUT_OFF),
    "eight times the light": (lambda: lit(8), BLOWN_OUT),
    "blurred": (lambda: soft(2.5), BLURRED),
    "blurred beyond recognition": (lambda: soft(8), BLURRED),
    "letterbox": (lambda: framed(0, 30, "top", "bottom"), BORDER),
    "white bars": (lambda: framed(255, 30, "left", "right"), BORDER),
    "frame": (lambda: framed(250, 12, "top", "bottom", "left", "right"), BORDER),
    "caption below": (lambda: captioned(255, 0), BORDER),
    "caption above, white on black": (lambda: captioned(0, 255, "top"), BORDER),
}
SOUND: dict[str, Callable[[], Rgb]] = {
    "as it is": astronaut,
    "a little soft": lambda: soft(0.8),
    "night": lambda: lit(0.05),
    "twice the light": lambda: lit(2),
    "snow": snow,
    "blurred background": bokeh,
    "a wall of one colour": studio,
    "a cat": lambda: np.asarray(skimage.data.chelsea()),
    "a cup": lambda: np.asarray(skimage.data.coffee()),
    "a rocket at night": lambda: np.asarray(skimage.data.rocket()),
    "stars": lambda: np.asarray(skimage.data.hubble_deep_field()),
}


@pytest.mark.parametrize(("make", "cause"), FAULTY.values(), ids=FAULTY)
def test_a_fault_is_found_and_named(make: Callable[[], Rgb], cause: str) -> None:
    worst = min(find_faults(make(), FACE), key=lambda fault: fault.soundness)
    assert (worst.cause, worst.soundness < 0.5) == (cause, True)


@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
def test_what_only_looks_like_a_fault_passes(make: Callable[[], Rgb]) -> None:
    picture = make()
    faults = find_faults(picture, FACE if picture.shape == (512, 512, 3) else None)
    assert [(fault.cause, fault.soundness) for fault in faults if fault.soundness < 0.5] == []


@pytest.mark.parametrize("size", [(16, 16), (40, 3000), (3, 3), (1, 1)], ids=str)
def test_odd_sizes_are_measured(size: tuple[int, int]) -> None:
    random: Any = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert all(0 <= fault.soundness <= 1 for fault in find_faults(random))


def test_a_small_copy_is_judged_alike() -> None:
    """What counts is how it looks: the same picture at another size has the same fault."""
    for make, cause in (FAULTY["blurred"], FAULTY["letterbox"], FAULTY["caption below"]):
        large = cv2.resize(make(), (1216, 1216), interpolation=cv2.INTER_CUBIC)
        assert min(find_faults(np.asarray(large, dtype=np.uint8)), key=lambda fault: fault.soundness).cause == cause


def test_the_verdict_names_the_fault(references: Path, tmp_path: Path) -> None:
    on: dict[str, Any] = {"limit": 0.5}
    assessor, policy = open_with(references, technical=on), policy_with(technical=on)
    whole = assessor.assess(saved(portrait(), tmp_path / "whole.png"))
    assert verdict(whole, policy).approved and whole.measures["technical"].cause == ""
    half = assessor.assess(saved(Image.fromarray(cut(128, 0.4)), tmp_path / "half.png"))
    score = half.measures["technical"].score
    reason = f"technical soundness {score:.2f} is below 0.50: cut off: the lowest 40% is one colour"
    judged = verdict(half, policy)
    assert reason in judged.reasons
    groups = [ground.group for ground in judged.grounds if ground.gate == "technical"]
    assert groups == [("technical", "below", technical.CUT_OFF)]
    blank = assessor.assess(saved(Image.new("RGB", (400, 600), (90, 90, 90)), tmp_path / "blank.png"))
    assert verdict(blank, policy).reasons == ("no face found", "technical soundness 0.00 is below 0.50: blank")
