"""Words about what never changes, in nearly every caption, teach the trigger word nothing."""

from __future__ import annotations

import pytest

from tools.dataset.identity_words import check_identity_words, find_identity_words

PLACES = (
    "in a park",
    "at the beach",
    "in a kitchen",
    "on a roof",
    "in the snow",
    "by a lake",
    "on a bus",
    "in a studio",
    "at night",
    "indoors",
)


def sets(caption: str, *, without: int = 0) -> list[str]:
    return [caption.format(place=place) if number >= without else f"amiranoor {place}" for number, place in enumerate(PLACES)]


@pytest.mark.parametrize(
    ("captions", "found"),
    [
        (sets("amiranoor, brown hair, green eyes, {place}"), [("brown hair", 10), ("green eyes", 10)]),
        (sets("amiranoor, brown_hair, {place}"), [("brown hair", 10)]),
        (sets("A photo of amiranoor with long Brown hair and freckles {place}."), [("brown hair", 10), ("freckles", 10)]),
        (sets("a fair-skinned, blue-eyed woman {place}"), [("blue eyed", 10), ("fair skinned", 10)]),
        (sets("amiranoor, brown hair, {place}", without=1), [("brown hair", 9)]),
        (sets("amiranoor, brown hair, {place}", without=2), []),
        (sets("amiranoor with her hair over the eyes, {place}"), []),  # nothing is said of them
        (sets("amiranoor, looking at the viewer, closed eyes, {place}"), []),
        (sets("amiranoor, red dress, {place}"), []),
        ([f"amiranoor, {color} hair" for color in ("red", "blue", "green", "pink")], []),  # it changes, so it belongs there
        (["amiranoor, brown hair"] * 3, []),  # too few to call it a habit
        ([""] * 9, []),
        ([], []),
    ],
)
def test_find(captions: list[str], found: list[tuple[str, int]]) -> None:
    assert find_identity_words(captions, "amiranoor") == found


def test_the_finding_says_what_to_do() -> None:
    (finding,) = check_identity_words(sets("amiranoor, brown hair, {place}"), "amiranoor")
    assert finding.sentence == (
        'warning: nearly every caption says what never changes ("brown hair" in 10 of 10): the LoRA ties it to these words, and the trigger'
        ' word "amiranoor" learns nothing of it (take these words out of the captions, and name only what changes: clothes, place, pose,'
        " light) [identity_words]"
    )
    assert list(check_identity_words(sets("amiranoor, {place}"), None)) == []
