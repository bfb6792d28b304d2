"""From prompts to approved pictures: generate a batch on ComfyUI, score each picture, sort it into approved/ or rejected/, and say why.

Reads prompts, reference pictures and the policy (evals/thresholds.yaml); writes a batch directory: approved/, rejected/, batch.json,
journal.jsonl, decisions.jsonl, scores.csv, batch_report.md, .json and .html, and one line in the evaluation history. If the batch grows
later or is judged again, a new row with the same run id replaces that line. The same command again continues where it stopped, after any
interruption; existing pictures are not made again.

    python tools/production_pipeline.py --prompts-file prompts.txt --lora amiranoor_v3.safetensors --count 5 --output-dir batch_001
    python tools/production_pipeline.py --images DIR --reference-dir REFS --output-dir OUT      # judge pictures that exist
    python tools/production_pipeline.py --rejudge --output-dir batch_001 --face-threshold 0.65      # another policy, no new scores
    python tools/production_pipeline.py --comfy-url embedded --lora amiranoor_v3.safetensors --reference-dir REFS --output-dir OUT

A picture that you move between approved/ and rejected/ is your decision: it wins over the gates. A larger --count, more prompts or new
pictures in the folder of --images add to a batch; only what is new is made.

Exit codes: 0 done, rejected pictures or not · 1 nothing was approved, fewer than --target-approved, a picture could not be made, or one
could not be published where the policy wants that (publishing.on_approval) · 2 bad usage or input · 3 ComfyUI, a model, a package or room
on the disk is missing · 4 another process works in the output directory · 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.faces.engine_flags import ENGINE_FLAGS, add_engine_flags
from evals.judging.eval_command import add_allow_marked
from evals.judging.gate_limits import add_gate_limits, given_limits
from lifeos import cli
from lifeos.budget_flags import add_budget_flags
from lifeos.errors import EXIT_OK, InputError
from lifeos.server_flags import add_server_flags, given_servers
from tools.families.family_flags import add_family_flags, given_family
from tools.workflows.node_flags import GUIDANCE_HELP, add_node_flags, given_nodes
from tools.workflows.seeds import parse_seed

if TYPE_CHECKING:
    from tools.production.pipeline import Circumstances, Outcome
    from tools.production.request import Request

HISTORY_FILE = Path("evals/eval_history.jsonl")
COST_LOG = Path("tools/cost_log.jsonl")
OUTAGE_SECONDS = 120.0
NAMED_DELETED = 5


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    add_what(parser)
    add_settings(parser)
    add_node_flags(parser)
    add_repairing(parser)
    add_judging(parser)
    add_running(parser)
    parser.add_project_root()
    parser.add_open()
    parser.add_json()
    parser.add_skip_install()
    return parser


def add_what(parser: cli.Parser) -> None:
    group = parser.add_argument_group("what is made")
    group.add_argument(
        "--prompts-file",
        dest="prompts",
        type=Path,
        metavar="FILE",
        help="one prompt a line, # for comments (default: ten built-in prompts)",
    )
    group.add_argument("--prompt", action="append", metavar="TEXT", help="a prompt; may be repeated, instead of --prompts-file")
    group.add_argument("--count", type=cli.positive_int, metavar="N", help="pictures per prompt (default: 1)")
    group.add_argument(
        "--output-dir", type=Path, required=True, metavar="DIR", help="the batch directory; a batch that was begun there is continued"
    )
    group.add_argument("--images", type=Path, metavar="DIR", help="judge and sort copies of existing pictures; generate nothing")
    target = "keep generating with new seeds until N pictures are approved. Ignores --count. Stops after 10 x N pictures, or --max-images"
    group.add_argument("--target-approved", type=cli.positive_int, metavar="N", help=target)
    group.add_argument("--max-images", type=cli.positive_int, metavar="N", help="make no more pictures than this")
    group.add_argument(
        "--max-cost", type=cli.non_negative, metavar="USD", help="queue no picture that would take the whole cost above this"
    )
    add_budget_flags(group)


def add_settings(parser: cli.Parser) -> None:
    group = parser.add_argument_group("how it is made (your own workflow keeps its values where no flag is given)")

    def add(flag: str, key: str, text: str, **kwargs: Any) -> None:
        group.add_argument(flag, help=cli.policy_help(text, f"production.{key}"), **kwargs)

    add_server_flags(group)
    group.add_argument("--workflow", type=Path, metavar="FILE", help="a workflow, exported (API) or as saved (default: the built-in one)")
    add_family_flags(group)
    lora = "the LoRA by its name on the server; repeat with --lora-node-id for each (default: none)"
    group.add_argument("--lora", action="append", metavar="NAME", help=lora)
    add("--lora-strength", "lora_strength", "its strength", type=float, metavar="X")
    add("--checkpoint", "checkpoint", "the checkpoint by its name on the server; if not given, the only one there", metavar="NAME")
    add("--negative-prompt", "negative_prompt", "what the pictures should not show", metavar="TEXT")
    add("--steps", "steps", "sampling steps", type=cli.positive_int, metavar="N")
    add("--cfg", "cfg", "guidance scale", type=cli.non_negative, metavar="X")
    group.add_argument("--guidance", type=cli.non_negative, metavar="X", help=GUIDANCE_HELP)
    add("--sampler", "sampler", "sampler", metavar="NAME")
    add("--scheduler", "scheduler", "scheduler", metavar="NAME")
    add("--width", "width", "width in pixels", type=cli.positive_int, metavar="PX")
    add("--height", "height", "height in pixels", type=cli.positive_int, metavar="PX")
    group.add_argument("--base-seed", type=parse_seed, metavar="N", help="seed of the first picture (default: drawn, printed and recorded)")


def add_repairing(parser: cli.Parser) -> None:
    about = "pictures that only the face or skin gate rejects go through a second graph, once each, and are judged again"
    group = parser.add_argument_group("repairing", about)
    graph = "a workflow that takes a picture: a face detailer, an inpaint, an upscaler (default: nothing is repaired)"
    group.add_argument("--repair-workflow", type=Path, metavar="FILE", help=graph)
    image = "the node that loads the picture (default: the only one)"
    group.add_argument("--repair-image-node", metavar="ID", help=image)
    node = "a node or input of that graph by name (positive, positive-key, negative, ksampler, seed, lora, output …), as --positive-node-id"
    group.add_argument("--repair-node", dest="repair_nodes", action="append", metavar="NAME=ID", help=f"{node} and its like name it")
    value = "write VALUE into an input of that graph; repeat for several"
    group.add_argument("--repair-set", dest="repair_assignments", action="append", metavar="NODE.INPUT=VALUE", help=value)


def add_judging(parser: cli.Parser) -> None:
    group = parser.add_argument_group("how it is judged")
    references = cli.policy_help(
        "pictures of the character; if not given, the first of these folders that holds faces", "production.reference_dirs"
    )
    group.add_argument("--reference-dir", type=Path, metavar="DIR", help=references)
    add_allow_marked(group)
    add_gate_limits(group)
    add_engine_flags(group, default=None)


def add_running(parser: cli.Parser) -> None:
    group = parser.add_argument_group("how it is run and recorded")
    resume = "continue the batch in --output-dir with the settings, servers and history file of its first command"
    group.add_argument("--resume", action="store_true", help=resume)
    again = "judge the scored pictures of the batch in --output-dir again, by the policy and limits of now; scores and generates nothing"
    group.add_argument("--rejudge", action="store_true", help=again)
    group.add_argument("--dry-run", action="store_true", help="print the plan, the workflow, time and cost; write and queue nothing")
    group.add_argument("--skip-health-check", action="store_true", help="do not check the server's queue, nodes and memory first")
    group.add_argument("--run-id", metavar="NAME", help="name in the evaluation history (default: the output directory's)")
    group.add_argument("--lora-version", metavar="NAME", help="version in the evaluation history (default: the LoRA's name)")
    group.add_argument(
        "--lora-file",
        type=Path,
        metavar="FILE",
        help="the LoRA on this machine: its hash is recorded, and training parameters are read from it",
    )
    group.add_argument(
        "--dataset-manifest",
        type=Path,
        metavar="FILE",
        help="manifest of the training data: its hash is recorded (default: with --lora-file the one beside the LoRA, if it is the LoRA's)",
    )
    group.add_argument("--history-file", type=Path, metavar="FILE", help=f"evaluation history to append to (default: {HISTORY_FILE})")
    group.add_argument("--gpu", metavar="NAME", help=cli.policy_help("GPU of each server, for the cost", "cost.default_gpu"))
    group.add_argument(
        "--rate-per-hr", type=cli.non_negative, metavar="USD", help=cli.policy_help("price of a server", "cost.rates_per_hr")
    )
    outage = f"how many seconds to wait for a server that does not answer (default: {OUTAGE_SECONDS:g}, built-in)"
    group.add_argument("--outage-sec", type=cli.non_negative, metavar="S", default=OUTAGE_SECONDS, help=outage)
    pace = "seconds that the embedded server takes for a picture (default: as long as it needs)"
    group.add_argument("--embedded-seconds", type=cli.non_negative, metavar="S", default=0.0, help=pace)


def read_request(args: argparse.Namespace) -> Request:
    from tools.production.request import Request

    same = (
        "output_dir", "lora_strength", "guidance", "count", "reference_dir", "workflow", "checkpoint", "negative_prompt", "steps",
        "cfg", "sampler", "scheduler", "width", "height", "base_seed", *ENGINE_FLAGS,
        "repair_workflow", "repair_image_node",
        "images", "target_approved", "max_images", "max_cost", "lora_version", "lora_file", "history_file", "run_id",
    )  # fmt: skip
    return Request(
        **{name: getattr(args, name) for name in same},
        **given_nodes(args),
        **given_family(args),
        lora=args.lora[0] if args.lora else None,
        more_loras=tuple(args.lora[1:]) or None if args.lora else None,
        prompts_file=args.prompts,
        prompts=tuple(args.prompt) if args.prompt else None,
        **given_servers(args),
        repair_nodes=tuple(args.repair_nodes) if args.repair_nodes else None,
        repair_assignments=tuple(args.repair_assignments) if args.repair_assignments else None,
        limits=given_limits(args),
    )


def read_circumstances(args: argparse.Namespace) -> Circumstances:
    from evals.scorecards.card_inputs import read_manifest
    from tools.production.pipeline import Circumstances

    root: Path = args.project_root
    manifest: Path | None = args.dataset_manifest
    if manifest is None and args.lora_file is not None:
        from tools.dataset.lora_manifest import find_own_manifest
        from tools.trainers.lora_header import read_lora_header

        manifest = find_own_manifest(read_lora_header(args.lora_file))
    return Circumstances(
        root=root,
        history_file=root / HISTORY_FILE,
        cost_log=root / COST_LOG,
        resume=args.resume,
        check_health=not args.skip_health_check,
        gpu=args.gpu,
        rate_per_hr=args.rate_per_hr,
        max_cost_day=args.max_cost_day,
        max_cost_month=args.max_cost_month,
        outage_seconds=args.outage_sec,
        embedded_seconds=args.embedded_seconds,
        manifest=read_manifest(manifest) if manifest is not None else None,
        note=cli.note,
    )


def render(outcome: Outcome) -> str:
    """What a person reads at the end."""
    from tools.production.report_document import time_and_money
    from tools.production.server_costs import by_kind_line, cost_notes

    document, root = outcome.document, outcome.folder.root
    lines = [
        document["judgement"],
        f"approved {document['counts']['approved']}: {root / 'approved'}",
        f"rejected {document['counts']['rejected']}: {root / 'rejected'}",
        *_deleted(document["deleted"]),
        *_published(document["publishing"]),
        time_and_money(document),
        *([line] if (line := by_kind_line(document)) else []),
        *cost_notes(document),
        f"report: {root / 'batch_report.html'}",
    ]
    return "\n".join(lines)


def _deleted(names: list[str]) -> list[str]:
    """The pictures that somebody deleted, by name as far as they fit a line."""
    more = f" and {len(names) - NAMED_DELETED} more, in the report" if len(names) > NAMED_DELETED else ""
    return [f"deleted or taken away {len(names)}: {', '.join(names[:NAMED_DELETED])}{more}"] if names else []


def _published(publishing: dict[str, Any] | None) -> list[str]:
    """What was published on approval, and each approved picture that was not."""
    if publishing is None:
        return []
    counts = publishing["counts"]
    lines = [f"published {counts['published'] + counts['kept']}: {publishing['published_dir']}"]
    lines.append(f"content credentials: {publishing['content_credentials']}")
    lines += [f"not published: {row['picture']}: {row['why']}" for row in publishing["refused"]]
    return lines + [f"not one of the labelled copies: published/{name}" for name in publishing["strangers"]]


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from tools.production.stopping import StopSignal

    with StopSignal() as stop:
        return run(args, stop)


def run(args: argparse.Namespace, stop: Any) -> int:
    from tools.production.batch_policy import load_batch_policy
    from tools.production.pipeline import produce
    from tools.production.preview import preview, render_preview

    if args.images is not None and args.images.is_dir():
        from lifeos.images import list_pictures
        from tools.publishing.marked_pictures import refuse_marked

        refuse_marked(list_pictures(args.images, recursive=True).pictures, "--images", allow=args.allow_marked)
    request, around = read_request(args), read_circumstances(args)
    policy = load_batch_policy(request, around)
    if args.rejudge:
        return judge_again(args, request, policy, around)
    if args.dry_run:
        document = preview(request, policy, around)
        cli.print_json(document) if args.json else cli.say(render_preview(document))
        return EXIT_OK
    outcome = produce(request, policy, around, stop)
    if args.json:
        cli.print_json(outcome.document)
    return tell(args, render(outcome), outcome)


def judge_again(args: argparse.Namespace, request: Request, policy: dict[str, Any], around: Circumstances) -> int:
    """`--rejudge`: the verdicts, the row in the history and the reports of a batch by another policy."""
    from tools.production.pipeline import rejudge_batch
    from tools.production.rejudging import render_rejudged

    if args.dry_run:
        raise InputError("--dry-run", "has no use with --rejudge", "leave one of the two out")
    changed, outcome = rejudge_batch(request, policy, around)
    if args.json:
        cli.print_json(outcome.document)
    return tell(args, f"{render_rejudged(changed)}\n{render(outcome)}", outcome)


def tell(args: argparse.Namespace, text: str, outcome: Outcome) -> int:
    """Say how a batch ended, show its page where that was asked for, and return the exit code."""
    from lifeos.pages.opening import open_page

    cli.say(text, as_json=args.json)
    if args.open:
        open_page(outcome.folder.root / "batch_report.html")
    return outcome.exit_code


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
