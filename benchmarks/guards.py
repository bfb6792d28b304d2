"""What the guards stop: pictures as they are, and with faults put into them; what the guards cost.

Sound pictures are those of scikit-image and whatever --portraits names (one person each); each is changed in some thirty ways, and it
is counted what the guard *technical* says of the copies. --several names pictures of more people, for *second face*. Every two of
--portraits are compared for *lookalike*. With the model of `setup --age`, apparent ages too.

    python benchmarks/guards.py --portraits FOLDER --several FOLDER

Exit codes: 0 measured · 2 bad usage · 3 a model or package is missing.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.faces.engine_flags import add_engine_flags, given_engine
from lifeos import cli
from lifeos.errors import EXIT_OK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import FaceEngine
    from evals.faces.subject import Sighting

    Rgb = NDArray[np.uint8]
    Change = Callable[[Rgb], Rgb]

PACKAGED = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
REFERENCE_SIDE = 1216
"""Blur is stated in pixels of a picture of this longest side."""
LIKENESS_LIMITS = (0.5, 0.6, 0.65, 0.7)
YOUNG = 25


def blurred(sigma: float) -> Change:
    import cv2
    import numpy as np

    return lambda rgb: np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma * max(rgb.shape[:2]) / REFERENCE_SIDE), dtype=np.uint8)


def smeared(pixels: int) -> Change:
    import cv2
    import numpy as np

    def change(rgb: Rgb) -> Rgb:
        length = max(3, round(pixels * max(rgb.shape[:2]) / REFERENCE_SIDE))
        return np.asarray(cv2.filter2D(rgb, -1, np.ones((1, length)) / length), dtype=np.uint8)

    return change


def resized(factor: float, *, back: bool = False) -> Change:
    import cv2
    import numpy as np

    def change(rgb: Rgb) -> Rgb:
        small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC) if back else small, dtype=np.uint8)

    return change


def compressed(quality: int, before: Change | None = None) -> Change:
    import cv2
    import numpy as np

    def change(rgb: Rgb) -> Rgb:
        made = rgb if before is None else before(rgb)
        encoded = cv2.imencode(".jpg", made, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)

    return change


def lit(factor: float) -> Change:
    """As by so many times the light."""
    import numpy as np

    return lambda rgb: (np.clip((rgb / 255.0) ** 2.2 * factor, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


def bars(share: float, level: int, sides: str) -> Change:
    """Strips of one level; `sides` of t, b, l, r."""

    def change(rgb: Rgb) -> Rgb:
        made = rgb.copy()
        depth, width = round(len(rgb) * share), round(rgb.shape[1] * share)
        for side, part in {"t": made[:depth], "b": made[len(made) - depth :], "l": made[:, :width], "r": made[:, -width:]}.items():
            if side in sides:
                part[...] = level
        return made

    return change


def captioned(share: float, level: int, side: str) -> Change:
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    def change(rgb: Rgb) -> Rgb:
        image = Image.fromarray(bars(share, level, side)(rgb))
        depth = round(len(rgb) * share)
        top = len(rgb) - depth if side == "b" else 0
        font = ImageFont.load_default(size=max(10, depth // 2))
        ink = (255 - level,) * 3
        ImageDraw.Draw(image).text((rgb.shape[1] * 0.08, top + depth * 0.2), "EXAMPLE STUDIO  www.example.com", fill=ink, font=font)
        return np.asarray(image)

    return change


def flat(deviation: float, level: int = 90) -> Change:
    import numpy as np

    return lambda rgb: np.clip(np.random.default_rng(1).normal(level, deviation, rgb.shape), 0, 255).astype(np.uint8)


def all_changes() -> dict[str, Change]:
    return {
        "none": lambda rgb: rgb,
        "JPEG 40": compressed(40),
        "half size": resized(0.5),
        "a seventh of the light": lit(0.15),
        "a twentieth of the light": lit(0.05),
        "two fifths of the contrast": lambda rgb: (rgb * 0.4 + 100).astype(rgb.dtype),
        **{f"blurred by {sigma}": blurred(sigma) for sigma in (1, 2, 3, 4, 6)},
        "smeared over 31 pixels": smeared(31),
        "reduced and enlarged 4 times": resized(0.25, back=True),
        "reduced and enlarged 8 times": resized(0.125, back=True),
        "lower 5 % grey": bars(0.05, 128, "b"),
        "lower 30 % grey": bars(0.3, 128, "b"),
        "lower 30 % black": bars(0.3, 0, "b"),
        "lower 60 % grey, JPEG 85": compressed(85, bars(0.6, 128, "b")),
        "letterbox of 6 %": bars(0.06, 0, "tb"),
        "white bars of 6 %": bars(0.06, 255, "lr"),
        "frame of 2 %": bars(0.02, 255, "tblr"),
        "frame of 3 %, JPEG 80": compressed(80, bars(0.03, 240, "tblr")),
        "caption of 8 %, white": captioned(0.08, 255, "b"),
        "caption of 8 %, black": captioned(0.08, 0, "b"),
        "caption of 5 % above": captioned(0.05, 255, "t"),
        **{f"{factor} times the light": lit(factor) for factor in (2, 4, 8)},
        "one colour": flat(0),
        "one colour with noise": flat(3),
    }


def count_technical(pictures: Sequence[tuple[Rgb, Sighting | None]]) -> dict[str, Counter[str]]:
    """For each change the faults that are found, and `stopped` in all."""
    import numpy as np

    from evals.guards.technical import find_faults

    found = {}
    for name, change in all_changes().items():
        counts: Counter[str] = Counter()
        for rgb, seen in pictures:
            made = np.ascontiguousarray(change(rgb))
            scale = made.shape[0] / rgb.shape[0]
            box = None if seen is None else seen.subject.box
            scaled = None if box is None else (box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale)
            worst = min(find_faults(made, scaled), key=lambda fault: fault.soundness)
            if worst.soundness < 0.5:
                counts.update([worst.cause, "stopped"])
        found[name] = counts
    return found


def count_alike(engine: FaceEngine, people: Sequence[Sighting], policy: dict[str, Any]) -> dict[str, int]:
    """Of all pairs of pictures, those nearer than each limit."""
    import numpy as np

    from evals.faces.policy_scale import PolicyScale

    scale = PolicyScale.from_policy(policy["face_similarity"]["engines"][engine.scale_key])
    rows = np.stack([each.embedding for each in people])
    scores = [scale.score(float(cosine)) for cosine in (rows @ rows.T)[np.triu_indices(len(rows), 1)]]
    return {"pairs": len(scores), **{f"above {limit:g}": sum(score > limit for score in scores) for limit in LIKENESS_LIMITS}}


def measure_cost(engine: FaceEngine, pictures: Sequence[Rgb]) -> dict[str, float]:
    """CPU milliseconds a picture: detection and embedding, the guards without a model, and apparent age where its model is here."""
    from evals.faces import model_files
    from evals.faces.subject import second_face_share, sight_subject
    from evals.guards.age import open_free_model
    from evals.guards.technical import find_faults
    from lifeos.free_models import AGE

    seen = [(rgb, sighting) for rgb in pictures if (sighting := sight_subject(engine, rgb)) is not None]
    steps: dict[str, Callable[[], object]] = {
        "finding and embedding the face": lambda: [sight_subject(engine, rgb) for rgb, _ in seen],
        "technical": lambda: [find_faults(rgb, each.subject.box) for rgb, each in seen],
        "second face": lambda: [second_face_share(each.faces, each.subject) for _, each in seen],
    }
    if (path := model_files.find(AGE)) is not None:
        estimate = open_free_model(path)
        steps["apparent age"] = lambda: [estimate(rgb, each.subject) for rgb, each in seen]
    return {name: 1000 * min(_cpu_seconds(step) for _ in range(3)) / len(seen) for name, step in steps.items()} if seen else {}


def _cpu_seconds(step: Callable[[], object]) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


def estimate_ages(engine: FaceEngine, pictures: Sequence[Rgb]) -> list[float]:
    """The lowest estimate of each picture with a face; none without the model."""
    from evals.faces import model_files
    from evals.guards.age import open_free_model
    from lifeos.free_models import AGE

    path = model_files.find(AGE)
    if path is None:
        return []
    estimate = open_free_model(path)
    return [min(estimate(rgb, face) for face in faces) for rgb in pictures if (faces := engine.find(rgb)[0])]


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--portraits", type=Path, metavar="DIR", help="pictures of one person each (default: scikit-image's alone)")
    parser.add_argument("--several", type=Path, metavar="DIR", help="pictures of more than one person")
    parser.add_argument("--limit", type=cli.positive_int, default=60, metavar="N", help="pictures of each folder at most")
    add_engine_flags(parser)
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    import cv2

    from benchmarks.sample_pictures import choose_pictures, packaged
    from evals.faces.engines import choose_engine
    from evals.faces.subject import second_face_share, sight_subject
    from evals.load_thresholds import load_thresholds
    from lifeos.images import read_picture

    cv2.setNumThreads(1)
    policy = load_thresholds()
    engine = choose_engine(policy=policy, **given_engine(args))
    folders = {"portraits": args.portraits, "several": args.several}
    chosen = {
        label: [read_picture(path).rgb for path in choose_pictures(folder, label, args.limit)] if folder else []
        for label, folder in folders.items()
    }
    seen = {label: [sight_subject(engine, rgb) for rgb in pictures] for label, pictures in chosen.items()}
    shares = {label: [second_face_share(s.faces, s.subject) for s in each if s is not None] for label, each in seen.items()}
    photos = [packaged("skimage", f"data/{name}") for name in PACKAGED]
    pictures = [*zip(chosen["portraits"], seen["portraits"], strict=True), *((rgb, sight_subject(engine, rgb)) for rgb in photos)]
    technical = count_technical(pictures)
    people = [each for each in seen["portraits"] if each is not None]
    ages = estimate_ages(engine, chosen["portraits"])
    document = {
        "pictures": len(pictures),
        "technical": technical,
        "second_face": {label: {"pictures": len(each), "above_half": sum(share > 0.5 for share in each)} for label, each in shares.items()},
        "lookalike": count_alike(engine, people, policy) if len(people) > 1 else {},
        "age": {"pictures": len(ages), "below_25": sum(years < YOUNG for years in ages), "span": [min(ages), max(ages)] if ages else []},
        "cpu_ms": measure_cost(engine, [rgb for rgb, _ in pictures]),
    }
    cli.say(render(document), as_json=args.json)
    if args.json:
        cli.print_json(document)
    return EXIT_OK


def render(document: dict[str, Any]) -> str:
    lines = [f"technical, on {document['pictures']} pictures:"]
    for name, counts in document["technical"].items():
        causes = ", ".join(f"{cause} {count}" for cause, count in counts.items() if cause != "stopped")
        lines.append(f"  {name:30} stopped {counts['stopped']:3}  {causes}".rstrip())
    for label, found in document["second_face"].items():
        lines.append(f"second face of more than half the area, {label}: {found['above_half']} of {found['pictures']}")
    lines.append(f"lookalike: {document['lookalike'] or 'give --portraits'}")
    lines.append(f"apparent age: {document['age'] if document['age']['pictures'] else 'not measured (setup --age, --portraits)'}")
    lines += [f"CPU, ms a picture: {name} {value:.1f}" for name, value in document["cpu_ms"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
