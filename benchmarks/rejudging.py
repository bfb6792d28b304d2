"""How long judging a journalled batch again takes: verdicts, moves and reports, against reading the journal with `json.loads` alone.

    python benchmarks/rejudging.py --pictures 10000

Exit codes: 0 the verdicts take under two seconds · 1 not.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK

GOAL_SECONDS = 2.0


def make_batch(root: Path, pictures: int) -> None:
    """A finished batch of tiny pictures with the assessments of real ones."""
    from evals.judging.records import Assessment, FaceScore, Geometry
    from evals.load_thresholds import load_thresholds
    from evals.skin.realism import SkinScore
    from tools.production.filing import BatchFolder
    from tools.production.journal import JOURNAL_FILE, Journal
    from tools.production.plan import Plan, judging_policy, write_plan

    folder = BatchFolder(root)
    folder.prepare()
    names = tuple(f"{index:05d}_close-up-portrait.png" for index in range(pictures))
    policy = judging_policy(load_thresholds())
    write_plan(root, Plan("b" * 32, "bench", "v3", "2026-11-25T00:00:00.000Z", source_dir="/pictures", images=names, policy=policy))
    points = ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.42, 0.6), (0.58, 0.6))
    geometry = Geometry(3.25, 1.5, 0.051234, 0.301234, 0.501234, 0.401234, "medium close-up", points)
    skin = SkinScore(0.8123, None, 0.8123, 0.9123, scale=48, texture_offset=-0.12, noise_offset=0.2, color_distance=1.5)
    like = Assessment("", "0" * 64, 832, 1216, None, FaceScore(0.7, None, 0.55, 1, "r1.png", "as_is"), skin, geometry, "0" * 16)
    journal = Journal(root / JOURNAL_FILE)
    for index, name in enumerate(names, 1):
        score = 0.4 + 0.5 * (index * 7919 % pictures) / pictures
        item = replace(like, file=name, sha256=f"{index:064x}", face=replace(like.face, score=score))
        approved = score >= 0.6
        journal.append("downloaded", item=index, files=[{"file": name}])
        journal.append("scored", item=index, file=name, approved=approved, reasons=[], grounds=[], assessment=item.to_json())
        journal.append("filed", item=index, file=name, place="approved" if approved else "rejected")
        (root / ("approved" if approved else "rejected") / name).write_bytes(b"x")
    journal.append("ended", why="complete")
    journal.close()


def main(argv: list[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("--pictures", type=cli.positive_int, default=10_000, metavar="N", help="pictures in the batch")
    args = parser.parse_args(argv)
    from evals.load_thresholds import load_thresholds
    from tools.production.pipeline import Circumstances, rejudge_batch
    from tools.production.request import Request

    with tempfile.TemporaryDirectory(prefix="lifeos-rejudging-") as name:
        root = Path(name) / "batch"
        make_batch(root, args.pictures)
        begun = time.perf_counter()
        for line in (root / "journal.jsonl").read_bytes().splitlines():
            json.loads(line)
        plain = time.perf_counter() - begun
        around = Circumstances(Path(name), Path(name) / "history.jsonl", Path(name) / "cost.jsonl", note=lambda text: None)
        begun = time.perf_counter()
        changed, _ = rejudge_batch(Request(root), load_thresholds(overrides={"face_similarity.pass_threshold": 0.7}), around)
        whole = time.perf_counter() - begun
    print(f"{changed.pictures} pictures, {changed.now_rejected + changed.now_approved} moved")
    print(f"json.loads on every line of the journal   {plain:7.2f} s")
    print(f"verdicts, from the journal                {changed.seconds:7.2f} s  {changed.seconds / plain:5.2f} x")
    print(f"with moves, history, reports              {whole:7.2f} s  {whole / plain:5.2f} x")
    return EXIT_OK if changed.seconds < GOAL_SECONDS else EXIT_GATE


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
