"""What a batch says before it begins: what was chosen, where it goes in the graph, and what the rest will take and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lifeos.counting import counted
from tools.backends.backend import Tariff
from tools.production.batch_state import BatchState
from tools.production.budget import Limits, estimate, format_seconds
from tools.production.plan import Plan, sha256_of
from tools.production.planning import Generation, settings_of
from tools.production.repair_numbers import is_repair, repair_number
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
    plan: Plan, state: BatchState, limits: Limits, policy: Mapping[str, Any], tariffs: Sequence[Tariff], cost_log: Path, note: Note
) -> None:
    """Time and money for what is still to be made; a target needs at least as many pictures as are still to be approved."""
    if not plan.generates or plan.engine_notice:
        return
    made = sum(item.is_made for index, item in state.items.items() if not is_repair(index))
    goal = plan.target_approved
    left = plan.planned - made if goal is None else goal - sum(state.approves(name) for name in state.verdicts)
    if limits.max_images is not None:
        left = min(left, limits.max_images - made)
    if left <= 0:
        return
    need = estimate(left, policy["production"]["seconds_per_picture"], tariffs)
    about = "about" if goal is None else "at least"
    note(f"  {about} {format_seconds(need.seconds)} and ${need.usd:.2f} for {counted(left, 'picture')}")
    warning = budget_warning(cost_log, policy, need.usd)
    if warning:
        note(f"  warning: {warning}")


def budget_warning(cost_log: Path, policy: Mapping[str, Any], usd: float) -> str:
    """One line when this month's spending and this batch together go over the policy's budget, else an empty string."""
    limit = float(policy["cost"]["monthly_budget_usd"])
    if not limit or not cost_log.exists():
        return ""
    from tools.cost.ledger import read_ledger

    now = datetime.now(UTC).date()
    spent = float(read_ledger(cost_log, since=now.replace(day=1)).total().usd)
    if spent + usd <= limit:
        return ""
    return f"${spent:.2f} are spent this month; with this batch it is ${spent + usd:.2f}, over the budget of ${limit:.2f}"
