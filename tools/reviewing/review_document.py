"""What the page of a review is told, as JSON. In a blind review nothing that gives away a verdict leaves the server."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Any

from evals.judging.borderline import is_borderline
from evals.judging.gates import gates_in_force
from tools.production.decisions import Decision
from tools.production.overruling import titles_of
from tools.production.report_text import quote_path
from tools.production.results import PictureResult
from tools.reviewing.desk import ReviewDesk
from tools.reviewing.reviewed_batch import Snapshot
from tools.reviewing.sampling import margin_of

SCHEMA = 1


def review_document(
    desk: ReviewDesk, found: Snapshot, status: str = "", *, running: bool = False, only: Collection[str] | None = None
) -> dict[str, Any]:
    """The whole batch, its pictures in the order in which they are asked. `running`: another program works on it.

    `only`: after a decision its pictures are enough, and a batch of thousands answers at once.
    """
    asked, own = desk.asked(found), desk.own_verdicts(found)
    items = [_item(desk, found, picture, own.get(name)) for name, picture in asked.items() if only is None or name in only]
    return {
        "schema": SCHEMA,
        "version": found.version,
        "run_id": found.plan.run_id,
        "batch_id": found.plan.batch_id,
        "protocol_id": found.plan.protocol.get("id", ""),
        "notice": found.plan.engine_notice or "",
        "reviewer": desk.reviewer,
        "blind": desk.blind,
        "sample": len(desk.sample.pictures) if desk.sample is not None else None,
        "status": status,
        "running": running,
        "undo": desk.count_steps(found),
        "gates": [] if desk.blind else [_gate(gate, found.policy) for gate in gates_in_force(found.policy)],
        "groups": [] if desk.blind or only is not None else _groups(found, asked),
        "whole": only is None,
        "items": _in_order(desk, found, items),
    }


def _groups(found: Snapshot, asked: Mapping[str, PictureResult]) -> list[list[str]]:
    """The pictures that are nearly the same, of those that are asked."""
    groups = ([name for name in names if name in asked] for names in found.groups)
    return [names for names in groups if len(names) > 1]


def _gate(gate: Any, policy: Mapping[str, Any]) -> dict[str, Any]:
    low, high = gate.span
    told = {"name": gate.picture_name, "title": gate.title, "limit": gate.limit(policy), "lower": gate.lower_is_better}
    return {**told, "low": low, "high": high}


def _item(desk: ReviewDesk, found: Snapshot, picture: PictureResult, own: Decision | None) -> dict[str, Any]:
    seen, geometry = picture.assessment, picture.assessment.geometry
    item: dict[str, Any] = {
        "name": picture.file,
        "url": quote_path(picture.file),
        "index": picture.index,
        "sha256": seen.sha256 or "",
        "width": seen.width,
        "height": seen.height,
        "shot": picture.shot,
        "prompt": picture.prompt,
        "prompt_id": picture.prompt_id,
        "seed": picture.seed,
        "config": picture.config,
        "source": picture.source,
        "reference": quote_path(seen.face.best_reference),
        "reference_name": seen.face.best_reference or "",
        "face": picture.face_box,
        "has_points": geometry is not None,
        "own": _said(own),
    }
    if desk.blind:
        return item
    margin = margin_of(picture, found.policy)
    return item | {
        "verdict": picture.verdict,
        "gates_verdict": "approved" if picture.gates_approve else "rejected",
        "scores": {gate.picture_name: gate.reading(seen).score for gate in gates_in_force(found.policy)},
        "reasons": list(picture.reasons),
        "guards": titles_of(picture.guards_against),
        "flags": list(seen.face.flags),
        "borderline": is_borderline(seen.skin, found.policy),
        "margin": None if margin is None else round(margin, 4),
        "others": [_said(one) for one in picture.verdicts if own is None or one != own],
        "disputed": picture.is_disputed,
    }


def _said(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {"verdict": decision.verdict, "by": decision.by, "when": decision.when, "from": decision.origin, "reason": decision.reason}


def _in_order(desk: ReviewDesk, found: Snapshot, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Borderline first, then by how near to a limit; a sample in its own order; blind in an order that tells nothing."""
    if desk.sample is not None:
        return items
    if desk.blind:
        random.Random(found.plan.batch_id).shuffle(items)
        return items
    return sorted(items, key=lambda item: (not item["borderline"], item["margin"] is None, abs(item["margin"] or 0.0), item["index"]))
