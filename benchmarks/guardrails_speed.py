"""Measure how long the four guardrail commands take, as a person or CI starts them: whole processes, cold and warm.

Reads the checkout; the cold runs remove its `.lifeos/compiled.json` and `.lifeos/dry_run_passed.json`, which the next run makes again.

    python benchmarks/guardrails_speed.py --runs 10

The targets: each command under 0.2 s and all four under 1 s, warm, on a machine with nothing else to do. On a busy one look at
the processor time. Exit codes: 0 measured · 2 bad usage.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_OK

COMMANDS = (
    ("evals/known_failures.py",),
    ("tools/lifeos_context_budget.py",),
    ("tools/lifeos_preflight.py",),
    ("tools/lifeos_freshness_check.py", "--max-age-days", "14"),
)
MEMORY = (".lifeos/compiled.json", ".lifeos/dry_run_passed.json")
LEFT_OUT = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTHONDONTWRITEBYTECODE")
"""The last one would have Python compile every module of ours in every run: no machine is warm then."""
TARGET_EACH_SECONDS, TARGET_ALL_SECONDS = 0.2, 1.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one command: the first run without memory, then the best and the median of the warm ones, and their processor time."""

    command: str
    cold: float
    best: float
    median: float
    processor: float


def measure(root: Path, command: tuple[str, ...], runs: int) -> Timing:
    for name in MEMORY:
        (root / name).unlink(missing_ok=True)
    cold = _seconds(root, command)
    _seconds(root, command)
    before = _children_seconds()
    warm = [_seconds(root, command) for _ in range(runs)]
    processor = (_children_seconds() - before) / runs
    return Timing(command[0], cold, min(warm), statistics.median(warm), processor)


def _seconds(root: Path, command: tuple[str, ...]) -> float:
    environ = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
    start = time.perf_counter()
    subprocess.run([sys.executable, *command, "--project-root", "."], cwd=root, env=environ, capture_output=True, check=False)
    return time.perf_counter() - start


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def render(timings: list[Timing]) -> str:
    rows = [f"{'command':34}  {'cold':>6}  {'best':>6}  {'median':>6}  {'CPU':>6}   seconds, whole process"]
    rows += [f"{item.command:34}  {item.cold:6.3f}  {item.best:6.3f}  {item.median:6.3f}  {item.processor:6.3f}" for item in timings]
    total = [sum(getattr(item, name) for item in timings) for name in ("cold", "best", "median", "processor")]
    rows.append(f"{'all four':34}  " + "  ".join(f"{value:6.3f}" for value in total))
    within = all(item.best < TARGET_EACH_SECONDS for item in timings) and total[1] < TARGET_ALL_SECONDS
    rows.append(
        f"targets, warm: each under {TARGET_EACH_SECONDS} s, all under {TARGET_ALL_SECONDS} s: {'met' if within else 'not met here'}"
    )
    return "\n".join(rows)


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    parser.add_argument("--runs", type=cli.positive_int, default=10, metavar="N", help="warm runs of each command")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    root = cli.require_directory(args.project_root, "--project-root")
    timings = [measure(root, command, args.runs) for command in COMMANDS]
    if args.json:
        cli.print_json([asdict(item) for item in timings])
    cli.say(render(timings), as_json=args.json)
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
