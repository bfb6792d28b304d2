"""The row of a batch in the evaluation history: what people decided marked in it, written once, replaced when the batch has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import files, foreign
from lifeos.counting import counted
from tools.production.batch_state import BatchState
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal
from tools.production.plan import Plan
from tools.production.results import PictureResult
from tools.production.stopping import Note


def mark_decided(row: dict[str, Any], pictures: Iterable[PictureResult]) -> dict[str, Any]:
    """The row with people's verdicts in the place of the gates', and marked as theirs. `pictures` in the order of its `images`."""
    images = [{**entry, **_told(picture)} for entry, picture in zip(row["images"], pictures, strict=True)]
    return {**row, "images": images}


def _told(picture: PictureResult) -> dict[str, Any]:
    decision = picture.decision
    if decision is None:
        return {}
    return {"approved": decision.approved, "gates_approved": picture.gates_approve, "decided_by": decision.by}


def digest_of_decided(images: Iterable[Mapping[str, Any]]) -> str:
    """Short for what people decided about the pictures of a row; empty where they decided nothing."""
    decided = [[str(each.get("file")), each.get("approved") is True, str(each["decided_by"])] for each in images if "decided_by" in each]
    return hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:16] if decided else ""


@dataclass(frozen=True, slots=True)
class FormerRow:
    """What is asked of a row that the history holds already."""

    batch_id: str | None = None
    run_id: str | int | None = None
    timestamp: str | None = None
    images: tuple[Any, ...] = ()
    rejudged: int = 0
    protocol_id: str | None = None

    @property
    def decided(self) -> str:
        return digest_of_decided(each for each in self.images if isinstance(each, Mapping))


def record_once(plan: Plan, folder: BatchFolder, state: BatchState, row: dict[str, Any], history: Path, note: Note) -> None:
    """Append the row to the history, unless it is there: a run before this one may have been killed right after.

    If the batch has grown since (failed pictures made by a later run, --max-images raised), was judged or scored again, or people decided
    otherwise, a new row with the same run id and the time of the former one (`supersedes`) replaces it. The history is append-only; its
    readers take the newest row.
    """
    pictures, decided = len(row["images"]), digest_of_decided(row["images"])
    if (state.recorded, state.recorded_decided) == (pictures, decided):
        return
    row = {**row, "rejudged": state.rejudged} if state.rejudged else row
    former: FormerRow | None = None
    others = set()
    for line in foreign.read_lines(history, FormerRow) if history.exists() else ():
        if isinstance(line, foreign.BadLine):
            note(f"{history}:{line.number}: line skipped ({line.error.why})")
        elif line.record.batch_id == plan.batch_id:
            former = line.record
        else:
            others.add(line.record.run_id)
    if former is None and plan.run_id in others:
        note(f"the run id {plan.run_id} is in {history} already: give one of the two another --run-id to compare them")
    if former is None:
        files.append_record(history, row)
    elif (len(former.images), former.rejudged, former.protocol_id, former.decided) != (
        pictures,
        state.rejudged,
        row["protocol_id"],
        decided,
    ):
        files.append_record(history, {**row, "supersedes": former.timestamp})
        note(f"{history}: a new row of {plan.run_id} with {counted(pictures, 'picture')} replaces that of {former.timestamp}")
    journal = Journal(folder.root / JOURNAL_FILE)
    try:
        journal.append("recorded", history=str(history), run_id=plan.run_id, pictures=pictures, decided=decided)
    finally:
        journal.close()
