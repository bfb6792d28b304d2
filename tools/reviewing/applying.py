"""Taking in a file of decisions: what the static report exported, or the `decisions.jsonl` of a copy of the batch.

Everything in the file is looked at before anything is written. What cannot be taken is named, one line each, and left out; the file
itself is never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError
from lifeos.project import require_file
from tools.production.decisions import OWNER, Decision, DecisionRecord, fault_of, to_decision, writing
from tools.production.journal import now_text
from tools.production.overruling import titles_of
from tools.reviewing.desk import MOST_LETTERS, check_reviewer
from tools.reviewing.reviewed_batch import ReviewedBatch, Snapshot

KIND = "lifeos decisions"
SCHEMA = 1
FIX = "export it again from the report; nothing was taken from this one"
EXPORTED = "report"
"""What `from` says of a decision made in the static report."""


@dataclass(frozen=True, slots=True)
class DecisionsFile:
    """What the static report exports."""

    kind: str
    batch_id: str
    decisions: tuple[Any, ...]
    run_id: str = ""
    protocol_id: str = ""
    reviewer: str = ""
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class LeftOutDecision:
    """A decision that was not taken, and why, in words."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class AppliedFile:
    """What became of a file: the decisions that are new, how many stood already, and those that were left out."""

    fresh: tuple[Decision, ...]
    already: int
    left_out: tuple[LeftOutDecision, ...]
    remarks: tuple[str, ...] = ()


def apply_file(path: Path, batch: ReviewedBatch, reviewer: str) -> AppliedFile:
    """Write the usable decisions of a file down. `reviewer`: whose they are where the file does not say.

    Raises InputError for a file of another batch, and for one that is no whole file of decisions.
    """
    require_file(path, "--apply")
    with writing(batch.folder.root) as append:
        found = batch.look()
        if path.suffix == ".jsonl":
            applied = _sort_out(list(_read_lines(path)), found, is_log=True)
        else:
            document = _read_document(path, found)
            applied = _sort_out(list(_read_entries(path, document, reviewer)), found, is_log=False)
            applied = replace(applied, remarks=_remarks(document, found))
        append(applied.fresh)
    return applied


def _read_document(path: Path, found: Snapshot) -> DecisionsFile:
    document = foreign.read_file(path, DecisionsFile, surrogates="keep", fix=FIX)
    if (document.kind, document.schema) != (KIND, SCHEMA):
        raise InputError(path, f"is no file of decisions of this version ({document.kind!r}, schema {document.schema})", FIX)
    if document.batch_id != found.plan.batch_id:
        ours, theirs = found.plan, document.run_id or "another batch"
        why = f"is about {theirs} (batch {document.batch_id[:8]}); this directory holds {ours.run_id} (batch {ours.batch_id[:8]})"
        raise InputError(path, why, "name the directory of its own batch; nothing was taken")
    return document


def _remarks(document: DecisionsFile, found: Snapshot) -> tuple[str, ...]:
    ours = str(found.plan.protocol.get("id", ""))
    if document.protocol_id in ("", ours):
        return ()
    return (f"its pictures were scored under another protocol when it was made ({document.protocol_id}, now {ours}); the verdicts count",)


def _read_entries(path: Path, document: DecisionsFile, reviewer: str) -> Iterator[tuple[str, Decision | str]]:
    by = check_reviewer(document.reviewer or reviewer)
    for number, entry in enumerate(document.decisions, 1):
        where = f"{path}: decision {number}"
        try:
            record = foreign.convert(entry, DecisionRecord, where, surrogates="keep")
        except InputError as error:
            key = error.what.removeprefix(where).lstrip(": $.")
            yield where, f"{key}: {error.why}" if key else error.why
            continue
        given = record.get("by")
        yield where, fault_of(record) or replace(to_decision(record), by=check_reviewer(given) if given else by, origin=EXPORTED)


def _read_lines(path: Path) -> Iterator[tuple[str, Decision | str]]:
    for line in foreign.read_lines(path, DecisionRecord, surrogates="keep"):
        where = f"{path}:{line.number}"
        if isinstance(line, foreign.BadLine):
            yield where, "half written" if line.is_torn else line.error.why
        else:
            yield where, fault_of(line.record) or to_decision(line.record)


def _sort_out(told: Sequence[tuple[str, Decision | str]], found: Snapshot, *, is_log: bool) -> AppliedFile:
    """What of a file can be taken. Of a log each reviewer's newest line counts; elsewhere two lines that contradict each other do not."""
    usable: dict[tuple[str, str], tuple[str, Decision]] = {}
    left_out: list[LeftOutDecision] = []
    contradicted: set[tuple[str, str]] = set()
    for where, decision in told:
        if isinstance(decision, str):
            left_out.append(LeftOutDecision(where, decision))
            continue
        key = decision.picture.name, decision.by
        known = usable.get(key)
        if known is not None and known[1].verdict != decision.verdict and not is_log:
            contradicted.add(key)
            why = f"{key[0]} is {known[1].verdict} and {decision.verdict} in the same file: neither counts"
            left_out.append(LeftOutDecision(where, why))
        usable[key] = where, decision
    fresh: list[Decision] = []
    already = 0
    for key, (where, decision) in usable.items():
        if key in contradicted:
            continue
        stands = next((one for one in found.settled.verdicts.get(key[0], ()) if one.by == key[1]), None)
        if why := _why_not(decision, stands, found):
            left_out.append(LeftOutDecision(where, why))
        elif (stands is None and decision.withdrawn) or (stands is not None and decision.says_the_same(stands)):
            already += 1
        else:
            guards = found.pictures[key[0]].guards_against if decision.approved and not decision.opinion else ()
            fresh.append(replace(decision, when=decision.when or now_text(), overrules=guards, undo=False))
    order = {where: number for number, (where, _) in enumerate(told)}
    return AppliedFile(tuple(fresh), already, tuple(sorted(left_out, key=lambda each: order[each.where])))


def _why_not(decision: Decision, stands: Decision | None, found: Snapshot) -> str:
    """Why a decision cannot be taken; empty where it can."""
    name = decision.picture.name
    picture = found.pictures.get(name)
    if picture is None:
        return f"no picture of this batch is called {name}"
    if decision.picture.sha256 not in ("", picture.assessment.sha256):
        return f"{name} was another picture when it was decided (its bytes have changed)"
    if name in found.settled.gone:
        return f"{name} is gone: somebody deleted it or took it away"
    if len(decision.reason) > MOST_LETTERS:
        return f"the reason for {name} has {len(decision.reason)} letters; at most {MOST_LETTERS} are kept"
    if stands is not None and decision.when and stands.when > decision.when and stands.verdict != decision.verdict:
        return f"{'the owner' if decision.by == OWNER else decision.by} decided otherwise about {name} later ({stands.when}): that stays"
    if decision.approved and not decision.opinion and picture.guards_against and not decision.reason.strip():
        return f"{titles_of(picture.guards_against)} rejects {name}: approving it needs a reason"
    return ""
