"""What repairing brought: pictures that may be published before and after it, what it cost, and what it saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifeos.counting import counted, dollars, verb
from tools.production.batch_state import BatchState
from tools.production.budget import format_seconds
from tools.production.plan import Plan
from tools.production.repair_numbers import is_repair
from tools.production.results import BatchResults
from tools.production.server_work import SECONDS_PER_HOUR


def repair_document(plan: Plan, results: BatchResults, state: BatchState, cost: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section `repair` of a report; None where nothing is repaired.

    Rates are of the pictures that the LoRA made: `before` counts those of them that are approved, `after` also those of which the
    repaired picture is. Seconds are a server's own; dollars are these seconds at the price of that server (in journals of older versions
    the mean of all), and what was charged for a repair alone. `saved` is what the pictures that repairing won would have cost to make
    anew, less what repairing cost.
    """
    if plan.repair is None:
        return None
    own, repaired = results.own, [picture for picture in results.pictures if picture.repairs is not None]
    before = sum(picture.approved for picture in own)
    won = {picture.repairs for picture in repaired if picture.approved} - {picture.file for picture in own if picture.approved}
    after = before + len(won)
    repairs = [item for number, item in state.items.items() if is_repair(number)]
    seconds = sum(item.seconds or 0.0 for item in repairs)
    making = sum(picture.seconds or 0.0 for picture in own)
    hourly = {price.server: price.usd_per_hour for session in state.sessions for price in session.prices}  # the newest counts
    held = sum((item.seconds or 0.0) * hourly.get(item.server or "", cost["rate_per_hr"]) for item in repairs) / SECONDS_PER_HOUR
    usd = round(held + sum(item.charged for item in repairs), 4)
    without = max(0.0, cost["usd"] - usd)
    return {
        "workflow": plan.repair.workflow_name,
        "made": len(own),
        "repaired": len(repaired),
        "approved": len([picture for picture in repaired if picture.approved]),
        "failed": len(results.failed_repairs),
        "before": {"approved": before, "rate": _ratio(before, len(own))},
        "after": {"approved": after, "rate": _ratio(after, len(own))},
        "seconds": round(seconds, 1),
        "usd": usd,
        "seconds_per_approved": {"without": _ratio(making, before, 2), "with": _ratio(making + seconds, after, 2)},
        "usd_per_approved": {"without": _ratio(without, before), "with": _ratio(cost["usd"], after)},
        "saved_seconds": round(making / before * len(won) - seconds, 1) if before else None,
        "saved_usd": round(without / before * len(won) - usd, 4) if before else None,
        "failures": [{"file": name, "reason": reason} for name, reason, _ in results.failed_repairs],
    }


def _ratio(part: float, whole: int, digits: int = 4) -> float | None:
    return round(part / whole, digits) if whole else None


def repair_sentences(document: Mapping[str, Any]) -> list[str]:
    """The word on repairs at the top of a report."""
    found = document["repair"]
    if not found or not found["repaired"]:
        return []
    won = found["after"]["approved"] - found["before"]["approved"]
    return [f"{won} of them {verb(won, 'was', 'were')} won by repairing {counted(found['repaired'], 'rejected one')}."]


def repair_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What repairing brought, as rows of a table: a name and its value."""
    found = document["repair"]
    if not found:
        return []
    rows = [
        ("Repaired", f"{counted(found['repaired'], 'picture')}, {found['approved']} of them approved by the same gates"),
        ("Approved without repairing", _share(found["before"], found["made"])),
        ("Approved with it", _share(found["after"], found["made"])),
        ("What it cost", f"{format_seconds(found['seconds'])} on a server" + (f", {dollars(found['usd'])}" if found["usd"] else "")),
    ]
    rows.append(("Seconds per approved picture", _both(found["seconds_per_approved"], ".1f")))
    if document["cost"]["usd"]:
        rows.append(("Dollars per approved picture", _both(found["usd_per_approved"], ".4f")))
    rows.append(("Saved against making as many anew", _saved(found, document["cost"])))
    if found["failed"]:
        rows.append(("Came to nothing", f"{counted(found['failed'], 'repair')}; each picture is repaired once"))
    return rows


def _share(part: Mapping[str, Any], made: int) -> str:
    rate = f" ({part['rate']:.0%})" if part["rate"] is not None else ""
    return f"{part['approved']} of {made}{rate}"


def _both(found: Mapping[str, float | None], form: str) -> str:
    without, with_it = ("–" if value is None else f"{value:{form}}" for value in (found["without"], found["with"]))
    return f"{without} without, {with_it} with repairing"


def _saved(found: Mapping[str, Any], cost: Mapping[str, Any]) -> str:
    if found["saved_seconds"] is None:
        return "not known: no picture was approved without it"
    word = "" if found["saved_seconds"] >= 0 else "lost: "
    text = f"{word}{format_seconds(abs(found['saved_seconds']))}"
    return text + (f", {dollars(found['saved_usd'])}" if cost["usd"] and found["saved_usd"] is not None else "")
