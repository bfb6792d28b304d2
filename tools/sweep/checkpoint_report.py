"""The report of a sweep over checkpoints: sweep_report.md and .json, anew after each checkpoint, and the rows of the history at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.comparison.document import finite
from evals.judging.gates import means
from lifeos import files, times
from lifeos.counting import counted
from lifeos.escaping import escape_markdown as escape
from tools.cost.ledger import read_ledger
from tools.production.batch_home import find_original
from tools.production.request import Request
from tools.sweep.analysis import score_configs
from tools.sweep.checkpoint_watch import WatchView
from tools.sweep.curve_report import MORE_TRAININGS, curve_document, extra_cost, render_curve
from tools.sweep.running import Sweep, SweepEnd
from tools.sweep.sweep_page import PAGE_FILE, page_of_curve, write_sweep_page
from tools.sweep.sweep_report import DEMO_LEAD, append_rows
from tools.sweep.watch_state import DELETED

REPORT, DOCUMENT = "sweep_report.md", "sweep_report.json"
SCHEMA = 1
TRAINING = "training"


def judgement(view: WatchView) -> str:
    """The sentence that the sweep was made for."""
    text = view.verdict.choice.sentence
    text = f"{DEMO_LEAD}{text}" if view.notice else text
    if view.ended is None or view.ended in ("complete", "incomplete"):
        return text
    return f"NOT FINISHED ({view.ended}): so far, {text[0].lower()}{text[1:]}"


def training_cost(view: WatchView, cost_log: Path) -> tuple[float, str] | None:
    """What one training costs in dollars, and where that is known from: the record, else the trainings of the cost log."""
    record = view.sight.record
    if record is not None and record.cost_usd > 0 and record.steps > 0:
        whole = record.cost_usd * max(1.0, (record.max_train_steps or record.steps) / record.steps)
        return whole, "as this one's record tells"
    trainings = read_ledger(cost_log).total(lambda kind: TRAINING in kind.activity)
    if trainings.sessions:
        return float(trainings.usd) / trainings.sessions, f"the mean of {counted(trainings.sessions, 'training')} in the cost log"
    return None


def write_report(view: WatchView, root: Path, cost_log: Path) -> dict[str, Any]:
    """Write Markdown and JSON into the sweep's folder. Returns the document."""
    document = to_document(view, root, cost_log)
    files.write_text(root / REPORT, render(view, document))
    _write_page(view, root, document)
    files.write_json(root / DOCUMENT, document)
    return document


def _write_page(view: WatchView, root: Path, document: Mapping[str, Any]) -> None:
    page = page_of_curve(
        view.verdict,
        view.shots,
        run_id=view.state.design.run_id,
        judgement=document["judgement"],
        prompts=view.state.design.prompts,
        lines=[document["references"]["sentence"], document["more_trainings"]],
        facts=_fact_lines(view),
        warnings=document["warnings"],
        notice=view.notice,
    )
    write_sweep_page(root / PAGE_FILE, page, command="tools/parameter_sweep.py", when=times.stamp())


def render(view: WatchView, document: Mapping[str, Any]) -> str:
    """sweep_report.md."""
    parts = [f"# Checkpoints: {escape(view.state.design.run_id)}"]
    parts += [f"**{escape(view.references.told)}**"] if view.references.are_trained else []
    parts.append(f"**{escape(document['judgement'])}**")
    if warnings := document["warnings"]:
        parts.append("**Before you trust this**\n\n" + "\n".join(f"- {escape(line)}" for line in warnings))
    parts += [] if view.references.are_trained else [escape(view.references.sentence)]
    parts.append(render_curve(view.verdict, view.policy["comparison"]["confidence"]))
    parts.append(f"## Another training\n\n{escape(document['more_trainings'])}")
    parts.append(_facts(view))
    if view.references.are_trained:
        parts.append(f"**{escape(view.references.told)}**")
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(view: WatchView) -> str:
    return "\n".join(["## How it was made", "", *(f"- {escape(line)}" for line in _fact_lines(view))])


def _fact_lines(view: WatchView) -> list[str]:
    design, state = view.state.design, view.state
    shown = f"{counted(len(design.strengths), 'strength')} × {counted(len(design.prompts), 'prompt')} × {counted(design.seeds, 'seed')}"
    lines = [f"{counted(len(state.judged), 'checkpoint')} of {design.folder}, each at {shown}"]
    lines.append(f"{counted(len(view.shots), 'picture')} scored, protocol {view.protocol.get('id')}, cost ${view.usd:.2f}")
    if view.sight.record is not None:
        lines.append(f"training run {view.sight.record.run_id}: {view.sight.state} at step {view.sight.record.steps}")
    lines += [f"{each.file} was deleted before it was judged" for each in state.checkpoints if each.ended == DELETED]
    if state.stopped is not None:
        lines.append(f"the training was asked to stop: {state.stopped}")
    return [*lines, view.notice] if view.notice else lines


def to_document(view: WatchView, root: Path, cost_log: Path) -> dict[str, Any]:
    choice = view.verdict.choice
    cost = training_cost(view, cost_log)
    record = view.sight.record
    return {
        "schema": SCHEMA,
        "run_id": view.state.design.run_id,
        "ended": view.ended,
        "judgement": judgement(view),
        "advice": view.verdict.advice[-1].kind if view.verdict.advice else None,
        "chosen": None if choice.chosen is None else choice.chosen.config,
        "settings": None if choice.chosen is None else {"lora": choice.chosen.checkpoint, "lora_strength": choice.chosen.strength},
        "curve": curve_document(view.verdict),
        "references": {"trained": list(view.references.trained), "known": view.references.known, "sentence": view.references.sentence},
        "checkpoints": [
            {"file": each.file, "step": each.step, "sha256": each.sha256, "served_as": each.served_as, "ended": each.ended}
            for each in view.state.checkpoints
        ],
        "training": None if record is None else {"run_id": record.run_id, "state": view.sight.state, "steps": record.steps},
        "stopped": view.state.stopped,
        "more_trainings": more_trainings(cost),
        "training_usd": None if cost is None else finite(round(cost[0], 4)),
        "ranking": [
            {"config": name, "score": finite(means([s.assessment for s in view.shots if s.config == name], view.policy).overall),
             "pictures": score.images, "without_face": score.faceless, "approved": score.approved}
            for name, score in score_configs(view.shots, view.policy).items()
        ],
        "images": len(view.shots),
        "cost_usd": round(view.usd, 4),
        "protocol": view.protocol,
        "likeness": {name: view.likeness.get(name) for name in ("strangers", "references")} if view.likeness else None,
        "warnings": [*view.likeness.get("warnings", []), *([view.unloaded] if view.unloaded else [])],
        "report": str(root / REPORT),
    }  # fmt: skip


def more_trainings(cost: tuple[float, str] | None) -> str:
    """What a comparison of recipes takes, and costs."""
    return MORE_TRAININGS if cost is None else f"{extra_cost(cost[0])[:-1]} ({cost[1]})."


def record_history(view: WatchView, request: Request, history: Path, timestamp: str) -> int:
    """One row of the history for each checkpoint and strength, once; a copy of a sweep adds none. Returns how many were added."""
    state = view.state
    if any(find_original(request.output_dir / item.folder) is not None for item in state.judged):
        return 0
    end = SweepEnd(view.ended or "", view.shots, [], view.protocol, view.notice, view.usd)
    added = 0
    for item in state.judged:
        version = request.lora_version or item.file.removesuffix(".safetensors")
        named = replace(request, lora_version=version, reference_dir=Path(state.references) if state.references else None)
        sweep = Sweep(named, item.configs(state.design), (), state.design.prompts, None, state.design.run_id)
        added += append_rows(sweep, end, view.policy, history, timestamp)
    return added
