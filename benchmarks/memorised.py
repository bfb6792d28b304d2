"""What the guard *memorised* finds and what it stops by mistake, and how long it takes.

Every picture of a set is put into a training set in turn and changed in several ways; a copy that is not found is a miss. Every picture
against the others of its set is a harmless one; one that is stopped is a false alarm. Sets: demo portraits (all rendered from one
photograph, with other poses, light, frames and backgrounds: the hardest harmless ones), scikit-image's photographs, and with --people a
folder of pictures of people.

    python benchmarks/memorised.py
    python benchmarks/memorised.py --people FOLDER --json

Exit codes: 0 measured · 2 bad usage · 3 a model or package is missing.
"""

from __future__ import annotations

import io
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.sample_pictures import read_reduced
from evals.faces.engine_flags import add_engine_flags, given_engine
from lifeos import cli
from lifeos.errors import EXIT_OK
from lifeos.images import find_pictures
from lifeos.progress import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import FaceEngine
    from evals.likeness.embedding import Embedder
    from evals.likeness.training_pictures import ComparedPicture

    Rgb = NDArray[np.uint8]

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field", "immunohistochemistry")
DEMO_PORTRAITS = 16
LONGEST = 1280


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one set: how many pictures, for each change how many copies were found, how many harmless pictures were stopped, milliseconds."""

    title: str
    pictures: int
    found: Mapping[str, int]
    false_alarms: int
    highest_harmless: float
    milliseconds: float

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"found": dict(self.found)}


def cut(left: float, top: float, right: float, bottom: float) -> Callable[[Rgb], Rgb]:
    """A part of a picture, in fractions of its sides."""

    def change(rgb: Rgb) -> Rgb:
        height, width = rgb.shape[:2]
        return rgb[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]

    return change


def four_by_five(rgb: Rgb) -> Rgb:
    """The middle of a picture, four wide and five high."""
    height, width = rgb.shape[:2]
    wide, high = (width, round(width * 1.25)) if width * 1.25 <= height else (round(height / 1.25), height)
    left, top = (width - wide) // 2, (height - high) // 3
    return rgb[top : top + high, left : left + wide]


def as_jpeg(rgb: Rgb) -> Rgb:
    import numpy as np
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=50)
    return np.asarray(Image.open(stream).convert("RGB"))


def halve(rgb: Rgb) -> Rgb:
    import cv2
    import numpy as np

    return np.asarray(cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def blur(rgb: Rgb) -> Rgb:
    import cv2
    import numpy as np

    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), max(rgb.shape) / 400), dtype=np.uint8)


def brighten(rgb: Rgb) -> Rgb:
    import numpy as np

    return np.asarray(np.clip(rgb * 1.15, 0, 255), dtype=np.uint8)


CHANGES: dict[str, Callable[[Rgb], Rgb]] = {
    "JPEG 50": as_jpeg,
    "half size": halve,
    "blurred": blur,
    "15 % brighter": brighten,
    "25 % of each side cut off": cut(0.1, 0.05, 0.85, 0.8),
    "50 % of each side cut off": cut(0.25, 0.1, 0.75, 0.6),
    "half of the area cut off": cut(0.15, 0.05, 0.857, 0.757),
    "4:5": four_by_five,
    "mirrored": lambda rgb: rgb[:, ::-1],
    "mirrored, 25 % cut off, JPEG 50": lambda rgb: as_jpeg(cut(0.15, 0.0, 0.9, 0.75)(rgb)[:, ::-1]),
}


def measure(title: str, pictures: Sequence[tuple[str, Rgb]], engine: FaceEngine, embedder: Embedder, limit: float) -> Outcome:
    """The outcome of one set."""
    from evals.likeness.training_pictures import TrainingPictures

    seen = [each for name, rgb in pictures if (each := look(name, rgb, engine, embedder)) is not None]
    training = TrainingPictures(seen)
    found = dict.fromkeys(CHANGES, 0)
    seconds: list[float] = []
    for name, rgb in track(pictures, title, unit="picture"):
        for change, work in CHANGES.items():
            copy = look(f"{name} {change}", work(rgb), engine, embedder)
            if copy is None:
                continue
            began = time.process_time()
            match = training.nearest(copy)
            seconds.append(time.process_time() - began)
            found[change] += match.score > limit and match.name == name
    harmless = [TrainingPictures([*seen[:place], *seen[place + 1 :]]).nearest(one).score for place, one in enumerate(seen)]
    return Outcome(
        title, len(seen), found, sum(score > limit for score in harmless), max(harmless), 1000 * statistics.median(seconds or [math.nan])
    )


def look(name: str, rgb: Rgb, engine: FaceEngine, embedder: Embedder) -> ComparedPicture | None:
    import numpy as np

    from evals.faces.subject import sight_subject
    from evals.likeness.training_pictures import see

    rgb = np.ascontiguousarray(rgb)
    return see(name, name, rgb, sight_subject(engine, rgb), embedder.embed(rgb))


def photographs() -> list[tuple[str, Rgb]]:
    import numpy as np
    import skimage.data

    return [(name, np.ascontiguousarray(getattr(skimage.data, name)()[..., :3])) for name in PHOTOGRAPHS]


def portraits(folder: Path) -> list[tuple[str, Rgb]]:
    from tools.stand_in import render_references

    return list(read_reduced(render_references(folder, DEMO_PORTRAITS), "demo portraits", LONGEST))


def run(people: Path | None, engine: FaceEngine, limit: float) -> list[Outcome]:
    from evals.likeness.embedding import open_embedder

    embedder = open_embedder()
    with tempfile.TemporaryDirectory() as folder:
        sets = {"demo portraits": portraits(Path(folder)), "photographs of scikit-image": photographs()}
    if people is not None:
        sets["people"] = list(read_reduced(find_pictures(people, recursive=True), "people", LONGEST))
    return [measure(title, pictures, engine, embedder, limit) for title, pictures in sets.items()]


def render(outcomes: Sequence[Outcome]) -> str:
    lines = [f"{'':34}" + "".join(f"{outcome.title[:22]:>24}" for outcome in outcomes)]
    lines += [f"{change:34}" + "".join(f"{f'{each.found[change]} of {each.pictures}':>24}" for each in outcomes) for change in CHANGES]
    rows: dict[str, Callable[[Outcome], str]] = {
        "stopped by mistake": lambda each: f"{each.false_alarms} of {each.pictures}",
        "highest harmless score": lambda each: f"{each.highest_harmless:.3f}",
        "median ms a picture (CPU)": lambda each: f"{each.milliseconds:.1f}",
    }
    return "\n".join([*lines, *(f"{name:34}" + "".join(f"{tell(each):>24}" for each in outcomes) for name, tell in rows.items())])


def main(argv: list[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("--people", type=Path, metavar="DIR", help="a folder of pictures of people, none of them twice")
    parser.add_argument("--limit", type=cli.fraction, default=0.95, metavar="X", help="what counts as memorised")
    add_engine_flags(parser)
    parser.add_json()
    args = parser.parse_args(argv)
    from evals.faces.engines import choose_engine
    from evals.load_thresholds import load_thresholds

    outcomes = run(args.people, choose_engine(policy=load_thresholds(), **given_engine(args)), args.limit)
    if args.json:
        cli.print_json({"limit": args.limit, "sets": [outcome.to_json() for outcome in outcomes]})
    else:
        cli.say(render(outcomes))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
