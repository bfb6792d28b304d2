"""Judging a batch again with another policy, from the assessments in its journal: nothing is scored, nothing is generated.

One record of the journal holds the policy and names the pictures that move. It is on the disk before the first of them moves, so that
a killed run is finished by the next one. A picture about which somebody decided (`decisions`), or that somebody took away, stays where
it is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.guards.age import WITHOUT
from evals.judging.gates import GATES, gates_in_force, look_up
from evals.judging.picture_verdict import verdict
from lifeos.counting import counted, verb
from lifeos.errors import InputError
from tools.production.batch_state import BatchState, with_scales
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.plan import Plan, judging_policy, read_plan
from tools.production.resemblance import find_rejected
from tools.production.results import read_scores
from tools.production.settling import settle_decisions
from tools.production.stopping import Note
from tools.production.weeding import carry_out, find_moves, to_record


@dataclass(frozen=True, slots=True)
class Rejudged:
    """What judging again changed: how many pictures were judged, and how many verdicts fell the other way.

    `kept_by_hand` counts the pictures about which somebody decided: they stay where that put them.
    """

    plan: Plan
    policy: dict[str, Any]
    pictures: int
    now_approved: int
    now_rejected: int
    kept_by_hand: int
    seconds: float


def policy_in_force(policy: Mapping[str, Any], plan: Plan, state: BatchState) -> dict[str, Any]:
    """The policy that judges a batch: that with which it was last judged again, else that of its plan. The rest is the file's.

    What a batch of an older version does not hold is taken from the file, but for the limits of gates that it does not know: those
    gates stay off.
    """
    own = state.policy if state.policy is not None else plan.policy
    merged: dict[str, Any] = deepcopy(dict(policy))
    for section, values in own.items():
        merged[section] = {**merged.get(section, {}), **deepcopy(values)}
    merged["gates"] = deepcopy(own.get("gates", {}))
    return merged


def plan_in_force(plan: Plan, state: BatchState) -> Plan:
    """The plan with the protocol that the journal tells of: a run may have been killed before it wrote the plan (`protocol_change`)."""
    if state.protocol is None or state.scales is None or plan.protocol == state.protocol:
        return plan
    return replace(plan, protocol=state.protocol, policy=with_scales(plan.policy, state.scales))


def wanted_policy(policy: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The judging sections to judge again with: the policy's limits, weights and grades; the scale of the scores stays the batch's own."""
    wanted = deepcopy(judging_policy(policy))
    engines = look_up(own, "face_similarity.engines")
    if engines is not None:
        wanted["face_similarity"]["engines"] = deepcopy(engines)
    return wanted


def rejudge(folder: BatchFolder, policy: Mapping[str, Any], note: Note) -> Rejudged:
    """Judge every scored picture of a finished or interrupted batch by `policy`, and move those whose verdict changed.

    The caller holds the lock of the directory. Raises InputError where there is no batch or none of its pictures was scored.
    """
    plan = read_plan(folder.root)
    if plan is None:
        raise InputError(folder.root, "there is no batch to judge again", "name its directory with --output-dir")
    path = folder.root / JOURNAL_FILE
    state = read_state(path, note)
    plan = plan_in_force(plan, state)
    finish_moves(folder, state)
    settled = settle_decisions(folder, state, note)
    started = time.monotonic()
    wanted = wanted_policy(policy, state.policy if state.policy is not None else plan.policy)
    check_measured(folder.root, wanted, plan)
    judged = _judge(folder, state, wanted, note)
    if not judged:
        raise InputError(folder.root, "no picture of this batch was scored yet", "continue it with the command that began it")
    changed = {name: approved for name, approved in judged.items() if approved != state.verdicts[name]}
    copies = find_rejected(plan, folder, state, settled, state.verdicts | judged, policy)
    moves = find_moves(state, settled, judged, copies)
    seconds = time.monotonic() - started
    if changed or moves or copies != state.duplicates or state.policy != wanted:
        # else the same command again, perhaps after it was killed: the journal holds it already
        with contextlib.closing(Journal(path)) as journal:
            journal.append("rejudged", policy=wanted, changed=changed, moves=list(moves), duplicates=to_record(copies), durable=True)
        state = read_state(path, note)
        finish_moves(folder, state)
    moved = [approved for name, approved in moves.items() if name not in settled.gone]
    up = sum(moved)
    merged = policy_in_force(policy, plan, state)
    return Rejudged(replace(plan, policy=wanted), merged, len(judged), up, len(moved) - up, len(settled.decisions), seconds)


def check_measured(root: Path, wanted: Mapping[str, Any], plan: Plan) -> None:
    """Raises InputError for a guard that the policy asks for now and that the batch was never measured for: without it a picture would be
    approved that nobody looked at in this way."""
    known = plan.protocol.get("measures", {})
    own, now = plan.policy.get("gates", {}), wanted["gates"]
    for gate in gates_in_force(wanted):
        key = gate.limit_key.split(".")[1]
        never = gate.key not in known or (known[gate.key].endswith(WITHOUT) and now[key].get("without_model") != "report")
        if gate.measure is not None and never:
            raise InputError(gate.limit_key, f"the pictures in {root} were never measured for the guard {gate.title}", score_anew(root))
        if gate.folder is not None and now[key].get("folder") not in (None, own.get(key, {}).get("folder")):
            why = f"is {now[key]['folder']}, and the pictures in {root} were measured against {own.get(key, {}).get('folder')}"
            raise InputError(gate.folder.key, why, score_anew(root))


def score_anew(root: Path) -> str:
    """What to do where the scores of a batch do not tell enough."""
    return f"score its pictures as a batch of their own: python tools/production_pipeline.py --images {root} --output-dir NEW"


def _judge(folder: BatchFolder, state: BatchState, policy: Mapping[str, Any], note: Note) -> dict[str, bool]:
    """Picture -> approved, of every picture that has a verdict."""
    scores = read_scores(folder.root / JOURNAL_FILE, state.verdicts, note) if state.verdicts else {}
    return {name: verdict(record.assessment, policy).approved for name, record in scores.items() if record.assessment is not None}


def finish_moves(folder: BatchFolder, state: BatchState) -> None:
    """Move what has still to move, since it was judged again or is a duplicate. A no-op for a batch that was not killed in between."""
    if not state.moves:
        return
    with contextlib.closing(Journal(folder.root / JOURNAL_FILE)) as journal:
        carry_out(folder, state, journal, "refiled")


def render_rejudged(changed: Rejudged) -> str:
    """What judging again changed, for a person."""
    lines = [
        f"judged again: {counted(changed.pictures, 'picture')} in {changed.seconds:.1f} s by {describe_rules(changed.policy)}",
        f"  {_are(changed.now_approved, 'rejected picture')} now approved, {_are(changed.now_rejected, 'approved one')} now rejected",
    ]
    if changed.kept_by_hand:
        lines.append(f"  {counted(changed.kept_by_hand, 'picture')} decided by hand: not moved")
    return "\n".join(lines)


def _are(number: int, noun: str) -> str:
    return f"{counted(number, noun)} {verb(number, 'is', 'are')}"


def describe_rules(policy: Mapping[str, Any]) -> str:
    """The limits in one line: `face similarity 0.60, skin realism 0.60, …`."""
    return ", ".join(f"{gate.title} {limit:.2f}" for gate in GATES if (limit := gate.limit(policy)) is not None)
