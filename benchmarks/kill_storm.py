"""Kill scripts at random moments, begin them again with the same command, and compare what they leave with runs that nobody disturbed.

Holds for every script, or exits with 1: nothing that was filed or recorded is ever lost or changed; nothing is made or recorded twice;
every file is whole (the old one or the new one); the same command continues; at the end everything is as after an undisturbed run, and no
temporary file is left.

    python benchmarks/kill_storm.py --kills 1000
    python benchmarks/kill_storm.py --kills 50 --script production_pipeline --pictures 150
    python benchmarks/kill_storm.py --kills 40 --script generate_batch --script cost

Exit codes: 0 all of it held · 1 something did not · 2 bad usage · 3 an engine is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.storm_batches import BATCH_TARGETS
from benchmarks.storm_decisions import DECISION_TARGETS
from benchmarks.storm_places import Kept, Place, Step, Target
from benchmarks.storm_records import RECORD_TARGETS, TRAINER_PACE
from evals.faces.engine_flags import add_engine_flags
from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK

TARGETS = {target.name: target for target in (*BATCH_TARGETS, *DECISION_TARGETS, *RECORD_TARGETS)}

EARLY_SHARE = 0.2
"""Of the kills, those that strike at any moment from the start on; the others wait until this run has begun to write."""

LEAST_WINDOW_SECONDS = 0.03
"""A script that writes within a millisecond is struck within this time of its first change."""

PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.002


@dataclass(slots=True)
class Findings:
    """What the storm did to one script, and what it broke. `ended` runs were over before they could be killed."""

    script: str
    kills: int = 0
    early: int = 0
    ended: int = 0
    rounds: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pace:
    """Of an undisturbed command: seconds until it changes its first file, and from then to its end."""

    before: float
    writing: float


@dataclass(frozen=True, slots=True)
class Calm:
    """An undisturbed run: the pace of each of its commands, and what it left."""

    paces: list[Pace]
    result: Kept


@contextlib.contextmanager
def running(step: Step, place: Place) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The command at work, and the file that takes what it says."""
    said = place.root.with_suffix(".said")
    with open(said, "wb") as output:
        environment = {**os.environ, **TRAINER_PACE}
        process = subprocess.Popen(step.argv(place), cwd=place.root, env=environment, stdout=output, stderr=output)
    try:
        yield process, said
    finally:
        process.kill()
        process.wait()


def last_line(said: Path) -> str:
    return next(iter(said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]), "nothing")


def look(root: Path) -> set[tuple[str, int, int]]:
    """Every file with its size and time: differs when anything was written."""
    found = set()
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(os.path.join(folder, name))  # noqa: PTH118 - a hundred times a second
                found.add((name, status.st_size, status.st_mtime_ns))
    return found


def wait_until_writing(process: subprocess.Popen[bytes], root: Path, before: set[tuple[str, int, int]]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and look(root) == before and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def run_calm(target: Target, place: Place) -> Calm:
    """Raises RuntimeError where even the undisturbed run fails."""
    paces = []
    for step in target.steps:
        before, begun = look(place.root), time.monotonic()
        with running(step, place) as (process, said):
            wait_until_writing(process, place.root, before)
            first = time.monotonic()
            code = process.wait(PATIENCE_SECONDS)
        if code not in step.codes:
            raise RuntimeError(f"{target.name}: the undisturbed run ended with {code}: {last_line(said)}")
        paces.append(Pace(first - begun, time.monotonic() - first))
    return Calm(paces, target.result(place))


class Round:
    """One folder of one script under the storm."""

    def __init__(self, target: Target, place: Place, calm: Calm, findings: Findings, chance: random.Random) -> None:
        self.target, self.place, self.calm, self.findings, self.chance = target, place, calm, findings, chance
        self.seen: Kept = {}

    def run(self, kills: int) -> None:
        """At most so many kills, spread over the commands; then each to its end, and the result compared."""
        begun = self.findings.kills
        for number, (step, pace) in enumerate(zip(self.target.steps, self.calm.paces, strict=True)):
            left = kills - (self.findings.kills - begun)
            share = -(-left // (len(self.target.steps) - number))
            for _ in range(share):
                if not self.strike(step, pace, share):
                    break
            self.finish(step)
        self.findings.rounds += 1
        self.compare()

    def strike(self, step: Step, pace: Pace, kills: int) -> bool:
        """Begin, wait, kill. False if the command ended before."""
        before = look(self.place.root)
        with running(step, self.place) as (process, said):
            early = self.chance.random() < EARLY_SHARE
            if early:
                wait = self.chance.uniform(0, pace.before)
            else:
                wait_until_writing(process, self.place.root, before)
                # each run goes on where the one before was: together they come about to the end
                share = 2 * pace.writing / (kills + 1) if kills > 1 and self.target.serves else pace.writing
                wait = self.chance.uniform(0, max(LEAST_WINDOW_SECONDS, share))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait)
            process.kill()
            code = process.wait()
        if code >= 0 and os.name == "posix":  # it was faster
            self.findings.ended += 1
            if code not in step.codes:
                self.fault(f"the same command did not continue: {code}: {last_line(said)}")
            return False
        self.target.after_kill(self.place)
        self.findings.kills += 1
        self.findings.early += early
        self.check()
        return True

    def finish(self, step: Step) -> None:
        with running(step, self.place) as (process, said):
            code = process.wait(PATIENCE_SECONDS)
        if code not in step.codes:
            self.fault(f"the last run ended with {code}: {last_line(said)}")
        self.check()

    def check(self) -> None:
        """After every kill: what was there is there, and everything is whole."""
        faults = self.target.find_faults(self.place)
        for fault in faults:
            self.fault(fault)
        if faults:
            return
        now = self.target.kept(self.place)
        for name, known in self.seen.items():
            if now.get(name) != known:
                self.fault(f"{name} was {'changed' if name in now else 'lost'}")
        self.seen = now

    def compare(self) -> None:
        try:
            found = self.target.result(self.place)
        except (OSError, ValueError, KeyError) as error:
            return self.fault(f"no result: {error!r}")
        expected = self.calm.result
        for name in sorted({*expected, *found}):
            if expected.get(name) != found.get(name):
                self.fault(f"{name} differs from the undisturbed run: {str(found.get(name))[:200]}, not {str(expected.get(name))[:200]}")
        for path in self.place.root.rglob("*.tmp"):
            self.fault(f"left behind: {path.relative_to(self.place.root)}")
        return None

    def fault(self, text: str) -> None:
        self.findings.faults.append(f"round {self.findings.rounds or 1}, kill {self.findings.kills}: {text}")
        print(f"{self.target.name}: {self.findings.faults[-1]}", file=sys.stderr)


@contextlib.contextmanager
def served(target: Target, place: Place) -> Iterator[Place]:
    from tools.stand_in import start_embedded_server

    if not target.serves:
        yield place
        return
    with start_embedded_server(seconds_per_picture=place.options.seconds_per_picture) as place.server:
        yield place


def storm(target: Target, options: argparse.Namespace, work: Path, kills: int) -> Findings:
    """Rounds in fresh copies of one folder, until the script was killed often enough. A faultless round's folder is removed."""
    findings, chance, begun = Findings(target.name), random.Random(f"{options.seed} {target.name}"), time.monotonic()
    original = Place(work / target.name / "original", options)
    original.root.mkdir(parents=True)
    target.prepare(original)
    with served(target, copy(original, "calm")) as place:
        calm = run_calm(target, place)
    while findings.kills < kills and findings.rounds < 4 * kills + 4:
        before = len(findings.faults)
        with served(target, copy(original, f"round-{findings.rounds + 1}")) as place:
            Round(target, place, calm, findings, chance).run(min(target.kills_in_round(options), kills - findings.kills))
        if len(findings.faults) == before:
            shutil.rmtree(place.root)
        print(f"{target.name}: {findings.kills} of {kills} kills in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    findings.seconds = round(time.monotonic() - begun, 1)
    return findings


def copy(original: Place, name: str) -> Place:
    root = original.root.with_name(name)
    shutil.copytree(original.root, root, symlinks=True)
    return Place(root, original.options)


def render(found: list[Findings]) -> str:
    heads = ("script", "kills", "before it wrote", "rounds", "seconds", "faults")
    rows = [(one.script, one.kills, one.early, one.rounds, f"{one.seconds:.0f}", len(one.faults) or "none") for one in found]
    kills, early, rounds, faults = (
        sum(values) for values in zip(*((o.kills, o.early, o.rounds, len(o.faults)) for o in found), strict=True)
    )
    rows.append(("together", kills, early, rounds, f"{sum(one.seconds for one in found):.0f}", faults or "none"))
    lines = [f"{row[0]:22}" + "".join(f"{cell!s:>17}" for cell in row[1:]) for row in (heads, *rows)]
    return "\n".join([*lines, *(f"{one.script}: {fault}" for one in found for fault in one.faults)])


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--script", action="append", choices=[*TARGETS], help="strike only this one (repeatable; default: all)")
    parser.add_argument("--kills", type=cli.positive_int, default=110, metavar="N", help="how often, spread over the scripts")
    parser.add_argument("--pictures", type=cli.positive_int, default=24, metavar="N", help="pictures of each batch")
    parser.add_argument("--seconds-per-picture", type=cli.positive, default=0.3, metavar="S", help="pretended GPU time of a picture")
    parser.add_argument("--seed", type=cli.whole_number, default=1, metavar="N", help="of the random moments")
    add_engine_flags(parser)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here, and leave it (default: a temporary folder)")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    chosen = [TARGETS[name] for name in dict.fromkeys(args.script or TARGETS)]
    found = []
    with tempfile.TemporaryDirectory(prefix="kill-storm-") as temporary:
        work = (args.keep or Path(temporary)).resolve()
        for number, target in enumerate(chosen):
            kills = args.kills // len(chosen) + (number < args.kills % len(chosen))
            if kills:
                found.append(storm(target, args, work, kills))
    faults = [fault for one in found for fault in one.faults]
    if args.json:
        cli.print_json({"kills": sum(one.kills for one in found), "scripts": [asdict(one) for one in found], "faults": faults})
    else:
        print(render(found))
    return EXIT_GATE if faults else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
