"""Reference portraits of the embedded server's person, for the demo and for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lifeos import files
from tools.stand_in.backdrops import PLACES, STUDIO
from tools.stand_in.quality import Quality
from tools.stand_in.renderer import choose_look, compose
from tools.stand_in.saver_formats import encode_png

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTH, HEIGHT = 832, 1216
FLAWLESS = Quality(drift=0.0, is_empty=False, filter_strength=0.0, blur=0.0, burn=0.0, cast=(1.0, 1.0, 1.0), softness=0.0, harshness=0.0)
SHOTS = ("close up", "upper body", "upper body", "medium shot")


def reference_picture(index: int) -> NDArray[np.uint8]:
    """The portrait at that place of the references, from 0: the person herself; they differ in pose and light."""
    import numpy as np

    places = [STUDIO, *PLACES]
    random = np.random.default_rng(1000 + index)
    place = places[index * 3 % len(places)]
    look = choose_look(SHOTS[index % len(SHOTS)], WIDTH, HEIGHT, place, random)
    return compose(look, place, FLAWLESS, WIDTH, HEIGHT, random)


def write_references(folder: Path, count: int) -> list[Path]:
    """Write `count` portraits as `reference_01.png` … and return their paths."""
    paths = [folder / f"reference_{index + 1:02}.png" for index in range(count)]
    for index, path in enumerate(paths):
        files.write_bytes(path, encode_png(reference_picture(index)))
    return paths
