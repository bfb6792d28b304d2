"""Run the whole cycle: guardrails, agent with cost tracking, findings, manifest, scorecard, comparison, production, commit.

Each step is a standalone script run as a process; its output is shown and kept in cycle_runs/ID/STEP.log. The first failure stops the
cycle; the same command continues where it stopped, and the guardrails run again. The cost session is closed on success, failure, Ctrl-C
and SIGTERM. Nothing is ever pushed.

    python tools/run_full_cycle.py --project-root . --dry-run
    python tools/run_full_cycle.py --agent-command "claude -p" --generated-dir out --reference-dir references --run-id v3_sweep

Exit codes: 0 every step done · 1 a check failed · 2 bad usage or input · 3 something is not available · 4 a cycle runs already · 130
interrupted. A failing step's own code is passed on.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.load_thresholds import load_thresholds
from lifeos import cli, files, locks, times
from lifeos.budget_flags import add_budget_flags
from lifeos.counting import counted, verb
from lifeos.errors import EXIT_GATE, EXIT_INTERRUPTED, EXIT_OK, InputError
from lifeos.escaping import escape_line
from lifeos.pages.opening import open_page
from lifeos.policy.defaults import DEFAULTS
from tools.cost.meter import LOG_FILE, STATE_FILE, Meter
from tools.cycle import cycle_record as kept
from tools.cycle.cycle import Cycle, CycleLimits, choose_steps, name_left, plan
from tools.cycle.cycle_pages import write_pages
from tools.cycle.steps import STEP_NAMES, STEPS, CycleSettings

AGENT_PROMPT = Path("agents/daily_cycle.md")
REPORT_FILE = Path("cycle_report.json")
TITLES = {step.name: step.title for step in STEPS}


def read_policy(root: Path) -> dict[str, Any]:
    """The policy, or its built-in defaults on a Python without PyYAML: a dry run needs nothing installed."""
    try:
        return load_thresholds(root)
    except ModuleNotFoundError:
        files.warn("PyYAML is not installed: built-in defaults are used (python -m lifeos setup installs it)")
        return DEFAULTS


def dry_run(settings: CycleSettings, start: str | None, only: str | None, *, as_json: bool) -> int:
    planned = plan(settings, choose_steps(start, only))
    if as_json:
        cli.print_json({"steps": planned})
    for number, step in enumerate(planned, 1):
        title = f"{number:2}. {step['name']:17} {TITLES[step['name']]}"
        cli.say(f"{title}: skipped ({step['skipped']})" if step["skipped"] else title, as_json=as_json)
        for command in step["commands"]:
            cli.say(f"      {command}", as_json=as_json)
        for path in step.get("commits", ()):
            cli.say(f"      commits {escape_line(path)}", as_json=as_json)
        if step.get("left"):
            cli.say(f"      leaves, because no step declares them: {name_left(step['left'])}", as_json=as_json)
        for fault in step["faults"]:
            cli.say(f"      MISSING {fault}", as_json=as_json)
    faults = [fault for step in planned for fault in step["faults"]]
    if faults:
        raise InputError("dry run", f"{counted(len(faults), 'thing')} {verb(len(faults), 'is', 'are')} missing, first {faults[0]}")
    cli.say("Dry run: nothing was changed; every script, flag and input is there.", as_json=as_json)
    return EXIT_OK


def exit_code(record: kept.CycleRecord) -> int:
    """0, or the code of the step that failed where it is one of ours, else 1."""
    failed = next((step for step in record.steps if step.status == kept.FAILED), None)
    if failed is None:
        return EXIT_OK
    return failed.exit_code if failed.exit_code in (1, 2, 3, 4, EXIT_INTERRUPTED) else EXIT_GATE


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, spellings={"--production-prompts": "--production-prompts-file"})
    parser.add_project_root()
    parser.add_argument("--dry-run", action="store_true", help="print every command and check scripts, flags and inputs; change nothing")
    parser.add_argument("--from", dest="start", choices=STEP_NAMES, metavar="STEP", help=f"begin here: {', '.join(STEP_NAMES)}")
    parser.add_argument("--only", choices=STEP_NAMES, metavar="STEP", help="run only this step")
    parser.add_argument("--skip", action="append", choices=STEP_NAMES, default=[], metavar="STEP", help="leave a step out (repeatable)")
    parser.add_argument("--fresh", action="store_true", help="a new cycle, even if one with the same settings is unfinished")
    parser.add_open()
    parser.add_json()
    agent = parser.add_argument_group("agent")
    agent.add_argument("--agent-prompt", type=Path, metavar="FILE", help=f"given on standard input (default: {AGENT_PROMPT})")
    agent.add_argument("--agent-command", metavar="CMD", help=cli.policy_help("the agent's command line", "cycle.agent_command"))
    agent.add_argument(
        "--agent-timeout-min", type=cli.non_negative, metavar="X", help=cli.policy_help("0: none", "cycle.agent_timeout_minutes")
    )
    agent.add_argument(
        "--agent-max-cost", type=cli.non_negative, metavar="USD", help=cli.policy_help("0: none", "cycle.agent_max_cost_usd")
    )
    agent.add_argument("--skip-agent", action="store_true", help="run neither the agent nor the cost session")
    agent.add_argument("--max-age-days", type=cli.non_negative, metavar="X", help="for the freshness check")
    money = parser.add_argument_group("cost")
    money.add_argument("--skip-cost-tracking", action="store_true", help="run the agent without a cost session")
    money.add_argument("--cost-activity", default="agent", metavar="NAME", help="the session's tag")
    money.add_argument("--cost-rate-per-hr", metavar="X", help=cli.policy_help("dollars per hour", "cost.rates_per_hr"))
    money.add_argument("--cost-gpu", metavar="NAME", help=cli.policy_help("the card", "cost.default_gpu"))
    scores = parser.add_argument_group("dataset, scores and comparison")
    scores.add_argument("--training-dataset-dir", type=Path, metavar="DIR", help="make (or verify) the manifest of this dataset")
    scores.add_argument("--training-output-dir", type=Path, metavar="DIR", help="where the LoRA lies; the manifest goes beside it")
    scores.add_argument("--dataset-manifest-out", type=Path, metavar="FILE", help="another place for the manifest")
    scores.add_argument("--generated-dir", type=Path, metavar="DIR", help="new pictures to score")
    scores.add_argument("--reference-dir", type=Path, metavar="DIR", help="the references to score against")
    for flag, text in (("--lora-version", "the LoRA's version"), ("--run-id", "name of the new scorecard"), ("--notes", "kept with it")):
        scores.add_argument(flag, metavar="TEXT", help=text)
    scores.add_argument(
        "--compare-with-run-id", metavar="RUN", help="the run to compare with (default: the champion, else the newest of another version)"
    )
    scores.add_argument("--comparison-output", type=Path, metavar="FILE", help="the report (default: evals/comparison_report.md)")
    batch = parser.add_argument_group("production")
    batch.add_argument("--run-production", action="store_true", help="make a production batch")
    for flag in ("workflow", "prompts-file", "output-dir", "reference-dir"):
        dest = f"production_{flag.removesuffix('-file').replace('-', '_')}"
        batch.add_argument(f"--production-{flag}", dest=dest, type=Path, metavar="PATH", help=f"production_pipeline.py --{flag}")
    batch.add_argument("--production-count", type=cli.positive_int, metavar="N", help="production_pipeline.py --count")
    batch.add_argument("--production-lora", metavar="NAME", help="production_pipeline.py --lora")
    batch.add_argument("--production-comfy-url", action="append", default=[], metavar="URL", help="production_pipeline.py --comfy-url")
    file = "production_pipeline.py --servers: a YAML file of servers of any kind, with where the token of each is"
    batch.add_argument("--production-servers", type=Path, metavar="FILE", help=file)
    token = "production_pipeline.py --comfy-token-env: the variable that holds the token of the one server of --production-comfy-url"
    batch.add_argument("--production-comfy-token-env", metavar="NAME", help=token)
    batch.add_argument("--production-insecure-token", action="store_true", help="production_pipeline.py --insecure-token")
    add_budget_flags(batch)
    commit = parser.add_argument_group("commit")
    commit.add_argument("--skip-commit", action="store_true", help="commit nothing")
    commit.add_argument("--commit-message", default="", metavar="TEXT", help="default: Run the cycle for RUN")
    return parser


def read_settings(args: Any, policy: dict[str, Any]) -> CycleSettings:
    values = {name: getattr(args, name) for name in CycleSettings.__dataclass_fields__ if hasattr(args, name)}
    default_prompt = AGENT_PROMPT if (args.project_root / AGENT_PROMPT).exists() else None
    values |= {
        "root": args.project_root.resolve(),
        "agent_command": args.agent_command if args.agent_command is not None else policy["agent_command"],
        "agent_prompt": args.agent_prompt.resolve() if args.agent_prompt else default_prompt,
        "production_comfy_url": tuple(args.production_comfy_url),
        "skipped": frozenset(args.skip),
    }
    paths = {name: value.resolve() for name, value in values.items() if isinstance(value, Path) and name not in ("root", "agent_prompt")}
    return CycleSettings(**(values | paths))


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.require_directory(args.project_root, "--project-root")
    policy = read_policy(args.project_root)["cycle"]
    settings = read_settings(args, policy)
    if args.dry_run:
        return dry_run(settings, args.start, args.only, as_json=args.json)
    minutes = args.agent_timeout_min if args.agent_timeout_min is not None else policy["agent_timeout_minutes"]
    usd = args.agent_max_cost if args.agent_max_cost is not None else policy["agent_max_cost_usd"]
    limits = CycleLimits(policy["guardrail_timeout_minutes"], minutes, Decimal(str(usd)))
    cli.end_as_interrupted()
    show = sys.stderr.buffer if args.json else sys.stdout.buffer
    meter = Meter(settings.root / LOG_FILE, settings.root / STATE_FILE)

    def say(text: str) -> None:
        cli.say(text, as_json=args.json)

    with locks.hold(settings.root / kept.RUNS / "cycle.lock", "the cycle"):
        cycle = Cycle(settings, limits, meter, choose_steps(args.start, args.only), show, say)
        try:
            record, _ = cycle.run(times.now, fresh=args.fresh)
        except KeyboardInterrupt:
            say("The cycle was interrupted; the same command continues it.")
            raise
    files.write_json(settings.root / REPORT_FILE, kept.as_document(record))
    page = write_pages(settings.root / REPORT_FILE, record, TITLES)
    say("\n" + kept.render(record, TITLES))
    if page is not None:
        say(f"report: {page}")
        if args.open:
            open_page(page)
    if args.json:
        cli.print_json(kept.as_document(record))
    return exit_code(record)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
