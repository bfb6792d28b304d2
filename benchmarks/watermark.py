"""What the invisible watermark withstands, what it costs, and whether it is seen where there is none.

Marks pictures of several kinds (the demo's portraits, parts of packaged photos, made textures; or those of --folder), changes each in every
way of the table, and reads the id back. A picture that cannot be marked counts as not read. Then reads unmarked pictures and small parts
of them, in which nothing may be found. "wide" marks what is read with the wide search. Writes nothing.

    python benchmarks/watermark.py --pictures 20 --unmarked 100     # a first look
    python benchmarks/watermark.py                                  # an hour on two cores

Exit codes: 0 the goals are met · 1 one is not: the id read in 99 % of the pictures after what publishing does (JPEG 90, at most 2048 or
1024 pixels a side), never another id, none in unmarked pictures, 45 dB or more · 2 bad usage or input.
"""

from __future__ import annotations

import functools
import io
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.picture_changes import add_noise, jpeg, relight, resize
from benchmarks.varied_pictures import make_picture
from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError
from lifeos.images import find_pictures, read_picture
from lifeos.progress import track
from tools.publishing.watermark import WatermarkError, attempts, mark, read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rgb = NDArray[np.uint8]

LEAST_READ, LEAST_PSNR = 0.99, 45.0
SSIM_EVERY = 5
"""One picture in so many: the measure takes longer than all the rest."""
PART_SIDES = (200, 384)
"""Pixels a side of the small parts of unmarked pictures, least and most."""


def at_most(rgb: Rgb, side: int) -> Rgb:
    return resize(rgb, side / max(rgb.shape[:2])) if max(rgb.shape[:2]) > side else rgb


def webp(rgb: Rgb, quality: int) -> Rgb:
    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "WEBP", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def crop(rgb: Rgb, lost: float) -> Rgb:
    """What is left when a share of the area is cut off, more on the left and below."""
    height, width = (round(side * (1 - lost) ** 0.5) for side in rgb.shape[:2])
    top, left = (rgb.shape[0] - height) // 3, (rgb.shape[1] - width) * 2 // 3
    return rgb[top : top + height, left : left + width]


def crop_four_to_five(rgb: Rgb) -> Rgb:
    height, width = min(rgb.shape[0], rgb.shape[1] * 5 // 4), min(rgb.shape[1], rgb.shape[0] * 4 // 5)
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    return rgb[top : top + height, left : left + width]


def middle(rgb: Rgb, side: int) -> Rgb:
    top, left = (max(0, (length - side) // 2) for length in rgb.shape[:2])
    return rgb[top : top + side, left : left + side]


def turn(rgb: Rgb, degrees: float) -> Rgb:
    import cv2
    import numpy as np

    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(rgb, matrix, (width, height), flags=cv2.INTER_CUBIC), dtype=np.uint8)


def stretch(rgb: Rgb, factor: float) -> Rgb:
    import cv2
    import numpy as np

    return np.asarray(cv2.resize(rgb, (round(rgb.shape[1] * factor), rgb.shape[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def blur(rgb: Rgb, deviation: float) -> Rgb:
    import cv2
    import numpy as np

    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), deviation), dtype=np.uint8)


PUBLISHING: dict[str, Callable[[Rgb], Rgb]] = {
    "JPEG 90": lambda rgb: jpeg(rgb, 90),
    "at most 2048 a side, JPEG 90": lambda rgb: jpeg(at_most(rgb, 2048), 90),
    "at most 1024 a side, JPEG 90": lambda rgb: jpeg(at_most(rgb, 1024), 90),
}
"""What publishing itself does to a picture, at worst after it was marked."""
OTHERS: dict[str, Callable[[Rgb], Rgb]] = {
    "nothing": lambda rgb: rgb,
    "JPEG 85": lambda rgb: jpeg(rgb, 85),
    "JPEG 70": lambda rgb: jpeg(rgb, 70),
    "JPEG 50": lambda rgb: jpeg(rgb, 50),
    "JPEG 30": lambda rgb: jpeg(rgb, 30),
    "WebP 80": lambda rgb: webp(rgb, 80),
    "half size": lambda rgb: resize(rgb, 0.5),
    "half size and back": lambda rgb: resize(resize(rgb, 0.5), 2.0),
    "0.75x": lambda rgb: resize(rgb, 0.75),
    "1.25x": lambda rgb: resize(rgb, 1.25),
    "double size": lambda rgb: resize(rgb, 2.0),
    "half size, JPEG 70": lambda rgb: jpeg(resize(rgb, 0.5), 70),
    "0.3x": lambda rgb: resize(rgb, 0.3),
    "0.3x, JPEG 80": lambda rgb: jpeg(resize(rgb, 0.3), 80),
    "0.25x": lambda rgb: resize(rgb, 0.25),
    "crop by 10 %": lambda rgb: crop(rgb, 0.10),
    "crop by 25 %": lambda rgb: crop(rgb, 0.25),
    "crop by 50 %": lambda rgb: crop(rgb, 0.50),
    "crop by 25 %, 0.8x, JPEG 80": lambda rgb: jpeg(resize(crop(rgb, 0.25), 0.8), 80),
    "4:5 crop, JPEG 75": lambda rgb: jpeg(crop_four_to_five(rgb), 75),
    "4:5 crop, 1080 wide, JPEG 75": lambda rgb: jpeg(resize(crop_four_to_five(rgb), 1080 / crop_four_to_five(rgb).shape[1]), 75),
    "300 x 300 pixels of it": lambda rgb: middle(rgb, 300),
    "256 x 256 pixels, JPEG 80": lambda rgb: jpeg(middle(rgb, 256), 80),
    "turned by 2 degrees": lambda rgb: turn(rgb, 2),
    "turned by 5 degrees, JPEG 80": lambda rgb: jpeg(turn(rgb, -5), 80),
    "quarter turn": lambda rgb: rgb[:, ::-1].transpose(1, 0, 2),
    "mirrored": lambda rgb: rgb[:, ::-1],
    "mirrored, 0.8x, JPEG 80": lambda rgb: jpeg(resize(rgb, 0.8)[:, ::-1], 80),
    "10 % lighter": lambda rgb: relight(rgb, 1.1, 1.1, 1.1),
    "noise of 5 levels": lambda rgb: add_noise(rgb, 5.0),
    "blurred by 1 pixel": lambda rgb: blur(rgb, 1.0),
}
WIDE: dict[str, Callable[[Rgb], Rgb]] = {
    "squeezed by 3 %": lambda rgb: stretch(rgb, 0.97),
    "squeezed by 8 %, JPEG 80": lambda rgb: jpeg(stretch(rgb, 0.92), 80),
    "turned by 15 degrees": lambda rgb: turn(rgb, 15),
    "turned by 40 degrees, 0.7x": lambda rgb: resize(turn(rgb, 40), 0.7),
}
CHANGES = [(name, change, name in WIDE) for group in (PUBLISHING, OTHERS, WIDE) for name, change in group.items()]


@dataclass(slots=True)
class Times:
    """Seconds, of the clock and of the processor."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], Any]) -> Any:
        wall, processor = time.perf_counter(), time.thread_time()
        try:
            return work()
        finally:  # a refusal takes its time too
            self.wall.append(time.perf_counter() - wall)
            self.processor.append(time.thread_time() - processor)

    def row(self) -> dict[str, float]:
        return {
            "count": len(self.wall),
            "median": statistics.median(self.wall),
            "longest": max(self.wall),
            "processor_median": statistics.median(self.processor),
            "processor_longest": max(self.processor),
        }


@dataclass(slots=True)
class Result:
    """What was counted. `tried`: pictures by kind; `refused`: by reason; `missed`: pictures by change and kind; `wrong`: ids by change.

    Of unmarked pictures and parts of them (`unmarked`): `ids` that were read, `standing_out` where the pattern alone was seen, `highest` z.
    """

    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    missed: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name, _, _ in CHANGES})
    wrong: Counter[str] = field(default_factory=Counter)
    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    times: dict[str, Times] = field(default_factory=dict)
    unmarked: Counter[str] = field(default_factory=Counter)
    ids: Counter[str] = field(default_factory=Counter)
    standing_out: Counter[str] = field(default_factory=Counter)
    highest: float = 0.0

    def time(self, name: str) -> Times:
        return self.times.setdefault(name, Times())

    def share_read(self, name: str) -> float:
        return 1 - self.missed[name].total() / max(1, self.tried.total())

    def missed_goals(self) -> list[str]:
        missed = [f"{name}: read in {self.share_read(name):.1%}" for name in PUBLISHING if self.share_read(name) < LEAST_READ]
        missed += [f"{name}: {number} wrong ids" for name, number in self.wrong.items()]
        missed += [f"{number} ids in unmarked {name}" for name, number in self.ids.items() if number]
        return missed + ([f"{min(self.psnr):.1f} dB"] if self.psnr and min(self.psnr) < LEAST_PSNR else [])


def pictures(args: Any) -> Iterator[tuple[str, Rgb]]:
    """Kind and pixels of the pictures to try."""
    if args.folder is None:
        yield from (make_picture(args.first + number) for number in range(args.pictures))
        return
    paths = find_pictures(args.folder, recursive=True)
    if not paths:
        raise InputError(args.folder, "no pictures in it", "give --folder a folder with pictures")
    yield from (("yours", read_picture(path).rgb) for path in paths[args.first :][: args.pictures])


def try_marked(result: Result, number: int, kind: str, rgb: Rgb) -> None:
    """Mark one picture, change it in every way, and read it."""
    result.tried[kind] += 1
    mark_id = (number * 2654435761 + 1) % 2**32  # far apart, and never twice
    try:
        marked = result.time("write").measure(lambda: mark(rgb, mark_id, check=False))
    except WatermarkError as error:
        result.refused[f"{kind}: {error.reason}"] += 1
        for missed in result.missed.values():
            missed[kind] += 1
        return
    measure_quality(result, rgb, marked)
    for name, change, wide in CHANGES:
        changed = change(marked)
        step = "read, wide search" if wide else "read as it is" if name == "nothing" else "read, all changes"
        reading = result.time(step).measure(functools.partial(read, changed, wide=wide))
        if reading is None or reading.id != mark_id:
            result.missed[name][kind] += 1
        if reading is not None and reading.id != mark_id:
            result.wrong[name] += 1


def measure_quality(result: Result, rgb: Rgb, marked: Rgb) -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    result.psnr.append(float(peak_signal_noise_ratio(rgb, marked)))  # type: ignore[no-untyped-call]
    if len(result.psnr) % SSIM_EVERY == 1:
        result.ssim.append(float(structural_similarity(rgb, marked, channel_axis=2)))  # type: ignore[no-untyped-call]


def try_unmarked(result: Result, name: str, rgb: Rgb) -> None:
    """Look for a mark where there is none."""
    seen = result.time(f"search, unmarked {name}").measure(lambda: [attempt.tile for attempt in attempts(rgb)])
    result.unmarked[name] += 1
    result.ids[name] += any(tile.mark_id is not None for tile in seen)
    result.standing_out[name] += any(tile.stands_out for tile in seen)
    result.highest = max([result.highest, *(tile.z for tile in seen)])


def parts(rgb: Rgb, count: int, seed: int) -> Iterator[Rgb]:
    """Small parts of a picture, every other one as a JPEG."""
    import numpy as np

    random = np.random.default_rng([seed, 7])
    for number in range(count):
        height, width = (min(side, int(random.integers(*PART_SIDES, endpoint=True))) for side in rgb.shape[:2])
        top, left = (int(random.integers(whole - side + 1)) for whole, side in zip(rgb.shape[:2], (height, width), strict=True))
        part = np.ascontiguousarray(rgb[top : top + height, left : left + width])
        yield jpeg(part, int(random.integers(40, 96))) if number % 2 else part


def measure(args: Any) -> Result:
    result = Result()
    each = -(-args.unmarked // args.pictures)
    for number, (kind, rgb) in enumerate(track(pictures(args), "marking and reading", total=args.pictures, unit="picture"), args.first):
        if args.only != "unmarked":
            try_marked(result, number, kind, rgb)
        if args.only == "marked":
            continue
        try_unmarked(result, "pictures", rgb)
        for part in parts(rgb, min(each, args.unmarked - result.unmarked["parts"]), number):
            try_unmarked(result, "parts", part)
    return result


def render(result: Result) -> str:
    kinds = ", ".join(f"{number} {kind}" for kind, number in result.tried.items())
    refused = ", ".join(f"{number} {reason}" for reason, number in result.refused.items()) or "none"
    lines = [f"{result.tried.total()} pictures ({kinds}); not to be marked: {refused}"]
    if result.psnr:
        lines.append(f"PSNR {min(result.psnr):.2f} to {max(result.psnr):.2f} dB, SSIM {min(result.ssim):.3f} to {max(result.ssim):.3f}")
    lines += ["", f"{'change':32}    read  wrong  not read, by kind"]
    for name, _, wide in CHANGES:
        missed = ", ".join(f"{number} {kind}" for kind, number in result.missed[name].items())
        title = name + (" (wide)" if wide else "")
        lines.append(f"{title:36} {result.share_read(name):6.1%}  {result.wrong[name]:3}  {missed}".rstrip())
    lines += ["", f"{'seconds':32}   times  median  longest   processor: median  longest"]
    for name, times in result.times.items():
        row = times.row()
        wall = f"{row['count']:7}  {row['median']:6.3f}  {row['longest']:7.3f}"
        lines.append(f"{name:32} {wall}  {row['processor_median']:18.3f}  {row['processor_longest']:7.3f}")
    found = [f"{result.ids[name]} ids in {number} {name}" for name, number in result.unmarked.items()]
    seen = f"the pattern alone in {result.standing_out.total()}; the highest z is {result.highest:.2f}"
    lines += ["", f"unmarked: {', '.join(found)}; {seen}"]
    return "\n".join([*lines, "goals: " + ("; ".join(result.missed_goals()) or "met")])


def document_of(result: Result) -> dict[str, Any]:
    """The result as JSON; `asdict` of the standard library loses the keys of counters."""
    counted = {item.name: getattr(result, item.name) for item in fields(result)}
    times = {name: times.row() for name, times in result.times.items()}
    read_shares = {name: result.share_read(name) for name, _, _ in CHANGES}
    return counted | {"times": times, "read": read_shares, "missed_goals": result.missed_goals()}


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--pictures", type=cli.positive_int, default=200, metavar="N", help="pictures to mark, change and read")
    parser.add_argument("--first", type=cli.whole_number, default=0, metavar="N", help="leave out so many before them, to divide the work")
    parser.add_argument("--unmarked", type=cli.positive_int, default=10000, metavar="N", help="small parts of unmarked pictures to read")
    parser.add_argument("--only", choices=("marked", "unmarked"), help="try marked or unmarked pictures alone (default: both)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="try your own pictures, those of this folder and below")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    import cv2

    args = build_parser().parse_args(argv)
    if args.first < 0:
        raise InputError("--first", f"{args.first} is below 0", "give the number of pictures to leave out")
    cv2.setNumThreads(1)  # the times are those of one core
    result = measure(args)
    if args.json:
        cli.print_json(document_of(result))
    cli.say(render(result), as_json=args.json)
    return EXIT_GATE if result.missed_goals() else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
