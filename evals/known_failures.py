"""Check that mistakes which happened once have not come back; each check is one function in `evals/regressions/`.

Reads the checkout; starts `tools/retrain_lora_v3.py --dry-run` and `tools/dataset_manifest.py --verify` and reads their answers. Writes
only `.lifeos/compiled.json`, a list of the files that compiled before (it may be deleted at any time).

    python evals/known_failures.py --project-root .
    python evals/known_failures.py --list
    python evals/known_failures.py --only dependency_chain_test --json

Exit codes: 0 none has come back · 1 one has · 2 bad usage · 3 PyYAML is not installed.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.regressions import dependencies, source, training
from evals.regressions.regression import REGRESSIONS, Project
from lifeos import cli, findings
from lifeos.errors import EXIT_OK, InputError, did_you_mean
from lifeos.guardrails.checkout import Checkout

CHECK = "known failures"
SOURCES = (training, dependencies, source)
"""The modules that register regressions; a new module is named here."""


@dataclass(frozen=True, slots=True)
class RegressionOutcome:
    """What one regression said, and how long it took."""

    name: str
    findings: tuple[findings.Finding, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


def describe(name: str) -> str:
    """The first line of a regression's docstring."""
    return (REGRESSIONS[name].__doc__ or "").strip().splitlines()[0]


def run_regressions(project: Project, names: list[str]) -> list[RegressionOutcome]:
    """Run them one after the other. A regression that crashes is a fault of ours and raises: it is neither passed nor failed."""
    return [_run(name, project) for name in names]


def _run(name: str, project: Project) -> RegressionOutcome:
    start = time.perf_counter()
    found = tuple(REGRESSIONS[name](project))
    return RegressionOutcome(name, found, time.perf_counter() - start)


def report_of(outcomes: list[RegressionOutcome]) -> findings.Report:
    width = max(len(outcome.name) for outcome in outcomes)
    details = [
        f"{'ok    ' if outcome.passed else 'FAILED'} {outcome.name:{width}}  {outcome.seconds * 1000:4.0f} ms  {describe(outcome.name)}"
        for outcome in outcomes
    ]
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    summary = f"{len(outcomes) - len(failed)} of {len(outcomes)} regressions passed"
    tests = [{"name": outcome.name, "passed": outcome.passed, "seconds": round(outcome.seconds, 4)} for outcome in outcomes]
    found = tuple(finding for outcome in outcomes for finding in outcome.findings)
    return findings.Report(CHECK, summary, found, tuple(details), {"failed": failed, "tests": tests})


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    parser.add_argument(
        "--strict-runtime-deps", action="store_true", help="also compare the packages installed for this Python with the locks"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="run this regression alone; repeatable")
    parser.add_argument("--list", action="store_true", help="print the names of the regressions and what each checks")
    parser.add_format()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.list:
        listed = {name: describe(name) for name in REGRESSIONS}
        if args.json or args.format == "json":
            cli.print_json(listed)
        else:
            cli.say("\n".join(f"{name:{max(map(len, listed))}}  {text}" for name, text in listed.items()))
        return EXIT_OK
    for name in args.only or ():
        if name not in REGRESSIONS:
            raise InputError(f"--only {name}", "no such regression", did_you_mean(name, REGRESSIONS))
    project = Project(Checkout(args.project_root), strict_runtime_deps=args.strict_runtime_deps)
    outcomes = run_regressions(project, list(dict.fromkeys(args.only or REGRESSIONS)))
    return findings.publish(report_of(outcomes), format=args.format, as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
