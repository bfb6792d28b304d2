"""The cost report as a page: the specification's block, then what each day, activity and picture cost, idle and killed sessions too.

It shows the numbers of `tools.cost.summary` and works out none of its own but sums over days.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from lifeos.counting import counted
from lifeos.escaping import escape_line
from lifeos.pages.page_templates import write_page
from tools.cost.ledger import CostSum
from tools.cost.picture_costs import BatchCost, KindCost
from tools.cost.summary import (
    IDLE,
    CostSummary,
    as_document,
    budget_warning,
    describe_unsettled,
    display_name,
    dollars,
    dollars_each,
    plain_hours,
    render_block,
)
from tools.training.training_record import FINISHED

TEMPLATE = "cost.html.j2"
LINES = 4
"""Activities with a line of their own, the dearest: as many as can be told apart. The others are one."""
OTHERS = "all others"
LONGEST_SPAN = 92
"""Days; over a longer time the chart has a point for each month."""


def write_cost_page(path: Path, summary: CostSummary, names: Mapping[str, str], *, command: str, when: str) -> None:
    """`names`: the policy's names of activities. `when`: now, in UTC. Raises OSError."""
    document = page_document(summary, names)
    path.parent.mkdir(parents=True, exist_ok=True)
    charts = {name: document[name] for name in ("over_time", "per_picture", "by_card")}
    write_page(path, TEMPLATE, document | {"command": command, "when": when}, page_data=charts)


def _approved_row(made: BatchCost | KindCost) -> dict[str, Any]:
    """How many pictures were approved, what all cost, and what each of these did."""
    usd = made.usd
    money = {"usd": "not known", "each": "not known"} if usd is None else {"usd": dollars(usd), "each": dollars_each(usd, made.approved)}
    return {"approved": made.approved, **money}


def page_document(summary: CostSummary, names: Mapping[str, str]) -> dict[str, Any]:
    """What the page shows, in plain values."""
    told, total = as_document(summary), summary.ledger.total()
    days = sorted({kind.day for kind in summary.ledger.sums})
    idle = summary.activities.get(display_name(IDLE, names), CostSum())
    killed = summary.ledger.killed
    pictures = told["pictures"]
    return {
        "block": render_block(summary),
        "span": f"{days[0]} to {days[-1]}" if days else "no session yet",
        "sentence": _sentence(summary),
        "total": dollars(total.usd),
        "hours": plain_hours(total.hours),
        "sessions": total.sessions,
        "idle": {"usd": dollars(idle.usd), "hours": plain_hours(idle.hours), "share": f"{summary.idle_share:.0%}"},
        "guard": {"usd": dollars(summary.saved), "stopped": len(summary.stopped)},
        "killed": {"usd": dollars(killed.usd), "sessions": killed.sessions},
        "per_approved": dollars_each(Decimal(pictures["usd"]), pictures["approved"]),
        "per_approved_all": dollars_each(total.usd, pictures["approved"]),
        "approved": pictures["approved"],
        "month": told["month"] | {"spent": dollars(summary.budget.spent), "projected": dollars(summary.budget.projected)},
        "uses": [
            {"word": use.word, "period": use.period, "spent": dollars(use.spent), "limit": dollars(use.limit), "left": dollars(use.left)}
            for use in summary.uses
        ],
        "kinds": [{"kind": escape_line(kind.kind), "pictures": kind.pictures, **_approved_row(kind)} for kind in summary.kinds],
        "budget": dollars(summary.budget.limit) if summary.budget.limit else "",
        "warning": budget_warning(summary.budget),
        "unknown": [escape_line(describe_unsettled(session)) for session in summary.ledger.unsettled],
        "open_sessions": [escape_line(text) for text in summary.open_sessions],
        "activities": [_part(name, part, total) for name, part in summary.activities.items()],
        "cards": [_part(name, part, total) for name, part in summary.ledger.by("gpu").items()],
        "versions": [_part(name, part, total) for name, part in summary.ledger.by("lora_version").items() if name],
        "batches": [
            {
                "run_id": escape_line(batch.run_id),
                "lora_version": escape_line(batch.lora_version),
                "day": batch.day,
                "generated": batch.generated,
                **_approved_row(batch),
            }
            for batch in summary.batches
        ],
        "trainings": [
            {
                "name": escape_line(one.name),
                "day": escape_line(one.day),
                "steps": one.steps,
                "state": escape_line(one.state) or "not known",
                "finished": one.state in ("", FINISHED),
                "usd": "not known" if one.usd is None else dollars(one.usd),
            }
            for one in summary.trainings
        ],
        "odd": [escape_line(fault) for fault in summary.ledger.faults],
        "skipped": summary.ledger.skipped,
        "overlaps": summary.ledger.overlaps,
        "over_time": _over_time(summary, names, days),
        "per_picture": _per_picture(summary),
        "by_card": _by_card(summary, names),
    }


def _sentence(summary: CostSummary) -> str:
    total = summary.ledger.total()
    if not total.sessions:
        return "No session was counted yet."
    text = f"{dollars(total.usd)} in {counted(total.sessions, 'session')} and {plain_hours(total.hours)} hours"
    return f"{text}; {summary.idle_share:.0%} of the hours were idle."


def _part(name: str, part: CostSum, total: CostSum) -> dict[str, Any]:
    share = float(part.usd / total.usd) if total.usd else 0.0
    return {
        "name": escape_line(name),
        "sessions": part.sessions,
        "hours": plain_hours(part.hours),
        "usd": dollars(part.usd),
        "share": share,
    }


def _over_time(summary: CostSummary, names: Mapping[str, str], days: list[str]) -> dict[str, Any]:
    """Dollars of each day, or month, by activity; days without a session cost nothing, and are told too."""
    if not days:
        return {"unit": "day", "steps": [], "series": []}
    first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
    by_day = (last - first).days < LONGEST_SPAN
    steps = [str(first + timedelta(each)) for each in range((last - first).days + 1)] if by_day else _months(first, last)
    length = len(steps[0])
    order = sorted(summary.activities, key=lambda name: -summary.activities[name].cost_units)
    own = order[:LINES] if len(order) > LINES + 1 else order
    sums: dict[str, dict[str, Decimal]] = {name: dict.fromkeys(steps, Decimal(0)) for name in [*own, OTHERS]}
    for kind, part in summary.ledger.sums.items():
        name = display_name(kind.activity, names)
        sums[name if name in own else OTHERS][kind.day[:length]] += part.usd
    shown = own if len(own) == len(order) else [*own, OTHERS]
    series = [{"name": escape_line(name), "values": [round(float(value), 4) for value in sums[name].values()]} for name in shown]
    return {"unit": "day" if by_day else "month", "steps": steps, "series": series}


def _months(first: date, last: date) -> list[str]:
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    return [f"{first.year + (first.month - 1 + each) // 12}-{(first.month - 1 + each) % 12 + 1:02d}" for each in range(count)]


def _per_picture(summary: CostSummary) -> list[dict[str, Any]]:
    """Dollars for each approved and each generated picture, batch by batch as they were begun; None where nothing can be said."""
    rows = []
    for number, batch in enumerate(summary.batches, 1):
        known = batch.usd is not None
        rows.append(
            {
                "number": number,
                "name": escape_line(batch.run_id or f"batch {number}"),
                "approved": float(batch.usd / batch.approved) if known and batch.usd is not None and batch.approved else None,
                "generated": float(batch.usd / batch.generated) if known and batch.usd is not None and batch.generated else None,
                "note": f"{batch.day}, {batch.approved} of {counted(batch.generated, 'picture')} approved",
            }
        )
    return rows


def _by_card(summary: CostSummary, names: Mapping[str, str]) -> dict[str, Any]:
    """Dollars by activity and card, for a heat map; None where there was no session."""
    cards, rows = list(summary.ledger.by("gpu")), list(summary.activities)
    sums: dict[tuple[str, str], CostSum] = {}
    for kind, part in summary.ledger.sums.items():
        sums.setdefault((display_name(kind.activity, names), kind.gpu), CostSum()).add(part)

    def cell(row: str, card: str) -> dict[str, Any] | None:
        part = sums.get((row, card))
        return None if part is None else {"value": float(part.usd), "note": f"{plain_hours(part.hours)} hours"}

    return {
        "rows": [escape_line(row) for row in rows],
        "columns": [escape_line(card) for card in cards],
        "cells": [[cell(row, card) for card in cards] for row in rows],
    }
