"""The design of a sweep: names, order, and a budget that is never exceeded."""

from __future__ import annotations

import pytest

from lifeos.errors import InputError
from tools.sweep.design import make_grid, plan_rungs


def test_grid_names_and_order() -> None:
    configs = make_grid(["v3-step00001500.safetensors", "sub/v3.safetensors"], [0.6, 0.8], [5.0], ["dpmpp_2m"])
    assert [config.name for config in configs] == ["step1500_str0.60", "step1500_str0.80", "v3_str0.60", "v3_str0.80"]


def test_only_what_varies_is_named() -> None:
    configs = make_grid(["a.safetensors"], [0.8], [4.0, 5.5], ["dpmpp_2m", "euler"])
    assert [config.name for config in configs] == [
        "a_str0.80_cfg4_sampler-dpmpp2m",
        "a_str0.80_cfg4_sampler-euler",
        "a_str0.80_cfg5.5_sampler-dpmpp2m",
        "a_str0.80_cfg5.5_sampler-euler",
    ]


@pytest.mark.parametrize(
    ("loras", "strengths", "error"),
    [
        (["a", "a"], [0.8], "--lora: a is given twice (name each value once)"),
        (["x/a", "y/a"], [0.8], "the sweep: two configurations would both be called a_str0.80 (rename a LoRA file, or leave one out)"),
        ([str(n) for n in range(40)], [n / 40 for n in range(40)], "the sweep: 1,600 configurations are over the limit of 1,000"),
    ],
    ids=["twice", "same name", "too many"],
)
def test_grids_that_cannot_be(loras: list[str], strengths: list[float], error: str) -> None:
    with pytest.raises(InputError) as caught:
        make_grid(loras, strengths, [None], [None])
    assert str(caught.value).startswith(error)


def test_without_a_budget_everything_is_made() -> None:
    (rung,) = plan_rungs(27, 10, 2, None)
    assert (rung.keep, rung.pictures_each, rung.pictures) == (27, 20, 540)
    assert plan_rungs(27, 10, 2, 540) == [rung]


@pytest.mark.parametrize("budget", [27, 30, 60, 100, 200, 270, 400, 539])
@pytest.mark.parametrize("prompts", [1, 3, 10])
def test_a_budget_is_kept_and_used(budget: int, prompts: int) -> None:
    rungs = plan_rungs(27, prompts, 60 // prompts, budget)
    total = sum(rung.pictures for rung in rungs)
    assert total <= budget
    assert rungs[0].keep == 27
    assert [rung.keep for rung in rungs] == sorted((rung.keep for rung in rungs), reverse=True)
    assert all(len(set(rung.prompts)) == len(rung.prompts) and set(rung.prompts) <= set(range(prompts)) for rung in rungs)
    assert total > budget * 0.6 or budget < 60


def test_halving_keeps_one_in_three() -> None:
    # 27 -> 9 -> 3, a third of 270 pictures for each round: 3, 10 and 30 of each configuration
    assert [(rung.keep, rung.pictures_each) for rung in plan_rungs(27, 10, 5, 270)] == [(27, 3), (9, 10), (3, 30)]


def test_a_budget_below_one_picture_each_is_refused() -> None:
    with pytest.raises(InputError, match="26 pictures cannot show 27 configurations"):
        plan_rungs(27, 10, 1, 26)
