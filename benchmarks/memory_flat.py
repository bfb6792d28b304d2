"""Whether memory stays flat: a batch of many existing pictures, and how much the process holds on the way.

Judges copies of a few hundred different portraits with the real engine, watches the resident memory of the process, and compares
its level after a tenth of the batch with the level at the end, and the peak while the reports are written. A batch that kept its pictures
would hold 3 MB of pixels for each.

    python benchmarks/memory_flat.py --pictures 2000 --engine insightface --model-root models --model-pack mini

Exit codes: 0 measured · 2 bad usage · 3 an engine is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.memory import resident_mb
from evals.faces.engine_flags import add_engine_flags, given_engine
from lifeos import cli
from lifeos.errors import EXIT_OK

MEGABYTE = 1_000_000


def write_pictures(folder: Path, count: int, width: int, height: int) -> None:
    """`count` different files: portraits of the embedded server's person, each with another mark in a corner."""
    from PIL import Image

    from tools.stand_in import render_references

    folder.mkdir(parents=True)
    portraits = [Image.open(path).convert("RGB").resize((width, height)) for path in render_references(folder.parent / "references", 6)]
    for number in range(count):
        picture = portraits[number % len(portraits)].copy()
        picture.paste((number % 256, number // 256 % 256, 7), (0, 0, 8, 8))
        picture.save(folder / f"picture_{number:05}.jpg", quality=90)


class Watched:
    """The assessor, with the memory noted at each picture."""

    def __init__(self, assessor: Any) -> None:
        self.assessor = assessor
        self.levels: list[float] = []

    def assess_bytes(self, data: bytes, path: Path) -> Any:
        self.levels.append(resident_mb())
        return self.assessor.assess_bytes(data, path)


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    from evals.judging.assessor import open_assessor
    from evals.load_thresholds import load_thresholds
    from tools.production.budget import Limits
    from tools.production.choices import find_sources
    from tools.production.filing import BatchFolder
    from tools.production.finish import Ending, finish_batch
    from tools.production.plan import Plan, judging_policy, write_plan
    from tools.production.runner import Equipment, run_batch

    write_pictures(work / "pictures", args.pictures, args.width, args.height)
    policy = load_thresholds()
    assessor = open_assessor(work / "references", policy, **given_engine(args))
    folder, watched = BatchFolder(work / "batch"), Watched(assessor)
    plan = Plan(
        batch_id="memory", run_id="memory", lora_version="v3", created="2026-01-01T00:00:00.000Z", source_dir=str(work / "pictures"),
        images=find_sources(work / "pictures", None, folder.root), policy=judging_policy(policy), protocol=assessor.protocol,
    )  # fmt: skip
    write_plan(folder.root, plan)
    started = time.perf_counter()
    end = run_batch(plan, folder, Equipment(watched, policy), Limits())
    ran = time.perf_counter() - started
    assert end.why == "complete", end.error
    after_batch = resident_mb()
    finish_batch(plan, folder, end, Ending(policy, {}, None), lambda text: None)
    levels = watched.levels
    tenth = max(levels[: max(1, len(levels) // 10)])
    return {
        "pictures": args.pictures,
        "engine": assessor.description,
        "pictures_per_second": round(args.pictures / ran, 2),
        "mb_after_a_tenth": round(tenth, 1),
        "mb_at_the_end": round(after_batch, 1),
        "kb_per_picture_between": round((max(levels[-len(levels) // 10 :]) - tenth) * 1000 / (0.9 * len(levels)), 2),
        "mb_after_the_reports": round(resident_mb(), 1),
        "report_html_mb": round((folder.root / "batch_report.html").stat().st_size / MEGABYTE, 1),
        "seconds_for_the_reports": round(time.perf_counter() - started - ran, 2),
    }


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--pictures", type=cli.positive_int, default=2000, metavar="N", help="how many")
    parser.add_argument("--width", type=cli.positive_int, default=832, metavar="PX", help="width of the pictures")
    parser.add_argument("--height", type=cli.positive_int, default=1216, metavar="PX", help="height of the pictures")
    add_engine_flags(parser)
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="memory-flat-") as temporary:
        result = measure(args, Path(temporary))
    if args.json:
        cli.print_json(result)
    else:
        for name, value in result.items():
            print(f"{name.replace('_', ' '):26} {value}")
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
