"""Check that the files an assistant reads first are short enough: line budgets from the policy, estimated tokens, what to cut first.

Reads the policy's section `context_budget`, the files it names, and what CLAUDE.md imports. Writes nothing.

    python tools/lifeos_context_budget.py --project-root .

Exit codes: 0 within every budget · 1 a file or the total is over it, missing, empty or no UTF-8 text · 2 bad usage or policy
· 3 PyYAML is not installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.load_thresholds import load_thresholds
from lifeos import cli, findings
from lifeos.guardrails.checkout import Checkout
from lifeos.guardrails.context_budget import check_context_budget


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    text = cli.policy_help("allow so many lines in all", "context_budget.total_max_lines")
    parser.add_argument("--total-max", type=cli.whole_number, metavar="N", help=text)
    parser.add_format()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    checkout = Checkout(args.project_root)
    policy = load_thresholds(checkout.root, overrides={"context_budget.total_max_lines": args.total_max}, section="context_budget")
    report = check_context_budget(checkout, policy["context_budget"])
    return findings.publish(report, format=args.format, as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
