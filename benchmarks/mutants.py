"""Break a module in every small way, and see which of the broken ones its tests do not notice.

Runs in a copy of the tracked files, so that the checkout stays as it is. A mutant is killed when a test fails or hangs; one that
survives shows either a test that is missing or code that nobody needs.

    python -m lifeos test tests/tools/production  # must pass first
    python benchmarks/mutants.py tools/production/journal.py --sample 50

Without a module, those of the table below. Exit codes: 0 measured · 2 bad usage, or the tests fail without any change.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.mutations import Mutation, find_mutations
from lifeos import cli
from lifeos.errors import EXIT_OK, InputError, UnavailableError

TESTS: dict[str, tuple[str, ...]] = {
    "lifeos/files.py": ("tests/lifeos/test_files.py", "tests/lifeos/test_power_loss.py"),
    "lifeos/locks.py": ("tests/lifeos/test_locks.py",),
    "tools/production/journal.py": ("tests/tools/production/test_journal.py", "tests/tools/production/test_runner.py"),
    "tools/production/filing.py": (
        "tests/tools/production/test_filing.py",
        "tests/tools/production/test_rejudging.py",
        "tests/tools/production/test_runner.py",
    ),
    "tools/production/decisions.py": ("tests/tools/production/test_decisions.py",),
    "tools/production/growth.py": ("tests/tools/production/test_growth.py",),
    "tools/production/healing.py": ("tests/tools/production/test_endings.py",),
    "tools/production/intake.py": ("tests/tools/production/test_intake.py", "tests/tools/production/test_runner.py"),
    "tools/backends/dispatch.py": ("tests/tools/backends/test_dispatch.py",),
    "tools/backends/comfyui.py": ("tests/tools/backends/test_comfyui.py", "tests/tools/backends/test_dispatch.py"),
    "tools/cost/meter.py": ("tests/tools/cost/test_meter.py",),
    "evals/judging/gates.py": ("tests/evals/judging/test_gate_rules.py",),
}
"""The modules that this is for, each with the tests that must notice: the fewest, so that a mutant takes seconds."""

SLOWEST_FACTOR, SLOWEST_SECONDS = 4.0, 10.0
"""A mutant hangs when its tests take longer than this factor of the time without a change, and this much more."""


@dataclass(frozen=True, slots=True)
class Survivor:
    """A change that no test noticed."""

    module: str
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the mutants of a module. `hung` ones count as killed."""

    module: str
    possible: int
    tried: int
    killed: int
    hung: int
    survivors: tuple[Survivor, ...]
    seconds: float


class Bench:
    """A copy of the project in which the tests are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=cli.PROJECT_ROOT, capture_output=True, check=True).stdout.decode()
        for name in filter(None, listed.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(cli.PROJECT_ROOT / name, folder / name)
        for command in (["init", "-q"], ["add", "--all", "."]):  # some tests ask git which files there are
            subprocess.run(["git", *command], cwd=folder, check=True)

    def run(self, tests: Sequence[str], limit: float) -> str:
        """`passed`, `failed` or `hung`."""
        command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "--no-header", *tests]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "LIFEOS_HOME": str(self.folder / ".lifeos")}
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            try:
                return "failed" if process.wait(limit) else "passed"
            except subprocess.TimeoutExpired:
                if sys.platform == "win32":
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                return "hung"

    def try_each(self, module: str, mutations: Sequence[Mutation], tests: Sequence[str], limit: float) -> Iterator[tuple[Mutation, str]]:
        path = self.folder / module
        original = path.read_bytes()
        try:
            for mutation in mutations:
                path.write_text(mutation.source + "\n", encoding="utf-8")
                yield mutation, self.run(tests, limit)
        finally:
            path.write_bytes(original)


def measure(
    bench: Bench, module: str, tests: Sequence[str], note: Callable[[str], None], *, sample: int | None = None, seed: int = 0
) -> Outcome:
    """Try the mutants of a module, or a sample of them. Raises UnavailableError if the tests fail without any change."""
    every = list(find_mutations((cli.PROJECT_ROOT / module).read_text(encoding="utf-8")))
    chosen = every if sample is None or sample >= len(every) else random.Random(seed).sample(every, sample)
    begun = time.monotonic()
    if bench.run(tests, 600) != "passed":
        raise UnavailableError(module, f"{' '.join(tests)} fail without any change", "make them pass first")
    limit = (time.monotonic() - begun) * SLOWEST_FACTOR + SLOWEST_SECONDS
    killed = hung = 0
    survivors = []
    for mutation, end in bench.try_each(module, sorted(chosen, key=lambda one: one.line), tests, limit):
        killed, hung = killed + (end != "passed"), hung + (end == "hung")
        if end == "passed":
            survivors.append(Survivor(module, mutation.line, mutation.what))
            note(f"survived  {module}:{mutation.line}: {mutation.what}")
    return Outcome(module, len(every), len(chosen), killed, hung, tuple(survivors), time.monotonic() - begun)


def render(outcomes: Sequence[Outcome]) -> str:
    rows = [f"{'module':32}  {'possible':>8}  {'tried':>5}  {'killed':>6}  {'hung':>4}  {'survived':>8}  {'seconds':>7}"]
    rows += [
        f"{one.module:32}  {one.possible:8}  {one.tried:5}  {one.killed:6}  {one.hung:4}  {len(one.survivors):8}  {one.seconds:7.0f}"
        for one in outcomes
    ]
    return "\n".join(rows)


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a module of the table in this file (default: all of them)")
    parser.add_argument("--tests", nargs="+", metavar="TEST", help="the tests that must notice (default: those of the table)")
    parser.add_argument("--sample", type=cli.positive_int, metavar="N", help="try only N mutants of each module, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for module in args.modules or TESTS:
            tests = args.tests or TESTS.get(module)
            if not tests or not (cli.PROJECT_ROOT / module).is_file():
                raise InputError(module, "no module of the table", "name its tests with --tests, or choose one of " + ", ".join(TESTS))
            outcomes.append(measure(bench, module, tests, cli.note, sample=args.sample, seed=args.seed))
    print(json.dumps([asdict(one) for one in outcomes], indent=2) if args.json else render(outcomes))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
