"""The design of a sweep: its configurations, and how many pictures each gets before the worst are dropped."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lifeos.counting import counted
from lifeos.errors import InputError
from lifeos.picture_names import format_config, safe_config

KEPT = 3
"""Successive halving keeps one in three: with two more noise decides who goes, with four good ones go early."""
MOST_CONFIGS = 1000
FINALISTS = 3
"""Halving stops at so few: a winner needs rivals that were measured as well as it was."""


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration: what is set, and the name that leads its pictures' names. None leaves the batch's own setting."""

    name: str
    lora: str | None
    strength: float | None
    cfg: float | None
    sampler: str | None

    def level(self, factor: str) -> str:
        """The value of a factor as text for tables: `lora`, `strength`, `cfg`, `sampler`."""
        value = getattr(self, factor)
        if factor == "lora":
            return format_config(value, None) or "no LoRA"
        if value is None:
            return "-"
        return f"{value:.2f}" if factor == "strength" else (f"{value:g}" if isinstance(value, float) else str(value))


@dataclass(frozen=True, slots=True)
class Rung:
    """One round: `keep` configurations each make a picture of every prompt in `prompts` (places in the list), `seeds` times."""

    number: int
    keep: int
    prompts: tuple[int, ...]
    seeds: int

    @property
    def pictures_each(self) -> int:
        return len(self.prompts) * self.seeds

    @property
    def pictures(self) -> int:
        return self.keep * self.pictures_each


def make_grid(
    loras: Sequence[str | None], strengths: Sequence[float | None], cfgs: Sequence[float | None], samplers: Sequence[str | None]
) -> list[Config]:
    """Every combination, LoRA by LoRA: pictures that share a model file are made one after the other.

    Raises InputError for a value given twice, too many combinations, or names that two configurations would share.
    """
    for flag, values in (("--lora", loras), ("--strengths", strengths), ("--cfgs", cfgs), ("--samplers", samplers)):
        twice = [value for value in values if list(values).count(value) > 1]
        if twice:
            raise InputError(flag, f"{twice[0]} is given twice", "name each value once")
    count = len(loras) * len(strengths) * len(cfgs) * len(samplers)
    if count > MOST_CONFIGS:
        raise InputError("the sweep", f"{count:,} configurations are over the limit of {MOST_CONFIGS:,}", "leave some values out")
    configs = []
    for lora, strength, cfg, sampler in itertools.product(loras, strengths, cfgs, samplers):
        parts = [format_config(lora, strength)]
        parts += [f"cfg{cfg:g}"] if cfg is not None and len(cfgs) > 1 else []
        parts += [f"sampler-{re.sub('[^a-z0-9]', '', sampler.lower())}"] if sampler is not None and len(samplers) > 1 else []
        configs.append(Config(safe_config("_".join(part for part in parts if part) or "config"), lora, strength, cfg, sampler))
    names = [config.name for config in configs]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise InputError("the sweep", f"two configurations would both be called {double}", "rename a LoRA file, or leave one out")
    return configs


def plan_rungs(configs: int, prompts: int, seeds: int, max_images: int | None) -> list[Rung]:
    """One rung with everything where the budget allows it, else successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943).

    Every rung gets the same share of the budget; from one to the next one configuration in KEPT stays. Never more pictures than
    `max_images`. Raises InputError for a budget that cannot give every configuration one picture.
    """
    everything = Rung(1, configs, tuple(range(prompts)), seeds)
    if max_images is None or everything.pictures <= max_images:
        return [everything]
    if max_images < configs:
        raise InputError(
            "--max-images", f"{counted(max_images, 'picture')} cannot show {counted(configs, 'configuration')}", f"give {configs} or more"
        )
    keeps = [configs]
    while keeps[-1] > FINALISTS and keeps[-1] // KEPT >= 1:
        keeps.append(max(FINALISTS if keeps[-1] // KEPT < FINALISTS else 1, keeps[-1] // KEPT))
    while len(keeps) > 1 and max_images // len(keeps) < configs:  # rather fewer rounds than a round of nothing
        keeps.pop(-2 if len(keeps) > 2 else -1)
    rungs: list[Rung] = []
    left = max_images
    for number, keep in enumerate(keeps, 1):
        each = max(1, left // (len(keeps) - number + 1) // keep)
        rungs.append(_rung(number, keep, min(each, prompts * seeds * len(keeps)), prompts))
        left -= rungs[-1].pictures
    return rungs


def _rung(number: int, keep: int, each: int, prompts: int) -> Rung:
    """`each` pictures of a configuration as whole rounds over the prompts, or one round over prompts spread evenly."""
    if each >= prompts:
        return Rung(number, keep, tuple(range(prompts)), each // prompts)
    # a rung starts at another prompt than the one before, so that few pictures see different prompts
    start = (number - 1) * each
    return Rung(number, keep, tuple(sorted((start + place * prompts // each) % prompts for place in range(each))), 1)


def describe(configs: Sequence[Config], rungs: Sequence[Rung]) -> str:
    """The design in a few lines, for a person about to pay for it."""
    total = sum(rung.pictures for rung in rungs)
    lines = [
        f"{counted(len(configs), 'configuration')}, {counted(total, 'picture')}"
        + (" in one round" if len(rungs) == 1 else f" in {len(rungs)} rounds")
    ]
    for rung in rungs:
        seeds = f" × {rung.seeds} seeds" if rung.seeds > 1 else ""
        grid = f"{counted(rung.keep, 'configuration')} × {counted(len(rung.prompts), 'prompt')}{seeds}"
        lines.append(f"  round {rung.number}: {grid} = {counted(rung.pictures, 'picture')}")
    return "\n".join(lines)
