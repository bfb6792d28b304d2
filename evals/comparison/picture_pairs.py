"""Two pictures of one prompt and seed, one of each version: their scores, what was decided, and how much better the second is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evals.comparison.comparing import VersionComparison
from evals.comparison.runs import RowPicture
from evals.judging.gates import Gate, gates_in_force, overall
from lifeos.counting import counted

WORSE, BETTER, SAME, UNKNOWN = "worse", "better", "same", "unknown"


@dataclass(frozen=True, slots=True)
class PicturePair:
    """`number` counts the pairs from 1, in the order of prompts and seeds. `first` and `second` are as the rows have them."""

    number: int
    title: str
    first: RowPicture
    second: RowPicture
    first_overall: float | None
    second_overall: float | None

    @property
    def change(self) -> float | None:
        """Of the overall score, from the first to the second."""
        if self.first_overall is None or self.second_overall is None:
            return None
        return round(self.second_overall - self.first_overall, 4)

    @property
    def rank(self) -> float | None:
        """The change as a place in an order: a lost score is the worst, a found one the best; None where neither has one."""
        if (self.first_overall is None) is (self.second_overall is None):
            return self.change
        return math.inf if self.first_overall is None else -math.inf

    def direction(self, least: float) -> str:
        """`worse`, `better` or `same` by the smallest difference that matters; `unknown` where neither has a score."""
        if self.rank is None:
            return UNKNOWN
        if abs(self.rank) < least:
            return SAME
        return BETTER if self.rank > 0 else WORSE


def list_pairs(comparison: VersionComparison) -> list[PicturePair]:
    """All pairs that are compared; of several runs of a version, those of its first run."""
    pairs, policy = comparison.pairs, comparison.policy
    if pairs is None:
        return []
    both = sorted(zip(pairs.images_first, pairs.images_second, strict=True), key=lambda pair: _place(pair[0]))
    return [
        PicturePair(number, pair_title(one, two), one, two, picture_overall(one, policy), picture_overall(two, policy))
        for number, (one, two) in enumerate(both, 1)
    ]


def _place(picture: RowPicture) -> tuple[tuple[bool, int, str], int, str]:
    """By prompt, seed and file; prompt 2 comes before prompt 10."""
    prompt = picture.prompt_id or ""
    number = int(prompt) if prompt.isdecimal() and len(prompt) < 20 else None
    return (number is None, number or 0, prompt), picture.seed or 0, picture.file


def pair_title(one: RowPicture, two: RowPicture) -> str:
    prompt = f"prompt {one.prompt_id}" if one.prompt_id is not None else one.file
    return prompt + (f", seed {one.seed}" if one.seed is not None and one.seed == two.seed else "")


def picture_overall(picture: RowPicture, policy: Mapping[str, Any]) -> float | None:
    return overall({key: reading.score for key, reading in picture.readings().items()}, policy)


def gates_of_pairs(pairs: list[PicturePair], policy: Mapping[str, Any]) -> tuple[Gate, ...]:
    """The gates in force by which any of the pictures was measured."""
    measured = {key for pair in pairs for picture in (pair.first, pair.second) for key in picture.scores}
    return tuple(gate for gate in gates_in_force(policy) if gate.key in measured)


def describe_verdict(picture: RowPicture, policy: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on a picture for a page: a person's is marked as theirs, with what the gates said."""
    verdict = "approved" if picture.is_approved(policy) else "rejected"
    gates_verdict = {None: None, True: "approved", False: "rejected"}[picture.gates_approved]
    return {"verdict": verdict, "by": picture.decided_by, "gates": gates_verdict if picture.decided_by is not None else verdict}


def count_directions(pairs: list[PicturePair], least: float) -> dict[str, int]:
    found = [pair.direction(least) for pair in pairs]
    return {direction: found.count(direction) for direction in (WORSE, SAME, BETTER, UNKNOWN)}


def count_decided(pairs: list[PicturePair]) -> str:
    """How many of the pictures people decided about, in words; empty where none."""
    decided = sum(picture.decided_by is not None for pair in pairs for picture in (pair.first, pair.second))
    return f"People decided about {counted(decided, 'picture')} of these pairs; their verdicts carry their names." if decided else ""
