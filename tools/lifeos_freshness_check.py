"""Check the age of the watched files against the policy, and say how to refresh each.

Reads the policy's section `freshness` and git's history. Writes nothing.

    python tools/lifeos_freshness_check.py --project-root . --max-age-days 14

The age of a file is that of its last commit. The file's own time cannot be used, because a checkout sets it to now and every check in
CI would pass. Two exceptions: a file with uncommitted changes, and a file outside git, are as old as their modification time (outside
git in CI the check fails). In a shallow clone the age of a file can be unknown, and the check fails: check out with `fetch-depth: 0`.
`--skip-in-ci` turns the whole check into a warning in CI. The limit is --max-age-days; without it freshness.ci_max_age_days in CI (the
variable CI), and freshness.max_age_days elsewhere.

Exit codes: 0 every watched file is fresh, or skipped · 1 one is stale, missing, or of unknown age · 2 bad usage or policy
· 3 PyYAML is not installed.
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
from lifeos.guardrails.freshness import check_freshness, skipped


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    text = cli.policy_help("allow this age", "freshness.max_age_days", "freshness.ci_max_age_days", note="the second in CI")
    parser.add_argument("--max-age-days", type=cli.non_negative, metavar="X", help=text)
    parser.add_argument("--skip-in-ci", action="store_true", help="in CI judge nothing and say so")
    parser.add_format()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    checkout = Checkout(args.project_root)
    policy = load_thresholds(checkout.root, section="freshness")["freshness"]
    in_ci = is_ci()
    if args.skip_in_ci and in_ci:
        report = skipped("this is a CI machine and --skip-in-ci was given")
    else:
        default = policy["ci_max_age_days"] if in_ci else policy["max_age_days"]
        limit = default if args.max_age_days is None else args.max_age_days
        report = check_freshness(checkout, policy["files"], limit, now=time.time(), in_ci=in_ci)
    return findings.publish(report, format=args.format, as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
