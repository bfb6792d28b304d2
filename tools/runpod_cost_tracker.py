"""Track what the GPU does and what it costs, without losing a session in a crash, and stop pods that only cost (--guard).

Closed sessions are lines of tools/cost_log.jsonl (append-only), open ones are in tools/.cost_session_state.json.

    python tools/runpod_cost_tracker.py --action start --activity lora_v3_training
    python tools/runpod_cost_tracker.py --action stop
    python tools/runpod_cost_tracker.py --action report --since 2026-11-01
    python tools/runpod_cost_tracker.py --action report --html cost.html --open
    python tools/runpod_cost_tracker.py --watch --on-idle "runpodctl stop pod $RUNPOD_POD_ID"
    python tools/runpod_cost_tracker.py --check-billing --since 2026-11-01
    python tools/runpod_cost_tracker.py --guard --pod abc123 --lease 4h

--guard runs on another machine than the pods (docs/guides/guarding.md). Its stops are lines of tools/guard_log.jsonl.
Days and months are UTC; a session counts on the day it started. When a pod dies, its session stays open: close it with `--action stop
--at 2026-11-01T12:00:00Z` when you know when, or with `--at-last-heartbeat`.

Exit codes: 0 done · 1 --check-billing found a difference · 2 bad usage, or no session is open · 3 RunPod does not answer, or refuses the
key · 4 another guard runs with this log · 130 --watch or --guard was interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.load_thresholds import load_thresholds
from lifeos import cli, files, server_flags, times
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError, LockedError
from tools.backends.credentials import address_of
from tools.cost import guard_command, guard_log, heartbeats, summary, watch
from tools.cost.ledger import read_ledger
from tools.cost.meter import LOG_FILE, STATE_FILE, Meter, OpenSession, parse_rate
from tools.cost.picture_costs import read_batches, read_trainings
from tools.cost.rates import find_rate
from tools.cost.running_costs import RunningPart, read_running, settle_killed, until_now
from tools.cost.session import parse_time
from tools.cost.spending import SpendingLimits, budget_uses, read_spent

DEFAULT_ACTIVITY = "untagged"
COMFY_URL = "http://127.0.0.1:8188"
WATCH_SECONDS = 15.0
POLICY_PORT = 0
"""Stands for `cost.guard.heartbeat_port`."""


def choose_rate(cost_policy: dict[str, Any], gpu: str | None, rate: Decimal | None) -> tuple[str, Decimal]:
    """The card and its rate: the rate given, else the policy's for this card, under the name that the policy has for it."""
    name = gpu or cost_policy["default_gpu"]
    if rate is not None:
        return name, rate
    known = find_rate(cost_policy["rates_per_hr"], name)
    return known, parse_rate(cost_policy["rates_per_hr"][known])


def start(meter: Meter, args: argparse.Namespace, policy: dict[str, Any]) -> int:
    gpu, rate = choose_rate(policy, args.gpu, args.rate_per_hr)
    lease = args.lease or 0.0
    started = meter.start(args.activity, gpu, rate, lora_version=args.lora_version, keep_open=args.keep_open, lease_seconds=lease)
    session = started.session
    if args.json:
        cli.print_json({"session": _session_document(meter, session), "closed": started.closed})
    else:
        cli.say(f"Started {session.session_id}: {session.activity} on {gpu} at {summary.dollars(rate)}/hr")
    return EXIT_OK


def stop(meter: Meter, args: argparse.Namespace) -> int:
    row = meter.stop(args.session, at=args.at, at_last_heartbeat=args.at_last_heartbeat)
    if args.json:
        cli.print_json(row)
    else:
        note = {"stated": ", end as stated", "last_heartbeat": ", ended at its last heartbeat"}.get(row.get("end_is", ""), "")
        clock = ", the clock had moved" if row.get("clock_moved") else ""
        cost = summary.dollars(Decimal(str(row["cost_usd"])))
        cli.say(f"Stopped {row['session_id']}: {row['activity']}, {row['duration_min']} min, {cost}{note}{clock}")
    return EXIT_OK


def status(meter: Meter, args: argparse.Namespace) -> int:
    sessions = meter.open_sessions()
    if args.json:
        cli.print_json({"open": [_session_document(meter, session) for session in sessions]})
    elif sessions:
        cli.say("\n".join(_describe(meter, session) for session in sessions))
    else:
        cli.say("No session is open.")
    return EXIT_OK


def heartbeat(meter: Meter, args: argparse.Namespace) -> int:
    session = meter.heartbeat(args.session, progress=True)  # whoever says so means that it moves on
    if args.json:
        cli.print_json(_session_document(meter, session))
    else:
        cli.say(f"Alive: {session.session_id} at {session.last_heartbeat}")
    return EXIT_OK


def report(meter: Meter, args: argparse.Namespace, policy: dict[str, Any], root: Path) -> int:
    now = meter.clock().wall
    with contextlib.suppress(OSError, LockedError):  # the log may be one that is only read here
        settle_killed(meter.log_file, now)
    ledger = read_ledger(meter.log_file, args.since, args.until)
    sessions = meter.open_sessions()
    limits, today = SpendingLimits.read({"cost": policy}), now.date()
    spent = read_spent(meter.log_file, meter.state_file, now, counts_underway=False)
    budget = summary.month_budget(spent.month, today, policy["monthly_budget_usd"])
    running = [_describe_running(until_now(part, now)) for _, part in read_running(meter.log_file)]
    folders = args.pictures or [root]
    made = summary.summarise(
        ledger,
        policy["activities"],
        budget,
        [batch for batch in read_batches(folders) if _within(batch.day, args.since, args.until)],
        [training for training in read_trainings(folders) if _within(training.day, args.since, args.until)],
        [*(_describe(meter, session) for session in sessions), *running],
        guard_log.read_stops(*guard_command.guard_files(meter.log_file), args.since, args.until),
        budget_uses(limits, spent, now),
    )
    if args.plot:
        summary.draw(made, policy["activities"], args.plot)
    if args.html:
        write_html(args, made, policy, meter)
    if args.csv:
        files.write_text(args.csv, summary.render_csv(ledger))
    if args.json:
        cli.print_json(summary.as_document(made))
    else:
        cli.say(summary.render_text(made))
    return EXIT_OK


def write_html(args: argparse.Namespace, made: summary.CostSummary, policy: dict[str, Any], meter: Meter) -> None:
    """`--html FILE`: the report to look at."""
    from lifeos.pages.opening import open_page
    from tools.cost.cost_page import write_cost_page

    when = times.stamp(meter.clock().wall)
    write_cost_page(args.html, made, policy["activities"], command="tools/runpod_cost_tracker.py --action report", when=when)
    if args.open:
        open_page(args.html)


def check_billing(meter: Meter, args: argparse.Namespace) -> int:
    from tools.cost import billing

    until = args.until or meter.clock().wall.date()
    since = args.since or until.replace(day=1)
    billed = billing.fetch_bill(since, until, args.billing_url or billing.API_URL)
    differences = billing.compare_bill(meter.log_file, billed, since, until)
    if args.json:
        rows = [
            {"day": one.day, "pod_id": one.pod_id, "billed_usd": str(one.billed), "logged_usd": str(one.logged), "matters": one.matters}
            for one in differences
        ]
        cli.print_json({"differences": rows})
    else:
        cli.say(billing.render_differences(differences))
    return EXIT_GATE if any(one.matters for one in differences) else EXIT_OK


def run_watch(meter: Meter, args: argparse.Namespace, policy: dict[str, Any]) -> int:
    gpu, rate = choose_rate(policy, args.gpu, args.rate_per_hr)
    comfy = address_of(args.comfy_url, guard_command.token_from(args))

    def open_session(activity: str) -> str:
        started = meter.start(
            activity, gpu, rate, lora_version=args.lora_version, keep_open=args.keep_open, lease_seconds=args.lease or 0.0
        )
        return started.session.session_id

    settings = watch.WatchSettings(args.watch_interval, policy["idle_minutes"], args.on_idle, args.watch_samples)
    say = functools.partial(cli.say, as_json=args.json)
    rows: list[dict[str, Any]] = []
    keeper = heartbeats.PulseKeeper(os.environ.get("RUNPOD_POD_ID", ""), meter.open_sessions)
    port = args.serve_heartbeats if args.serve_heartbeats != POLICY_PORT else policy["guard"]["heartbeat_port"]
    with contextlib.nullcontext() if port is None else heartbeats.serve_pulse(port, keeper.pulse) as served:
        if served is not None:
            say(f"heartbeats are served on port {served}")
        code = watch.watch(meter, open_session, lambda: watch.take_sample(comfy), settings, say, ended=rows.append, looked=keeper.looked)
    if args.json:
        cli.print_json({"schema": 1, "sessions": rows})
    return code


def _within(day: str, since: date | None, until: date | None) -> bool:
    return (since is None or day >= since.isoformat()) and (until is None or day <= until.isoformat())


def _describe(meter: Meter, session: OpenSession) -> str:
    cost = summary.dollars(meter.cost_so_far(session))
    return f"{session.session_id} {session.activity} on {session.gpu} since {session.start}, {cost} so far"


def _describe_running(part: RunningPart) -> str:
    return f"{part.what} ({part.activity}) since {part.start}, {summary.dollars(Decimal(str(part.usd)))} beside the meter so far"


def _session_document(meter: Meter, session: OpenSession) -> dict[str, Any]:
    names = ("session_id", "start", "activity", "gpu", "rate_per_hr", "lora_version", "last_heartbeat", "last_progress")
    return {name: getattr(session, name) for name in names} | {"cost_so_far_usd": str(meter.cost_so_far(session))}


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-11-01") from None


def _moment(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no UTC time such as 2026-11-01T12:00:00Z") from None


def _rate(text: str) -> Decimal:
    try:
        return parse_rate(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(error.why) from None


def _port(text: str) -> int:
    number = cli.whole_number(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port from 1 to 65535")
    return number


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--action", choices=["start", "stop", "report", "status", "heartbeat"], help="what to do")
    what.add_argument("--watch", action="store_true", help="on a pod: look at GPU and queue, and split the time by what really runs")
    what.add_argument("--check-billing", action="store_true", help="compare the log with RunPod's bill (key in RUNPOD_API_KEY)")
    what.add_argument("--guard", action="store_true", help="watch rented pods from another machine, and stop those that only cost")
    parser.add_project_root()
    parser.add_argument("--log-file", type=Path, metavar="FILE", help=f"closed sessions (default: {LOG_FILE})")
    parser.add_argument("--state-file", type=Path, metavar="FILE", help=f"open sessions (default: {STATE_FILE})")
    parser.add_json()
    session = parser.add_argument_group("sessions")
    session.add_argument(
        "--activity", default=DEFAULT_ACTIVITY, metavar="NAME", help="training, generation, idle, setup, or a tag of yours"
    )
    session.add_argument("--gpu", metavar="NAME", help=cli.policy_help("the card", "cost.default_gpu"))
    session.add_argument("--rate-per-hr", type=_rate, metavar="X", help=cli.policy_help("dollars per hour", "cost.rates_per_hr"))
    session.add_argument("--lora-version", default="", metavar="V", help="which LoRA the time was for")
    session.add_argument("--keep-open", action="store_true", help="start beside an open session instead of closing it")
    session.add_argument("--session", metavar="ID", help="which open session (default: the newest)")
    end = session.add_mutually_exclusive_group()
    end.add_argument("--at", type=_moment, metavar="TIME", help="with stop: when it ended (UTC)")
    end.add_argument("--at-last-heartbeat", action="store_true", help="with stop: it ended at its last heartbeat")
    shown = parser.add_argument_group("report")
    shown.add_argument("--since", type=_day, metavar="DATE", help="sessions that started on this day or later (UTC)")
    shown.add_argument("--until", type=_day, metavar="DATE", help="sessions that started on this day or earlier (UTC)")
    shown.add_argument(
        "--pictures", type=Path, action="append", metavar="DIR", help="where batches and trainings lie (repeatable; default: the project)"
    )
    shown.add_argument("--csv", type=Path, metavar="FILE", help="write the sums for a spreadsheet")
    text = "also write the report as a page with charts: by day, activity and picture, and what idle and killed sessions cost"
    shown.add_argument("--html", type=Path, metavar="FILE", help=text)
    parser.add_open()
    shown.add_argument("--plot", type=Path, metavar="FILE", help="draw cost by day and activity (PNG)")
    shown.add_argument("--billing-url", metavar="URL", help="RunPod's REST API, without its version (default: its public address)")
    watching = parser.add_argument_group("watch")
    watching.add_argument("--comfy-url", default=COMFY_URL, metavar="URL", help="with --watch: the ComfyUI whose queue is watched")
    server_flags.add_token_flags(watching, "the ComfyUI, with --guard of the ComfyUI on each guarded pod")
    watching.add_argument("--watch-interval", type=cli.positive, default=WATCH_SECONDS, metavar="SECONDS", help="time between two checks")
    watching.add_argument("--watch-samples", type=cli.positive_int, metavar="N", help="end after this many checks (default: never)")
    watching.add_argument("--on-idle", metavar="CMD", help="run this shell command when idle for longer than cost.idle_minutes")
    watching.add_argument(
        "--serve-heartbeats",
        type=_port,
        nargs="?",
        const=POLICY_PORT,
        metavar="PORT",
        help=cli.policy_help("on a pod: tell a guard what runs here, on this port", "cost.guard.heartbeat_port"),
    )
    guard_command.add_guard_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.html is not None and args.action != "report":
        raise InputError("--html", "is written by the report", "give --action report")
    if args.open and args.html is None:
        raise InputError("--open", "opens the page that --html FILE writes", "give --action report --html FILE")
    if not args.guard:
        guard_command.refuse_alone(args)
    if args.dry_run and not args.guard:
        raise InputError("--dry-run", "says what the guard would stop", "give --guard too")
    if args.lease is not None and not (args.guard or args.watch or args.action == "start"):
        raise InputError("--lease", "belongs to --guard, --watch and --action start", "leave it out")
    if args.comfy_token_env is not None and not (args.watch or args.guard):
        raise InputError("--comfy-token-env", "is for what --watch and --guard ask of ComfyUI", "leave it out")
    if args.serve_heartbeats is not None and not args.watch:
        raise InputError("--serve-heartbeats", "tells what --watch sees", "give --watch too")
    root = args.project_root
    policy: dict[str, Any] = load_thresholds(root)["cost"]
    meter = Meter(args.log_file or root / LOG_FILE, args.state_file or root / STATE_FILE)
    if args.guard:
        return guard_command.run_guard(args, policy, meter.log_file, meter.state_file)
    if args.watch:
        return run_watch(meter, args, policy)
    if args.check_billing:
        return check_billing(meter, args)
    if args.action == "report":
        return report(meter, args, policy, root)
    if args.action == "start":
        return start(meter, args, policy)
    return {"stop": stop, "status": status, "heartbeat": heartbeat}[args.action](meter, args)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
