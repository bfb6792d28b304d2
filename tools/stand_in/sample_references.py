"""Reference portraits of the embedded server's person, for the demo and for tests."""

from __future__ import annotations

from pathlib import Path

from lifeos import files
from tools.stand_in.backdrops import PLACES, STUDIO
from tools.stand_in.quality import Quality
from tools.stand_in.renderer import choose_look, compose
from tools.stand_in.saver_formats import encode_png

WIDTH, HEIGHT = 832, 1216
FLAWLESS = Quality(drift=0.0, is_empty=False, filter_strength=0.0, blur=0.0, burn=0.0, cast=(1.0, 1.0, 1.0), softness=0.0, harshness=0.0)
SHOTS = ("close up", "upper body", "upper body", "medium shot")


def write_references(folder: Path, count: int) -> list[Path]:
    """Write `count` portraits as `reference_01.png` … and return their paths: the person herself, in several poses and lights."""
    import numpy as np

    places = [STUDIO, *PLACES]
    paths = []
    for index in range(count):
        random = np.random.default_rng(1000 + index)
        place = places[index * 3 % len(places)]
        look = choose_look(SHOTS[index % len(SHOTS)], WIDTH, HEIGHT, place, random)
        path = folder / f"reference_{index + 1:02}.png"
        files.write_bytes(path, encode_png(compose(look, place, FLAWLESS, WIDTH, HEIGHT, random)))
        paths.append(path)
    return paths
