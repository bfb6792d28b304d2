"""How long publishing a picture takes, step by step, and which label survives what is done to a copy afterwards.

Publishes made pictures (portraits, photos, textures) of the usual size as tools/publish.py does, with every check, and times each step in
processor time of the process. Then changes each copy in the ways of the table, and says in how many of them each label can still be read.
Nothing is claimed of platforms: these are re-encodings of this machine. Writes nothing outside a temporary folder.

    python benchmarks/publishing.py --pictures 20

Exit codes: 0 labels and their verification take under 250 ms a picture, the watermark under 1 s · 1 not · 3 what signs is not installed.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK

LABEL_SECONDS, MARK_SECONDS = 0.25, 1.0
FORMATS = ("jpeg", "png", "webp")
LABELLING = ("XMP and encoding", "signing", "reading back and verifying", "searching for the prompt", "files and register")
"""The steps that are labels and their verification; the watermark and decoding the original are not."""


@dataclass(slots=True)
class Clock:
    """Processor seconds of each step, one number a picture."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def timing(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[step].append(time.process_time() - begun)

        return timed


def make_pictures(count: int) -> list[bytes]:
    """PNG files with a prompt and a workflow, 832 x 1216 as batches have them."""
    import numpy as np
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from benchmarks.varied_pictures import make_picture

    info = PngInfo()
    info.add_text("prompt", '{"3": {"inputs": {"text": "a person who walks along a harbour wall"}}}')
    files = []
    for number in range(count):
        buffer = io.BytesIO()
        picture = Image.fromarray(np.ascontiguousarray(make_picture(number)[1])).resize((832, 1216), Image.Resampling.LANCZOS)
        picture.save(buffer, "PNG", pnginfo=info)
        files.append(buffer.getvalue())
    return files


def publish_all(root: Path, pictures: list[bytes], kind: str, clock: Clock) -> tuple[list[Path], int]:
    """The copies of all pictures, and how many were refused."""
    import hashlib

    from tools.publishing import publisher
    from tools.publishing.publisher import BatchIdentity, NotPublishedError, Original, Publisher, open_signing
    from tools.publishing.publishing_settings import PublishingSettings

    settings = PublishingSettings(format=kind, register=root / "register.jsonl")
    one = Publisher(root, settings, BatchIdentity("b" * 32, "bench", "bench"), open_signing(settings, root / "signing", cli.note), cli.note)
    assert one.writer is not None
    before = {name: getattr(publisher, name) for name in ("decode_in_own_colors", "mark", "encode", "check_labels", "find_private")}
    steps = ("decoding the original", "watermark", "XMP and encoding", "reading back and verifying", "searching for the prompt")
    for (name, function), step in zip(before.items(), steps, strict=True):
        setattr(publisher, name, clock.timing(step, function))
    one.writer.sign = clock.timing("signing", one.writer.sign)  # type: ignore[method-assign]
    refused = 0
    try:
        for number, data in enumerate(pictures, 1):
            path = root / f"{number}.png"
            path.write_bytes(data)
            begun, known = time.process_time(), sum(sum(values) for values in clock.seconds.values())
            try:
                one.publish(Original(path.name, path, hashlib.sha256(data).hexdigest(), number))
            except NotPublishedError as error:
                refused += 1
                cli.note(f"{kind}, picture {number}: {error.why}")
            took = time.process_time() - begun
            clock.seconds["files and register"].append(took - (sum(sum(values) for values in clock.seconds.values()) - known))
    finally:
        for name, function in before.items():
            setattr(publisher, name, function)
    return sorted((root / "published").iterdir()), refused


def resaved(data: bytes, kind: str, scale: float = 1.0, cut: float = 0.0, **options: Any) -> bytes:
    """What another program makes of a copy: decoded, scaled, cut, written anew."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
        kept = {"xmp": opened.info.get("xmp")} if options.pop("keeps_xmp", False) and opened.info.get("xmp") else {}
    width, height = image.size
    image = image.crop((int(width * cut / 2), int(height * cut / 2), int(width * (1 - cut / 2)), int(height * (1 - cut / 2))))
    if scale != 1.0:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, kind, **kept, **options)
    return buffer.getvalue()


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "copied, renamed": lambda data: data,
    "one byte changed in the middle": lambda data: data[: len(data) // 2] + bytes((data[len(data) // 2] ^ 1,)) + data[len(data) // 2 + 1 :],
    "saved again as JPEG 90": lambda data: resaved(data, "JPEG", quality=90),
    "saved again as JPEG 90 by a program that keeps XMP": lambda data: resaved(data, "JPEG", quality=90, keeps_xmp=True),
    "saved again as JPEG 50": lambda data: resaved(data, "JPEG", quality=50),
    "saved again as WebP 80": lambda data: resaved(data, "WEBP", quality=80),
    "saved again as PNG; a screenshot at full size": lambda data: resaved(data, "PNG", compress_level=1),
    "half size, JPEG 75": lambda data: resaved(data, "JPEG", scale=0.5, quality=75),
    "1080 wide, JPEG 75": lambda data: resaved(data, "JPEG", scale=1080 / 832, quality=75),
    "cut by a quarter a side, JPEG 75": lambda data: resaved(data, "JPEG", cut=0.25, quality=75),
}
"""What is done to a JPEG copy; all but the first two decode it and write it anew."""


def survival(copies: list[Path]) -> dict[str, list[int]]:
    """For each change, in how many copies each label is there as it was published: XMP, content credentials, watermark."""
    from tools.publishing.label_check import check_labels

    found = {}
    for name, change in CHANGES.items():
        reports = [check_labels(change(path.read_bytes()), path) for path in copies]
        found[name] = [sum(report.labels[place].state == "present" for report in reports) for place in range(3)]
    return found


def main(argv: list[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("--pictures", type=cli.positive_int, default=20, metavar="N", help="pictures (default: 20)")
    parser.add_json()
    args = parser.parse_args(argv)
    from tools.publishing.signing_identity import require_packages

    require_packages()
    pictures = make_pictures(args.pictures)
    document: dict[str, Any] = {"pictures": args.pictures, "formats": {}}
    with tempfile.TemporaryDirectory(prefix="lifeos-publishing-") as folder:
        for kind in FORMATS:
            clock = Clock()
            (Path(folder) / kind).mkdir()
            copies, refused = publish_all(Path(folder) / kind, pictures, kind, clock)
            document["formats"][kind] = {"refused": refused, "seconds": {step: _summary(values) for step, values in clock.seconds.items()}}
            if kind == "jpeg":
                document["survival"] = {"copies": len(copies), "changes": survival(copies)}
    labels = max(sum(row["seconds"][step]["median"] for step in LABELLING) for row in document["formats"].values())
    marking = max(row["seconds"]["watermark"]["longest"] for row in document["formats"].values())
    document |= {"label_seconds": round(labels, 3), "watermark_seconds": round(marking, 3)}
    document["met"] = labels < LABEL_SECONDS and marking < MARK_SECONDS
    if args.json:
        cli.print_json(document)
    cli.say(render(document), as_json=args.json)
    return EXIT_OK if document["met"] else EXIT_GATE


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 4), "longest": round(max(values), 4)}


def render(document: dict[str, Any]) -> str:
    lines = [f"{document['pictures']} pictures of 832 x 1216; processor time a picture, median and longest"]
    for kind, row in document["formats"].items():
        lines.append(f"{kind}: {row['refused']} refused")
        lines += [f"  {step:28} {took['median'] * 1000:7.0f} ms {took['longest'] * 1000:7.0f} ms" for step, took in row["seconds"].items()]
    lines.append(f"labels and verification {document['label_seconds'] * 1000:.0f} ms (under {LABEL_SECONDS * 1000:.0f} wanted)")
    lines.append(f"watermark at most {document['watermark_seconds'] * 1000:.0f} ms (under {MARK_SECONDS * 1000:.0f} wanted)")
    of = document["survival"]["copies"]
    lines.append(f"\nof {of} JPEG copies, labels found:  XMP, content credentials, watermark")
    lines += [f"  {name:52} {'  '.join(f'{count:3}' for count in counts)}" for name, counts in document["survival"]["changes"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
