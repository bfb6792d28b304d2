"""What the pictures of a sweep say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evals.comparison.selection import how_sure
from evals.judging.records import Assessment, FaceScore
from evals.load_thresholds import load_thresholds
from evals.skin.realism import SkinScore
from tools.production.request import Request
from tools.sweep.analysis import Shot, choose, factor_means, heat_map_of, score_configs, survivors
from tools.sweep.design import make_grid
from tools.sweep.running import Sweep, SweepEnd
from tools.sweep.sweep_report import expectation, make_row

CONFIGS = make_grid(["v-step1000.safetensors", "v-step2000.safetensors"], [0.6, 0.8], [None], [None])
POLICY = load_thresholds()


def assessed(face: float | None, skin: float | None) -> Assessment:
    return Assessment(
        "x.png", "0", 64, 64, None, FaceScore(face, None if face is not None else "no_face"), SkinScore(skin, None, skin, skin), None, None
    )


def shoot(levels: dict[str, float | None], prompts: range, wobble: float = 0.01) -> list[Shot]:
    """A picture of every prompt for each configuration, at its level."""
    shots = []
    for place, (name, level) in enumerate(levels.items()):
        for prompt in prompts:
            face = None if level is None else level + wobble * ((prompt * (place + 3)) % 5 - 2)
            shots.append(Shot(name, prompt, 100 + prompt, f"{name}_{prompt}.png", assessed(face, face), (face or 0) > 0.6))
    return shots


def test_the_best_is_chosen_and_the_baseline_beaten() -> None:
    levels = {"step1000_str0.60": 0.5, "step1000_str0.80": 0.55, "step2000_str0.60": 0.6, "step2000_str0.80": 0.7}
    selection = choose(shoot(levels, range(1, 11)), CONFIGS, POLICY, "step1000_str0.80")
    assert selection.ranked[0].name == "step2000_str0.80"
    assert (selection.rivals, selection.baseline_verdict) == ((), "IMPROVED")
    means = factor_means(selection, CONFIGS)
    assert {name: [round(value, 2) for value in levels.values()] for name, levels in means.items()} == {
        "lora": [pytest.approx(0.53, abs=0.011), pytest.approx(0.65, abs=0.011)],
        "strength": [pytest.approx(0.55, abs=0.011), pytest.approx(0.63, abs=0.011)],
    }
    cells = heat_map_of(selection, CONFIGS)
    assert cells is not None
    assert (cells[2], cells[3], cells[5]) == (["step1000", "step2000"], ["0.60", "0.80"], (1, 1))


@pytest.mark.parametrize(
    ("fair", "said"),
    [
        (0.70, "It scored 0.70 here (100 % of its pictures approved). Expect about as much for new prompts."),
        (
            0.68,
            "It scored 0.70 here (100 % of its pictures approved). Expect 0.68 for new prompts: the best of many always looks a little "
            "better than it is.",
        ),
        (None, ""),
    ],
    ids=["as much", "less", "too few prompts"],
)
def test_what_to_expect(fair: float | None, said: str) -> None:
    shots = shoot({"step1000_str0.60": 0.5, "step2000_str0.80": 0.7}, range(1, 11))
    selection = replace(choose(shots, CONFIGS, POLICY, None), fair_score=fair)
    assert expectation(selection, score_configs(shots, POLICY)) == said


def test_a_row_names_its_pictures_and_the_kept_one_of_two_alike_by_where_they_lie(tmp_path: Path) -> None:
    sweep = Sweep(Request(tmp_path), (), (), (), None, "sw")
    shots = [replace(shot, file=f"rung_1/approved/{shot.file}") for shot in shoot({"step1000_str0.60": 0.9}, range(1, 3))]
    row = make_row("sw_1", sweep, shots, SweepEnd("complete", shots, [], {}, None, 0.0), POLICY, "2026-11-29T12:00:00Z")
    told = [(each["file"], each["config"], each["prompt_id"], each["seed"], each.get("duplicate_of")) for each in row["images"]]
    first, second = (f"rung_1/approved/step1000_str0.60_{number}.png" for number in (1, 2))
    assert told == [(first, "step1000_str0.60", 1, 101, None), (second, "step1000_str0.60", 2, 102, first)]


def test_what_was_dropped_early_is_not_said_to_be_as_good() -> None:
    shots = shoot({"step2000_str0.80": 0.7}, range(1, 11)) + shoot({"step1000_str0.60": 0.5}, range(1, 5))
    uneven = [
        replace(shot, assessment=assessed(0.9, 0.9)) if shot.config.endswith("0.60") and shot.prompt_id == 4 else shot for shot in shots
    ]
    selection = choose(uneven, CONFIGS, POLICY, None)
    assert [rival.name for rival in selection.rivals] == ["step1000_str0.60"]  # behind by about 0.2 three times, ahead by 0.2 once
    said = how_sure(selection)
    assert said.endswith("(95 % sure); 1 was dropped early after too few pictures, and may be as good.")
    assert "as good or better" not in said


def test_what_makes_the_same_pictures_was_not_dropped() -> None:
    """Two configurations whose pictures are equal to the last bit: there is no noise between them, and neither was dropped."""
    shots = shoot({"step1000_str0.60": 0.6}, range(1, 11))
    same = [replace(shot, config="step1000_str0.80") for shot in shots]
    worse = shoot({"step1000_str0.60": 0.6, "step2000_str0.60": 0.4}, range(1, 11))[10:]
    said = how_sure(choose([*shots, *same, *worse], CONFIGS[:3], POLICY, None))
    assert said.startswith(
        "Use step1000_str0.60: less than 0.01 below the best of the 3 tried (95 % sure); step1000_str0.80 may be as good"
    )


def test_a_configuration_that_loses_faces_is_not_chosen() -> None:
    levels: dict[str, float | None] = {"step1000_str0.60": 0.6, "step1000_str0.80": 0.95}
    shots = shoot(levels, range(1, 11))
    faceless = [Shot(s.config, s.prompt_id, s.seed, s.file, assessed(None, None), False) for s in shots if s.config.endswith("0.80")][3:]
    kept = [shot for shot in shots if shot.file not in {other.file for other in faceless}]
    selection = choose([*kept, *faceless], CONFIGS[:2], POLICY, None)
    assert selection.ranked[0].name == "step1000_str0.60"
    assert score_configs([*kept, *faceless], POLICY)["step1000_str0.80"].faceless == 7


def test_survivors_are_the_best_and_the_baseline() -> None:
    levels = {"step1000_str0.60": 0.4, "step1000_str0.80": 0.5, "step2000_str0.60": 0.6, "step2000_str0.80": 0.7}
    shots = shoot(levels, range(1, 4))
    assert [config.name for config in survivors(shots, CONFIGS, 2, POLICY, None)] == ["step2000_str0.60", "step2000_str0.80"]
    kept = survivors(shots, CONFIGS, 2, POLICY, "step1000_str0.60")
    assert [config.name for config in kept] == ["step1000_str0.60", "step2000_str0.80"]


def test_what_was_dropped_on_easy_prompts_does_not_look_better() -> None:
    """Both make the same picture of prompts 1 to 3, where all is easy; only one goes on to the hard ones."""
    easy = shoot({"step1000_str0.60": 0.80, "step1000_str0.80": 0.82}, range(1, 5))
    hard = shoot({"step1000_str0.80": 0.50}, range(5, 21))
    selection = choose([*easy, *hard], CONFIGS[:2], POLICY, None)
    assert selection.ranked[0].name == "step1000_str0.80"
    assert (selection.ranked[1].score or 1) < (selection.ranked[0].score or 1) < 0.6
