"""What the pictures of a sweep say: a table of scores, who stays, and the choice at the end."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from evals.comparison.selection import Selection, Trials, complete_table, select
from evals.judging.gates import effective, gates_in_force, means, rank_key, readings, why_not_ranked
from evals.judging.records import Assessment
from evals.scorecards.card import ConfigScore, score_config
from tools.sweep.design import Config

FACTORS = ("lora", "strength", "cfg", "sampler")
FACTOR_TITLES = {"lora": "Checkpoint", "strength": "LoRA strength", "cfg": "CFG", "sampler": "Sampler"}


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a sweep. `prompt_id` counts from 1 over all prompts of the sweep."""

    config: str
    prompt_id: int
    seed: int
    file: str
    assessment: Assessment
    approved: bool


def score_configs(shots: Sequence[Shot], policy: Mapping[str, Any]) -> dict[str, ConfigScore]:
    """What each configuration scored on its pictures, by name."""
    groups: dict[str, list[Shot]] = {}
    for shot in shots:
        groups.setdefault(shot.config, []).append(shot)
    return {
        name: score_config(name, [shot.assessment for shot in group], sum(shot.approved for shot in group), policy)
        for name, group in groups.items()
    }


def choose(shots: Sequence[Shot], configs: Sequence[Config], policy: Mapping[str, Any], baseline: str | None) -> Selection:
    """The choice among the configurations that have pictures."""
    weighted = [gate for gate in gates_in_force(policy) if gate.weight(policy) > 0]
    tables: dict[str, dict[Hashable, list[float]]] = {config.name: {} for config in configs}
    for shot in shots:
        read = readings(shot.assessment, policy)
        scores = [effective(gate, read[gate.key], policy) for gate in weighted]
        tables[shot.config][(shot.prompt_id, shot.seed)] = [math.nan if score is None else score for score in scores]
    names, table, made, keys = complete_table({name: rows for name, rows in tables.items() if rows}, len(weighted))
    scored = score_configs(shots, policy)
    trials = Trials(
        names,
        table,
        made,
        [key[0] if isinstance(key, tuple) else key for key in keys],
        [gate.weight(policy) for gate in weighted],
        [scored[name].means.overall for name in names],
        [why_not_ranked(scored[name].means, policy) for name in names],
    )
    section = policy["comparison"]
    return select(trials, confidence=section["confidence"], minimum_effect=section["minimum_effect"], baseline=baseline)


def survivors(shots: Sequence[Shot], configs: Sequence[Config], keep: int, policy: Mapping[str, Any], baseline: str | None) -> list[Config]:
    """The `keep` best on the pictures that all of `configs` have, in the order of the design. The baseline always stays."""
    tables: dict[str, dict[tuple[int, int], Assessment]] = {config.name: {} for config in configs}
    for shot in shots:
        if shot.config in tables:
            tables[shot.config][shot.prompt_id, shot.seed] = shot.assessment
    common = set.intersection(*(set(table) for table in tables.values()))
    totals = {name: means([table[key] for key in common] or list(table.values()), policy) for name, table in tables.items()}
    ranked = sorted(configs, key=lambda config: (config.name != baseline, *rank_key(totals[config.name], policy, config.name)))
    kept = {config.name for config in ranked[:keep]}
    return [config for config in configs if config.name in kept]


def factor_means(selection: Selection, configs: Sequence[Config]) -> dict[str, dict[str, float]]:
    """Factor -> level -> mean over the configurations of that level, for factors that were varied."""
    by_name = {config.name: config for config in configs}
    found: dict[str, dict[str, float]] = {}
    for factor in FACTORS:
        groups: dict[str, list[float]] = {}
        for candidate in selection.ranked:
            if candidate.score is not None:
                groups.setdefault(by_name[candidate.name].level(factor), []).append(candidate.score)
        if len(groups) > 1:
            order = list(dict.fromkeys(config.level(factor) for config in configs))
            found[factor] = {level: fmean(groups[level]) for level in order if level in groups}
    return found


def heat_map_of(selection: Selection, configs: Sequence[Config]) -> tuple[str, str, list[str], list[str], Any, tuple[int, int]] | None:
    """Two factors, their levels, the mean of each cell (over the other factors), and the chosen cell; None with one factor only."""
    import numpy as np

    varied = list(factor_means(selection, configs))
    if len(varied) < 2 or selection.chosen is None:
        return None
    first, second = varied[:2]
    rows = list(dict.fromkeys(config.level(first) for config in configs))
    columns = list(dict.fromkeys(config.level(second) for config in configs))
    sums, counts = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)))
    by_name = {config.name: config for config in configs}
    for candidate in selection.ranked:
        if candidate.score is None:
            continue
        config = by_name[candidate.name]
        cell = rows.index(config.level(first)), columns.index(config.level(second))
        sums[cell] += candidate.score
        counts[cell] += 1
    chosen = by_name[selection.chosen.name]
    with np.errstate(invalid="ignore"):
        values = sums / counts
    return first, second, rows, columns, values, (rows.index(chosen.level(first)), columns.index(chosen.level(second)))
