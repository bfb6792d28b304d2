"""Floor and ceiling beside a score, and what is said of references that are too few or do not agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from evals.faces.centroid import left_out_cosines
from evals.faces.face_engine import unit
from evals.faces.policy_scale import PolicyScale
from evals.faces.strangers import statistics_of
from evals.judging.likeness_range import describe_likeness, doubts_about, measure_range
from evals.judging.references import ReferenceSet
from evals.skin.realism import SkinReference

SCALE = PolicyScale(0.0, 0.4, 0.5, 1.0)


@dataclass(frozen=True)
class Faces:
    rows: np.ndarray

    def to_set(self) -> ReferenceSet:
        names = tuple(f"r{number}.png" for number in range(1, len(self.rows) + 1))
        return ReferenceSet(Path("refs"), names, names, self.rows, SkinReference.from_measurements([]), ())


def around(middle: int, count: int, share: float, seed: int = 1) -> np.ndarray:
    """Unit vectors near one direction."""
    random = np.random.default_rng(seed)
    centre = np.eye(128)[middle]
    return np.array([unit(share * centre + (1 - share**2) ** 0.5 * unit(random.normal(size=128))) for _ in range(count)])


@pytest.mark.parametrize(
    ("score", "likeness", "said"),
    [
        (0.7113, {"strangers": 0.0204, "references": 0.7799}, "0.71: strangers 0.02, your references among themselves 0.78"),
        (0.7, {"strangers": 0.0, "references": None}, "0.70: strangers 0.00"),
        (None, {"strangers": 0.0, "references": 0.5}, ""),
        (0.7, {}, ""),
        (0.7, None, ""),
    ],
)
def test_the_words(score: float | None, likeness: dict[str, float | None] | None, said: str) -> None:
    assert describe_likeness(score, likeness) == said


def test_the_ceiling_is_the_middle_reference_left_out() -> None:
    references = Faces(around(0, 7, 0.9)).to_set()
    middle = float(np.median(left_out_cosines(references.embeddings)))
    found = measure_range(references, SCALE, "insightface_mini")
    assert found.references == pytest.approx(SCALE.score(middle), abs=1e-4) and found.strangers == 0.0
    assert measure_range(Faces(around(0, 1, 0.9)).to_set(), SCALE, "sface").references is None


def test_the_floor_is_the_mean_score_of_strangers() -> None:
    """Scores below an average stranger's are 0, so the mean is above it: checked against drawn cosines."""
    references = Faces(around(3, 6, 0.8)).to_set()
    known = statistics_of("sface")
    assert known is not None
    floor = known.floor_for(references.centroid)
    drawn = NormalDist(floor.mean, floor.deviation).samples(20_000, seed=4)
    expected = sum(map(SCALE.score, drawn)) / len(drawn)
    found = measure_range(references, SCALE, "sface").strangers
    assert found == pytest.approx(expected, abs=0.004) and 0.02 < found < 0.2


def test_few_references_are_said() -> None:
    assert doubts_about(Faces(around(0, 1, 0.95)).to_set(), SCALE) == (
        "only one reference with a face: scores depend on that one picture; five or more are steadier",
    )
    assert doubts_about(Faces(around(0, 4, 0.95)).to_set(), SCALE) == ("only 4 references with a face: five or more are steadier",)
    assert doubts_about(Faces(around(0, 5, 0.95)).to_set(), SCALE) == ()


def test_a_reference_that_shows_another_is_named() -> None:
    rows = around(0, 6, 0.95)
    rows[2] = around(1, 1, 0.95)[0]
    (said,) = doubts_about(Faces(rows).to_set(), SCALE)
    assert said.startswith("reference r3.png is far less like the others (") and said.endswith(": look whether it shows the character")


def test_references_of_many_people_disagree() -> None:
    rows = np.vstack([around(number, 1, 0.9, seed=number) for number in range(6)])
    (said,) = doubts_about(Faces(rows).to_set(), SCALE)
    assert said.startswith("the references disagree with each other: each against the others they reach ")
