"""One program drives fifty simulated ComfyUIs of different speed: throughput, processor time, memory, and what faults and kills cost.

The servers run in a process of their own (`simulated_servers.py`), the batch in another (`light_batch.py`), so that each is measured
alone. Two batches:

- undisturbed: the pictures that were made, as a share of what the servers could have made from the first prompt until the last picture
  was filed, the end of the batch with idle servers included; processor time and memory of the program
- disturbed: one prompt in twenty meets a fault, every tenth server is gone once and comes back, and the program is killed (`kill -9`) and
  begun again; then every planned picture must be filed once, and be the one that was planned

    python benchmarks/many_servers.py
    python benchmarks/many_servers.py --quick
    python benchmarks/many_servers.py --servers 200 --fastest 2 --slowest 30 --pictures 6000

Prints a table; writes nothing. Exit codes: 0 no goal is missed · 1 one is · 2 bad usage.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.goals import Figure, exit_code, render_figures
from benchmarks.light_batch import make_plan
from benchmarks.memory import machine_load
from benchmarks.storm_places import Kept, filed
from lifeos import cli, files

GOAL_SHARE, GOAL_GROWTH_MB = 0.97, 50.0
SENSIBLE_SECONDS = 120
"""A batch that keeps all servers busy for as long as this: the end, when slow servers finish and fast ones have nothing left, takes some
seconds of any batch."""
FIRST_LEVEL, LAST_LEVEL = 1_000, 20_000
TROUBLE, VANISHING_SHARE = 0.05, 0.1
PATIENCE_SECONDS = 1_800
HERE = Path(__file__).resolve().parent


@dataclass(slots=True)
class Fleet:
    """The simulated servers that run now."""

    urls: list[str]
    record: str

    def look(self) -> dict[str, Any]:
        """What each of them did so far."""
        with urllib.request.urlopen(self.record, timeout=30) as answer:
            document: dict[str, Any] = json.load(answer)
        return document


@contextlib.contextmanager
def running_fleet(servers: int, fastest: float, slowest: float, trouble: float = 0.0, vanishing: int = 0) -> Iterator[Fleet]:
    flags = {"servers": servers, "fastest": fastest, "slowest": slowest, "trouble": trouble, "vanishing": vanishing}
    command = [sys.executable, str(HERE / "simulated_servers.py"), *(text for name in flags for text in (f"--{name}", str(flags[name])))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Fleet(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()  # it ends with its input


class Driver:
    """The batch in a process of its own; begun again, it continues."""

    def __init__(self, fleet: Fleet, work: Path, pictures: int) -> None:
        self.folder, self._result, self._said = work / "batch", work / "result.json", work / "said.txt"
        files.write_json(work / "urls.json", fleet.urls)
        self._command = [
            sys.executable, str(HERE / "light_batch.py"), "--urls", str(work / "urls.json"), "--folder", str(self.folder),
            "--pictures", str(pictures), "--result", str(self._result),
        ]  # fmt: skip

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with open(self._said, "ab") as said, subprocess.Popen(self._command, stdout=said, stderr=said) as process:
            try:
                yield process
            finally:
                process.kill()

    def finish(self) -> dict[str, Any]:
        """Run it to its end, and return what it measured. Raises RuntimeError where it cannot."""
        self._result.unlink(missing_ok=True)
        with self.running() as process:
            process.wait(PATIENCE_SECONDS)
        if not self._result.exists():
            raise RuntimeError(f"the batch ended with {process.returncode}: {self._said.read_text(errors='replace')[-400:]}")
        result: dict[str, Any] = files.read_json(self._result)
        return result

    def records(self) -> int:
        """Bytes of the journal: they grow when something happens."""
        journal = self.folder / "journal.jsonl"
        return journal.stat().st_size if journal.exists() else 0

    def kill_after(self, seconds: float) -> None:
        """Begin, let it work for so long, and kill it."""
        before = self.records()
        with self.running() as process:
            until = time.monotonic() + PATIENCE_SECONDS
            while process.poll() is None and self.records() <= before and time.monotonic() < until:
                time.sleep(0.02)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)


@dataclass(slots=True)
class Storm:
    """What a disturbed batch came to."""

    pictures: int
    kills: int
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    changed: int = 0
    """Pictures that were filed when the program was killed, and are gone or others now."""
    made: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    vanished: int = 0
    left: list[str] = field(default_factory=list)
    """Half-written files, and pictures that have no place."""


def what_they_could(record: dict[str, Any], ended: float) -> float:
    """The pictures that the servers could have made from the first prompt to the end, by their own pace, while they were there."""
    began = min(server["first"] for server in record["servers"] if server["first"] is not None)
    there = [ended - began - sum(back - gone for gone, back in server["away"]) for server in record["servers"]]
    return float(sum(seconds / server["seconds"] for seconds, server in zip(there, record["servers"], strict=True)))


def run_undisturbed(options: Any, work: Path) -> list[Figure]:
    with running_fleet(options.servers, options.fastest, options.slowest) as fleet:
        result = Driver(fleet, work, options.pictures).finish()
        record = fleet.look()
    count, per = options.pictures, options.pictures / 1000
    rate = sum(1 / server["seconds"] for server in record["servers"])
    group = f"{options.servers} servers of {options.fastest:g} to {options.slowest:g} s a picture: {rate:.1f} pictures a second together"
    cpu, wall, peak = result["cpu_seconds"], result["wall_seconds"], result["peak_mb"]
    levels = {int(at): level for at, level in result["levels_mb"].items()}
    first, last = levels.get(FIRST_LEVEL), levels.get(max(levels, default=0))
    growth = last - first if first is not None and last is not None and len(levels) > 1 else None
    looked = max(levels, default=0)
    made = sum(len(server["made"]) for server in record["servers"])
    sensible = round(SENSIBLE_SECONDS * rate)
    share = count / what_they_could(record, result["ended"])
    return [
        Figure(group, "share of what they could make in the time of the batch", share, None, count, GOAL_SHARE, True, sensible),
        Figure(group, "seconds of the batch", wall["batch"], None, count),
        Figure(group, "pictures made for one that was filed", made / count, None, count),
        Figure(group, "processor seconds of the program for 1,000 pictures", cpu["batch"] / per, None, count),
        Figure(group, "processor seconds of the servers for 1,000 pictures", record["cpu_seconds"] / per, None, count),
        Figure(group, f"MB more after {looked:,} pictures than after 1,000", growth, None, looked, GOAL_GROWTH_MB, least=LAST_LEVEL),
        Figure(group, "peak of memory while pictures are made, MB", peak["batch"], None, count),
        Figure(group, "peak of memory with the reports, MB", peak["reports"], None, count),
        Figure(group, "processor seconds of the reports", cpu["reports"], None, count),
        Figure(group, "seconds to connect", wall["connect"], None, count),
    ]


def run_disturbed(options: Any, work: Path) -> tuple[list[Figure], Storm]:
    storm = Storm(options.disturbed, options.kills)
    vanishing = round(options.servers * VANISHING_SHARE)
    chance = random.Random(options.servers)
    with running_fleet(options.servers, options.fastest, options.slowest, TROUBLE, vanishing) as fleet:
        driver = Driver(fleet, work, options.disturbed)
        rate = sum(1 / server["seconds"] for server in fleet.look()["servers"])
        life = options.disturbed / rate / (options.kills + 1)
        seen: Kept = {}
        for _ in range(options.kills):
            driver.kill_after(chance.uniform(0.5, 1.2) * life)
            now = filed(driver.folder)
            storm.changed += sum(now.get(name) != digest for name, digest in seen.items())
            seen = now
        result = driver.finish()
        for _ in range(2):
            if result["why"] != "complete":  # a picture that met three faults: the same command tries it again
                result = driver.finish()
        inspect(driver, fleet.look(), seen, storm)
    group = f"disturbed: {TROUBLE:.0%} of the prompts meet a fault, {storm.vanished} servers were gone, {storm.kills} times killed"
    count = storm.pictures
    figures = [
        Figure(group, "pictures that are missing", storm.lost, None, count, 0),
        Figure(group, "pictures that are filed twice", storm.doubled, None, count, 0),
        Figure(group, "pictures that are filed as another", storm.foreign, None, count, 0),
        Figure(group, "pictures that were filed, and are changed or gone", storm.changed, None, count, 0),
        Figure(group, "half-written files, and pictures without a place", len(storm.left), None, count, 0),
        Figure(group, "pictures made for one that was filed", storm.made / count, None, count),
    ]
    return figures, storm


def inspect(driver: Driver, record: dict[str, Any], seen: Kept, storm: Storm) -> None:
    """Count what is wrong with the batch when it has ended: by the plan, the folders and the bytes of the pictures."""
    from benchmarks.seeded_pictures import seed_in
    from lifeos.picture_names import parse_picture_name

    now = filed(driver.folder)
    storm.changed += sum(now.get(name) != digest for name, digest in seen.items())
    plan = make_plan(storm.pictures)
    seeds = {index: plan.item(index).seed for index in range(1, storm.pictures + 1)}
    places: Counter[int] = Counter()
    for name in now:
        told = parse_picture_name(Path(name).name)
        index = int(Path(name).name.partition("_")[0])
        places[index] += 1
        storm.foreign += told.seed != seeds.get(index) or seed_in((driver.folder / name).read_bytes()) != seeds.get(index)
    storm.lost = sum(places[index] == 0 for index in seeds)
    storm.doubled = sum(count - 1 for count in places.values() if count > 1)
    storm.left = [path.name for path in driver.folder.rglob("*.tmp")] + [path.name for path in driver.folder.glob(".work/incoming/*")]
    for server in record["servers"]:
        storm.made += len(server["made"])
        storm.struck.update(server["struck"])
        storm.vanished += len(server["away"])


def run_all(options: Any, work: Path) -> tuple[list[Figure], dict[str, int]]:
    """Every figure, and how many faults of each kind there were."""
    figures: list[Figure] = []
    for name in ("undisturbed", "disturbed"):
        (work / name).mkdir()
    figures += run_undisturbed(options, work / "undisturbed")
    if options.disturbed and options.kills:
        more, storm = run_disturbed(options, work / "disturbed")
        return figures + more, dict(storm.struck)
    return figures, {}


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--servers", type=cli.positive_int, default=50, metavar="N", help="how many")
    parser.add_argument("--fastest", type=cli.positive, default=0.5, metavar="S", help="seconds of a picture on the fastest server")
    parser.add_argument(
        "--slowest", type=cli.positive, default=7.5, metavar="S", help="… on the slowest; the others lie evenly between, by ratio"
    )
    parser.add_argument("--pictures", type=cli.positive_int, default=LAST_LEVEL, metavar="N", help="pictures of the undisturbed batch")
    parser.add_argument("--disturbed", type=cli.whole_number, default=2_000, metavar="N", help="pictures of the disturbed batch; 0: none")
    parser.add_argument("--kills", type=cli.whole_number, default=10, metavar="N", help="how often the disturbed batch is killed")
    parser.add_argument("--quick", action="store_true", help="10 servers, 200 and 100 pictures, 3 kills: shows that it works, and no goal")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.quick:
        args.servers, args.fastest, args.slowest, args.pictures, args.disturbed, args.kills = 10, 0.15, 2.0, 200, 100, 3
    began = machine_load()
    with tempfile.TemporaryDirectory(prefix="many-servers-") as temporary:
        figures, struck = run_all(args, Path(temporary))
    load = [round(began, 1), round(machine_load(), 1)]
    if args.json:
        cli.print_json({"figures": [figure.to_json() for figure in figures], "faults": struck, "load": load})
    else:
        print(render_figures(figures))
        met = ", ".join(f"{name} {count}" for name, count in sorted(struck.items()))
        print(f"\nload of the machine before and after: {load[0]} and {load[1]}" + (f"\nfaults met: {met}" if met else ""))
    return exit_code(figures)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
