"""Kill the pipeline at random moments, continue it with the same command each time, and compare with a run that nobody disturbed.

Holds, or exits with 1: no picture that was filed is ever lost or changed; nothing is generated twice; each picture is in exactly one
place; the approved and rejected sets, byte for byte, are those of the unbroken run; the history holds one row.

    python benchmarks/kill_storm.py --kills 50
    python benchmarks/kill_storm.py --kills 10 --pictures 20 --engine insightface --model-root models --model-pack mini

Exit codes: 0 all of it held · 1 something did not · 2 bad usage · 3 an engine is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.engine_flags import add_engine_flags
from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

EARLY_SHARE = 0.3
"""Of the kills, those that strike at any moment from the start on; the others wait until this run has begun to work."""

QUEUED = 2
"""About so many pictures are found ready by each run: the server works on while nobody listens."""

PATIENCE_SECONDS = 300
POLL_SECONDS = 0.01


@dataclass(slots=True)
class Findings:
    """What the storm did and what it broke."""

    kills: int = 0
    early: int = 0
    faults: list[str] = field(default_factory=list)


def filed(folder: Path) -> dict[str, str]:
    """`approved/NAME` or `rejected/NAME` -> SHA-256 of what lies there. Half-written temporary files do not count."""
    found = {}
    for place in ("approved", "rejected"):
        for path in sorted((folder / place).glob("[!.]*")) if (folder / place).is_dir() else []:
            found[f"{place}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def command(args: argparse.Namespace, work: Path, url: str, output: Path) -> list[str]:
    flags = {
        "--prompts": work / "prompts.txt", "--count": 1, "--lora": "amiranoor_v3.safetensors", "--base-seed": 7, "--width": 512,
        "--height": 640, "--comfy-url": url, "--reference-dir": work / "references", "--output-dir": output, "--run-id": "storm",
        "--history-file": output.with_suffix(".history.jsonl"), "--engine": args.engine, "--model-root": args.model_root,
        "--model-pack": args.model_pack,
    }  # fmt: skip
    script = Path(__file__).resolve().parents[1] / "tools" / "production_pipeline.py"
    given = [text for flag, value in flags.items() if value is not None for text in (flag, str(value))]
    return [sys.executable, str(script), *given]


def count_records(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def wait_until_working(process: subprocess.Popen[bytes], journal: Path) -> None:
    """Until this run has written its first record."""
    before, until = count_records(journal), time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and count_records(journal) <= before and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def strike(args: argparse.Namespace, work: Path, server: EmbeddedServer, output: Path) -> Findings:
    """Begin, kill and begin again; then let it finish."""
    chance, findings = random.Random(args.seed), Findings()
    seen: dict[str, str] = {}
    pace = args.seconds_per_picture
    for number in range(args.kills):
        process = subprocess.Popen(command(args, work, server.url, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # what is queued is made between two runs as well: leave so much to do that the last kill still interrupts something
        share = max(0, args.pictures - len(seen) - QUEUED * (args.kills - number)) * pace / (args.kills - number)
        if chance.random() < EARLY_SHARE:
            findings.early += 1
            time.sleep(chance.uniform(0, args.startup_seconds))
        else:
            wait_until_working(process, output / "journal.jsonl")
            time.sleep(chance.uniform(0, 2 * share))
        process.kill()
        process.wait()
        findings.kills += 1
        now = filed(output)
        findings.faults += [f"kill {number + 1}: {name} was lost or changed" for name, digest in seen.items() if now.get(name) != digest]
        seen = now
        print(f"kill {number + 1}: {len(seen)} of {args.pictures} pictures are filed", file=sys.stderr)
    result = subprocess.run(command(args, work, server.url, output), capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1):
        findings.faults.append(f"the last run ended with {result.returncode}: {result.stderr.strip().splitlines()[-1:]}")
    return findings


def storm(args: argparse.Namespace, work: Path) -> dict[str, object]:
    from tools.stand_in import render_references, start_embedded_server

    render_references(work / "references", 3)
    places = ("cafe", "park", "beach", "street", "garden", "rooftop", "studio")
    prompts = [f"amiranoor, {places[number % len(places)]}, candid photo number {number}" for number in range(args.pictures)]
    (work / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8")
    calm, stormy = work / "calm", work / "stormy"
    with start_embedded_server(seconds_per_picture=args.seconds_per_picture) as server:
        subprocess.run(command(args, work, server.url, calm), check=False, stdout=subprocess.DEVNULL)
    with start_embedded_server(seconds_per_picture=args.seconds_per_picture) as server:
        findings = strike(args, work, server, stormy)
        executed = len(server.executed)
    expected, found = filed(calm), filed(stormy)
    if len(expected) != args.pictures:
        findings.faults.append(f"the unbroken run filed {len(expected)} of {args.pictures} pictures")
    findings.faults += [f"{name} differs from the unbroken run" for name in {*expected, *found} if expected.get(name) != found.get(name)]
    if executed != args.pictures:
        findings.faults.append(f"{executed} prompts were run for {args.pictures} pictures")
    rows = len((work / "stormy.history.jsonl").read_text(encoding="utf-8").splitlines())
    if rows != 1:
        findings.faults.append(f"the history holds {rows} rows")
    report = json.loads((stormy / "batch_report.json").read_text(encoding="utf-8"))
    left = sorted(path.name for path in stormy.rglob("*.tmp"))
    findings.faults += [f"left behind: {name}" for name in left]
    return {
        "kills": findings.kills,
        "of them before it worked": findings.early,
        "pictures": args.pictures,
        "prompts run on the server": executed,
        "approved": report["counts"]["approved"],
        "rejected": report["counts"]["rejected"],
        "runs in the journal": report["runs"],
        "faults": findings.faults,
    }


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--kills", type=cli.positive_int, default=50, metavar="N", help="how often")
    parser.add_argument("--pictures", type=cli.positive_int, default=200, metavar="N", help="pictures of the batch")
    parser.add_argument("--seconds-per-picture", type=cli.positive, default=0.6, metavar="S", help="pretended GPU time of a picture")
    parser.add_argument("--startup-seconds", type=cli.positive, default=4.0, metavar="S", help="early kills strike within this time")
    parser.add_argument("--seed", type=cli.whole_number, default=1, metavar="N", help="of the random moments")
    add_engine_flags(parser)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here, and leave it (default: a temporary folder)")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kill-storm-") as temporary:
        work = args.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        result = storm(args, work)
    if args.json:
        cli.print_json(result)
    else:
        for name, value in result.items():
            print(f"{name:28} {value if value != [] else 'none'}")
    return EXIT_GATE if result["faults"] else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
