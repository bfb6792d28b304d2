"""`runpod_cost_tracker --guard`: its flags, what they and the policy come to, and what is printed."""

from __future__ import annotations

import argparse
import contextlib
import re
from pathlib import Path
from typing import Any

from lifeos import cli, locks
from lifeos.errors import EXIT_INTERRUPTED, EXIT_OK, InputError
from lifeos.signals import stop_signals
from tools.backends.credentials import Credential, token_in
from tools.cost.billing import API_URL, find_base, read_key
from tools.cost.endpoints import ENDPOINT_URL, EndpointReader, EndpointReport
from tools.cost.guard_clock import seconds_since
from tools.cost.guard_log import GUARD_LOG, GUARD_STATE, GuardLog, GuardLook, read_stops, stop_document
from tools.cost.guard_rules import GuardRules, in_minutes
from tools.cost.guarding import Guard, keep_guard
from tools.cost.pod_sight import PROXY_URL, Sights
from tools.cost.pods_api import POD_ID, PodsApi

SECONDS_PER_HOUR, SECONDS_PER_MINUTE = 3600, 60
SLOWEST_SECONDS = 25.0
"""A pod whose work ends right after a look is found idle one look later, and stopped one look late: together within a minute."""


def add_guard_flags(parser: cli.Parser) -> None:
    group = parser.add_argument_group("guard")
    group.add_argument(
        "--lease",
        type=cli.duration,
        metavar="DURATION",
        help=cli.policy_help(
            "stop a pod where nothing new happens for so long (4h, 90m); with --watch and start: this pod", "cost.guard.lease_hours"
        ),
    )
    group.add_argument("--dry-run", action="store_true", help="say what the guard would stop, and stop nothing")
    group.add_argument(
        "--pod", action="append", metavar="ID", help=cli.policy_help("a pod that the guard may stop (repeatable)", "cost.guard.pods")
    )
    group.add_argument("--pod-prefix", metavar="TEXT", help=cli.policy_help("also pods whose name begins so", "cost.guard.name_prefix"))
    group.add_argument("--endpoint", action="append", metavar="ID", help="a serverless endpoint to report on; none is stopped (repeatable)")
    group.add_argument(
        "--heartbeats", type=Path, action="append", metavar="FILE", help="a pod's --state-file in a folder that both see (repeatable)"
    )
    group.add_argument("--api-url", metavar="URL", help="RunPod's REST API, without its version (default: its public address)")
    group.add_argument("--endpoint-url", metavar="URL", help="RunPod's address of endpoints (default: its public one)")
    group.add_argument(
        "--proxy-url",
        default=PROXY_URL,
        metavar="URL",
        help="a pod's port, with {pod} and {port} (default: RunPod's proxy)",
    )


def refuse_alone(args: argparse.Namespace) -> None:
    """Raises InputError for a flag of the guard without the guard: who gives one believes that a pod is guarded."""
    for flag in ("pod", "pod-prefix", "endpoint", "heartbeats", "api-url", "endpoint-url"):
        if getattr(args, flag.replace("-", "_")) is not None:
            raise InputError(f"--{flag}", "belongs to --guard", "give --guard too, or leave it out")


def make_rules(policy: dict[str, Any], args: argparse.Namespace) -> GuardRules:
    """The policy's `cost.guard` with the flags over it. Raises InputError where no pod is named: none is guarded by chance."""
    guard = policy["guard"]
    pods = args.pod if args.pod is not None else guard["pods"]
    prefix = args.pod_prefix if args.pod_prefix is not None else guard["name_prefix"]
    flag = "--pod" if args.pod is not None else "cost.guard.pods"
    for pod in pods:
        if not POD_ID.fullmatch(pod):
            raise InputError(flag, f"{pod[:40]!r} is no id of a pod", "copy it from RunPod's list of pods")
    if not (pods or prefix or args.endpoint):
        raise InputError("--guard", "no pod is named, and it stops no other", "give --pod ID or --pod-prefix TEXT, or set cost.guard.pods")
    return GuardRules(
        guard["idle_minutes"] * SECONDS_PER_MINUTE,
        args.lease if args.lease is not None else guard["lease_hours"] * SECONDS_PER_HOUR,
        guard["busy_gpu_percent"],
        guard["busy_cpu_percent"],
        frozenset(pods),
        prefix,
        guard["stopped_volume_usd_per_gb_month"],
    )


def token_from(args: argparse.Namespace) -> Credential | None:
    """Where the token of ComfyUI is; None where the flag was not given."""
    return token_in(args.comfy_token_env, args.insecure_token) if args.comfy_token_env is not None else None


def guard_files(log_file: Path) -> tuple[Path, Path]:
    """The guard's log and state, beside the cost log."""
    return log_file.with_name(GUARD_LOG), log_file.with_name(GUARD_STATE)


def run_guard(args: argparse.Namespace, policy: dict[str, Any], log_file: Path, state_file: Path) -> int:
    rules = make_rules(policy, args)
    key, guard_policy = read_key(), policy["guard"]
    if not args.proxy_url.startswith(("https://", "http://")) or "{pod}" not in args.proxy_url or "{port}" not in args.proxy_url:
        raise InputError("--proxy-url", "is no address with {pod} and {port}", f"leave the flag out, or give one like {PROXY_URL}")
    for endpoint in args.endpoint or ():
        if not re.fullmatch(POD_ID, endpoint):
            raise InputError("--endpoint", f"{endpoint[:40]!r} is no id of an endpoint", "copy it from RunPod's list")
    api_url = find_base(args.api_url or API_URL, "--api-url")
    api = PodsApi(api_url, key)
    endpoint_url = find_base(args.endpoint_url or ENDPOINT_URL, "--endpoint-url")
    ports, token = (guard_policy["comfy_port"], guard_policy["heartbeat_port"]), token_from(args)
    sights = Sights(*ports, [state_file, *(args.heartbeats or ())], args.proxy_url, credential=token)
    sights.check_token()
    log, state = guard_files(log_file)

    def say(text: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads on: the guard goes on all the same
            cli.say(text, as_json=args.json)

    def serve() -> int:
        guard = Guard(api, sights.look, rules, GuardLog(log), state, say, dry_run=args.dry_run)
        endpoints = EndpointReport(args.endpoint or [], EndpointReader(endpoint_url, api_url, key), say)

        looked = GuardLook()

        def look_at_endpoints() -> None:
            nonlocal looked
            before, looked = looked, guard.looked
            endpoints.look(seconds_since(before, looked), looked.server or looked.wall)

        before = {stop.stop_id for stop in read_stops(log, state)}
        interval = min(args.watch_interval, SLOWEST_SECONDS)
        try:
            with stop_signals():
                say(_begin(rules, interval, args.dry_run))
                keep_guard(guard, interval, args.watch_samples, say, after_look=look_at_endpoints)
            code = EXIT_OK
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        if args.json:
            new = [stop_document(stop) for stop in read_stops(log, state) if stop.stop_id not in before]
            cli.print_json(_document(guard, new, endpoints, args.dry_run))
        else:
            say(_table(guard))
        return code

    if args.dry_run:
        return serve()
    with locks.hold(state.with_name(state.name + ".lock"), f"the guard of {state}"):
        return serve()


def _begin(rules: GuardRules, interval: float, dry_run: bool) -> str:
    named = [*sorted(rules.pods), *([f"every pod called {rules.name_prefix}…"] if rules.name_prefix else [])]
    lease = f"; lease {in_minutes(rules.lease_seconds)}" if rules.lease_seconds else "; no lease"
    what = "would stop" if dry_run else "stops"
    idle = in_minutes(rules.idle_seconds)
    return f"Guarding {', '.join(named) or 'no pod'}: {what} what is idle for {idle}{lease}; a look every {interval:g} s"


def _table(guard: Guard) -> str:
    lines = [f"{'Pod':36}  {'State':18}  {'Idle':>10}  {'No sign':>10}  $/hr"]
    for one in guard.watched:
        price = f"{one.pod.cost:.2f}" if one.pod.cost is not None else "?"
        lines.append(
            f"{one.pod.title[:36]:36}  {one.state:18}  {in_minutes(one.idle_seconds):>10}  {in_minutes(one.quiet_seconds):>10}  {price}"
        )
    if guard.others:
        lines.append(f"{guard.others} more of the account {'is' if guard.others == 1 else 'are'} not this guard's, and left alone.")
    return "\n".join(lines) if guard.watched else "\n".join(["None of the named pods is there.", *lines[1:]])


def _document(guard: Guard, stops: list[Any], endpoints: EndpointReport, dry_run: bool) -> dict[str, Any]:
    return {
        "schema": 1,
        "dry_run": dry_run,
        "pods": [
            {
                "id": one.pod.id,
                "name": one.pod.name,
                "status": one.pod.status,
                "state": one.state,
                "why": one.why,
                "idle_minutes": round(one.idle_seconds / SECONDS_PER_MINUTE, 2),
                "minutes_without_sign_of_work": round(one.quiet_seconds / SECONDS_PER_MINUTE, 2),
                "usd_per_hr": one.pod.cost,
            }
            for one in guard.watched
        ],
        "other_pods": guard.others,
        "not_read": guard.odd,
        "stops": stops,
        "endpoints": [
            {
                "id": one.name,
                "workers": one.health.workers if one.health else None,
                "jobs": one.health.jobs if one.health else None,
                "minutes_without_job": round(one.quiet_seconds / SECONDS_PER_MINUTE, 2),
                "billed_usd": None if one.billed is None else f"{one.billed:.4f}",
                "billed_since": endpoints.since,
            }
            for one in endpoints.watched
        ],
    }
