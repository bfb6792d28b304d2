"""How long the cost report takes over a large log, beside `json.loads` on every line; and its memory.

    python benchmarks/cost_report.py --rows 1000000

Prints the best of three times each, and the peak memory of adding up the log in a process of its own. A log of a million rows is a
hundred sessions a day for 27 years: some seconds are fine.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from tools.cost.ledger import read_ledger

ROUNDS = 3
ACTIVITIES = ("lora_v3_training", "generation", "idle", "setup")

MEMORY_PROGRAM = (
    "import resource, sys; from pathlib import Path; from tools.cost.ledger import read_ledger\n"
    "small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; read_ledger(Path(sys.argv[1]))\n"
    "print(small, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


def write_log(path: Path, rows: int) -> None:
    """Sessions one after another, several hundred a day, as the tracker writes them."""
    chance = random.Random(0)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    day, number = start.date(), 0
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(rows):
            minutes = chance.randint(1, 4)
            end = start + timedelta(minutes=minutes)
            number = number + 1 if start.date() == day else 1
            day = start.date()
            row = {
                "session_id": f"{day}_{number:03d}",
                "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
                "end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
                "duration_min": minutes,
                "activity": chance.choice(ACTIVITIES),
                "cost_usd": minutes / 100,
                "gpu": "RTX 4090",
                "rate_per_hr": 0.6,
            }
            file.write(json.dumps(row) + "\n")
            start = end


def best_time(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


def parse_every_line(path: Path) -> None:
    with open(path, "rb") as file:
        for line in file:
            json.loads(line)


def peak_memory_mb(path: Path) -> tuple[float, float]:
    """Before and after adding up the log, in MiB (Linux counts KiB)."""
    command = [sys.executable, "-c", MEMORY_PROGRAM, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cli.PROJECT_ROOT)
    before, after = (int(word) / 1024 for word in done.stdout.split())
    return before, after


def main(argv: list[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("--rows", type=cli.positive_int, default=1_000_000, metavar="N", help="sessions in the log")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "cost_log.jsonl"
        write_log(log, args.rows)
        plain, ours = best_time(lambda: parse_every_line(log)), best_time(lambda: read_ledger(log))
        print(f"{args.rows:,} rows, {log.stat().st_size / 1e6:.0f} MB")
        print(f"adding up: {ours:.2f} s; json.loads on every line: {plain:.2f} s")
        if sys.platform != "win32":
            before, after = peak_memory_mb(log)
            print(f"peak memory: {after:.0f} MiB, {after - before:.0f} MiB of it for the log")
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
