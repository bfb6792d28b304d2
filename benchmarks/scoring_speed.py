"""Pictures scored per second: the assessor against the plain two-pass evaluation, on the same pictures, with the same scores.

Plain, as first sketched: a face evaluation that reads, detects and embeds every picture, then a skin evaluation that reads and detects
every one again; one thread, the libraries' default threads within a picture. The assessor: one decode and one detection for both,
worker threads over pictures. Also, with --memory N: the peak memory while N pictures are scored.

    python benchmarks/scoring_speed.py --pictures 40 --model-root models

Exit codes: 0 measured, scores equal · 1 the scores differ · 2 bad usage · 3 a model or package is missing.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.memory import peak_mb
from evals.faces.engine_flags import add_engine_flags, given_engine
from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK

SIZE = (832, 1216)
TOLERANCE = 1e-5
"""A face score may move by this much between thread settings: sums of floats in another order."""

Scores = list[tuple[float | None, float | None]]


@dataclass(frozen=True, slots=True)
class Measurement:
    name: str
    seconds: float
    processor_seconds: float
    pictures: int
    scores: Scores

    @property
    def rate(self) -> float:
        return self.pictures / self.seconds

    @property
    def work(self) -> float:
        """Processor seconds a picture, of all threads: nearly the same on a busy machine."""
        return self.processor_seconds / self.pictures


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Portraits in the size of a batch: crops, turns and exposures of scikit-image's astronaut (public domain)."""
    import numpy as np
    import skimage.data
    from PIL import Image, ImageEnhance

    astronaut: Any = skimage.data.astronaut
    portrait = Image.fromarray(astronaut()).crop((30, 0, 380, 511))
    random = np.random.default_rng(7)
    paths = []
    for number in range(count):
        turned = portrait.rotate(float(random.uniform(-12, 12)), resample=Image.Resampling.BICUBIC)
        left, top, side = random.uniform(0, 40), random.uniform(0, 20), random.uniform(270, 310)
        crop = turned.resize(SIZE, Image.Resampling.BICUBIC, box=(left, top, left + side, top + side * SIZE[1] / SIZE[0]))
        lit = ImageEnhance.Brightness(crop).enhance(float(random.uniform(0.85, 1.15)))
        grain = random.normal(0, 2, (SIZE[1], SIZE[0], 3))
        paths.append(folder / f"{number:04d}.png")
        Image.fromarray(np.clip(np.asarray(lit) + grain, 0, 255).astype(np.uint8)).save(paths[-1], compress_level=1)
    return paths


def score_plain(paths: Sequence[Path], assessor: Any, engine: Any) -> Scores:
    """Two passes over the pictures, each reading and detecting for itself, as two scripts do."""
    from evals.faces.subject import choose_subject, sight_subject
    from evals.skin.measurement import measure_skin
    from evals.skin.realism import score_skin
    from lifeos.images import read_picture

    references = assessor.references
    faces: list[float | None] = []
    for path in paths:
        sighting = sight_subject(engine, read_picture(path).rgb)
        faces.append(assessor.scale.score(float(references.centroid @ sighting.embedding)) if sighting else None)
    skins: list[float | None] = []
    for path in paths:
        picture = read_picture(path)
        found, _ = engine.find(picture.rgb)
        if not found:
            skins.append(None)
            continue
        subject = choose_subject(found, picture.width, picture.height)
        measured = measure_skin(picture.rgb, subject.landmarks, subject.box, usual_noise=references.skin.noise)
        skins.append(score_skin(measured, references.skin).score)
    return list(zip(faces, skins, strict=True))


def score_together(paths: Sequence[Path], assessor: Any) -> Scores:
    return [(item.face.score, item.skin.score) for item in assessor.assess_many(paths)]


def measure(name: str, paths: Sequence[Path], score: Callable[[Sequence[Path]], Scores]) -> Measurement:
    score(paths[:2])  # the first picture pays for what is loaded late
    started, worked = time.perf_counter(), time.process_time()
    scores = score(paths)
    return Measurement(name, time.perf_counter() - started, time.process_time() - worked, len(paths), scores)


def compare(plain: Measurement, ours: Measurement) -> float:
    """The largest difference of a score between the two; infinite where only one of them has a score."""
    worst = 0.0
    for pair, other in zip(plain.scores, ours.scores, strict=True):
        for first, second in zip(pair, other, strict=True):
            if (first is None) != (second is None):
                return float("inf")
            worst = max(worst, abs((first or 0.0) - (second or 0.0)))
    return worst


def measure_memory(paths: Sequence[Path], assessor: Any, count: int) -> list[tuple[int, float]]:
    """Peak memory in MiB after a tenth, half and all of `count` pictures, each with bytes of its own."""
    from concurrent.futures import ThreadPoolExecutor

    marks = {max(1, count // 10), max(1, count // 2), count}
    found = []
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, count, 10):
            numbers = range(start, min(start + 10, count))
            # bytes after the end of a PNG change its hash, not the picture
            list(pool.map(lambda n: assessor.assess_bytes(paths[n % len(paths)].read_bytes() + b"%d" % n, Path(f"{n}.png")), numbers))
            if marks & set(range(numbers.start + 1, numbers.stop + 1)):
                found.append((numbers.stop, peak_mb()))
    return found


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--pictures", type=cli.positive_int, default=40, metavar="N", help="pictures to score")
    add_engine_flags(parser)
    parser.add_argument("--memory", type=cli.whole_number, default=0, metavar="N", help="also the peak memory over N pictures; 0: not")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    import cv2

    from evals.faces.insightface_engine import InsightFaceEngine
    from evals.judging.assessor import default_workers, open_assessor
    from evals.load_thresholds import load_thresholds

    with tempfile.TemporaryDirectory() as folder:
        paths = make_pictures(Path(folder), args.pictures + 5)
        for path in paths[-5:]:
            (Path(folder) / "references").mkdir(exist_ok=True)
            path.rename(Path(folder) / "references" / path.name)
        paths = paths[:-5]
        assessor = open_assessor(Path(folder) / "references", load_thresholds(), **given_engine(args))
        engine = assessor.engine
        plain_engine = InsightFaceEngine(engine.pack, threads=0) if isinstance(engine, InsightFaceEngine) else engine
        cv2.setNumThreads(-1)
        plain = measure("plain, two passes", paths, lambda some: score_plain(some, assessor, plain_engine))
        cv2.setNumThreads(1)
        ours = measure(f"one pass, {default_workers()} workers", paths, lambda some: _fresh(assessor, some))
        memory = measure_memory(paths, assessor, args.memory) if args.memory else []
    difference = compare(plain, ours)
    lines = [assessor.description, f"{SIZE[0]}x{SIZE[1]} PNG, {len(paths)} pictures, {os.cpu_count()} cores"]
    lines += [f"{item.name:24} {item.rate:6.1f} pictures/s, {item.work:.3f} s of processor time a picture" for item in (plain, ours)]
    lines += [f"{ours.rate / plain.rate:.2f} times as fast; largest difference of a score {difference:.1e}"]
    lines += [f"peak memory after {number} pictures: {size:.0f} MiB" for number, size in memory]
    cli.say("\n".join(lines), as_json=args.json)
    if args.json:
        rates = {"plain_per_second": plain.rate, "assessor_per_second": ours.rate, "ratio": ours.rate / plain.rate}
        rates |= {"plain_processor_seconds": plain.work, "assessor_processor_seconds": ours.work}
        cli.print_json({**rates, "difference": difference if difference < 1 else None, "memory_mib": memory})
    return EXIT_OK if difference <= TOLERANCE else EXIT_GATE


def _fresh(assessor: Any, paths: Sequence[Path]) -> Scores:
    assessor.forget()  # the assessor knows pictures that it has seen
    return score_together(paths, assessor)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
