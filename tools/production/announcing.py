"""What a batch says before it begins: what was chosen, where it goes in the graph, and what the rest will take and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lifeos import times
from lifeos.counting import counted, dollars
from tools.production.budget import BatchEstimate, format_seconds
from tools.production.plan import Plan, sha256_of
from tools.production.planning import Generation, settings_of
from tools.production.repair_numbers import repair_number
from tools.production.server_prices import COMFYUI, DEMO, EMBEDDED, POLICY, SOURCES
from tools.production.server_work import PricedServer
from tools.production.stopping import Note


def say_plan(plan: Plan, generation: Generation | None, continues: bool, note: Note) -> None:
    """What was chosen, in a few lines."""
    verb = "continuing" if continues else "new"
    what = f"{counted(len(plan.prompts), 'prompt')} × {plan.count}" if plan.generates else counted(plan.planned, "existing picture")
    goal = f", until {plan.target_approved} are approved" if plan.target_approved is not None else ""
    note(f"{verb} batch {plan.run_id}: {what}{goal}")
    if generation is not None:
        shown = {name: value for name, value in settings_of(plan).items() if name not in ("negative", "prompts", "count")}
        note("  " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items() if value is not None))
        for line in placed_lines(generation, plan):
            note(f"  {line}")
        if not any(model["folder"] == "loras" for model in plan.models):
            note("  warning: no LoRA is used: name one with --lora")
    note(f"  references {plan.reference_dir}; {plan.engine}" if plan.engine else f"  references {plan.reference_dir}")
    if plan.engine_notice:
        note(f"  {plan.engine_notice}")


def placed_lines(generation: Generation, plan: Plan) -> list[str]:
    """Where everything goes in the graph of the first picture, and the digest of that graph: as it is sent."""
    placed = generation.filled(plan, plan.item(1))
    repair: list[str] = []
    if generation.repair is not None:
        item = plan.item(repair_number(1, 1))
        repair = generation.repair.lines(generation.repair_settings(plan.prompt_of(item), item.seed, f"lifeos/{plan.run_id}/{item.key}"))
    return [*generation.remarks, *placed.lines(), *repair, f"graph of the first picture, SHA-256: {sha256_of(placed.graph)}"]


def say_estimate(
    need: BatchEstimate, plan: Plan, prices: Sequence[PricedServer], policy: Mapping[str, Any], cost_log: Path, note: Note
) -> None:
    """Time and money for what is still to be made, by kind of server where there are several kinds or prices that need a word."""
    if not need.pictures or all(price.price == DEMO for price in prices):
        return
    about = "about" if plan.target_approved is None else "at least"
    note(f"  {about} {format_seconds(need.seconds)} and {dollars(need.usd)} for {counted(need.pictures, 'picture')}")
    for line in forecast_lines(need, prices):
        note(f"  {line}")
    warning = budget_warning(cost_log, policy, need.usd)
    if warning:
        note(f"  warning: {warning}")


def forecast_document(need: BatchEstimate, prices: Sequence[PricedServer]) -> list[dict[str, Any]]:
    """What is expected of each kind of server, in the order in which they were named."""
    rows: dict[str, dict[str, Any]] = {}
    shares = {share.server: share for share in need.shares}
    for price in prices:
        share = shares[price.server]
        row = rows.setdefault(price.kind, {"kind": price.kind, "servers": 0, "pictures": 0.0, "seconds": 0.0, "usd": 0.0, "prices": []})
        row["servers"] += 1
        row["pictures"] += share.pictures
        row["seconds"] += share.seconds
        row["usd"] = None if row["usd"] is None or share.usd is None else row["usd"] + share.usd
        row["prices"] += [price.price] if price.price not in row["prices"] else []
    digits = {"pictures": 1, "seconds": 1, "usd": 4}
    return [row | {name: round(row[name], digits[name]) for name in digits if row[name] is not None} for row in rows.values()]


def forecast_lines(need: BatchEstimate, prices: Sequence[PricedServer]) -> list[str]:
    """The same for people: nothing where one kind does it all at a price that somebody stated."""
    rows = forecast_document(need, prices)
    is_plain = len(rows) == 1 and rows[0]["usd"] is not None
    lines = [] if is_plain else [f"  {_kind_line(row)}" for row in rows]
    lines += [f"warning: what a picture costs there is not known before one is made: {server}" for server in need.unpriced]
    guessed = [price.kind for price in prices if price.price == POLICY and price.kind not in (COMFYUI, EMBEDDED)]
    if guessed:
        lines.append(f"warning: the price of {', '.join(dict.fromkeys(guessed))} is {SOURCES[POLICY]}")
    return lines


def _kind_line(row: Mapping[str, Any]) -> str:
    cost = "at a price that is not known yet" if row["usd"] is None else dollars(row["usd"])
    return f"{row['kind']} ({counted(row['servers'], 'server')}): about {counted(round(row['pictures']), 'picture')}, {cost}"


def budget_warning(cost_log: Path, policy: Mapping[str, Any], usd: float) -> str:
    """One line when this month's spending and this batch together go over the policy's budget, else an empty string."""
    limit = float(policy["cost"]["monthly_budget_usd"])
    if not limit:
        return ""
    from tools.cost.meter import STATE_FILE
    from tools.cost.spending import read_spent

    spent = read_spent(cost_log, cost_log.with_name(STATE_FILE.name), times.now()).month
    if spent + usd <= limit:
        return ""
    return f"${spent:.2f} are spent this month; with this batch it is ${spent + usd:.2f}, over the budget of ${limit:.2f}"
