"""Pictures from scenes: variations of one portrait in pose, framing, light, lens and place, as good as `quality` says.

Everything follows from the scene: the same prompt, seed and settings give the same bytes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.stand_in.backdrops import Place, paint_backdrop, place_of
from tools.stand_in.portrait import ENLARGED, FACE_CENTER, dress, load_portrait
from tools.stand_in.quality import Quality, quality_of
from tools.stand_in.scene import Scene
from tools.stand_in.warps import GRID, Framing, sample_map

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

FACE_HEIGHT = 122.0
"""Brow to chin and forehead, in source pixels."""

SHOTS = {"close": (0.46, 0.64), "portrait": (0.32, 0.44), "medium": (0.25, 0.31)}
"""Face height over picture height."""

ROWS_SHOWN = 500
"""With the face's centre a third from the top, two thirds of this end at row 457 of 512: room for a tilt of the camera."""

CLOSE_WORDS = ("close up", "close-up", "closeup", "headshot", "portrait")
MEDIUM_WORDS = ("walking", "sitting", "full body", "poolside", "street", "standing", "rooftop", "medium shot")

STRANGER = {
    "face_width": -0.135, "midface": 0.135, "lower_face": 4.32, "eye_row": 4.536, "eye_distance": -4.536, "eye_size": 0.176,
    "eye_slant": 4.104, "brow_height": 2.592, "nose_width": 0.216, "nose_length": -2.376, "mouth_width": 0.189, "mouth_height": -3.024,
    "lip_fullness": -0.324, "jaw_width": 4.86, "cheek_width": 3.888, "chin_length": 5.4, "smile": -4.536,
}  # fmt: skip
"""The invented face at a drift of 1: amounts of `warps.FEATURES`. Nobody's: it is the same portrait, reshaped."""

NATURAL = {"brow_height": 0.6, "smile": 0.9, "mouth_height": 0.5, "eye_size": 0.03, "cheek_width": 0.5, "jaw_width": 0.5}
"""How much expression varies from picture to picture: standard deviations."""

GRAIN = 2.2
"""Standard deviation of the sensor's noise, in levels."""


@dataclass(frozen=True, slots=True)
class Look:
    """Where the person is, how she is turned, and how she is lit."""

    framing: Framing
    turn: tuple[float, float]
    features: dict[str, float]
    key_light: tuple[float, float]
    """Direction (degrees) and strength (0 to 1) of the light from one side."""
    gains: tuple[float, float, float]
    outfit: int


def render(scene: Scene) -> Picture:
    """The picture of a scene, RGB, height x width x 3; the same for the same scene."""
    import numpy as np

    random = np.random.default_rng(scene.random_seed("look"))
    place = place_of(scene.positive)
    look = choose_look(scene.positive, scene.width, scene.height, place, random)
    quality = quality_of(scene, np.random.default_rng(scene.random_seed("quality")))
    return compose(look, place, quality, scene.width, scene.height, random)


def choose_look(prompt: str, width: int, height: int, place: Place, random: np.random.Generator) -> Look:
    """A pose, a framing and a light that suit the prompt and the place."""
    text = prompt.lower()
    shot = "portrait"
    if any(word in text for word in CLOSE_WORDS):
        shot = "close"
    elif any(word in text for word in MEDIUM_WORDS):
        shot = "medium"
    if random.random() < 0.25:
        shot = list(SHOTS)[int(random.integers(len(SHOTS)))]
    gains = [gain * place.exposure * random.normal(1, 0.012) for gain in place.gains]
    exposure = random.normal(1.0, 0.03)
    features = {name: float(random.normal(0, spread)) for name, spread in NATURAL.items()}
    return Look(
        framing=_frame(shot, width, height, random),
        turn=(_limited(random.normal(0, 13), 26), _limited(random.normal(0, 5), 10)),
        features=features,
        key_light=(float(random.uniform(0, 360)), float(random.uniform(0.05, 0.22))),
        gains=(float(gains[0] * exposure), float(gains[1] * exposure), float(gains[2] * exposure)),
        outfit=int(random.integers(0, 5)),
    )


def _limited(value: float, limit: float) -> float:
    return float(max(-limit, min(limit, value)))


def _frame(shot: str, width: int, height: int, random: np.random.Generator) -> Framing:
    """A framing that shows at most `ROWS_SHOWN` source rows, so that its lower edge stays on the person: the source ends there."""
    low, high = SHOTS[shot]
    scale = float(random.uniform(low, high)) * min(height, 1.6 * width) / FACE_HEIGHT
    angle = _limited(random.normal(0, 3.0), 7)
    anchor_x = 0.5 + _limited(random.normal(0, 0.06), 0.14)
    anchor_y = float(random.uniform(0.40, 0.50)) if shot == "close" else float(random.uniform(0.33, 0.42))
    return Framing(FACE_CENTER, (anchor_x, anchor_y), max(scale, height / ROWS_SHOWN), angle)


def compose(look: Look, place: Place, quality: Quality, width: int, height: int, random: np.random.Generator) -> Picture:
    """Put the person before the place, light the picture, and let lens, filter and sampler do what they do."""
    import cv2
    import numpy as np

    backdrop = paint_backdrop(place, width, height, random, focus=0.8 if quality.is_empty else float(random.uniform(0.0, 0.4)))
    picture = backdrop
    if not quality.is_empty:
        features = dict(look.features)
        for name, amount in STRANGER.items():
            features[name] = features.get(name, 0.0) + amount * quality.drift
        x, y = sample_map(width, height, look.framing, look.turn, features)
        x, y = (plane * ENLARGED + (ENLARGED - 1) / 2 for plane in (x, y))
        person = cv2.remap(dress(look.outfit, quality.filter_strength), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.remap(load_portrait().alpha, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        weight = np.asarray(alpha, np.float32) / 255
        picture = np.asarray(cv2.blendLinear(person, backdrop, weight, 1 - weight), np.uint8)
    picture = _light(picture, look)
    picture = _develop(picture, look.gains, quality)
    if quality.blur or quality.softness:
        sigma = quality.blur * height + 2.2 * quality.softness
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    return _add_grain(picture, random)


def _light(picture: Picture, look: Look) -> Picture:
    """A key light from one side, and the lens's darker corners."""
    import cv2
    import numpy as np

    height, width = picture.shape[:2]
    columns, rows = -(-width // GRID), -(-height // GRID)
    across = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    down = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    direction, strength = np.deg2rad(look.key_light[0]), look.key_light[1]
    side = np.cos(direction) * across + np.sin(direction) * down
    light = 1 + strength * np.tanh(1.5 * side) - 0.06 * (across**2 + down**2)
    coarse = np.clip(light * 128, 0, 255).astype(np.uint8)
    full = cv2.resize(coarse, (columns * GRID, rows * GRID), interpolation=cv2.INTER_LINEAR)[:height, :width]
    return np.asarray(cv2.multiply(picture, cv2.merge([full, full, full]), scale=1 / 128), np.uint8)


def _develop(picture: Picture, gains: tuple[float, float, float], quality: Quality) -> Picture:
    """Colour temperature, exposure and contrast, as one table a channel; harsh settings and burnt LoRAs steepen it."""
    import cv2
    import numpy as np

    gains = (gains[0] * quality.cast[0], gains[1] * quality.cast[1], gains[2] * quality.cast[2])
    contrast = 1 + 0.55 * quality.harshness + 0.9 * quality.burn
    levels = np.arange(256, dtype=np.float32)
    table = np.empty((1, 256, 3), np.uint8)
    for channel, gain in enumerate(gains):
        table[0, :, channel] = np.clip((levels * gain - 118) * contrast + 118, 0, 255)
    developed = cv2.LUT(picture, table)
    if quality.burn > 0 or quality.harshness > 0:
        sharp = 1.6 * quality.burn + 0.5 * max(0.0, quality.harshness)
        developed = cv2.addWeighted(developed, 1 + sharp, cv2.GaussianBlur(developed, (0, 0), 2.0), -sharp, 0)
    return np.asarray(developed, np.uint8)


@functools.lru_cache(maxsize=1)
def _grain_tile() -> Picture:
    import numpy as np

    noise = np.random.default_rng(7).normal(128, GRAIN, (1024, 1024))
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


def _add_grain(picture: Picture, random: np.random.Generator) -> Picture:
    import cv2
    import numpy as np

    height, width = picture.shape[:2]
    tile = _grain_tile()
    tile = np.roll(tile, (int(random.integers(1024)), int(random.integers(1024))), axis=(0, 1))
    tile = np.tile(tile, (-(-height // 1024), -(-width // 1024)))[:height, :width]
    return np.asarray(cv2.addWeighted(picture, 1.0, cv2.merge([tile, tile, tile]), 1.0, -128), np.uint8)
