"""Which pictures are duplicates of which."""

from __future__ import annotations

import random

import pytest

from evals.judging.duplicates import CopyOf, Entry, find_copies


def entries(text: str) -> list[Entry]:
    """`a:x b:x c:y` are three files, the first two with the same bytes; `a:x:g` is of a group."""
    parts = [word.split(":") for word in text.split()]
    return [Entry(file, digest or None, group[0] if group else None) for file, digest, *group in parts]


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        ("", {}),
        ("a:x b:y", {}),
        ("a:x b:x", {"b": "a"}),
        ("b:x a:x", {"a": "b"}),  # the order given counts, not the names
        ("a:x b:y c:x d:y e:x", {"c": "a", "d": "b", "e": "a"}),
        ("a: b:", {}),  # of a file without a digest nothing is known
        ("a:x:1 b:x:2 c:x:1", {"c": "a"}),
    ],
)
def test_of_the_same_file_the_first_is_kept(pictures: str, expected: dict[str, str]) -> None:
    assert find_copies(entries(pictures)) == {file: CopyOf(kept) for file, kept in expected.items()}


@pytest.mark.parametrize(
    ("pictures", "alike", "expected"),
    [
        ("a:1 b:2 c:3", [("b", "a", "near")], {"b": ("a", "near")}),
        ("a:1 b:2 c:3", [("a", "b", "near"), ("c", "b", "mirrored")], {"b": ("a", "near")}),  # c is like a duplicate alone: it is kept
        ("a:1 b:2 c:3", [("a", "c", "part"), ("c", "b", "near")], {"c": ("a", "part")}),  # of two kept ones the first
        ("a:1 b:2 c:2", [("a", "b", "near")], {"b": ("a", "near"), "c": ("a", "near")}),  # the same file as one that is like a
        ("a:1:g b:2:h", [("a", "b", "near")], {}),
        ("b:2", [("a", "b", "near")], {}),  # a is not approved
    ],
)
def test_those_that_are_nearly_the_same(pictures: str, alike: list[tuple[str, str, str]], expected: dict[str, tuple[str, str]]) -> None:
    found = find_copies(entries(pictures), {(first, second): how for first, second, how in alike})
    assert found == {file: CopyOf(*kept) for file, kept in expected.items()}


def test_nothing_of_a_kind_is_approved_twice_and_nothing_is_lost() -> None:
    """Of 200 random sets: of each digest one is kept, and whatever is kept is no duplicate itself."""
    for seed in range(200):
        choose = random.Random(seed)
        pictures = [Entry(str(place), choose.choice("abcdef")) for place in range(20)]
        found = find_copies(pictures)
        kept = [entry for entry in pictures if entry.file not in found]
        assert sorted(entry.sha256 or "" for entry in kept) == sorted({entry.sha256 or "" for entry in pictures})
        assert {copy.file for copy in found.values()} <= {entry.file for entry in kept}


def test_the_reason_names_the_kept_picture() -> None:
    reason = CopyOf("0002_x.png").reason
    assert (reason.text, reason.group) == (
        "duplicate: the same file as 0002_x.png",
        ("duplicate", "duplicate", "the same file as another picture"),
    )
    assert CopyOf("0002_x.png", "mirrored").reason.text == "duplicate: the mirror image of 0002_x.png"
    assert CopyOf("0002_x.png", "a word of a newer version").text == "nearly the same picture as 0002_x.png"
