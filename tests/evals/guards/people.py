"""Pictures for the guards: the character of `tests.evals.portraits`, people who are not, and policies with guards on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from evals.faces.engines import choose_engine
from evals.judging.assessor import Assessor
from evals.judging.references import ReferenceSet, load_references
from evals.load_thresholds import load_thresholds
from tests.evals.portraits import group, portrait


@cache
def engine() -> Any:
    return choose_engine("sface", load_thresholds())


@cache
def strangers() -> tuple[Image.Image, ...]:
    """Each of the six people of the group picture alone, left to right."""
    import numpy as np

    everybody = group()
    faces, _ = engine().find(np.asarray(everybody))
    crops = []
    for face in sorted(faces, key=lambda face: face.box[0]):
        x0, y0, x1, y1 = face.box
        around = 0.45 * max(x1 - x0, y1 - y0)
        crops.append(everybody.crop((round(x0 - around), round(y0 - around), round(x1 + around), round(y1 + around))).resize((400, 440)))
    return tuple(crops)


def two_people(share: float = 1.0) -> Image.Image:
    """The portrait with somebody beside it whose picture is `share` as wide."""
    picture = portrait().copy()
    side = round(150 * share)
    picture.paste(strangers()[1].resize((side, round(1.1 * side))), (20, 40))
    return picture


def policy_with(**guards: dict[str, Any]) -> dict[str, Any]:
    """The shipped policy with these guards on."""
    return {**load_thresholds(), "gates": guards}


@cache
def reference_set(folder: Path) -> ReferenceSet:
    return load_references(folder, engine(), want_skin=True, workers=2)


def open_with(references: Path, **guards: dict[str, Any]) -> Assessor:
    """An assessor with these guards on; engine and references are opened once for all tests."""
    return Assessor(engine(), reference_set(references), policy_with(**guards))


def saved(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path
