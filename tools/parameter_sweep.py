"""Find the configuration to use: checkpoints × LoRA strengths × CFG × samplers, on the same prompts and seeds, and how sure that is.

With --checkpoints, which checkpoint of a training to keep, at which strength: with --watch while the training goes on, with advice after
each one.

Pictures are made, judged and continued after an interruption as in tools/production_pipeline.py. Reads prompts, references and the
policy. Writes sweep_report.html, .md, .json, figures and a batch folder for each round into --output-dir, and one row for each
configuration into the evaluation history. With --max-images the worst configurations are dropped early. The same command continues.

    python tools/parameter_sweep.py --lora v3-step00001500.safetensors --lora v3-step00002000.safetensors --strengths 0.6,0.8,1.0 \\
        --prompts-file prompts.txt --seeds 2 --output-dir sweep_v3
    python tools/parameter_sweep.py --lora v3.safetensors --cfgs 4,5,6 --samplers dpmpp_2m,euler --max-images 400 --output-dir sweep_cfg
    python tools/parameter_sweep.py --checkpoints lora_output_v3 --watch --comfy-lora-dir ComfyUI/models/loras --output-dir which_v3

Exit codes: 0 done · 1 some pictures could not be made · 2 bad usage or input · 3 ComfyUI, a model or room on the disk is missing ·
4 another process works in the output directory · 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.faces.engine_flags import ENGINE_FLAGS, add_engine_flags
from evals.judging.gate_limits import add_gate_limits, given_limits
from lifeos import cli, times
from lifeos.budget_flags import add_budget_flags
from lifeos.errors import EXIT_GATE, EXIT_INTERRUPTED, EXIT_OK, InputError
from lifeos.server_flags import add_server_flags, given_servers
from tools.families.family_flags import add_family_flags, given_family
from tools.sweep.checkpoint_flags import add_checkpoint_flags, check_checkpoint_flags
from tools.workflows.node_flags import GUIDANCE_HELP, add_node_flags, given_nodes
from tools.workflows.seeds import parse_seed

if TYPE_CHECKING:
    from tools.production.pipeline import Circumstances
    from tools.production.request import Request
    from tools.sweep.running import Sweep, SweepEnd

HISTORY_FILE = Path("evals/eval_history.jsonl")
COST_LOG = Path("tools/cost_log.jsonl")
OUTAGE_SECONDS = 120.0
T = TypeVar("T")


def listed(kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    """A comma-separated list of values."""

    def parse(text: str) -> list[T]:
        values = [kind(part.strip()) for part in text.split(",") if part.strip()]
        if not values:
            raise argparse.ArgumentTypeError("no value given")
        return values

    parse.__name__ = "list"
    return parse


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    add_design(parser)
    add_checkpoint_flags(parser)
    add_shared(parser)
    add_node_flags(parser)
    add_running(parser)
    parser.add_project_root()
    parser.add_open()
    parser.add_json()
    parser.add_skip_install()
    return parser


def add_design(parser: cli.Parser) -> None:
    group = parser.add_argument_group("what is tried (every combination)")
    group.add_argument(
        "--lora", action="append", metavar="NAME", default=[], help="a LoRA checkpoint by its name on the server; repeat for several"
    )
    strengths = cli.policy_help("LoRA strengths, such as 0.6,0.8,1.0", "production.lora_strength")
    group.add_argument("--strengths", "--lora-strength", type=listed(cli.non_negative), metavar="X,X", help=strengths)
    group.add_argument(
        "--cfgs", "--cfg", type=listed(cli.non_negative), metavar="X,X", help=cli.policy_help("guidance scales", "production.cfg")
    )
    group.add_argument("--samplers", type=listed(str), metavar="NAME,NAME", help=cli.policy_help("samplers", "production.sampler"))
    group.add_argument(
        "--prompts-file", dest="prompts", type=Path, metavar="FILE", help="one prompt a line (default: ten built-in prompts)"
    )
    group.add_argument("--prompt", action="append", metavar="TEXT", help="a prompt; may be repeated, instead of --prompts-file")
    group.add_argument(
        "--seeds", type=cli.positive_int, default=1, metavar="N", help="seeds of each prompt, the same for all configurations"
    )
    budget = "make no more pictures than this: the worst configurations are dropped early (successive halving)"
    group.add_argument("--max-images", type=cli.positive_int, metavar="N", help=budget)
    group.add_argument(
        "--baseline",
        metavar="CONFIG",
        help="the configuration in use, such as step1500_str0.80: it is never dropped, and the choice is compared with it",
    )


def add_shared(parser: cli.Parser) -> None:
    group = parser.add_argument_group("what all configurations share")
    group.add_argument("--workflow", type=Path, metavar="FILE", help="a workflow, exported (API) or as saved (default: the built-in one)")
    add_family_flags(group)
    group.add_argument(
        "--checkpoint",
        metavar="NAME",
        help=cli.policy_help("base model on the server; if not given, the only one there", "production.checkpoint"),
    )
    group.add_argument(
        "--negative-prompt", metavar="TEXT", help=cli.policy_help("what the pictures should not show", "production.negative_prompt")
    )
    group.add_argument("--steps", type=cli.positive_int, metavar="N", help=cli.policy_help("sampling steps", "production.steps"))
    group.add_argument("--guidance", type=cli.non_negative, metavar="X", help=GUIDANCE_HELP)
    group.add_argument("--scheduler", metavar="NAME", help=cli.policy_help("scheduler", "production.scheduler"))
    group.add_argument("--width", type=cli.positive_int, metavar="PX", help=cli.policy_help("width", "production.width"))
    group.add_argument("--height", type=cli.positive_int, metavar="PX", help=cli.policy_help("height", "production.height"))
    group.add_argument("--base-seed", type=parse_seed, metavar="N", help="seed of the first picture (default: drawn and recorded)")
    references = cli.policy_help(
        "pictures of the character; if not given, the first of these folders that holds faces", "production.reference_dirs"
    )
    group.add_argument("--reference-dir", type=Path, metavar="DIR", help=references)
    add_engine_flags(group, default=None)
    add_gate_limits(group)


def add_running(parser: cli.Parser) -> None:
    group = parser.add_argument_group("how it is run and recorded")
    group.add_argument(
        "--output-dir", type=Path, required=True, metavar="DIR", help="the sweep's folder; a sweep that was begun there is continued"
    )
    add_server_flags(group)
    group.add_argument(
        "--max-cost", type=cli.non_negative, metavar="USD", help="queue no picture that would take the whole cost above this"
    )
    add_budget_flags(group)
    group.add_argument("--dry-run", action="store_true", help="print the design, its time and cost; make nothing")
    group.add_argument("--skip-health-check", action="store_true", help="do not check the server's queue, nodes and memory first")
    group.add_argument(
        "--run-id", metavar="NAME", help="first part of the runs' names in the history (default: the output directory's name)"
    )
    group.add_argument("--lora-version", metavar="NAME", help="version in the history (default: the run id)")
    group.add_argument("--history-file", type=Path, metavar="FILE", help=f"evaluation history to append to (default: {HISTORY_FILE})")
    group.add_argument("--gpu", metavar="NAME", help=cli.policy_help("GPU of each server, for the cost", "cost.default_gpu"))
    group.add_argument("--rate-per-hr", type=cli.non_negative, metavar="USD", help=cli.policy_help("price", "cost.rates_per_hr"))
    group.add_argument(
        "--outage-sec",
        type=cli.non_negative,
        default=OUTAGE_SECONDS,
        metavar="S",
        help="how many seconds to wait for a server that does not answer",
    )
    group.add_argument(
        "--embedded-seconds", type=cli.non_negative, default=0.0, metavar="S", help="seconds that the embedded server takes for a picture"
    )


def read_request(args: argparse.Namespace) -> Request:
    from tools.production.request import Request

    same = (
        "output_dir", "workflow", "checkpoint", "negative_prompt", "steps", "guidance", "scheduler", "width", "height",
        "base_seed",
        "reference_dir", *ENGINE_FLAGS, "max_cost", "lora_version", "run_id",
    )  # fmt: skip
    return Request(
        **{name: getattr(args, name) for name in same},
        **given_nodes(args),
        **given_family(args),
        prompts_file=args.prompts,
        prompts=tuple(args.prompt) if args.prompt else None,
        **given_servers(args),
        lora=args.lora[0] if args.lora else None,
        limits=given_limits(args),
    )


def read_sweep(args: argparse.Namespace) -> Sweep:
    """The design that a command line means. Raises InputError for one that cannot be."""
    from dataclasses import replace

    from tools.production.choices import choose_prompts, choose_run_id
    from tools.sweep.design import make_grid, plan_rungs
    from tools.sweep.running import Sweep

    request = read_request(args)
    request.check()
    if args.strengths and not args.lora:
        raise InputError("--strengths", "given without --lora", "name the LoRA, as the server does")
    configs = make_grid(args.lora or [None], args.strengths or [None], args.cfgs or [None], args.samplers or [None])
    prompts = tuple(dict.fromkeys(choose_prompts(request)))
    names = [config.name for config in configs]
    if args.baseline is not None and args.baseline not in names:
        from lifeos.errors import did_you_mean

        raise InputError("--baseline", f"{args.baseline} is not one of the {len(names)} configurations", did_you_mean(args.baseline, names))
    rungs = plan_rungs(len(configs), len(prompts), args.seeds, args.max_images)
    run_id = choose_run_id(request)
    request = replace(request, prompts=prompts, prompts_file=None)
    return Sweep(request, tuple(configs), tuple(rungs), prompts, args.baseline, run_id, args.dataset_manifest, args.strict_references)


def read_circumstances(args: argparse.Namespace) -> Circumstances:
    from tools.production.pipeline import Circumstances

    root: Path = args.project_root
    return Circumstances(
        root=root,
        history_file=args.history_file or root / HISTORY_FILE,
        cost_log=root / COST_LOG,
        check_health=not args.skip_health_check,
        gpu=args.gpu,
        rate_per_hr=args.rate_per_hr,
        max_cost_day=args.max_cost_day,
        max_cost_month=args.max_cost_month,
        outage_seconds=args.outage_sec,
        embedded_seconds=args.embedded_seconds,
        note=cli.note,
    )


def finish(sweep: Sweep, end: SweepEnd, policy: dict[str, Any], history: Path | None) -> dict[str, Any] | None:
    """Choose, draw, write, record; None where no picture was made."""
    from lifeos import files
    from tools.production.results import FINISHED
    from tools.sweep import sweep_report as report
    from tools.sweep.analysis import choose

    if not end.shots:
        return None
    root = sweep.request.output_dir
    selection = choose(end.shots, sweep.configs, policy, sweep.baseline)
    pictures = report.draw(selection, sweep, root)
    files.write_text(root / "sweep_report.md", report.render(selection, sweep, end, pictures, policy))
    document = report.to_document(selection, sweep, end, root / "sweep_report.md", pictures, policy)
    files.write_json(root / "sweep_report.json", document)
    report.write_html(selection, sweep, end, policy, times.stamp())
    if end.why in FINISHED and history is not None:
        report.record_runs(sweep, end, policy, history, times.stamp())
    return document


def preview(args: argparse.Namespace, sweep: Sweep, policy: dict[str, Any]) -> int:
    from dataclasses import replace

    from tools.cost.rates import find_rate
    from tools.production.planning import plan_generation
    from tools.sweep.design import describe
    from tools.sweep.running import check_begun, placed_lines
    from tools.workflows.seeds import round_seed

    begun = check_begun(sweep.request.output_dir, sweep)

    total = sum(rung.pictures for rung in sweep.rungs)
    seconds = total * policy["production"]["seconds_per_picture"]
    rates = policy["cost"]["rates_per_hr"]
    gpu = args.gpu or policy["cost"]["default_gpu"]
    rate = args.rate_per_hr if args.rate_per_hr is not None else rates[find_rate(rates, gpu)]
    seed = next((seed for seed in (sweep.request.base_seed, begun) if seed is not None), 0)
    request = replace(sweep.request, base_seed=seed)
    placed = placed_lines(sweep, plan_generation(request, policy, []), round_seed(seed, 1))
    unchecked: list[str] = []
    document = {
        **sweep.to_json(),
        "images": total,
        "seconds": seconds,
        "usd": round(seconds / 3600 * rate, 2),
        "placed": placed,
        "continues": begun is not None,
        "older_scores": _older_scores(args, sweep, policy, unchecked) if begun is not None else [],
        "unchecked": unchecked,
    }
    names = "\n".join(f"  {config.name}" for config in sweep.configs)
    text = (
        f"{describe(sweep.configs, sweep.rungs)}\nabout {seconds / 60:.0f} minutes and ${document['usd']:.2f} on one GPU\n{names}\n"
        + "\n".join(f"  {line}" for line in [*placed, *document["older_scores"], *(f"not checked: {line}" for line in unchecked)])
    )
    cli.say(text, as_json=args.json)
    if args.json:
        cli.print_json(document)
    return EXIT_OK


def _older_scores(args: argparse.Namespace, sweep: Sweep, policy: dict[str, Any], unchecked: list[str]) -> list[str]:
    """What would be scored again, of a sweep that goes on."""
    from lifeos.errors import UnavailableError
    from tools.sweep.running import foretell_scoring

    try:
        return foretell_scoring(sweep, policy, args.project_root, unchecked.append)
    except UnavailableError as error:
        unchecked.append(f"the references: {error}")
        return []


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    check_checkpoint_flags(args)
    if args.checkpoints is not None:
        from tools.sweep.checkpoint_command import judge_checkpoints

        request = read_request(args)
        request.check()
        return judge_checkpoints(args, request, read_circumstances(args))
    from evals.load_thresholds import load_thresholds
    from tools.production.stopping import StopSignal
    from tools.sweep.design import describe
    from tools.sweep.running import run_sweep

    sweep, policy = read_sweep(args), load_thresholds(args.project_root, overrides=given_limits(args))
    if args.dry_run:
        return preview(args, sweep, policy)
    around = read_circumstances(args)
    around.note(describe(sweep.configs, sweep.rungs))
    with StopSignal() as stop:
        end = run_sweep(sweep, policy, around, stop)
    from lifeos.pages.opening import open_page
    from tools.production.results import INCOMPLETE
    from tools.sweep.sweep_page import PAGE_FILE

    document = finish(sweep, end, policy, around.history_file)
    if end.error is not None:
        raise end.error
    if document is None:
        raise InputError(sweep.request.output_dir, f"no picture was scored ({end.why})", "the same command continues")
    page = sweep.request.output_dir / PAGE_FILE
    trained = [end.references.told] if end.references is not None and end.references.are_trained else []
    cli.say("\n".join([document["judgement"], f"report: {document['report']}", f"page: {page}", *trained]), as_json=args.json)
    if args.open:
        open_page(page)
    if args.json:
        cli.print_json(document)
    return EXIT_INTERRUPTED if end.why == "interrupted" else EXIT_GATE if end.why == INCOMPLETE else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
