"""The style of captions, and a set's captions in words."""

from __future__ import annotations

import pytest

from lifeos.caption_style import describe_captions, describe_parts, find_mixture, style_of

TAGS = "amiranoor, 1girl, red dress, looking at viewer, outdoors, smile"
SENTENCE = "A photo of amiranoor sitting on a park bench in autumn, wearing a long green coat."


@pytest.mark.parametrize(
    ("caption", "style"),
    [
        (TAGS, "tags"),
        ("amiranoor, a young woman, close up portrait, photorealistic", "tags"),
        ("1girl; solo; red_dress", "tags"),
        (SENTENCE, "sentence"),
        ("amiranoor stands in the kitchen and laughs at the camera", "sentence"),
        ("amiranoor, a portrait of a woman with a warm smile, she leans on a wooden fence in the sun", "sentence"),
        ("amiranoor", "short"),
        ("amiranoor, beach", "short"),
        ("", "short"),
        (" , ,, ", "short"),
    ],
)
def test_style(caption: str, style: str) -> None:
    assert style_of(caption) == style


def test_a_mixture_is_more_than_a_slip() -> None:
    assert find_mixture([TAGS, SENTENCE, "amiranoor"]) == ([0], [1])
    assert find_mixture([TAGS] * 20 + [SENTENCE]) == ([], [])  # 1 in 21
    assert find_mixture([TAGS] * 5 + [SENTENCE]) == ([0, 1, 2, 3, 4], [5])  # 1 in 6
    assert find_mixture([TAGS, "amiranoor"]) == ([], [])


@pytest.mark.parametrize(
    ("captions", "words"),
    [
        ([], ""),
        ([None, " "], "no captions"),
        ([f"{TAGS}, view {number}" for number in range(4)], "tag captions"),
        ([f"{SENTENCE} {number}" for number in range(4)], "sentence captions"),
        ([f"{TAGS}, {number}" for number in range(3)] + [f"{SENTENCE} {number}" for number in range(3)], "tag and sentence captions"),
        ([f"amiranoor {number}" for number in range(3)], "short captions"),
        ([TAGS] * 36, "generic captions (1 different in 36)"),
        (
            [f"amiranoor, photo {number % 5}" for number in range(36)],
            "generic captions (5 different in 36)",
        ),  # the specification's manifest
        ([TAGS, None, f"{TAGS}, indoors"], "tag captions for 2 of 3 pictures"),
        ([TAGS, TAGS], "tag captions"),  # too few to call them generic
    ],
)
def test_a_set_in_words(captions: list[str | None], words: str) -> None:
    assert describe_captions(captions) == words


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"amiranoor": 20}, "generic captions (1 different in 20)"),
        ({"amiranoor": 20, "photo": 20}, "generic captions (1 different in 20)"),
        ({"amiranoor": 20, "red dress": 5, "beach": 7}, "tag captions"),
        ({"a photo of amiranoor sitting on a bench": 6, "smiling": 3}, "sentence captions"),
        ({"amiranoor": 20, "she sits on a bench in autumn": 3, "dress": 5}, ""),  # 3 of 28: between the two
        ({"amiranoor": 2}, ""),
        ({}, ""),
    ],
)
def test_from_the_parts_alone(counts: dict[str, int], words: str) -> None:
    assert describe_parts(counts) == words
