"""One batch over servers that are there, in a process of its own, with a scorer that costs nothing: what many_servers measures.

Journal, filing, thumbnails, duplicates and reports are the pipeline's own. Writes what it measured as JSON; begun again with the same
folder, it continues.

    python benchmarks/light_batch.py --urls urls.json --folder batch --pictures 1000 --result result.json

Exit codes: 0 the batch is complete · 1 it is not · 2 bad usage · 3 no server answers.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.memory import peak_mb, resident_mb
from lifeos import cli, files
from lifeos.errors import EXIT_GATE, EXIT_OK, UnavailableError

if TYPE_CHECKING:
    from evals.judging.records import Assessment
    from tools.production.plan import Plan

MEGABYTE = 1_000_000
LEVEL_EVERY = 1_000
"""Pictures between two looks at the memory."""
BASE_SEED = 1


def counted(measure: Callable[[], float]) -> float | None:
    """What `measure` says of the memory; None on a system that does not count it."""
    try:
        return measure()
    except UnavailableError:
        return None


class LightScorer:
    """Says something of a picture that follows from its bytes; a third is rejected. Notes the memory now and then."""

    def __init__(self) -> None:
        self.levels: dict[int, float | None] = {}
        self._count = 0
        self._lock = threading.Lock()

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        from evals.judging.records import Assessment, FaceScore, Geometry
        from evals.skin.realism import SkinScore

        digest = hashlib.sha256(data).hexdigest()
        numbers = [byte / 255 for byte in bytes.fromhex(digest)]
        with self._lock:
            self._count += 1
            if self._count % LEVEL_EVERY == 0:
                self.levels[self._count] = counted(resident_mb)
        score = 0.5 + 0.3 * numbers[0]
        marks = tuple((round(numbers[place], 4), round(numbers[place + 1], 4)) for place in range(2, 12, 2))
        geometry = Geometry(60 * numbers[1] - 30, 0.0, 0.05, 0.3, 0.5, 0.4, "medium close-up", marks)
        face = FaceScore(score, None, cosine=score, faces=1, best_reference="reference_01.png")
        return Assessment(path.name, digest, 64, 64, None, face, SkinScore(0.8, None, texture=0.8, color=0.8), geometry, digest[:16])


def make_plan(pictures: int) -> Plan:
    """So many pictures of a hundred prompts, or of as many as there are pictures."""
    from evals.load_thresholds import load_thresholds
    from tools.production.plan import Plan, Variant, judging_policy
    from tools.workflows.workflow import Settings, Workflow

    settings = Settings(checkpoint="embedded_demo_sdxl.safetensors", lora="amiranoor_v3.safetensors")
    prompts = tuple(f"amiranoor, a photo of her at place {number}" for number in range(min(pictures, 100)))
    return Plan(
        batch_id="many",
        run_id="many",
        lora_version="v3",
        created="2026-01-01T00:00:00.000Z",
        prompts=prompts,
        count=-(-pictures // len(prompts)),
        base_seed=BASE_SEED,
        variants=(Variant(settings),),
        workflow_name="built-in",
        workflows=(Workflow.built_in().place(settings),),
        policy=judging_policy(load_thresholds()),
        protocol={"engine": "light", "id": "0123456789abcdef"},
    )


def run(urls: list[str], folder: Path, pictures: int, note: Any) -> dict[str, Any]:
    from evals.load_thresholds import load_thresholds
    from tools.backends.registry import connect_backends
    from tools.production.budget import Limits
    from tools.production.filing import BatchFolder
    from tools.production.finish import Ending, finish_batch
    from tools.production.plan import PLAN_FILE, Item, write_plan
    from tools.production.runner import Equipment, run_batch
    from tools.workflows.workflow import Workflow

    policy, workflow, plan, scorer = load_thresholds(), Workflow.built_in(), make_plan(pictures), LightScorer()
    settings = plan.variants[0].settings

    def make_graph(item: Item) -> dict[str, Any]:
        return workflow.place(replace(settings, positive=plan.prompt_of(item), seed=item.seed))

    batch = BatchFolder(folder)
    if not (folder / PLAN_FILE).exists():
        write_plan(folder, plan)
    times, cpu = [time.monotonic()], [time.process_time()]

    def lap() -> None:
        times.append(time.monotonic())
        cpu.append(time.process_time())

    with connect_backends(urls, note) as reached:
        lap()
        servers, left_out = [*reached.servers, *reached.absent], {each.url: each.why for each in reached.why_absent}
        equipment = Equipment(scorer, policy, servers, make_graph, left_out=left_out)
        end = run_batch(plan, batch, equipment, Limits(max_images=pictures))
        lap()
        threads = threading.active_count()
    held, peak = counted(resident_mb), counted(peak_mb)
    finish_batch(plan, batch, end, Ending(policy, {}, None), note)
    lap()
    return {
        "why": end.why,
        "error": str(end.error or ""),
        "servers": len(servers),
        "threads": threads,
        "began": times[1],
        "ended": times[2],
        "wall_seconds": {"connect": times[1] - times[0], "batch": times[2] - times[1], "reports": times[3] - times[2]},
        "cpu_seconds": {"connect": cpu[1] - cpu[0], "batch": cpu[2] - cpu[1], "reports": cpu[3] - cpu[2]},
        "levels_mb": scorer.levels,
        "held_mb": held,
        "peak_mb": {"batch": peak, "reports": counted(peak_mb)},
        "journal_mb": (folder / "journal.jsonl").stat().st_size / MEGABYTE,
        "page_mb": (folder / "batch_report.html").stat().st_size / MEGABYTE,
    }


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--urls", type=Path, required=True, metavar="FILE", help="JSON list of the servers' addresses")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="directory of the batch")
    parser.add_argument("--pictures", type=cli.positive_int, required=True, metavar="N", help="how many")
    parser.add_argument("--result", type=Path, required=True, metavar="FILE", help="where to write what was measured")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    result = run(files.read_json(args.urls), args.folder, args.pictures, cli.note)
    files.write_json(args.result, result)
    return EXIT_OK if result["why"] in ("complete", "max_images") else EXIT_GATE


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
