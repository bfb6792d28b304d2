"""The changed copies of a picture by which the skin score is tried: each with a name, what it should do is in `skin_figures.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.picture_changes import (
    BENIGN,
    FILTERS,
    STRENGTHS,
    add_color_grain,
    add_film_grain,
    add_grain,
    defocus,
    jpeg,
    make_up,
    paint_grain,
    resize,
    sharpen,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import Face

    Rgb = NDArray[np.uint8]

LONGEST_SIDE = 1280
"""Larger pictures are reduced first: some forty copies of each would take minutes."""
FULL = tuple(FILTERS)
DEFOCUS_SHARE = 0.02
SMALL_WIDTHS = (128, 80)


def changed_copies(rgb: Rgb, face: Face) -> Iterator[tuple[str, Rgb]]:
    """`untouched`, then every change."""
    yield "untouched", rgb
    filtered = {f"{name} {strength}": smooth(rgb, face, strength) for name, smooth in FILTERS.items() for strength in STRENGTHS}
    yield from filtered.items()
    plastic = filtered["bilateral 1.0"]
    white, film = add_grain(plastic, 3.0), add_film_grain(plastic, 6.0)
    full = "bilateral 1.0 +"
    yield f"{full} white grain 3", white
    yield f"{full} white grain 3, JPEG 85", jpeg(white, 85)
    yield f"{full} white grain 6", add_grain(plastic, 6.0)
    yield f"{full} soft grain 6", add_grain(plastic, 6.0, softness=0.8)
    yield f"{full} film grain 6", film
    yield f"{full} film grain 6, JPEG 85", jpeg(film, 85)
    yield f"{full} colour grain 6", add_color_grain(plastic, 6.0)
    yield f"{full} sharpened 1", sharpen(plastic, 1.0)
    yield f"{full} sharpened 2", sharpen(plastic, 2.0)
    yield "enlarged 4 times", sharpen(resize(resize(rgb, 0.25), 4.0), 1.0, 2.0)
    yield "painted grain", paint_grain(plastic, face, 4.0)
    yield "defocus", defocus(rgb, face, DEFOCUS_SHARE)
    yield "makeup", make_up(rgb, face)
    yield "JPEG 60", jpeg(rgb, 60)
    for name, change in BENIGN.items():
        yield name, change(rgb)
    width = face.box[2] - face.box[0]
    for wanted in SMALL_WIDTHS:
        if width > wanted:
            yield f"{wanted} px", resize(rgb, wanted / width)
            yield f"plastic {wanted} px", resize(plastic, wanted / width)
