"""Show what the skin score is worth: filters, grain, sharpening, defocus, makeup, sizes and lightness, each with the goal beside it.

    python benchmarks/skin_validity.py --generated people/
    python benchmarks/skin_validity.py --references refs/ --generated made/ --photos photos/ --limit 40

Every picture is changed in some forty ways, its face is found again by YuNet, and the changed copy is judged like any other. Generated
pictures are put against the references; where there are none, and for photos and the references themselves, each is put against the
others of its folder. Shares of changed pictures are shares of those that pass, or are borderline, untouched, on faces of 110 pixels and
more (smaller ones are rows of their own). *pass* and *rejected* are clear verdicts, and a *flip* is from one to the other; what is
borderline is counted by itself. `shown`: the goal is reached on 15 pictures or more. Without folders a few pictures that come with
packages show the shape of the table; nothing is shown by so few. Writes nothing. About 3 seconds a picture.

Exit codes: 0 no goal is missed · 1 one is, on 15 pictures or more · 2 bad usage or input · 3 a model is missing.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.goals import Figure, exit_code, render_figures
from benchmarks.sample_pictures import choose_pictures, packaged, people, read_reduced
from benchmarks.skin_copies import LONGEST_SIDE, changed_copies
from benchmarks.skin_figures import FEWEST, Copies, agreement_row, judge, skin_rows, verdict_of
from benchmarks.two_engines import ready_engines
from lifeos import cli
from lifeos.errors import InputError, UnavailableError
from lifeos.images import ImageError
from lifeos.progress import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import Face
    from evals.faces.yunet import YuNet
    from evals.skin.regions import FaceFrame

    Rgb = NDArray[np.uint8]

GROUPS = ("references", "generated", "photos")
LABELS = "labels: what was done to each copy. Untouched pictures count as real skin, whatever they are; no person judged."


def measure_copies(yunet: YuNet, name: str, rgb: Rgb) -> Copies | None:
    """The subject of a picture, untouched and changed; None where no face is found."""
    from evals.faces.subject import choose_subject
    from evals.skin.measurement import measure_skin
    from evals.skin.regions import face_frame

    faces, _ = yunet.find(rgb)
    if not faces:
        return None
    face = choose_subject(faces, rgb.shape[1], rgb.shape[0])
    frame = face_frame(face.landmarks, face.box)
    if frame is None:
        return None
    measured = {}
    for change, copy in changed_copies(rgb, face):
        seen = face if change == "untouched" else _seen_again(yunet, copy, face, copy.shape[0] / rgb.shape[0])
        measured[change] = measure_skin(copy, seen.landmarks, seen.box)
    return Copies(name, frame.unit, measured, skin_lightness(rgb, frame))


def _seen_again(yunet: YuNet, copy: Rgb, face: Face, factor: float) -> Face:
    """The same face in a changed copy, as YuNet sees it there."""
    expected = face.mapped(1.0 / factor, 0.0, 0.0)
    return yunet.refine(copy, expected) or expected


def skin_lightness(rgb: Rgb, frame: FaceFrame) -> float:
    """The individual typology angle of the cheeks in degrees: over 55 very light, under -30 dark."""
    import cv2
    import numpy as np

    from evals.skin.regions import crop_box, skin_mask

    x0, y0, x1, y1 = crop_box(frame, rgb.shape[1], rgb.shape[0])
    lab = np.asarray(cv2.cvtColor(rgb[y0:y1, x0:x1].astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab), dtype=np.float32)
    skin = lab[skin_mask(lab, frame.shifted(-x0, -y0)) > 0]
    if not len(skin):
        return math.nan
    return math.degrees(math.atan2(float(np.median(skin[:, 0])) - 50.0, float(np.median(skin[:, 2]))))


def engine_verdicts(pictures: Sequence[tuple[str, Rgb]], model_root: Path | None) -> dict[str, dict[str, str]]:
    """The verdict on each untouched picture by the first two engines that are ready here, against all the others."""
    from evals.faces.subject import choose_subject
    from evals.judging.skin_sight import SkinSight
    from evals.load_thresholds import load_thresholds
    from evals.skin.realism import SkinReference, score_skin

    found: dict[str, dict[str, str]] = {}
    for engine in islice(ready_engines(load_thresholds(), model_root), 2):
        name = engine.scale_key
        sight, measured = SkinSight(engine), {}
        for picture, rgb in track(pictures, f"looking with {name}", unit="picture"):
            if faces := engine.find(rgb)[0]:
                measured[picture] = sight.measure(rgb, choose_subject(faces, rgb.shape[1], rgb.shape[0]))
        found[name] = {}
        for picture, one in measured.items():
            reference = SkinReference.from_measurements([other for key, other in measured.items() if key != picture])
            score = score_skin(one, reference)
            found[name][picture] = verdict_of(score) if score.score is not None else str(score.reason)
    return found


def packaged_pictures(yunet: YuNet) -> Iterator[tuple[str, Rgb]]:
    """Portraits and faces of a group photo that come with packages; of those that are installed."""
    with contextlib.suppress(UnavailableError, ImageError):
        yield "astronaut", packaged("skimage", "data/astronaut.png")
    yield from people(yunet.find)


def run(args: Any) -> list[Figure]:
    import cv2

    from evals.faces import model_files
    from evals.faces.yunet import YuNet

    cv2.setNumThreads(1)
    yunet = YuNet(model_files.require(model_files.YUNET_INT8))
    folders = {group: getattr(args, group) for group in GROUPS}
    sources: dict[str, list[tuple[str, Rgb]]] = {
        group: list(read_reduced(choose_pictures(folder, group, args.limit), group, LONGEST_SIDE))
        for group, folder in folders.items()
        if folder is not None
    }
    if not sources:
        sources = {"photos": list(packaged_pictures(yunet))}
    copies: dict[str, list[Copies]] = {}
    for group, pictures in sources.items():
        seen = [measure_copies(yunet, name, rgb) for name, rgb in track(pictures, f"changing {group}", unit="picture")]
        copies[group] = [item for item in seen if item is not None]
    rows: list[Figure] = []
    for group, items in copies.items():
        references = copies.get("references") if group == "generated" else None
        if len(references or items) >= FEWEST:
            rows += skin_rows(group, judge(items, references))
    if not rows:
        raise InputError("pictures", "no folder has three faces", "give folders with more pictures")
    if args.engines:
        row = agreement_row(engine_verdicts([pair for pictures in sources.values() for pair in pictures], args.model_root))
        rows += [row] if row is not None else []
    return rows


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    for group, what in (
        ("references", "references of the character"),
        ("generated", "generated pictures; put against the references, or against each other without"),
        ("photos", "real photos of faces, put against each other"),
    ):
        parser.add_argument(f"--{group}", type=Path, metavar="DIR", help=what)
    parser.add_argument("--limit", type=cli.positive_int, default=40, metavar="N", help="pictures of each folder, evenly chosen")
    parser.add_argument("--engines", action="store_true", help="also whether two face engines lead to the same verdicts")
    parser.add_argument("--model-root", type=Path, metavar="DIR", help="folder of model packs, for --engines")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    for group in GROUPS:
        if getattr(args, group) is not None:
            cli.require_directory(getattr(args, group), f"--{group}")
    rows = run(args)
    if args.json:
        cli.print_json({"rows": [row.to_json() for row in rows]})
    else:
        print(f"{render_figures(rows)}\n\n{LABELS}")
    return exit_code(rows)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
