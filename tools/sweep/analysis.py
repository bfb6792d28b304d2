"""What the pictures of a sweep say: a table of scores, who stays, and the choice at the end."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evals.comparison.selection import Selection, complete_table, select
from evals.judging.records import Assessment
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


@dataclass(slots=True)
class Tally:
    """Counts of one configuration."""

    pictures: int = 0
    faceless: int = 0
    approved: int = 0
    faces: list[float] = field(default_factory=list)
    skins: list[float] = field(default_factory=list)


def worth(assessment: Assessment, policy: Mapping[str, Any]) -> float:
    """What a picture counts for when configurations are chosen: its overall score; 0 without a face, for then it is useless.

    Where the skin cannot be judged (grey, face too small) the face alone counts.
    """
    face, skin = assessment.face.score, assessment.skin.score
    if face is None:
        return 0.0
    weights = policy["scorecard"]["weights"]
    return face if skin is None else float(weights["face_similarity"] * face + weights["skin_realism"] * skin)


def tally(shots: Sequence[Shot]) -> dict[str, Tally]:
    counts: dict[str, Tally] = {}
    for shot in shots:
        one = counts.setdefault(shot.config, Tally())
        one.pictures += 1
        one.approved += shot.approved
        one.faceless += shot.assessment.face.score is None
        if shot.assessment.face.score is not None:
            one.faces.append(shot.assessment.face.score)
        if shot.assessment.skin.score is not None:
            one.skins.append(shot.assessment.skin.score)
    return counts


def choose(shots: Sequence[Shot], configs: Sequence[Config], policy: Mapping[str, Any], baseline: str | None) -> Selection:
    """The choice among the configurations that have pictures."""
    tables: dict[str, dict[Hashable, float]] = {config.name: {} for config in configs}
    for shot in shots:
        tables[shot.config][(shot.prompt_id, shot.seed)] = worth(shot.assessment, policy)
    names, scores, keys = complete_table({name: table for name, table in tables.items() if table})
    prompts = [key[0] if isinstance(key, tuple) else key for key in keys]
    section = policy["comparison"]
    return select(names, scores, prompts, confidence=section["confidence"], minimum_effect=section["minimum_effect"], baseline=baseline)


def survivors(shots: Sequence[Shot], configs: Sequence[Config], keep: int, policy: Mapping[str, Any], baseline: str | None) -> list[Config]:
    """The `keep` best on the pictures that all of `configs` have, in the order of the design. The baseline always stays."""
    shared: dict[str, dict[Hashable, float]] = {config.name: {} for config in configs}
    for shot in shots:
        if shot.config in shared:
            shared[shot.config][(shot.prompt_id, shot.seed)] = worth(shot.assessment, policy)
    common = set.intersection(*(set(table) for table in shared.values()))
    means = {name: _mean([table[key] for key in common] or list(table.values())) for name, table in shared.items()}
    ranked = sorted(configs, key=lambda config: (config.name != baseline, -means[config.name], config.name))
    kept = {config.name for config in ranked[:keep]}
    return [config for config in configs if config.name in kept]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def factor_means(selection: Selection, configs: Sequence[Config]) -> dict[str, dict[str, float]]:
    """Factor -> level -> mean over the configurations of that level, for factors that were varied."""
    by_name = {config.name: config for config in configs}
    found: dict[str, dict[str, float]] = {}
    for factor in FACTORS:
        groups: dict[str, list[float]] = {}
        for candidate in selection.ranked:
            groups.setdefault(by_name[candidate.name].level(factor), []).append(candidate.score)
        if len(groups) > 1:
            order = list(dict.fromkeys(config.level(factor) for config in configs))
            found[factor] = {level: _mean(groups[level]) for level in order if level in groups}
    return found


def heat_map_of(selection: Selection, configs: Sequence[Config]) -> tuple[str, str, list[str], list[str], Any, tuple[int, int]] | None:
    """Two factors, their levels, the mean of each cell (over the other factors), and the chosen cell; None with one factor only."""
    import numpy as np

    varied = list(factor_means(selection, configs))
    if len(varied) < 2:
        return None
    first, second = varied[:2]
    rows = list(dict.fromkeys(config.level(first) for config in configs))
    columns = list(dict.fromkeys(config.level(second) for config in configs))
    sums, counts = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)))
    by_name = {config.name: config for config in configs}
    for candidate in selection.ranked:
        config = by_name[candidate.name]
        cell = rows.index(config.level(first)), columns.index(config.level(second))
        sums[cell] += candidate.score
        counts[cell] += 1
    chosen = by_name[selection.chosen.name]
    with np.errstate(invalid="ignore"):
        means = sums / counts
    return first, second, rows, columns, means, (rows.index(chosen.level(first)), columns.index(chosen.level(second)))
