"""People whose taste is known, and the verdicts that they give: simulated, nobody looked at a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from evals.judging.records import Assessment, FaceScore
from evals.skin.realism import SkinScore
from evals.taste.opinions import FREE, RANDOM, Opinion, SeenPicture


def make_picture(
    name: str, prompt: str, face: float | None, texture: float = 0.8, color: float = 0.8, *, approve: bool = True
) -> SeenPicture:
    """A picture with these scores; its skin realism is the mean of both. `approve`: what its batch's gates said."""
    skin = SkinScore(round((texture + color) / 2, 4), None, texture=texture, color=color)
    likeness = FaceScore(face, None if face is not None else "no_face")
    return SeenPicture(name, prompt, Assessment(name, f"sha256 of {name}", 64, 96, None, likeness, skin), approve)


def judge(
    taste: Mapping[str, float],
    *,
    seed: int,
    verdicts: int = 200,
    prompts: int = 40,
    noise: float = 0.05,
    lapse: float = 0.0,
    slips: float = 0.0,
    by: str = "anna",
    drawn: bool = True,
    pictures_of: int = 0,
) -> list[Opinion]:
    """Verdicts by limits (`taste`: gate key -> limit), each with noise of that standard deviation, of pictures with scores of all kinds.

    `lapse` is the share rejected for what no gate measures, `slips` the share of verdicts that are turned over. `pictures_of`: the seed of
    the pictures, where several people judge the same.
    """
    looks, mind = np.random.default_rng([pictures_of or seed, 1]), np.random.default_rng([seed, 2])
    found = []
    for number in range(verdicts):
        face, texture, color = (round(float(looks.uniform(low, high)), 4) for low, high in ((0.35, 0.9), (0.4, 0.95), (0.4, 0.95)))
        picture = make_picture(f"{number:04d}.png", f"prompt {number % prompts}", face, texture, color)
        scores = {"face": face, "texture": texture, "color": color, "skin": picture.assessment.skin.score or 0.0}
        approved = all(scores[key] + noise * mind.standard_normal() >= limit for key, limit in taste.items()) and mind.random() >= lapse
        approved = approved != (mind.random() < slips)
        found.append(Opinion(picture, by, bool(approved), RANDOM if drawn else FREE, 1.0 if drawn else None, blind=True, batch="batch_001"))
    return found


def by(opinions: list[Opinion], name: str) -> list[Opinion]:
    return [replace(each, by=name) for each in opinions]
