"""A batch that was begun when scores were measured in another way goes on with all of its pictures scored again: one protocol in one batch.

Each new score is a record of its own (`rescored`) that counts for nothing until one more (`protocol`, on the disk before any picture
moves) puts all of them in the place of the old ones. A run that is killed before it leaves the batch as it was, and the next one goes on
scoring; one that is killed after it has its moves, and its plan, made by the next.

A batch of which nothing is left to do is not touched: its numbers stay under the protocol by which they were measured.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.judging.assessor import default_workers
from evals.judging.gates import gates_in_force, keep_readings
from evals.judging.picture_verdict import verdict
from evals.judging.protocol import measured_otherwise
from evals.judging.records import Assessment
from lifeos.counting import counted
from lifeos.locks import Held
from lifeos.progress import track
from tools.production.batch_state import BatchState, with_scales
from tools.production.budget import Limits
from tools.production.filing import BatchFolder
from tools.production.healing import find_losses, give_up_lost
from tools.production.intake import Scorer, scored_fields
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.plan import Plan, write_plan
from tools.production.rejudging import finish_moves, plan_in_force, policy_in_force
from tools.production.repairing import find_waiting
from tools.production.resemblance import find_rejected
from tools.production.settling import Settled, read_settled, settle_decisions
from tools.production.signs_of_life import REFRESH_SECONDS
from tools.production.stopping import Note
from tools.production.weeding import find_moves, to_record

NAMED = 3
WHY_KEPT = "nothing is left to make, so its numbers stay"


@dataclass(frozen=True, slots=True)
class Rescoring:
    """What pictures are scored again with."""

    scorer: Scorer
    policy: Mapping[str, Any]
    held: Held | None = None
    note: Note = lambda text: None


def settled_plan(folder: BatchFolder, saved: Plan, state: BatchState) -> Plan:
    """The plan as its journal has changed it; written down where a run was killed before it did."""
    plan = plan_in_force(saved, state)
    if plan is not saved:
        write_plan(folder.root, plan)
    return plan


def is_finished(plan: Plan, folder: BatchFolder, state: BatchState, limits: Limits, settled: Settled) -> bool:
    """Whether a run of the batch has nothing to make or to score, so that its numbers are its last."""
    names = [name for item in state.items.values() for name in item.files if name not in item.lost]
    if any(not state.is_settled(name) and folder.place_of(name) for name in names):
        return False
    target = plan.target_approved
    if target is not None and sum(settled.approves(name, state.approves(name)) for name in state.verdicts) >= target:
        return True
    if any(find_waiting(plan, folder, state, settled, state.policy if state.policy is not None else plan.policy)):
        return False
    made = {index for index, item in state.items.items() if item.is_made}
    return all(index in made for index in range(1, limits.most(plan) + 1))


def look_through(folder: BatchFolder, state: BatchState, note: Note) -> Settled:
    """Give up what is lost and settle what was decided, as each run does first: what there is to do is known then."""
    folder.prepare()
    finish_moves(folder, state)  # else they would look like a person's
    with contextlib.closing(Journal(folder.root / JOURNAL_FILE)) as journal:
        give_up_lost(folder, state, journal, note)
    return settle_decisions(folder, state, note, on_warning=lambda text: None)  # the run tells the rest


def foretell(folder: BatchFolder, saved: Plan, wanted: Plan, state: BatchState, limits: Limits) -> str:
    """What a run would say of pictures that were scored in an older way, without writing anything; empty where there are none."""
    older = describe_change(plan_in_force(saved, state).protocol, wanted.protocol)
    settled = read_settled(folder, state, lambda text: None)
    if older and is_finished(wanted, folder, state, limits, settled) and not any(find_losses(folder, state)):
        return kept_line(older)
    return foretell_rescoring(plan_in_force(saved, state), wanted.protocol, folder, state)


def foretell_rescoring(plan: Plan, protocol: Mapping[str, Any], folder: BatchFolder, state: BatchState) -> str:
    """The line with which a run begins to score the pictures of a batch again; empty where their scores were measured as today's are."""
    older = describe_change(plan.protocol, protocol)
    count = len(_scored_and_there(state, read_settled(folder, state, lambda text: None)))
    return rescored_line(older, count) if older and count else ""


def kept_line(older: str) -> str:
    return f"its pictures were scored in an older way ({older}): {WHY_KEPT}"


def rescored_line(older: str, count: int) -> str:
    return f"its pictures were scored in an older way ({older}): all {count} are scored again, so that the batch has one protocol"


def _scored_and_there(state: BatchState, settled: Settled) -> dict[str, int]:
    """The pictures that have a verdict and lie in their places, with their plan numbers."""
    names = {name: index for index, item in sorted(state.items.items()) for name in item.files if state.is_settled(name)}
    return {name: index for name, index in names.items() if name in settled.found.paths}


def kept(saved: Plan, wanted: Plan) -> Plan:
    """The wanted plan of a batch that stays under the protocol of before."""
    return replace(wanted, protocol=saved.protocol, policy=saved.policy, engine=saved.engine, likeness=saved.likeness)


def rescore(
    folder: BatchFolder, saved: Plan, wanted: Plan, state: BatchState, settled: Settled, tools: Rescoring
) -> tuple[Plan, BatchState]:
    """Score every picture of the batch again, under the protocol of `wanted`; the plan and the state from then on.

    The caller holds the lock of the directory. Ctrl-C ends it between two pictures; the same command goes on.
    """
    names = [name for _, item in sorted(state.items.items()) for name in item.files if state.is_settled(name)]
    there = _scored_and_there(state, settled)
    tools.note(rescored_line(describe_change(saved.protocol, wanted.protocol), len(there)))
    path, protocol = folder.root / JOURNAL_FILE, wanted.protocol
    policy = policy_in_force(tools.policy, saved, state)
    verdicts = _known(folder, state, settled, protocol["id"], policy)
    with contextlib.closing(Journal(path)) as journal:
        missing = [name for name in there if name not in verdicts]
        for name, assessment, size in _assess(folder, missing, settled, policy, tools):
            judged = verdict(assessment, policy)
            journal.append("rescored", protocol_id=protocol["id"], **scored_fields(there[name], name, assessment, judged, size))
            verdicts[name] = judged.approved
        copies = find_rejected(wanted, folder, state, settled, verdicts, policy)
        moves = find_moves(state, settled, verdicts, copies)
        scales = wanted.policy["face_similarity"]["engines"]
        counts = {"protocol": protocol, "scales": scales, "moves": list(moves), "duplicates": to_record(copies)}
        journal.append("protocol", protocol_id=protocol["id"], durable=True, **counts)
    _tell(moves, [name for name in names if name not in verdicts], tools.note)
    state = read_state(path, tools.note)
    plan = replace(wanted, policy=with_scales(saved.policy, scales))
    write_plan(folder.root, plan)
    finish_moves(folder, state)
    return plan, state


def _known(folder: BatchFolder, state: BatchState, settled: Settled, protocol_id: str, policy: Mapping[str, Any]) -> dict[str, bool]:
    """The verdicts on pictures that a killed run scored again already: those whose files are as long as they were then."""
    if any(gate.needs_others for gate in gates_in_force(policy)):
        return {}  # what it read depends on pictures that are not at hand
    known = {}
    for name, each in state.rescored.items():
        place = settled.found.paths.get(name)
        if each.protocol_id == protocol_id and place is not None and (folder.root / place).stat().st_size == each.scored.bytes:
            known[name] = each.approved
    return known


def _assess(
    folder: BatchFolder, names: Sequence[str], settled: Settled, policy: Mapping[str, Any], tools: Rescoring
) -> Iterator[tuple[str, Assessment, int]]:
    """Each picture with its assessment and the length of its file, in the order given."""

    def measure(name: str) -> tuple[Assessment, int]:
        data = (folder.root / settled.found.paths[name]).read_bytes()
        return tools.scorer.assess_bytes(data, Path(name)), len(data)

    keeps_others = any(gate.needs_others for gate in gates_in_force(policy))
    before: list[Assessment] = []
    refreshed = time.monotonic()
    pool = ThreadPoolExecutor(default_workers(), thread_name_prefix="rescore")
    try:
        measured = zip(names, pool.map(measure, names), strict=True)
        for name, (assessment, size) in track(measured, "scoring again", total=len(names), unit="picture"):
            found = keep_readings(assessment, policy, before)
            if keeps_others:
                before.append(found)
            yield name, found, size
            if tools.held is not None and time.monotonic() - refreshed >= REFRESH_SECONDS:
                refreshed = time.monotonic()
                tools.held.refresh()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # else a full disk would wait for all that is left


def _tell(moves: Mapping[str, bool], away: Sequence[str], note: Note) -> None:
    if moves:
        ups = sum(moves.values())
        note(f"scored again: {counted(ups, 'rejected picture')} now approved, {len(moves) - ups} approved now rejected")
    if away:
        note(f"{counted(len(away), 'picture')} that somebody took away could not be scored again, and count no more")


def describe_change(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    parts = measured_otherwise(then, now)
    return "; ".join(parts[:NAMED]) + (f"; and {len(parts) - NAMED} more" if len(parts) > NAMED else "")
