"""The trainer's samples against the production graph: how far apart, and what of that is the graph."""

from __future__ import annotations

import pytest

from tests.tools.sweep.curves import POLICY, assessed
from tools.sweep.trainer_samples import ShownPicture, compare_samples

WOBBLE = (0.0, 0.01, -0.01, 0.02, -0.02, 0.005, -0.005, 0.0)


def shown(level: float, prompts: list[str | None], strength: float | None = None) -> list[ShownPicture]:
    return [ShownPicture(assessed(level + WOBBLE[n % 8], 0.7), prompt, strength) for n, prompt in enumerate(prompts)]


OWN: list[str | None] = [f"her sample {n}" for n in range(8)]
OTHER: list[str | None] = [f"her on the beach {n}" for n in range(8)]


def test_other_prompts_give_a_difference_whose_parts_cannot_be_told() -> None:
    gap = compare_samples(shown(0.7, OWN), shown(0.5, OTHER), POLICY)
    # identity differs by .2 and has three quarters of the score
    assert gap.total["overall"].effect == pytest.approx(-0.15)
    assert (gap.graph_part, gap.prompt_part, gap.shared_prompts) == ({}, {}, 0)
    assert gap.sentence.startswith("The graph's pictures score 0.150 lower than the trainer's samples (between -0.16")
    assert gap.sentence.endswith("How much of it is the graph cannot be separated from the other prompts.")
    assert "--prompts-file" in gap.caveats[0]


def test_shared_prompts_part_the_graph_from_the_prompts() -> None:
    """On the samples' own prompts the graph loses .1 of identity, and the sweep's prompts lose .2 more: .15 on the average of both."""
    pictures = [*shown(0.6, OWN), *shown(0.4, OTHER)]
    gap = compare_samples(shown(0.7, OWN), pictures, POLICY, known_causes=["12 LoRA keys were not loaded"])
    assert gap.total["identity"].effect == pytest.approx(-0.2)
    assert gap.graph_part["identity"].effect == pytest.approx(-0.1)
    assert gap.prompt_part["identity"] == pytest.approx(-0.1)
    assert "Known to differ: 12 LoRA keys were not loaded." in gap.caveats


def test_a_higher_strength_makes_up_a_part_of_the_gap() -> None:
    pictures = [*shown(0.5, OTHER, 0.8), *shown(0.65, OTHER, 1.0)]
    gap = compare_samples(shown(0.7, OWN), pictures, POLICY, strength=0.8)
    assert gap.sentence.endswith("Strength 1.00 instead of 0.80 makes up 75 % of it.")
    assert {level: round(each.effect, 4) for level, each in gap.by_strength.items()} == {0.8: -0.15, 1.0: -0.0375}


@pytest.mark.parametrize(
    ("matters", "said"),
    [
        (0.02, "The graph's pictures and the trainer's samples score alike"),
        (0.001, "The graph's pictures are not shown to differ from the trainer's samples"),
    ],
    ids=["alike", "not shown"],
)
def test_no_difference_is_not_called_one(matters: float, said: str) -> None:
    policy = {**POLICY, "comparison": {**POLICY["comparison"], "minimum_effect": matters}}
    sentence = compare_samples(shown(0.7, OWN), shown(0.7, OTHER), policy).sentence
    assert sentence.startswith(f"{said} (+0.000, between -0.010 and +0.010, 95 % sure).")
    assert "graph cannot" not in sentence


def test_too_few_pictures_and_trained_references() -> None:
    few = compare_samples(shown(0.7, OWN[:2]), shown(0.5, OTHER), POLICY)
    assert few.sentence == "How much of a difference the graph makes cannot be said: 2 samples and 8 pictures with scores are too few."
    gap = compare_samples(shown(0.7, OWN), shown(0.5, OTHER), POLICY, references_trained=True)
    assert gap.total["overall"].effect == pytest.approx(0.0)  # skin alone, which is the same on both sides
