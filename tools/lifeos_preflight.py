"""Check the checkout: required files, references to files, paths of one machine, dates that contradict git, secrets, commands.

Reads the text files of the checkout, and git. Writes nothing. Every finding has its file and line, and the nearest name that exists.

    python tools/lifeos_preflight.py --project-root .

A missing command is an error on a person's machine and a warning in CI (the variable CI). A missing agent command is a warning
everywhere, because only the cycle's agent step needs it.

Exit codes: 0 in order, perhaps with warnings · 1 something is wrong · 2 bad usage or policy · 3 PyYAML is not installed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.load_thresholds import load_thresholds
from lifeos import cli, findings
from lifeos.guardrails.checkout import Checkout, is_ci
from lifeos.guardrails.preflight import check_preflight


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    parser.add_argument("--skip-commands", action="store_true", help="do not look for git and the agent command")
    parser.add_format()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    checkout = Checkout(args.project_root)
    policy = load_thresholds(checkout.root, section="freshness")
    report = check_preflight(
        checkout,
        now=time.time(),
        in_ci=is_ci(),
        commands=not args.skip_commands,
        tolerated_days=policy["freshness"]["ci_max_age_days"],
    )
    return findings.publish(report, format=args.format, as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
