"""Calibrating the limits of the gates with people's verdicts on batches: everything that a report of it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from evals.judging.gates import limits_of
from evals.taste.concordance import Asked, Concordance, compare
from evals.taste.opinions import JudgedBatch, Opinion, check_one_protocol, collect, measured_before
from evals.taste.proposing import Proposal, propose
from evals.taste.verdict_table import approves, gates_of_taste, number_of, tabulate_opinions, with_limits
from lifeos.counting import counted
from lifeos.errors import InputError
from lifeos.escaping import escape_line

COST_RATIO = 1.0
"""Both mistakes cost the same: the limit is then where people approve half. People's own caution is in their verdicts."""
REVIEW = "review a batch first: python tools/review.py DIR"


@dataclass(frozen=True, slots=True)
class TwoPeople:
    """How two people agree on the pictures that both judged."""

    first: str
    second: str
    concordance: Concordance


@dataclass(frozen=True, slots=True)
class Effect:
    """How many pictures of a batch the gates approve: by the limits in force, by all that are proposed, and by each of these alone (by
    policy key). What people decided about single pictures is left aside."""

    batch: str
    pictures: int
    now: int
    proposed: int
    each: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LimitCalibration:
    """`otherwise`: in which way the scores were measured otherwise than today; limits found with them are not written."""

    batches: tuple[JudgedBatch, ...]
    proposal: Proposal
    pairs: tuple[TwoPeople, ...]
    effects: tuple[Effect, ...]
    cost_ratio: float
    otherwise: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def people(self) -> dict[str, int]:
        """Verdicts by person."""
        counts: dict[str, int] = {}
        for opinion in self.proposal.opinions:
            counts[opinion.by] = counts.get(opinion.by, 0) + 1
        return counts


def calibrate_limits(
    batches: Sequence[JudgedBatch],
    policy: Mapping[str, Any],
    *,
    cost_ratio: float = COST_RATIO,
    looked_at_all: bool = False,
    seed: int = 0,
) -> LimitCalibration:
    """What people's verdicts on these batches say of the limits of a policy. Raises InputError where they say nothing."""
    check_one_protocol(batches)
    opinions, notes = collect(batches, looked_at_all=looked_at_all)
    names = ", ".join(escape_line(batch.name) for batch in batches)
    if not opinions:
        if any(batch.opinions for batch in batches):
            raise InputError(names, "no verdict can be used", "; ".join(notes))
        raise InputError(names, "nobody has judged a picture", f"{REVIEW}, or move pictures and add --looked-at-all")
    gates = gates_of_taste(policy)
    if not gates or not len(tabulate_opinions(opinions, gates, policy)[1]):
        raise InputError(names, f"none of the {len(opinions)} judged pictures has a score of every gate in force", "judge others too")
    proposal = propose(opinions, policy, cost_ratio=cost_ratio, seed=seed)
    changed = with_limits(policy, proposal.changes)
    return LimitCalibration(
        batches=tuple(batches),
        proposal=proposal,
        pairs=_pairs(proposal.opinions, seed),
        effects=tuple(_effect(batch, policy, changed, proposal.changes) for batch in batches),
        cost_ratio=cost_ratio,
        otherwise=measured_before(batches[0].protocol, policy["face_similarity"]["engines"]),
        notes=(*notes, *_notes_on(batches, policy), *_notes_of(proposal)),
    )


def _pairs(opinions: Sequence[Opinion], seed: int) -> tuple[TwoPeople, ...]:
    """Every two people who judged pictures in common. Informative pictures are hard ones, so weights count here too."""
    by_person: dict[str, dict[str, Opinion]] = {}
    for opinion in opinions:
        by_person.setdefault(opinion.by, {})[opinion.picture.sha256 or f"{opinion.batch}/{opinion.picture.file}"] = opinion
    found = []
    for first, second in combinations(sorted(by_person), 2):
        common = [key for key in by_person[first] if key in by_person[second]]
        if not common:
            continue
        one, other = ([by_person[name][key] for key in common] for name in (first, second))
        asked = Asked(number_of([each.picture.prompt for each in one]), np.array([each.weight or 1.0 for each in one]))
        verdicts = [np.array([each.approved for each in side], dtype=bool) for side in (one, other)]
        found.append(TwoPeople(first, second, compare(verdicts[0], verdicts[1], asked, seed=seed)))
    return tuple(found)


def _effect(batch: JudgedBatch, policy: Mapping[str, Any], changed: Mapping[str, Any], changes: Mapping[str, float]) -> Effect:
    def count(tried: Mapping[str, Any]) -> int:
        return sum(approves(picture, tried) for picture in batch.pictures)

    each = {key: count(with_limits(policy, {key: value})) for key, value in changes.items()}
    return Effect(batch.name, len(batch.pictures), count(policy), count(changed) if changes else count(policy), each)


def _notes_on(batches: Sequence[JudgedBatch], policy: Mapping[str, Any]) -> list[str]:
    notes = []
    in_force = limits_of(policy)
    for batch in batches:
        name = escape_line(batch.name)
        if batch.running:
            notes.append(f"{name} is being made: its first {counted(len(batch.pictures), 'picture')} are read")
        if unknown := sorted(key for key in batch.limits if key not in in_force):
            notes.append(f"{name} was judged by gates that are off in the policy, and are left out: {', '.join(unknown)}")
        other = [key for key, limit in in_force.items() if key in batch.limits and batch.limits[key] != limit]
        if other:
            notes.append(f"{name} was judged with other limits ({', '.join(other)}); here the policy's are the limits in force")
        if batch.notice:
            notes.append(f"{name}: {batch.notice}")
    return notes


def _notes_of(proposal: Proposal) -> list[str]:
    notes = []
    approvals = sum(opinion.approved for opinion in proposal.opinions)
    if approvals in (0, len(proposal.opinions)):
        kind, other, way = ("approvals", "reject", "lower") if approvals else ("rejections", "approve", "raise")
        notes.append(f"all verdicts are {kind}: they can {way} limits, not show where to stop; judge some that you {other} too")
    if proposal.unmeasured:
        count = f"{counted(proposal.unmeasured, 'verdict')} on pictures that a gate could not measure"
        notes.append(f"{count}: no limit changes these; they count in the rates")
    if proposal.guarded:
        notes.append(
            f"{counted(proposal.guarded, 'verdict')} on pictures that a guard of publishing stops left out: guards are no matter of taste"
        )
    seeing = sum(not opinion.blind for opinion in proposal.opinions)
    if seeing:
        notes.append(
            f"{counted(seeing, 'verdict')} given with the gates' verdict in sight: such verdicts lean to the gates (review --blind)"
        )
    if proposal.held_out is not None and proposal.held_out.by_picture:
        notes.append("all verdicts are on pictures of one prompt: what holds for another prompt is not known")
    return notes
