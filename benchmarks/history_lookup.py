"""How fast two runs are found in a large history, and in how much memory, next to json.loads on every line.

Writes a history of --rows rows to a temporary folder, and looks up two runs in it, each way in a process of its own.

    python benchmarks/history_lookup.py --rows 1000000
    python benchmarks/history_lookup.py --rows 100000 --images 20      # rows that hold pictures

Exit codes: 0 the goals are met (a third of the time, under 100 MB) · 1 they are not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK

TIME_GOAL = 1 / 3
MEMORY_GOAL_MB = 100
MEASURED = """
import json, resource, sys, time
sys.path.insert(0, {root!r})
begun = time.perf_counter()
{body}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.perf_counter() - begun, peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))
"""
OURS = """
from pathlib import Path
from evals.comparison.history import find_runs
assert [found.run.run_id for found in find_runs(Path({path!r}), {names!r})] == {names!r}
"""
PLAIN = """
rows = {{}}
with open({path!r}, "rb") as file:
    for line in file:
        row = json.loads(line)
        if row["run_id"] in {names!r}:
            rows[row["run_id"]] = row
assert len(rows) == 2
"""


def write_history(path: Path, rows: int, images: int) -> None:
    """Rows as the scorecard writes them."""
    scores = {
        "face_similarity_mean": 0.6123,
        "skin_realism_mean": 0.7012,
        "overall_score": 0.6345,
        "overall_grade": "C",
        "images_evaluated": 50,
    }
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            shots = [
                {
                    "file": f"{shot:04d}_p001_v01_seed{shot}.png",
                    "config": None,
                    "prompt_id": shot % 10,
                    "seed": shot,
                    "face": 0.61,
                    "skin": 0.7,
                }
                for shot in range(images)
            ]
            row = {
                "schema_version": 1,
                "run_id": f"run_{number:07d}",
                "timestamp": "2026-11-20T10:00:00Z",
                "lora_version": f"v{number % 9}",
                "training_params": {"network_dim": 32, "optimizer": "Prodigy", "max_train_steps": 2500},
                "protocol_id": "ef3f7fd6dffdccb2",
                "eval_scores": scores,
                "notes": "",
                "images": shots,
            }
            file.write(json.dumps(row) + "\n")


def measure(body: str, path: Path, names: list[str]) -> tuple[float, float]:
    """Seconds and megabytes of a fresh process."""
    script = MEASURED.format(root=str(cli.PROJECT_ROOT), body=body.format(path=str(path), names=names))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--rows", type=cli.positive_int, default=1_000_000, metavar="N", help="rows of the history")
    parser.add_argument("--images", type=cli.whole_number, default=0, metavar="N", help="pictures in each row")
    parser.add_argument("--rounds", type=cli.positive_int, default=3, metavar="N", help="each way is measured so often; the best counts")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "eval_history.jsonl"
        begun = time.perf_counter()
        write_history(path, args.rows, args.images)
        size = path.stat().st_size / 1e6
        print(f"{args.rows:,} rows, {size:,.0f} MB (written in {time.perf_counter() - begun:.0f} s)")
        met = True
        for title, names in (
            ("two ids, early and late", [f"run_{args.rows // 20:07d}", f"run_{args.rows - 1:07d}"]),
            ("two ids, in the middle", [f"run_{args.rows // 2:07d}", f"run_{args.rows // 3:07d}"]),
        ):
            # in turn, so that a busy machine slows both
            rounds = [(measure(PLAIN, path, names), measure(OURS, path, names)) for _ in range(args.rounds)]
            plain, ours = min(pair[0][0] for pair in rounds), min(pair[1][0] for pair in rounds)
            memory = max(pair[1][1] for pair in rounds)
            print(f"{title:26} json.loads {plain:6.2f} s   find_runs {ours:6.2f} s   {ours / plain:.2f} of the time, {memory:.0f} MB")
            met &= ours <= TIME_GOAL * plain and memory < MEMORY_GOAL_MB
    print("goals met" if met else f"MISSED: at most {TIME_GOAL:.2f} of the time and {MEMORY_GOAL_MB} MB are wanted")
    return EXIT_OK if met else EXIT_GATE


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
