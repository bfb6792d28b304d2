"""One picture, two pictures."""

from __future__ import annotations

import pytest

from lifeos.counting import counted, dollars


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "picture", "0 pictures"),
        (1, "picture", "1 picture"),
        (2, "picture", "2 pictures"),
        (1_000, "prompt", "1,000 prompts"),
        (1, "batch", "1 batch"),
        (3, "batch", "3 batches"),
        (3, "entry", "3 entries"),
        (3, "day", "3 days"),
        (2, "diffusion model", "2 diffusion models"),
    ],
)
def test_number_and_noun(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


def test_noun_with_a_plural_of_its_own() -> None:
    assert (counted(1, "person", "people"), counted(2, "person", "people")) == ("1 person", "2 people")


@pytest.mark.parametrize(
    ("usd", "text"), [(0, "$0.00"), (0.0042, "$0.0042"), (0.00999, "$0.0100"), (0.01, "$0.01"), (12.346, "$12.35"), (-0.2, "$-0.20")]
)
def test_what_costs_something_does_not_read_as_nothing(usd: float, text: str) -> None:
    assert dollars(usd) == text
