"""Move the findings of the latest briefing into memory and tasks, each once, and show the diff before anything is written.

Reads `briefings/YYYY-MM-DD.md` (the format is in tools/briefings/briefing.py). Writes `context/session-learnings.md` (what was
found, within the context budget), `context/tasks.md` (what to do) and the ledger `briefings/promoted.jsonl`. Notes stay in the
briefing unless they ask for something to be done. At a terminal it asks; elsewhere it writes only what a flag allows.

    python tools/promote_findings.py --project-root .                    # show, ask, write
    python tools/promote_findings.py --apply-critical --quiet            # as the cycle does

Exit codes: 0 done, or nothing new · 1 a finding was refused: no room in the context budget, or it holds a secret · 2 bad usage,
or a briefing that cannot be read · 3 PyYAML is not installed · 4 another process is promoting.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.load_thresholds import load_thresholds
from lifeos import cli, locks, times
from lifeos.counting import counted, verb
from lifeos.errors import EXIT_GATE, EXIT_OK
from tools.briefings.briefing import BriefingFinding, find_latest, read_briefing
from tools.briefings.findings_promotion import PromotionPlan, apply_plan, find_new, plan_promotion

LOCK = Path(".lifeos/promote_findings.lock")


def render(plan: PromotionPlan) -> str:
    """What would be written, and what is refused."""
    lines = [plan.diff().rstrip("\n")] if plan.texts else []
    name = plan.briefing.path.name
    lines += [f"refused: {name}:{item.finding.line}: {item.finding.text[:80]}: {item.why} ({item.fix})" for item in plan.refused]
    return "\n".join(lines)


def choose(new: list[BriefingFinding], *, critical: bool, everything: bool) -> list[BriefingFinding]:
    """The findings that may be written without asking."""
    return [finding for finding in new if everything or (critical and finding.severity == "critical")]


def ask(question: str) -> bool:
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    parser.add_argument("--briefing", type=Path, metavar="FILE", help="this briefing (default: the latest of briefings/)")
    parser.add_argument("--apply-critical", action="store_true", help="write the critical findings without asking")
    parser.add_argument("--apply-all", action="store_true", help="write all findings without asking")
    parser.add_argument("--quiet", action="store_true", help="no diff and no questions: one line about what was done")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None, confirm: Callable[[str], bool] | None = None) -> int:
    args = build_parser().parse_args(argv)
    root = cli.require_directory(args.project_root, "--project-root").resolve()
    path = cli.require_file(args.briefing, "--briefing") if args.briefing else find_latest(root)
    if path is None:
        return _finish(
            args.json, "no briefing in briefings/: nothing to promote", {"briefing": None, "promoted": [], "waiting": [], "refused": []}
        )
    if confirm is None and sys.stdin is not None and sys.stdin.isatty() and not (args.quiet or args.json):
        confirm = ask
    now = times.now()
    briefing = read_briefing(path, today=now.date())
    with locks.hold(root / LOCK, "the memory", wait=False):
        new = find_new(briefing, root)
        budget = load_thresholds(root, section="context_budget")["context_budget"]
        chosen = choose(new, critical=args.apply_critical, everything=args.apply_all)
        plan = plan_promotion(briefing, chosen, root, budget)
        shown = plan_promotion(briefing, new, root, budget)
        if not args.quiet and (new if confirm else chosen or new):
            cli.say(render(shown if confirm or not chosen else plan), as_json=args.json)
        if (
            confirm is not None
            and shown.accepted != plan.accepted
            and confirm(f"Write {verb(len(shown.accepted), 'this', 'these')} {counted(len(shown.accepted), 'finding')}?")
        ):
            plan = shown
        apply_plan(plan, root, now=now)
    waiting = [finding for finding in new if finding not in plan.accepted]
    refused = plan.refused
    text = f"{path.name}: {len(plan.accepted)} promoted, {len(waiting) - len(refused)} waiting, {len(refused)} refused"
    if len(waiting) > len(refused):
        text += " (to write them: --apply-critical or --apply-all)"
    document = {
        "briefing": str(path),
        "promoted": [_row(finding) for finding in plan.accepted],
        "waiting": [_row(finding) for finding in waiting if finding not in [item.finding for item in refused]],
        "refused": [{**_row(item.finding), "why": item.why, "fix": item.fix} for item in refused],
    }
    _finish(args.json, text, document)
    return EXIT_GATE if refused else EXIT_OK


def _row(finding: BriefingFinding) -> dict[str, Any]:
    return {"id": finding.id, "severity": finding.severity, "text": finding.text, "action": finding.action}


def _finish(as_json: bool, text: str, document: dict[str, Any]) -> int:
    cli.say(text, as_json=as_json)
    if as_json:
        cli.print_json(document)
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
