"""A labelled character for the benchmarks: the demo's person (a public-domain portrait of scikit-image), in sets whose truth is known.

All pictures come from one portrait, so the character is an easy one: figures on it show that a measure works, not how well it does on a
LoRA's pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tools.stand_in.renderer import Look

    Rgb = NDArray[np.uint8]

REFERENCES = 10
MOST = 24
"""Pictures of each other set."""
PASSED_DRIFTS, FAILED_DRIFTS = (0.0, 0.1, 0.2), (0.7, 0.85, 1.0)
"""How far towards an invented face: 0 is the person, 1 nobody who is like her."""
POSE, POSE_WANDERS = (8.0, 2.0), 1.0
"""Turn and tilt in degrees of the batch of one pose, and by how much its heads still differ (standard deviation)."""
TIGHT = 0.8
"""Face height over picture height in the batch of one pose: close-ups that fill the picture."""


def render_character(most: int = MOST) -> dict[str, Iterator[tuple[str, Rgb]]]:
    """By label: name and picture of the references, of what passes, of what shows another face, and of a batch of one pose; `most` of each,
    and of the references as many as the demo has. One flat portrait makes no varied set: turned by 60 degrees it looks 13 degrees away.
    """
    from tools.stand_in.sample_references import reference_picture

    numbers = range(min(most, MOST))
    return {
        "references": ((f"reference {number + 1}", reference_picture(number)) for number in range(REFERENCES)),
        "passed": ((f"passed {number + 1}", _generated(number, PASSED_DRIFTS[number % 3])) for number in numbers),
        "failed": ((f"failed {number + 1}", _generated(100 + number, FAILED_DRIFTS[number % 3])) for number in numbers),
        "one_pose": ((f"one pose {number + 1}", _one_pose(200 + number)) for number in numbers),
    }


def _look(number: int, random: np.random.Generator) -> Look:
    from tools.stand_in.backdrops import PLACES
    from tools.stand_in.renderer import choose_look
    from tools.stand_in.sample_references import HEIGHT, SHOTS, WIDTH

    return choose_look(SHOTS[number % len(SHOTS)], WIDTH, HEIGHT, PLACES[number % len(PLACES)], random)


def _compose(look: Look, number: int, drift: float, random: np.random.Generator) -> Rgb:
    from tools.stand_in.backdrops import PLACES
    from tools.stand_in.renderer import compose
    from tools.stand_in.sample_references import FLAWLESS, HEIGHT, WIDTH

    return compose(look, PLACES[number % len(PLACES)], replace(FLAWLESS, drift=drift), WIDTH, HEIGHT, random)


def _generated(number: int, drift: float) -> Rgb:
    import numpy as np

    random = np.random.default_rng(5000 + number)
    return _compose(_look(number, random), number, drift, random)


def _one_pose(number: int) -> Rgb:
    """A close-up in always the same pose; light, place, clothes and expression differ."""
    import numpy as np

    from tools.stand_in.portrait import FACE_CENTER
    from tools.stand_in.renderer import FACE_HEIGHT
    from tools.stand_in.sample_references import HEIGHT
    from tools.stand_in.warps import Framing

    random = np.random.default_rng(5000 + number)
    turn = (POSE[0] + float(random.normal(0, POSE_WANDERS)), POSE[1] + float(random.normal(0, POSE_WANDERS)))
    framing = Framing(FACE_CENTER, (0.5, 0.5), TIGHT * HEIGHT / FACE_HEIGHT, 0.0)
    return _compose(replace(_look(number, random), turn=turn, framing=framing), number, 0.0, random)
