"""How fast a training set is read: the whole manifest against `openssl dgst -sha256`, with as many processes as we use threads.

openssl uses the processor's SHA instructions and does nothing but hash; ours also lists, reads headers and captions, checks and writes.
A second run reads no picture again; memory grows by some kilobytes for each picture. Where `dvc`
or `bagit.py` are on PATH (install them into an environment of their own) they run on the same files. All times are of whole
processes, the start of the interpreter included, with the files in the page cache; the best of --rounds.

    python benchmarks/dataset_hashing.py --size-mb 256
    python benchmarks/dataset_hashing.py --size-mb 2048 --rounds 3
    python benchmarks/dataset_hashing.py --size-mb 64 --files 100000        # memory

Exit codes: 0 measured, whatever the result · 2 bad usage · 3 no room.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.memory import peak_mb, wait_for
from lifeos import cli
from lifeos.errors import EXIT_OK, UnavailableError
from tools.dataset.hashing import default_jobs

SCRIPT = cli.PROJECT_ROOT / "tools" / "dataset_manifest.py"
HEADER = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (1024).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00\x00\x00\x00\x00"
DATA = b"IDAT"
END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
"""Files look like pictures to whoever reads headers; their inside is noise, which is what hashing and copying see anyway."""

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Timing:
    """Best wall time of a command, and its peak memory."""

    name: str
    seconds: float
    peak_mb: float


def make_files(folder: Path, total_bytes: int, count: int) -> None:
    """Pictures of equal size in all, with captions, an hour old: younger ones would not be trusted to a cache."""
    if shutil.disk_usage(folder).free < 3 * total_bytes + (1 << 30):
        raise UnavailableError(folder, f"has less than three times {total_bytes / 1e6:.0f} MB free", "give a smaller --size-mb")
    rng = random.Random(0)
    size = max(total_bytes // count, 96)
    block = rng.randbytes(size - len(HEADER) - 4 - len(DATA) - 8 - 4 - len(END))
    length = (len(block) + 8).to_bytes(4, "big")
    old = time.time() - HOUR
    for number in range(count):
        inside = length + DATA + number.to_bytes(8, "big") + block + bytes(4)
        for name, data in (
            (f"img_{number:06d}.png", HEADER + inside + END),
            (f"img_{number:06d}.txt", f"amiranoor, view {number}".encode()),
        ):
            path = folder / name
            path.write_bytes(data)
            os.utime(path, (old, old))


def measure(name: str, run: Callable[[], Sequence[str]], rounds: int, folder: Path) -> Timing:
    """Run a command some times; `run` prepares it and gives the command. Raises CalledProcessError if it fails."""
    best, peak = float("inf"), 0.0
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # a user's Python compiles once
    for _ in range(rounds):
        command = run()
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = process.stderr.read()
        used = wait_for(process, began)
        best, peak = min(best, used.seconds), max(peak, used.peak_mb)
        process.stderr.close()
        if used.exit_code:
            raise subprocess.CalledProcessError(used.exit_code, command, stderr=said)
    return Timing(name, best, peak)


def ours(folder: Path, work: Path, jobs: int, *, keep: bool) -> list[str]:
    """The manifest's command. Without `keep` output and cache are removed first: a first run."""
    cache, output = work / "cache", work / "manifest.json"
    if not keep:
        for left in (cache, output):
            left.unlink(missing_ok=True)
    fixed = ["--dataset-dir", str(folder), "--output", str(output), "--cache-file", str(cache)]
    return [sys.executable, str(SCRIPT), *fixed, "--jobs", str(jobs)]


def ours_after_a_change(folder: Path, work: Path, jobs: int) -> list[str]:
    """The same when one caption was written since the last run."""
    path = folder / "img_000000.txt"
    path.write_bytes(path.read_bytes() + b", again")
    old = time.time() - HOUR
    os.utime(path, (old, old))
    return ours(folder, work, jobs, keep=True)


def work_alone(folder: Path, work: Path, jobs: int, rounds: int) -> list[Timing]:
    """The same work in this process, whose interpreter and modules are there already: what grows with the set."""
    from tools.dataset.build import BuildRequest, build_dataset_manifest
    from tools.dataset.manifest import write_manifest

    cache, output = work / "alone", work / "alone_manifest.json"
    request = BuildRequest(folder, output=output, cache_file=cache, jobs=jobs)

    def run() -> float:
        began = time.perf_counter()
        built = build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=time.time_ns())
        write_manifest(output, built.document)
        return time.perf_counter() - began

    first = []
    for _ in range(rounds):
        cache.unlink(missing_ok=True)
        output.unlink(missing_ok=True)
        first.append(run())
    second = [run() for _ in range(rounds)]
    peak = peak_mb()
    return [Timing("its work alone, first run", min(first), peak), Timing("its work alone, cached", min(second), peak)]


def openssl(folder: Path, work: Path, jobs: int) -> list[str]:
    """As many openssl processes as we have threads, each with an equal share of the files, as few starts as the system allows."""
    names, count = work / "names", 0
    with open(names, "wb") as file:
        for path in folder.iterdir():
            file.write(bytes(path) + b"\0")
            count += 1
    share = min(-(-count // jobs), 5000)
    return ["sh", "-c", f"xargs -0 -P {jobs} -n {share} openssl dgst -sha256 < '{names}'"]


def dvc(folder: Path, work: Path) -> list[str]:
    shutil.rmtree(work / "dvc", ignore_errors=True)
    target = work / "dvc" / "set"
    shutil.copytree(folder, target)
    subprocess.run(["dvc", "init", "--no-scm", "-q"], cwd=work / "dvc", check=True)
    return ["sh", "-c", f"cd '{work / 'dvc'}' && dvc add -q set"]


def bagit(folder: Path, work: Path, jobs: int) -> list[str]:
    shutil.rmtree(work / "bag", ignore_errors=True)
    shutil.copytree(folder, work / "bag")
    return ["bagit.py", "--processes", str(jobs), "--sha256", "--quiet", str(work / "bag")]


def run_all(folder: Path, work: Path, args: argparse.Namespace) -> list[Timing]:
    jobs, rounds = args.jobs or default_jobs(), args.rounds
    timings = [
        measure("openssl", lambda: openssl(folder, work, jobs), rounds, work),
        measure("manifest, first run", lambda: ours(folder, work, jobs, keep=False), rounds, work),
        measure("manifest, nothing changed", lambda: ours(folder, work, jobs, keep=True), rounds, work),
        measure("manifest, one changed", lambda: ours_after_a_change(folder, work, jobs), rounds, work),
        measure("python that does nothing", lambda: [sys.executable, "-c", "pass"], rounds, work),
    ]
    others: tuple[tuple[str, str, Callable[[], Sequence[str]]], ...] = (
        ("dvc", "dvc add", lambda: dvc(folder, work)),
        ("bagit.py", "bagit.py", lambda: bagit(folder, work, jobs)),
    )
    for program, name, run in others:
        if shutil.which(program):
            timings.append(measure(name, run, 1, work))
        else:
            print(f"{name}: not measured, {program} is not on PATH", file=sys.stderr)
    return timings + work_alone(folder, work, jobs, rounds)


def render(timings: Sequence[Timing], total_bytes: int, count: int, jobs: int) -> str:
    by_name = {timing.name: timing for timing in timings}
    base, first, second = by_name["openssl"], by_name["manifest, first run"], by_name["manifest, nothing changed"]
    lines = [f"{total_bytes / 1e6:.0f} MB in {count} pictures, {count} captions; {jobs} at a time", ""]
    lines.append(f"{'':26} {'seconds':>8} {'MB/s':>8} {'x openssl':>10} {'peak MB':>8}")
    for timing in timings:
        speed = total_bytes / 1e6 / timing.seconds
        lines.append(f"{timing.name:26} {timing.seconds:8.3f} {speed:8.0f} {base.seconds / timing.seconds:10.2f} {timing.peak_mb:8.0f}")
    lone, cached = by_name["its work alone, first run"], by_name["its work alone, cached"]
    alone = f"{base.seconds / lone.seconds:.2f}x, {lone.seconds / cached.seconds:.1f}x without the start of the interpreter and its modules"
    lines += ["", f"first run: {base.seconds / first.seconds:.2f}x openssl"]
    lines.append(f"second run: {first.seconds / second.seconds:.1f}x faster than the first")
    lines.append(f"the two: {alone}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("--size-mb", type=cli.positive_int, default=256, metavar="N", help="size of all pictures together")
    parser.add_argument("--files", type=cli.positive_int, metavar="N", help="how many pictures (default: one for each 1.5 MB)")
    parser.add_argument(
        "--jobs", type=cli.positive_int, metavar="N", help="threads, and openssl processes (default: the processors there are)"
    )
    parser.add_argument("--rounds", type=cli.positive_int, default=3, metavar="N", help="the best of so many counts")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="make the files there (default: the system's temporary folder)")
    args = parser.parse_args(argv)
    if not shutil.which("openssl"):
        raise UnavailableError("openssl", "is not on PATH", "install it")
    total = args.size_mb << 20
    count = args.files or max(1, total // 1_500_000)
    with tempfile.TemporaryDirectory(prefix="dataset_hashing.", dir=args.folder) as place:
        folder = Path(place) / "set"
        folder.mkdir()
        make_files(folder, total, count)
        print(render(run_all(folder, Path(place), args), total, count, args.jobs or default_jobs()))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
