"""Time the `--help` of every script in evals/ and tools/ against a Python that does nothing.

    python benchmarks/start_up.py
    python benchmarks/start_up.py --rounds 9 --goal-ms 150

A script is a file with a `__main__` guard, found by walking; `python -m lifeos` is timed with them. Rounds go over all scripts in turn,
so that a busy moment does not fall on one; the fastest round counts, since everything else only adds. Writes nothing.

Exit codes: 0 every script is under the goal · 1 one is not, or its --help failed · 2 bad usage.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError
from lifeos.progress import track

FOLDERS = ("evals", "tools")
GUARD = 'if __name__ == "__main__":'
GOAL_MS = 150.0
ROUNDS = 5
TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class StartUp:
    """The fastest `--help` of one script, in milliseconds; `times_bare` against a Python that does nothing. `failure`: what it said."""

    name: str
    milliseconds: float
    times_bare: float
    failure: str = ""

    def is_within(self, goal_ms: float) -> bool:
        return not self.failure and self.milliseconds < goal_ms


def find_scripts(project_root: Path) -> list[Path]:
    """Every file in evals/ and tools/ that can be run as a script."""
    files = [path for folder in FOLDERS for path in (project_root / folder).rglob("*.py")]
    return sorted(path for path in files if GUARD in path.read_text(encoding="utf-8"))


def find_commands(project_root: Path) -> dict[str, list[str]]:
    """The command line of each script's --help, by the script's name."""
    has_launcher = (project_root / "lifeos" / "__main__.py").is_file()
    commands = {"python -m lifeos": [sys.executable, "-m", "lifeos", "--help"]} if has_launcher else {}
    for path in find_scripts(project_root):
        commands[path.relative_to(project_root).as_posix()] = [sys.executable, str(path), "--help"]
    return commands


def measure(commands: dict[str, list[str]], rounds: int, run: Callable[[list[str]], tuple[float, str]]) -> tuple[float, list[StartUp]]:
    """The bare Python's milliseconds, and each script's, slowest first. `run` times one command: seconds, and why it failed."""
    bare = [sys.executable, "-c", "pass"]
    all_commands = {"": bare, **commands}
    seconds: dict[str, list[float]] = {name: [] for name in all_commands}
    failures: dict[str, str] = {}
    for name, command in track([pair for _ in range(rounds) for pair in all_commands.items()], "starting", unit="start"):
        taken, failure = run(command)
        seconds[name].append(taken)
        if failure:
            failures[name] = failure
    fastest = {name: 1000 * min(times) for name, times in seconds.items()}
    base = fastest.pop("")
    found = [StartUp(name, round(taken, 1), round(taken / base, 1), failures.get(name, "")) for name, taken in fastest.items()]
    return base, sorted(found, key=lambda item: -item.milliseconds)


def time_command(command: list[str], folder: Path) -> tuple[float, str]:
    """Seconds that a command took in a folder, and its last line where it failed."""
    begun = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return time.perf_counter() - begun, f"no answer in {TIMEOUT_SECONDS} s"
    taken = time.perf_counter() - begun
    return taken, "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def render(base: float, found: Sequence[StartUp], goal_ms: float) -> str:
    width = max(len(item.name) for item in found)
    lines = [f"{'python -c pass':{width}}  {base:7.1f} ms"]
    for item in found:
        verdict = "" if item.is_within(goal_ms) else f"   FAILED: {item.failure}" if item.failure else f"   OVER {goal_ms:.0f} ms"
        lines.append(f"{item.name:{width}}  {item.milliseconds:7.1f} ms  {item.times_bare:5.1f}x{verdict}")
    within = sum(item.is_within(goal_ms) for item in found)
    return "\n".join([*lines, f"{within} of {len(found)} under {goal_ms:.0f} ms"])


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--rounds", type=cli.positive_int, default=ROUNDS, metavar="N", help="starts of each script")
    parser.add_argument("--goal-ms", type=cli.positive, default=GOAL_MS, metavar="X", help="milliseconds that a start may take")
    parser.add_project_root()
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.require_directory(args.project_root, "--project-root")
    commands = find_commands(args.project_root)
    if not commands:
        raise InputError(args.project_root, "no scripts in evals/ or tools/", "give --project-root the checkout")
    base, found = measure(commands, args.rounds, lambda command: time_command(command, args.project_root))
    if args.json:
        cli.print_json({"bare_ms": round(base, 1), "goal_ms": args.goal_ms, "scripts": [asdict(item) for item in found]})
    else:
        print(render(base, found, args.goal_ms))
    return EXIT_OK if all(item.is_within(args.goal_ms) for item in found) else EXIT_GATE


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
