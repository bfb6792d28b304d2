"""Which pictures of a batch are nearly the same: changed a little, mirrored, or one cut out of the other. Small copies are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evals.judging.duplicates import CopyOf, find_copies
from evals.likeness.grey_looks import WHOLE, GreyLook, Pair, find_pairs, make_look
from evals.likeness.hashes import find_like_hashes
from lifeos.images import ImageError
from tools.production.batch_state import BatchState
from tools.production.filing import BatchFolder
from tools.production.plan import Plan
from tools.production.settling import Settled
from tools.production.thumbnails import read_thumbnail
from tools.production.weeding import entry_of, find_duplicates, in_order

MOST_CUT_OUT = 150
"""Approved pictures of a configuration among which cut-out ones are sought: every pair is looked at, which takes some
2 ms of one core where all show one scene."""


def find_rejected(
    plan: Plan, folder: BatchFolder, state: BatchState, settled: Settled, verdicts: Mapping[str, bool], policy: Mapping[str, Any]
) -> dict[str, CopyOf]:
    """The duplicates among the pictures that the gates approve by these `verdicts`; by the policy those that are nearly the same too.

    A picture that a person rejected stands for the same file alone, not for pictures that are like it.
    """
    same = find_duplicates(plan, state, verdicts)
    if not policy["production"]["reject_near_duplicates"]:
        return same
    refused = {name for name, decision in settled.decisions.items() if not decision.approved}
    order = in_order(plan, state)
    configs = {name: order[name] for name in order if verdicts.get(name) and name not in same and name not in refused}
    return find_duplicates(plan, state, verdicts, find_alike(folder, state, settled, configs))


def find_marked(folder: BatchFolder, state: BatchState, settled: Settled, configs: Mapping[str, str]) -> dict[str, CopyOf]:
    """Of pictures that are approved, those that are nearly the same as one before them. `configs`: picture -> configuration, in order."""
    entries = (entry_of(state, name, config) for name, config in configs.items())
    return find_copies(entries, find_alike(folder, state, settled, configs))


def find_alike(folder: BatchFolder, state: BatchState, settled: Settled, configs: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Pairs of these pictures that are nearly the same, and how, among those of one configuration. `configs`: as for `find_marked`."""
    sets: dict[str, list[str]] = {}
    for name, config in configs.items():
        sets.setdefault(config, []).append(name)
    return {pair: how for names in sets.values() for pair, how in _find_alike(folder, state, settled, names).items()}


def _find_alike(folder: BatchFolder, state: BatchState, settled: Settled, names: Sequence[str]) -> dict[tuple[str, str], str]:
    """Hashes of the whole pictures find changed and mirrored ones; in up to `MOST_CUT_OUT` pictures the cut-out ones are sought as well."""
    hashes = [state.scored[name].dhash if name in state.scored else None for name in names]
    alike = {(names[first], names[second]): how for first, second, how in find_like_hashes(hashes)}
    if len(names) <= MOST_CUT_OUT:
        looks = [look for name in names if (look := _look_at(folder, state, settled, name)) is not None]
        for pair in find_pairs(looks) if len(looks) > 1 else ():
            alike.setdefault((pair.first, pair.second), _how(pair))
    return alike


def _look_at(folder: BatchFolder, state: BatchState, settled: Settled, name: str) -> GreyLook | None:
    path = settled.found.paths.get(name) or f"{state.places.get(name, '')}/{name}"
    small = read_thumbnail(folder, name, path)
    try:
        return make_look(name, state.scored[name].sha256 or name, small) if small is not None and name in state.scored else None
    except ImageError:
        return None


def _how(pair: Pair) -> str:
    if pair.share < WHOLE:
        return "part"
    return "mirrored" if pair.mirrored else "near"
