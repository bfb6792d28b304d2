"""What the gates cost: the wall time of a whole batch against generation alone, on the same server, with the same prompts.

Generation alone queues every prompt at once and waits for the server to end: the server's own run-ahead, the fastest there is. The
batch is the same prompts through the pipeline's runner: downloaded, scored, filed, and reported on. Goal: under +2 % at 8 s a picture.
Where the embedded server shares its cores with the scoring, their competition counts against the batch.

    python benchmarks/batch_overhead.py --pictures 8
    python benchmarks/batch_overhead.py --seconds-per-picture 2 --engine insightface --model-root models --model-pack mini

Exit codes: 0 measured · 2 bad usage · 3 an engine is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.faces.engine_flags import add_engine_flags, given_engine
from lifeos import cli
from lifeos.errors import EXIT_OK


def make_batch(args: argparse.Namespace, references: Path, first_seed: int) -> tuple[Any, Any, Any, Any]:
    """Plan, assessor, policy and graph maker of the batch."""
    from evals.judging.assessor import open_assessor
    from evals.load_thresholds import load_thresholds
    from tools.production.plan import Plan, Variant, judging_policy
    from tools.production.prompts import BUILT_IN
    from tools.workflows.workflow import Settings, Workflow

    policy = load_thresholds()
    settings = Settings(checkpoint="embedded_demo_sdxl.safetensors", lora="amiranoor_v3.safetensors", width=args.width, height=args.height)
    assessor = open_assessor(references, policy, **given_engine(args))
    prompts = tuple(BUILT_IN[number % len(BUILT_IN)] for number in range(args.pictures))
    plan = Plan(
        batch_id="overhead",
        run_id="overhead",
        lora_version="v3",
        created="2026-01-01T00:00:00.000Z",
        prompts=prompts,
        base_seed=first_seed,
        variants=(Variant(settings),),
        workflow_name="built-in",
        policy=judging_policy(policy),
        protocol=assessor.protocol,
    )
    workflow = Workflow.built_in()

    def make_graph(item: Any) -> dict[str, Any]:
        return workflow.place(replace(settings, positive=plan.prompt_of(item), seed=item.seed))

    return plan, assessor, policy, make_graph


def time_generation(server: Any, plan: Any, make_graph: Any) -> float:
    """Seconds from the first prompt queued to the last picture done, nothing else being done."""
    waiting = set()
    started = time.perf_counter()
    for index in range(1, plan.planned + 1):
        prompt_id = str(uuid.uuid4())
        waiting.add(prompt_id)
        server.submit(prompt_id, make_graph(plan.item(index)))
    while waiting:
        waiting -= {outcome.prompt_id for outcome in server.wait(1.0)}
    return time.perf_counter() - started


def time_batch(server: Any, plan: Any, assessor: Any, policy: Any, make_graph: Any, folder: Path) -> float:
    """Seconds of the whole batch, from the plan to the finished reports."""
    from tools.production.budget import Limits
    from tools.production.filing import BatchFolder
    from tools.production.finish import Ending, finish_batch
    from tools.production.plan import write_plan
    from tools.production.runner import Equipment, run_batch

    started = time.perf_counter()
    batch = BatchFolder(folder)
    write_plan(folder, plan)
    end = run_batch(plan, batch, Equipment(assessor, policy, [server], make_graph), Limits())
    finish_batch(plan, batch, end, Ending(policy, {}, None), lambda text: None)
    assert end.why == "complete", end.error
    return time.perf_counter() - started


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    from tools.backends.comfyui import ComfyServer
    from tools.stand_in import render_references, start_embedded_server

    render_references(work / "references", 4)
    alone, whole = [], []
    with start_embedded_server(seconds_per_picture=args.seconds_per_picture) as embedded, ComfyServer(embedded.url) as server:
        server.connect()
        for number in range(args.rounds):  # in turn, so that a machine that slows down slows both
            plan, assessor, policy, make_graph = make_batch(args, work / "references", 1 + 2 * number * args.pictures)
            assessor.assess(work / "references" / "reference_01.png")  # the engine is warm
            alone.append(time_generation(server, plan, make_graph))
            later = replace(plan, base_seed=plan.base_seed + args.pictures)
            whole.append(time_batch(server, later, assessor, policy, make_graph, work / f"batch_{number}"))
    best_alone, best_whole = min(alone), min(whole)
    return {
        "pictures": args.pictures,
        "seconds_per_picture": args.seconds_per_picture,
        "engine": assessor.description,
        "generation_alone_seconds": [round(value, 3) for value in alone],
        "batch_seconds": [round(value, 3) for value in whole],
        "overhead_percent": round((best_whole / best_alone - 1) * 100, 2),
        "overhead_seconds": round(best_whole - best_alone, 3),
    }


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--pictures", type=cli.positive_int, default=8, metavar="N", help="pictures of each batch")
    parser.add_argument("--seconds-per-picture", type=cli.positive, default=8.0, metavar="S", help="pretended GPU time of a picture")
    parser.add_argument("--rounds", type=cli.positive_int, default=1, metavar="N", help="measure so often, and take the fastest of each")
    parser.add_argument("--width", type=cli.positive_int, default=832, metavar="PX", help="width of the pictures")
    parser.add_argument("--height", type=cli.positive_int, default=1216, metavar="PX", help="height of the pictures")
    add_engine_flags(parser)
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="batch-overhead-") as temporary:
        result = measure(args, Path(temporary))
    if args.json:
        cli.print_json(result)
    else:
        for name, value in result.items():
            print(f"{name.replace('_', ' '):26} {value}")
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
