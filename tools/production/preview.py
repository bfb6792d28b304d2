"""`--dry-run`: the plan, the workflow as it would be sent, time and cost. Nothing is written, nothing is queued."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.judging.assessor import Assessor
from evals.judging.inputs import left_out_document
from lifeos.counting import counted, verb
from lifeos.errors import UnavailableError
from tools.backends.backend import Backend
from tools.backends.registry import ReachedServers, connect_backends, open_backends
from tools.backends.server_groups import tell_left_out
from tools.cost.spending import OverBudgetError, SharedPurse
from tools.production import choices
from tools.production.announcing import budget_warning, forecast_document, forecast_lines, placed_lines
from tools.production.batch_forecast import find_paces, forecast, wanted_usd
from tools.production.batch_state import BatchState
from tools.production.budget import ServerPace, estimate, format_seconds
from tools.production.filing import GIGABYTE, BatchFolder
from tools.production.growth import check_growth
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.pipeline import MAKE_LESS, Circumstances, continued, may_begin_anew
from tools.production.plan import Plan, sha256_of
from tools.production.planning import limits_of, make_plan, plan_generation, settings_of
from tools.production.protocol_change import foretell
from tools.production.request import Request
from tools.production.server_prices import mean_rate, price_servers
from tools.production.server_work import PricedServer

SHOWN_ITEMS = 5


def preview(request: Request, policy: Mapping[str, Any], around: Circumstances) -> dict[str, Any]:
    """What a command would do. `unchecked` names what could not be looked at, and why."""
    request.check()
    folder = BatchFolder(request.output_dir)
    request, saved = continued(request, folder, around)
    unchecked: list[str] = []
    with contextlib.ExitStack() as stack:
        reached = _reach(request, stack, unchecked)
        servers = reached.servers
        generation = plan_generation(request, policy, servers, saved) if request.images is None else None
        if generation is not None:
            unchecked += [
                f"going on without {line}" for line in tell_left_out((each.lack for each in generation.gaps.values()), len(servers))
            ]
            servers = [server for server in servers if server.url not in generation.gaps]
    reference_dir, assessor = _references(request, policy, around, unchecked, saved)
    plan = make_plan(
        request, policy, saved=saved, reference_dir=reference_dir, assessor=assessor, generation=generation,
        notice=reached.notice,
    )  # fmt: skip
    limits, state = limits_of(request, plan), read_state(folder.root / JOURNAL_FILE)
    grows, older = list[str](), ""
    is_known = assessor is not None and (servers or request.images is not None)
    if saved is not None and is_known and not may_begin_anew(saved, plan, state):
        grows = check_growth(folder.root, saved, plan)
    if saved is not None and state.scored:
        older = foretell(folder, saved, plan, state, limits)
    rules = policy["production"]
    wanted = limits.most(plan)
    prices, paces = _prices_and_paces(request, policy, around, plan, state, servers)
    need = estimate(wanted if plan.generates else 0, paces)
    return {
        "run_id": plan.run_id,
        "lora_version": plan.lora_version,
        "output_dir": str(folder.root),
        "continues": saved is not None,
        "grows": grows,
        "older_scores": older or None,
        "pictures": wanted,
        "target_approved": plan.target_approved,
        "prompts": list(plan.prompts),
        "first": [_item(plan.item(index), plan) for index in range(1, min(SHOWN_ITEMS, wanted) + 1)],
        "settings": settings_of(plan),
        "placed": placed_lines(generation, plan) if generation is not None else [],
        "places": generation.filled(plan, plan.item(1)).places() if generation is not None else [],
        "workflow_sha256": sha256_of(plan.workflows[0]) if plan.workflows else None,
        "workflow": plan.workflows[0] if plan.workflows else None,
        "models": list(plan.models),
        "source_dir": plan.source_dir,
        "left_out": left_out_document(choices.left_out_of(plan.source_dir, plan.reference_dir), Path(plan.source_dir or "")),
        "reference_dir": str(reference_dir),
        "engine": plan.engine or None,
        "estimate": {
            "seconds": round(need.seconds, 1),
            "usd": round(need.usd, 4),
            "rate_per_hr": mean_rate(prices),
            "servers": max(1, len(request.servers)) if not prices else len(prices),
            "by_kind": forecast_document(need, prices),
            "lines": forecast_lines(need, prices),
        },
        "budget_warning": budget_warning(around.cost_log, policy, need.usd) or None,
        "refusal": _refusal(around.purse(policy), wanted_usd(forecast(plan, state, limits, paces), state, limits)),
        "free_gb": round(folder.free_bytes() / GIGABYTE, 1),
        "min_free_gb": rules["min_free_disk_gb"],
        "unchecked": unchecked,
    }


def _prices_and_paces(
    request: Request, policy: Mapping[str, Any], around: Circumstances, plan: Plan, state: BatchState, servers: Sequence[Backend]
) -> tuple[tuple[PricedServer, ...], dict[str, ServerPace]]:
    """Of the servers that answer; where none does, of those that were named."""
    with contextlib.nullcontext(servers) if servers or not plan.generates else open_backends(request.servers) as priced:
        paid = priced if plan.generates else []
        prices = price_servers(paid, policy, notice=plan.engine_notice, gpu=around.gpu, rate_per_hr=around.rate_per_hr)
        return prices, find_paces(prices, policy["production"]["seconds_per_picture"], priced, state.sessions)


def _refusal(purse: SharedPurse, usd: float) -> str | None:
    """Why the command would be refused: what it needs does not fit into a budget."""
    try:
        purse.check(usd, MAKE_LESS)
    except OverBudgetError as error:
        return str(error)
    return None


def _reach(request: Request, stack: contextlib.ExitStack, unchecked: list[str]) -> ReachedServers:
    if request.images is not None:
        return ReachedServers()
    try:
        return stack.enter_context(connect_backends(request.servers, unchecked.append))
    except UnavailableError as error:
        unchecked.append(f"checkpoint, LoRA and nodes of the workflow: {error}")
        return ReachedServers()


def _references(
    request: Request, policy: Mapping[str, Any], around: Circumstances, unchecked: list[str], saved: Plan | None
) -> tuple[Path, Assessor | None]:
    try:
        return choices.choose_references(request, policy, around.root, unchecked.append, saved.protocol if saved else None)
    except UnavailableError as error:
        unchecked.append(f"the references: {error}")
        return request.reference_dir or around.root, None


def _item(item: Any, plan: Any) -> dict[str, Any]:
    return {"index": item.index, "seed": item.seed, "prompt": plan.prompt_of(item) or None, "source": item.source}


def render_preview(document: Mapping[str, Any]) -> str:
    """A preview for people."""
    would = "would continue" if document["continues"] else "would begin"
    lines = [f"dry run: {would} batch {document['run_id']} in {document['output_dir']}"]
    if document["grows"]:
        lines.append(f"  it grows: {'; '.join(document['grows'])}")
    if document["older_scores"]:
        lines.append(f"  {document['older_scores']}")
    if document["source_dir"] is not None:
        pictures = f"{counted(document['pictures'], 'picture')} from {document['source_dir']}"
        lines.append(f"  {pictures} {verb(document['pictures'], 'is', 'are')} scored and copied; none is moved or altered")
        lines += [f"  left out: {item['file']} ({item['why']})" for item in document["left_out"]]
    elif document["target_approved"] is not None:
        lines.append(f"  until {document['target_approved']} are approved, {counted(document['pictures'], 'picture')} at most")
    else:
        lines.append(f"  {counted(len(document['prompts']), 'prompt')}, {counted(document['pictures'], 'picture')}")
    lines += [f"    {item['index']:04d} " + (item["source"] or f"seed {item['seed']}: {item['prompt'][:90]}") for item in document["first"]]
    if document["workflow"] is not None:
        lines += ["  what goes where in the workflow of the first picture:", *(f"    {line}" for line in document["placed"])]
        need = document["estimate"]
        takes = f"{format_seconds(need['seconds'])} on {counted(need['servers'], 'server')}"
        lines.append(f"  about {takes}, ${need['usd']:.2f} at ${need['rate_per_hr']:.2f}/h")
        lines += [f"  {line}" for line in need["lines"]]
    lines.append(f"  references {document['reference_dir']}" + (f"; {document['engine']}" if document["engine"] else ""))
    if document["free_gb"] < document["min_free_gb"]:
        lines.append(f"  warning: {document['free_gb']} GB free, {document['min_free_gb']:g} GB wanted")
    if document["budget_warning"]:
        lines.append(f"  warning: {document['budget_warning']}")
    if document["refusal"]:
        lines.append(f"  it would be refused: {document['refusal']}")
    lines += [f"  not checked: {text}" for text in document["unchecked"]]
    if document["workflow"] is not None:
        lines.append("  the workflow of the first picture, as it would be sent:")
        lines += [f"    {json.dumps(node)}: {json.dumps(content, ensure_ascii=False)}" for node, content in document["workflow"].items()]
    return "\n".join(lines)
