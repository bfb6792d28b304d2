"""Generate pictures for a list of prompts on one or several ComfyUI servers, and store them as they are made. No scores, no gates.

Reads prompts and a workflow; writes pictures to --output-dir, named NNNN_pPPP_vVV_seedSEED_slug.png. The same command again makes only
the pictures that are missing, also after kill -9: what was posted is taken over from the server (.generate_batch.jsonl tells what it was).
Without --base-seed it uses the seeds of the run before.

    python tools/generate_batch.py --prompt "amiranoor, portrait" --images-per-prompt 4 --output-dir /workspace/pictures
    python tools/generate_batch.py --prompts-file prompts.txt --workflow mine_api.json --output-dir pictures \\
        --comfy-url http://a:8188 --comfy-url http://b:8188

Exit codes: 0 every picture is there · 1 some could not be made · 2 bad usage or input · 3 no server · 4 directory in use ·
130 interrupted: only our prompts were cancelled.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli, foreign
from lifeos.budget_flags import add_budget_flags
from lifeos.counting import counted, verb
from lifeos.errors import EXIT_GATE, EXIT_OK
from lifeos.server_flags import add_server_flags, given_servers
from tools.families.family_flags import add_family_flags, given_family
from tools.workflows.node_flags import GUIDANCE_HELP, add_node_flags, given_nodes
from tools.workflows.seeds import choose_base_seed, parse_seed, seed_at

if TYPE_CHECKING:
    from tools.backends.dispatch import Finished
    from tools.production.able_servers import AbleServers
    from tools.production.batch_spending import PlainSpending
    from tools.production.request import Request
    from tools.production.submissions import Submissions
    from tools.workflows.workflow import Settings, Workflow

MEBIBYTE = 1 << 20
LOCK_NAME = ".generate_batch.lock"


@dataclass(frozen=True, slots=True)
class PlannedPicture:
    """One picture to make. `stem` is its file name without suffix."""

    stem: str
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a batch: file names that were there before, that were made, and what failed (`stem: why`)."""

    base_seed: int
    existing: tuple[str, ...]
    made: tuple[str, ...]
    failed: tuple[str, ...]


def plan_pictures(prompts: Sequence[str], per_prompt: int, base_seed: int) -> list[PlannedPicture]:
    """Every prompt has its turn before any has its second; no two pictures share a seed."""
    from lifeos.picture_names import format_picture_name

    pictures = []
    for place in range(len(prompts) * per_prompt):
        variation, prompt = divmod(place, len(prompts))
        seed = seed_at(base_seed, place)
        text = prompts[prompt].partition(",")[2] or prompts[prompt]  # the trigger word is the same in all
        stem = format_picture_name(index=place + 1, prompt_id=prompt + 1, variation=variation + 1, seed=seed, text=text, suffix="")
        pictures.append(PlannedPicture(stem, prompts[prompt], seed))
    return pictures


def find_base_seed(folder: Path) -> int | None:
    """The base seed of the pictures that a folder holds already, as their names tell."""
    from lifeos.images import find_pictures
    from lifeos.picture_names import parse_picture_name

    for path in find_pictures(folder) if folder.is_dir() else ():
        name = parse_picture_name(path.name)
        if name.index and name.prompt_id and name.seed is not None:
            return seed_at(name.seed, 1 - name.index)
    return None


def find_existing(folder: Path) -> dict[str, str]:
    """Stem -> file name of the pictures in a folder."""
    from lifeos.images import find_pictures

    return {path.stem: path.name for path in find_pictures(folder)} if folder.is_dir() else {}


def generate(
    pictures: Sequence[PlannedPicture],
    folder: Path,
    servers: AbleServers,
    workflow: Workflow,
    settings: Settings,
    sent: Submissions,
    spending: PlainSpending,
    *,
    ahead: int = 2,
    retries: int = 2,
    note: Callable[[str], None],
) -> Generator[tuple[Finished, tuple[str, ...]], None, None]:
    """Make the pictures, store each as it arrives, and yield its end with the names it was stored under (none: it failed).

    What a run before had posted is taken over; if that had failed, it is posted once more.
    """
    from lifeos.files import write_bytes
    from tools.backends.dispatch import Dispatcher, Job
    from tools.production.filing import suffix_of
    from tools.workflows.server_fit import Spelling

    def graph(picture: PlannedPicture) -> dict[str, Any]:
        return workflow.place(replace(settings, positive=picture.prompt, seed=picture.seed))

    spelling = Spelling()
    jobs = (replace(sent.job(each.stem, graph(each)), prepare=spelling) for each in pictures)
    with Dispatcher(
        servers.servers,
        ahead=ahead,
        retries=retries,
        on_submit=sent.submitted,
        on_accepted=sent.accepted,
        on_failed_try=spending.charge,
        on_note=note,
        left_out=servers.left_out,
        admit=servers.admit,
    ) as dispatcher:
        again: list[Job] = []
        for finished in itertools.chain(dispatcher.run(jobs, len(pictures)), _late(lambda: dispatcher.run(again))):
            if finished.failed_before:
                again.append(finished.job.begun_anew())
                continue
            names = []
            for number, (_, data) in enumerate(finished.pictures, 1):
                name = f"{finished.job.key}{f'_{number}' if number > 1 else ''}{suffix_of(data)}"
                names.append((name, data))
            for name, data in reversed(names):  # the first last: when it is there, all are
                write_bytes(folder / name, data)
            sent.ended(finished.job.key)
            spending.charge(finished.outcome, finished.server)
            yield finished, tuple(name for name, _ in names)


def _late(make: Callable[[], Iterator[Finished]]) -> Iterator[Finished]:
    """An iterator that is made when its turn comes."""
    yield from make()


def run_batch(args: Any, policy: dict[str, Any], note: Callable[[str], None]) -> Result:
    """The whole command: choose, check, generate what is missing."""
    from lifeos.locks import hold
    from lifeos.progress import Progress
    from tools.backends.backend import BackendOptions
    from tools.backends.registry import connect_backends
    from tools.cost.spending import SharedPurse
    from tools.production.able_servers import AbleServers, able_to_run
    from tools.production.batch_spending import PlainSpending
    from tools.production.choices import choose_prompts
    from tools.production.filing import check_writable
    from tools.production.graph_choice import choose_graph
    from tools.production.plan import sha256_of
    from tools.production.submissions import Submissions
    from tools.workflows.graph import EXPORT_HINT

    request = read_request(args)
    prompts = choose_prompts(request)
    if request.workflow is None:
        if request.family is not None or (request.lora is None and request.checkpoint is None):  # else they tell the family
            first = choose_graph(request, policy)
            first.workflow.place(first.settings)  # what has no place is told before anything is reached
    else:
        foreign.read_file(request.workflow, Any, fix=EXPORT_HINT)  # what its nodes mean, the server may know better
    folder: Path = args.output_dir
    check_writable(folder)
    rules = policy["production"]
    silence = args.timeout_sec if args.timeout_sec is not None else rules["prompt_timeout_seconds"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(hold(folder / LOCK_NAME, str(folder)))
        limit = int(rules["max_picture_mb"] * MEBIBYTE)
        options = BackendOptions(silence_seconds=silence, poll_seconds=args.poll_interval, max_picture_bytes=limit)
        reached = stack.enter_context(connect_backends(request.servers, note, options))
        chosen = choose_graph(request, policy, reached.servers)
        workflow, settings = chosen.workflow, chosen.settings
        sent = stack.enter_context(Submissions(folder))
        before = find_base_seed(folder)
        base_seed = choose_base_seed(args.base_seed, sent.base_seed if before is None else before)
        sent.begin(base_seed)
        planned = plan_pictures(prompts, args.images_per_prompt, base_seed)
        placed = workflow.fill(replace(settings, positive=planned[0].prompt, seed=planned[0].seed))
        able = AbleServers(reached, [placed.graph], able_to_run(reached.servers, placed.graph), lambda servers: {}, note)
        for line in (*chosen.remarks, *placed.lines(), f"graph of the first picture, SHA-256: {sha256_of(placed.graph)}"):
            note(line)
        stored = find_existing(folder)
        missing = [each for each in planned if each.stem not in stored]
        existing = tuple(stored[each.stem] for each in planned if each.stem in stored)
        purse = SharedPurse.of_project(args.project_root, policy, args.max_cost_day, args.max_cost_month)
        spending = PlainSpending(purse, able.servers, policy, reached.notice, folder.name)
        spending.check(len(missing), "make less with --images-per-prompt")
        stack.enter_context(spending)
        on = counted(len(able.able), "server")
        note(f"{counted(len(planned), 'picture')} from seed {base_seed}, {len(existing)} there already, on {on}")
        made: list[str] = []
        failed: list[str] = []
        with Progress(len(planned), "generating", unit="picture", initial=len(existing)) as bar:
            tries = {"ahead": rules["queue_ahead"], "retries": rules["retries"]}
            batch = generate(missing, folder, able, workflow, settings, sent, spending, **tries, note=bar.note)
            stack.enter_context(contextlib.closing(batch))  # Ctrl-C anywhere below cancels what is queued, while servers are open
            for finished, names in batch:
                made += names
                if not names:
                    failed.append(f"{finished.job.key}: {describe_failure(finished)}")
                    bar.note(f"failed: {failed[-1]}")
                bar.advance(failed=len(failed)) if failed else bar.advance()
    return Result(base_seed, existing, tuple(made), tuple(failed))


def describe_failure(finished: Finished) -> str:
    outcome = finished.outcome
    return f"{outcome.message}" + (f" (node {outcome.node})" if outcome.node else "")


def read_request(args: Any) -> Request:
    from tools.production.request import Request

    request = Request(
        output_dir=args.output_dir,
        prompts_file=args.prompts_file,
        prompts=tuple(args.prompt) or None,
        lora=args.lora[0] if args.lora else None,
        more_loras=tuple(args.lora[1:]) or None if args.lora else None,
        guidance=args.guidance,
        **given_nodes(args),
        lora_strength=args.lora_strength,
        workflow=args.workflow,
        **given_family(args),
        **given_servers(args),
        checkpoint=args.checkpoint,
        negative_prompt=args.negative_prompt,
        steps=args.steps,
        cfg=args.cfg,
        sampler=args.sampler,
        scheduler=args.scheduler,
        width=args.width,
        height=args.height,
    )
    request.check()
    return request


def render(result: Result, folder: Path) -> str:
    there = f"{len(result.existing)} {verb(len(result.existing), 'was', 'were')} there"
    lines = [f"{counted(len(result.made), 'picture')} made, {there}, {len(result.failed)} failed: {folder}"]
    return "\n".join([*lines, *(f"  failed: {reason}" for reason in result.failed)])


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    flag = parser.add_argument
    flag("--workflow", type=Path, metavar="FILE", help="a workflow, exported (API) or as saved (default: the built-in one)")
    add_family_flags(parser)
    add_server_flags(parser)
    flag("--prompts-file", type=Path, metavar="FILE", help="one prompt a line; blank lines and lines that begin with # are left out")
    flag("--prompt", action="append", default=[], metavar="TEXT", help="a prompt (repeatable; default: the ten built-in ones)")
    flag("--negative-prompt", metavar="TEXT", help=_default("what the pictures should not show", "negative_prompt"))
    flag("--images-per-prompt", type=cli.positive_int, default=1, metavar="N", help="pictures of each prompt")
    flag("--output-dir", type=Path, required=True, metavar="DIR", help="where the pictures go")
    flag(
        "--base-seed",
        type=parse_seed,
        metavar="N",
        help="the seed of the first picture; each next has the next (default: as in --output-dir, else random)",
    )
    flag("--steps", type=cli.positive_int, metavar="N", help=_default("sampling steps", "steps"))
    flag("--cfg", type=cli.non_negative, metavar="X", help=_default("classifier-free guidance", "cfg"))
    flag("--guidance", type=cli.non_negative, metavar="X", help=GUIDANCE_HELP)
    flag("--sampler", metavar="NAME", help=_default("sampler", "sampler"))
    flag("--scheduler", metavar="NAME", help=_default("noise schedule", "scheduler"))
    flag("--width", type=cli.positive_int, metavar="N", help=_default("pixels, a multiple of 8", "width"))
    flag("--height", type=cli.positive_int, metavar="N", help=_default("pixels, a multiple of 8", "height"))
    flag(
        "--checkpoint",
        metavar="NAME",
        help=_default("checkpoint by its name on the server; if that is empty, the only one there", "checkpoint"),
    )
    lora = "LoRA by its name on the server; a workflow without a place for it gets a loader; repeat with --lora-node-id for each"
    flag("--lora", action="append", metavar="NAME", help=lora)
    flag("--lora-strength", type=float, metavar="X", help=_default("strength of --lora", "lora_strength"))
    add_node_flags(parser)
    text = cli.policy_help("give up on a server after this many seconds without progress", "production.prompt_timeout_seconds")
    parser.add_argument("--timeout-sec", type=cli.positive, metavar="X", help=text)
    poll = "seconds between two questions to a server whose WebSocket cannot be reached; with the WebSocket no waiting is needed"
    parser.add_argument("--poll-interval", type=cli.positive, default=0.5, metavar="X", help=poll)
    add_budget_flags(parser)
    parser.add_project_root()
    parser.add_json()
    parser.add_skip_install()
    return parser


def _default(text: str, key: str) -> cli.PolicyHelp:
    return cli.policy_help(text, f"production.{key}", note="with --workflow, the workflow's own")


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from evals.load_thresholds import load_thresholds
    from tools.production.stopping import StopSignal

    policy = load_thresholds(args.project_root)
    with StopSignal():  # SIGTERM, which a pod sends before it stops, unwinds as Ctrl-C does: what is queued is cancelled
        result = run_batch(args, policy, cli.note)
    if args.json:
        document = {"base_seed": result.base_seed, "existing": result.existing, "made": result.made, "failed": result.failed}
        cli.print_json({"schema": 1, "output_dir": str(args.output_dir), **document})
    else:
        cli.say(render(result, args.output_dir))
    return EXIT_GATE if result.failed else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
