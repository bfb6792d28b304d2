"""People's verdicts beside what the gates would say: under any limits, and as the numbers that the model of taste is fitted to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.judging.gates import Gate, gates_in_force
from evals.judging.picture_verdict import verdict
from evals.judging.records import NOT_MEASURED
from evals.taste.opinions import Opinion, SeenPicture
from evals.taste.taste_model import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_guard(gate: Gate) -> bool:
    """Whether a gate guards publishing: what it stops is no matter of taste, and no verdict moves its limit."""
    return gate.is_guard


def gates_of_taste(policy: Mapping[str, Any]) -> tuple[Gate, ...]:
    """The gates in force whose limits people's verdicts may move."""
    return tuple(gate for gate in gates_in_force(policy) if not is_guard(gate))


def without_guarded(opinions: Sequence[Opinion], policy: Mapping[str, Any]) -> list[Opinion]:
    """The opinions on pictures that no guard of publishing stops."""
    guards = [(gate, limit) for gate in gates_in_force(policy) if is_guard(gate) and (limit := gate.limit(policy)) is not None]

    def is_stopped(opinion: Opinion) -> bool:
        readings = ((gate, gate.reading(opinion.picture.assessment).score, limit) for gate, limit in guards)
        return any(score is not None and not gate.passes(score, limit) for gate, score, limit in readings)

    return [opinion for opinion in opinions if not is_stopped(opinion)]


def with_limits(policy: Mapping[str, Any], limits: Mapping[str, float]) -> dict[str, Any]:
    """The policy with other limits, by policy key."""
    changed: dict[str, Any] = deepcopy(dict(policy))
    for key, value in limits.items():
        section = changed
        *parents, last = key.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return changed


def open_limit(gate: Gate) -> dict[str, float]:
    """The limit that every score of a gate passes."""
    return {gate.limit_key: gate.span[1] if gate.lower_is_better else gate.span[0]}


def approves(picture: SeenPicture, policy: Mapping[str, Any]) -> bool:
    """Whether the gates of a policy approve a picture."""
    return not picture.is_copy and verdict(picture.assessment, policy).approved


def sign_of(gate: Gate) -> float:
    """What a gate's numbers are multiplied with, so that higher is better."""
    return -1.0 if gate.lower_is_better else 1.0


def tabulate_opinions(opinions: Sequence[Opinion], gates: Sequence[Gate], policy: Mapping[str, Any]) -> tuple[Table, list[int]]:
    """The verdicts as a table for the model, and the places of its rows in `opinions`.

    A verdict on a picture that a gate could not measure is left out: that gate rejects it whatever its limit is.
    """
    kept: list[int] = []
    scores, counts, plain = list[list[float]](), list[list[bool]](), list[bool]()
    for place, opinion in enumerate(opinions):
        readings = [gate.reading(opinion.picture.assessment) for gate in gates]
        if any(reading.score is None and reading.reason != NOT_MEASURED for reading in readings):
            continue
        measured = [reading.score is not None for reading in readings]
        named = [gate.key in gates_named(opinion, gates) and there for gate, there in zip(gates, measured, strict=True)]
        kept.append(place)
        scores.append([np.nan if each.score is None else sign_of(gate) * each.score for gate, each in zip(gates, readings, strict=True)])
        counts.append(named if any(named) else measured)
        plain.append(not any(named))
    shape = len(kept), len(gates)
    return Table(
        scores=np.array(scores, dtype=np.float64).reshape(shape),
        counts=np.array(counts, dtype=bool).reshape(shape),
        approved=np.array([opinions[place].approved for place in kept], dtype=bool),
        plain=np.array(plain, dtype=bool),
        prompts=number_of([opinions[place].picture.prompt for place in kept]),
        limits=np.array([sign_of(gate) * (gate.limit(policy) or 0.0) for gate in gates]),
    ), kept


def gates_named(opinion: Opinion, gates: Sequence[Gate]) -> frozenset[str]:
    """The gates that the reason of a rejection names, by key: by key or title, else all of a subject (`skin`). Empty for none."""
    if opinion.approved or not opinion.reason:
        return frozenset()
    words = " ".join(re.findall(r"\w+", opinion.reason.casefold()))

    def is_said(name: str) -> bool:
        return f" {name.replace('_', ' ').casefold()} " in f" {words} "

    subjects = {gate.subject for gate in gates}
    names = {gate.key: {gate.key, gate.title, gate.title.split()[-1]} - subjects for gate in gates}
    by_name = frozenset(key for key, each in names.items() if any(map(is_said, each)))
    return by_name or frozenset(gate.key for gate in gates if is_said(gate.subject))


def number_of(labels: Sequence[str]) -> NDArray[np.intp]:
    """Labels as numbers from 0 in the order of their first appearance, the same for the same."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.intp)
