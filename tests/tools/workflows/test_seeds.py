"""Seeds: those given win, those of a begun batch are kept, pictures have consecutive ones, and rounds of a sweep share none."""

from __future__ import annotations

import argparse

import pytest

from tools.workflows.seeds import MAX_SEED, choose_base_seed, parse_seed, round_seed, seed_at


@pytest.mark.parametrize(
    ("given", "begun", "wanted"),
    [
        pytest.param(7, 9, 7, id="given"),
        pytest.param(0, 9, 0, id="0 is a seed"),
        pytest.param(None, 9, 9, id="begun"),
        pytest.param(None, 0, 0, id="begun with 0"),
    ],
)
def test_the_base_seed(given: int | None, begun: int | None, wanted: int) -> None:
    assert choose_base_seed(given, begun) == wanted


def test_a_seed_is_drawn_where_none_is_known() -> None:
    drawn = {choose_base_seed(None, None) for _ in range(4)}
    assert len(drawn) > 1
    assert all(0 <= seed < 2**32 for seed in drawn)


def test_each_next_picture_has_the_next_seed_and_the_largest_is_followed_by_0() -> None:
    assert [seed_at(5, place) for place in range(3)] == [5, 6, 7]
    assert [seed_at(2**64 - 1, place) for place in range(2)] == [18446744073709551615, 0]


def test_rounds_of_a_sweep_share_no_seed() -> None:
    """A million pictures of one round would be needed to reach the next round's first seed."""
    assert [round_seed(5, number) for number in (1, 2, 3)] == [5, 1000008, 2000011]


@pytest.mark.parametrize("text", ["-1", str(MAX_SEED + 1), "1.5", "x"])
def test_what_no_seed_can_be(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_seed(text)


def test_the_largest_seed_can_be_given() -> None:
    assert parse_seed("18446744073709551615") == MAX_SEED
