"""Places behind the person: out-of-focus backdrops and their light, chosen by words of the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rgb = tuple[int, int, int]

COARSE = 8
"""Picture pixels per pixel of a backdrop: it is out of focus anyway."""


@dataclass(frozen=True, slots=True)
class Place:
    """Colours from top to bottom, what stands around (`blobs`, `columns`, `bands`), lights, and the light on the face."""

    words: tuple[str, ...]
    sky: Rgb
    ground: Rgb
    things: tuple[Rgb, ...]
    shape: str
    lights: Rgb | None = None
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    exposure: float = 1.0
    horizon: float = 0.6


PLACES = (
    Place(
        ("beach", "sunset", "sea"), (236, 170, 120), (92, 98, 120), ((250, 205, 150), (120, 130, 150)), "bands",
        gains=(1.04, 1.0, 0.95),
    ),
    Place(
        ("rooftop", "skyline", "magic hour"), (150, 140, 170), (60, 60, 80), ((90, 85, 110), (70, 70, 95)), "columns",
        lights=(255, 205, 140),
    ),
    Place(
        ("restaurant", "evening", "elegant"), (58, 40, 32), (40, 28, 24), ((92, 60, 40), (70, 42, 34)), "blobs",
        lights=(255, 190, 110), gains=(1.04, 0.99, 0.93), exposure=0.94,
    ),
    Place(
        ("rain", "coffee shop", "reading", "cozy"), (120, 126, 128), (72, 62, 54), ((96, 84, 70), (140, 146, 150)), "columns",
        lights=(235, 215, 180), gains=(0.98, 1.0, 1.02), exposure=0.97,
    ),
    Place(("window", "indoor", "room"), (196, 190, 182), (120, 110, 100), ((215, 212, 208), (150, 140, 128)), "columns"),
    Place(
        ("pool", "midday", "vacation"), (150, 196, 222), (86, 168, 190), ((225, 235, 238), (110, 190, 205)), "bands",
        gains=(1.0, 1.01, 1.01), exposure=1.05,
    ),
    Place(
        ("garden", "floral", "morning"), (170, 190, 150), (80, 110, 62), ((104, 140, 74), (190, 150, 160), (130, 165, 95)), "blobs",
    ),
    Place(
        ("autumn", "park", "leaves"), (200, 176, 132), (110, 84, 52), ((186, 120, 52), (150, 92, 42), (205, 160, 70)), "blobs",
        gains=(1.02, 1.0, 0.97),
    ),
    Place(
        ("street", "city", "urban"), (170, 168, 166), (96, 92, 90), ((120, 112, 106), (86, 84, 88), (150, 140, 126)), "columns",
        lights=(255, 220, 170), gains=(1.02, 1.0, 0.97),
    ),
    Place(
        ("cafe", "outdoor", "golden hour"), (206, 172, 128), (110, 84, 62), ((150, 112, 76), (180, 150, 104), (96, 104, 70)), "blobs",
        lights=(255, 225, 165), gains=(1.03, 1.0, 0.95),
    ),
)  # fmt: skip
STUDIO = Place((), (168, 160, 150), (128, 118, 108), ((150, 142, 132), (180, 172, 160)), "blobs")


def place_of(prompt: str) -> Place:
    """The place whose words the prompt names most often; the studio where it names none."""
    text = prompt.lower()
    best = max(PLACES, key=lambda place: sum(word in text for word in place.words))
    return best if any(word in text for word in best.words) else STUDIO


def paint_backdrop(place: Place, width: int, height: int, random: np.random.Generator, *, focus: float) -> NDArray[np.uint8]:
    """The place, RGB, height x width x 3; `focus` 0 is a fully open lens, 1 shows the shapes."""
    import cv2
    import numpy as np

    columns, rows = max(2, -(-width // COARSE)), max(2, -(-height // COARSE))
    down = np.clip((np.arange(rows) / rows - place.horizon + 0.2) / 0.4, 0, 1)[:, None, None]
    fade = np.array(place.sky) * (1 - down) + np.array(place.ground) * down
    coarse: NDArray[np.float32] = np.ascontiguousarray(np.broadcast_to(fade, (rows, columns, 3)), np.float32)
    for _ in range(26):
        color = np.array(place.things[int(random.integers(len(place.things)))], float) * random.uniform(0.8, 1.15)
        _paint_thing(coarse, place, color.tolist(), random)
    sigma = max(columns, rows) * (0.035 - 0.025 * focus)
    coarse = np.asarray(cv2.GaussianBlur(coarse, (0, 0), sigma), np.float32)
    if place.lights is not None:
        _paint_lights(coarse, place.lights, random)
    large = cv2.resize(np.clip(coarse, 0, 255).astype(np.uint8), (columns * COARSE, rows * COARSE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large[:height, :width], np.uint8)


def _paint_thing(coarse: NDArray[np.float32], place: Place, color: list[float], random: np.random.Generator) -> None:
    import cv2

    rows, columns = coarse.shape[:2]
    x, y = int(random.integers(columns)), int(random.integers(rows))
    if place.shape == "columns":
        half, top = int(columns * random.uniform(0.02, 0.09)), int(rows * random.uniform(0.0, 0.6))
        cv2.rectangle(coarse, (x - half, top), (x + half, int(rows * random.uniform(0.6, 1.0))), color, -1)
    elif place.shape == "bands":
        y = int(rows * min(0.98, max(0.02, random.normal(place.horizon, 0.18))))
        cv2.rectangle(coarse, (0, y), (columns, y + max(1, int(rows * random.uniform(0.005, 0.05)))), color, -1)
    else:
        axes = (int(columns * random.uniform(0.04, 0.16)) + 1, int(rows * random.uniform(0.03, 0.10)) + 1)
        cv2.ellipse(coarse, (x, y), axes, random.uniform(0, 180), 0, 360, color, -1)


def _paint_lights(coarse: NDArray[np.float32], color: Rgb, random: np.random.Generator) -> None:
    """Discs of light, as an open lens shows lamps."""
    import cv2
    import numpy as np

    rows, columns = coarse.shape[:2]
    layer = np.zeros(coarse.shape, np.uint8)
    for _ in range(int(random.integers(6, 14))):
        center = (int(random.integers(columns)), int(rows * random.uniform(0, 0.7)))
        strength = random.uniform(0.25, 0.7)
        cv2.circle(
            layer, center, int(columns * random.uniform(0.02, 0.055)) + 1, [int(value * strength) for value in color], -1, cv2.LINE_AA
        )
    coarse += cv2.GaussianBlur(layer, (0, 0), max(1.0, columns * 0.008))
