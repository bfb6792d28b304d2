"""`parameter_sweep --checkpoints`: from its flags to its report, its rows in the history and, where asked for, a new champion."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evals.judging.gate_limits import given_limits
from evals.load_thresholds import load_thresholds
from lifeos import cli, times
from lifeos.counting import counted
from lifeos.errors import EXIT_GATE, EXIT_INTERRUPTED, EXIT_OK, InputError
from lifeos.pages.opening import open_page
from tools.cost.rates import find_rate
from tools.production.choices import choose_prompts, choose_run_id
from tools.production.pipeline import Circumstances
from tools.production.request import Request
from tools.production.results import FINISHED, INCOMPLETE
from tools.production.stopping import StopSignal
from tools.sweep.checkpoint_folder import CheckpointFolder, FoundCheckpoint
from tools.sweep.checkpoint_report import record_history, write_report
from tools.sweep.checkpoint_watch import WatchEnd, WatchView, watch_checkpoints
from tools.sweep.sample_folder import TrainerSample, list_samples, measure_gap
from tools.sweep.sweep_page import PAGE_FILE
from tools.sweep.training_sight import see_training
from tools.sweep.watch_order import WatchOrder
from tools.sweep.watch_state import WatchDesign, check_same_design, read_state


def read_order(args: argparse.Namespace, request: Request, policy: Mapping[str, Any]) -> WatchOrder:
    """What a command line means. Raises InputError for prompts that cannot be used."""
    prompts = tuple(dict.fromkeys(choose_prompts(request)))
    strengths = tuple(sorted(set(args.strengths or policy["checkpoints"]["strengths"])))
    run_id = choose_run_id(request)
    design = WatchDesign(
        run_id,
        str(args.checkpoints.resolve()),
        strengths,
        prompts,
        args.seeds,
        next(iter(args.cfgs or []), None),
        next(iter(args.samplers or []), None),
    )
    return WatchOrder(
        replace(request, prompts=prompts, prompts_file=None),
        args.checkpoints.resolve(),
        design,
        training_run=args.training_run,
        watch=args.watch,
        stop_training=args.stop_training,
        lora_dir=args.comfy_lora_dir,
        manifest=args.dataset_manifest,
        strict_references=args.strict_references,
        idle_seconds=args.watch_idle_min * 60,
    )


def judge_checkpoints(args: argparse.Namespace, request: Request, around: Circumstances) -> int:
    """Run the command. Returns the exit code."""
    limits = given_limits(args)

    def load_policy(more: Mapping[str, Any]) -> dict[str, Any]:
        return load_thresholds(args.project_root, overrides={**more, **limits})

    policy = load_policy({})
    order = read_order(args, request, policy)
    if args.dry_run:
        return preview(args, order, policy)
    root = request.output_dir
    samples = list_samples(args.trainer_samples) if args.trainer_samples is not None else []

    def on_view(view: WatchView) -> None:
        write_report(view, root, around.cost_log)
        if view.ended is None:
            tell(view, around)

    with StopSignal() as stop:
        end = watch_checkpoints(order, load_policy, around, stop, on_view)
    if end.error is not None:
        raise end.error
    if end.view is None:
        if end.why == "interrupted":
            return EXIT_INTERRUPTED
        raise InputError(root, f"no picture was scored ({end.why})", "the same command continues")
    return finish(args, request, around, end.why, _with_samples(end.view, end, samples))


def _with_samples(view: WatchView, end: WatchEnd, samples: Sequence[TrainerSample]) -> WatchView:
    """The view with the trainer's samples beside the graph's pictures."""
    if not samples or end.judge is None:
        return view
    causes = [view.unloaded] if view.unloaded else []
    prompts, assessor = view.state.design.prompts, end.judge.ground.assessor
    gap = measure_gap(samples, view.verdict, view.shots, prompts, assessor, view.policy, view.sight.record, causes)
    return replace(view, verdict=replace(view.verdict, gap=gap))


def finish(args: argparse.Namespace, request: Request, around: Circumstances, why: str, view: WatchView) -> int:
    """Write, record, promote and tell. Returns the exit code."""
    root = request.output_dir
    document = write_report(view, root, around.cost_log)
    if why in FINISHED and around.history_file is not None:
        record_history(view, request, around.history_file, times.stamp())
    promoted = True
    if args.promote and why in FINISHED:
        from tools.sweep.sweep_promotion import promote_chosen

        document["promotion"], promoted = promote_chosen(view, around, args.project_root)
    told = [document["curve"]["trainer_samples"]["sentence"]] if document["curve"]["trainer_samples"] else []
    told += [view.references.told, document["judgement"]] if view.references.are_trained else [document["judgement"]]
    told += [document["promotion"]] if "promotion" in document else []
    cli.say("\n".join([f"report: {document['report']}", document["more_trainings"], *told]), as_json=args.json)
    if args.json:
        cli.print_json(document)
    if args.open:
        open_page(root / PAGE_FILE)
    if why == "interrupted":
        return EXIT_INTERRUPTED
    return EXIT_GATE if why == INCOMPLETE or not promoted else EXIT_OK


def tell(view: WatchView, around: Circumstances) -> None:
    """The newest point and the advice, after a checkpoint."""
    for advice in view.verdict.advice[-1:]:
        around.note(f"advice at step {advice.step}: {advice.sentence}")
    if (chosen := view.verdict.choice.chosen) is not None:
        around.note(f"the best so far: {chosen.checkpoint} ({chosen.title})")


def preview(args: argparse.Namespace, order: WatchOrder, policy: Mapping[str, Any]) -> int:
    """`--dry-run`: what would be judged, its time and cost; nothing is made, and no server is asked."""
    begun = read_state(order.request.output_dir)
    if begun is not None:
        check_same_design(order.request.output_dir, begun, order.design)
    found = list_now(order)
    design = order.design
    total = len(found) * len(design.strengths) * design.wanted
    seconds = total * policy["production"]["seconds_per_picture"]
    rates = policy["cost"]["rates_per_hr"]
    gpu = args.gpu or policy["cost"]["default_gpu"]
    usd = seconds / 3600 * (args.rate_per_hr if args.rate_per_hr is not None else rates[find_rate(rates, gpu)])
    sight = see_training(order.folder)
    lines = [
        f"{counted(len(found), 'checkpoint')} × {counted(len(design.strengths), 'strength')} × {counted(design.wanted, 'picture')}"
        f" = {counted(total, 'picture')}, each checkpoint loaded once",
        f"about {seconds / 60:.0f} minutes and ${usd:.2f} on one GPU",
        *(f"  step {each.step}: {each.file} (run {each.run})" for each in found),
    ]
    if order.watch:
        lines.append(
            "the training goes on: new checkpoints are waited for" if sight.goes_on else f"the training: {sight.state or 'no record'}"
        )
    cli.say("\n".join(lines), as_json=args.json)
    if args.json:
        listed = [{"file": each.file, "step": each.step, "run": each.run, "sha256": each.sha256} for each in found]
        cli.print_json(
            {"checkpoints": listed, "strengths": list(design.strengths), "images": total, "seconds": seconds, "usd": round(usd, 2),
             "training": sight.state or None, "continues": begun is not None}
        )  # fmt: skip
    return EXIT_OK


def list_now(order: WatchOrder) -> list[FoundCheckpoint]:
    """The checkpoints that are whole at this moment."""
    if not order.folder.is_dir() and not order.watch:
        raise InputError(order.folder, "no such directory", "give --checkpoints the output folder of a training")
    folder = CheckpointFolder(order.folder, cli.note, order.training_run)
    found = folder.look(time.monotonic(), see_training(order.folder).record)
    if not found and not order.watch:
        raise InputError(order.folder, "holds no whole LoRA", "give --checkpoints the output folder of a training")
    for name in sorted(folder.pending):
        cli.note(f"{name} is being written")
    return found
