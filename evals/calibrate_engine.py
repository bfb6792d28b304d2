"""Measure where a face engine's warn and pass marks belong for one character, and what each lets through and rejects.

Reads pictures of the character (references, and more own photos with --own), the policy, and how strangers look to the engine: numbers
that are carried for SFace and dlib, else a folder of other people (--strangers). Each reference is held against the middle of the others
(the ceiling), strangers against the middle of all (the floor). --write puts the row into evals/thresholds.yaml; nothing else in it changes.

    python evals/calibrate_engine.py --reference-dir references/
    python evals/calibrate_engine.py --reference-dir references/ --own photos/ --strangers people/ --engine insightface --write

Exit codes: 0 measured · 2 bad usage, too few references or strangers, the character among the strangers, or an engine that does not tell
the two apart · 3 a model or package is missing · 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.faces.engine_flags import add_engine_flags, given_engine
from lifeos import cli
from lifeos.counting import counted, verb
from lifeos.errors import EXIT_OK, InputError
from lifeos.escaping import escape_line
from lifeos.policy.loading import POLICY_FILE, load_thresholds

if TYPE_CHECKING:
    from evals.faces.calibration import Calibration, Mark, Rate
    from evals.faces.face_engine import FaceEngine, Vector
    from evals.faces.strangers import Floor
    from evals.judging.references import ReferenceSet

SCHEMA = 1
FEWEST_REFERENCES = 5
FEWEST_STRANGERS = 20
"""With none of 20 above a mark, up to 3 in 20 may be."""
WARN_ACCEPTS = 0.01
PASS_ACCEPTS = 0.002
"""The marks let through no larger shares of strangers, unless others are wished for, or the own photos want lower marks."""
NAMED = 3
SHOWN_SHARES = (WARN_ACCEPTS, PASS_ACCEPTS)


@dataclass(frozen=True, slots=True, eq=False)
class EngineCalibration:
    """What was measured of an engine and a character. `own` are cosines of own photos: references left out one by one, then others."""

    engine: str
    key: str
    model: str
    references: int
    left_out: Vector
    more: Vector
    floor: Floor
    strangers: Vector
    calibration: Calibration
    warnings: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        """The row for the policy."""
        marks = {"warn": self.calibration.warn.cosine, "pass": self.calibration.passing.cosine}
        stranger = round(self.floor.mean, 2) + 0.0  # not -0.0
        return {"stranger": stranger, **marks, "same": 1.0, **({"model": self.model} if self.model else {})}

    def to_json(self) -> dict[str, Any]:
        found = self.calibration
        marks = {"warn": found.warn, "pass": found.passing, "warn_in_force": found.warn_now, "pass_in_force": found.pass_now}
        return {
            "schema": SCHEMA,
            "engine": self.engine,
            "row_key": self.key,
            "ceiling": {"references_left_out": describe(self.left_out), "own_photos": describe(self.more) if len(self.more) else None},
            "floor": {
                "mean": round(self.floor.mean, 4),
                "deviation": round(self.floor.deviation, 4),
                "people": self.floor.people,
                "highest": None if self.floor.highest is None else round(self.floor.highest, 4),
            },
            "marks": {name: None if mark is None else mark.to_json() for name, mark in marks.items()},
            "limited": found.limited,
            "row": self.row,
            "warnings": list(self.warnings),
        }


def describe(cosines: Vector) -> dict[str, Any]:
    import numpy as np

    low, middle = float(cosines.min()), float(np.median(cosines))
    return {"pictures": len(cosines), "lowest": round(low, 4), "median": round(middle, 4)}


def measure(
    engine: FaceEngine,
    references: ReferenceSet,
    row: Mapping[str, Any] | None,
    *,
    own_dir: Path | None = None,
    strangers_dir: Path | None = None,
    warn_accepts: float | None = None,
    pass_accepts: float | None = None,
) -> EngineCalibration:
    """Calibrate an opened engine. Raises InputError for what cannot be calibrated."""
    import numpy as np

    from evals.faces.calibration import calibrate
    from evals.faces.centroid import left_out_cosines
    from evals.faces.policy_scale import PolicyScale

    if len(references.names) < FEWEST_REFERENCES:
        count = f"{counted(len(references.names), 'reference')} with a face {verb(len(references.names), 'is', 'are')} too few"
        raise InputError(references.folder, f"{count} to calibrate with", f"{FEWEST_REFERENCES} or more are wanted, 10 are better")
    left_out = left_out_cosines(references.embeddings)
    more, notes = _own(own_dir, engine, references)
    own = np.concatenate([left_out, more])
    floor, strangers, more_notes = _floor(strangers_dir, engine, references, own)
    wishes = {"warn_accepts": warn_accepts or WARN_ACCEPTS, "pass_accepts": pass_accepts or PASS_ACCEPTS}
    found = calibrate(floor, own, strangers, None if row is None else PolicyScale.from_policy(row), **wishes)
    if isinstance(found, str):
        raise InputError(
            f"face engine {engine.scale_key}",
            found,
            "check that every reference and own photo shows the character, not from the side; or take another engine",
        )
    warnings = (*references.left_out, *notes, *more_notes)
    name = f"{engine.identity()['engine']} ({engine.identity()['model_pack']})"
    model = engine.model_sha256[:12]
    return EngineCalibration(name, engine.scale_key, model, len(references.names), left_out, more, floor, strangers, found, warnings)


def _own(folder: Path | None, engine: FaceEngine, references: ReferenceSet) -> tuple[Vector, list[str]]:
    """The cosines of further photos of the character to the middle of the references, and what was left out."""
    import numpy as np

    if folder is None:
        return np.zeros(0), []
    faces, notes = _look_at(folder, engine, set(references.hashes), "--own")
    return np.array([float(references.centroid @ embedding) for _, embedding in faces]), notes


def _floor(folder: Path | None, engine: FaceEngine, references: ReferenceSet, own: Vector) -> tuple[Floor, Vector, list[str]]:
    """The floor, the cosines of the strangers who were looked at, and what was left out. Their embeddings are forgotten."""
    import numpy as np

    from evals.faces.calibration import find_own_among
    from evals.faces.strangers import floor_of, statistics_of

    if folder is None:
        known = statistics_of(engine.scale_key)
        if known is None:
            why = f"no numbers of strangers are carried for {engine.scale_key}"
            raise InputError("--strangers", why, f"give a folder with {FEWEST_STRANGERS} or more pictures of other people, one person each")
        return known.floor_for(references.centroid), np.zeros(0), []
    faces, notes = _look_at(folder, engine, set(), "--strangers")
    if len(faces) < FEWEST_STRANGERS:
        why = f"{counted(len(faces), 'picture')} with a face {verb(len(faces), 'is', 'are')} too few"
        raise InputError(folder, why, f"give --strangers {FEWEST_STRANGERS} or more pictures of other people, one person each")
    cosines = np.array([float(references.centroid @ embedding) for _, embedding in faces])
    if suspects := find_own_among(cosines, own):
        named = ", ".join(f"{escape_line(faces[place][0])} ({cosines[place]:.2f})" for place in suspects[:NAMED])
        rest = f" and {len(suspects) - NAMED} more" if len(suspects) > NAMED else ""
        count = f"{counted(len(suspects), 'picture')} {verb(len(suspects), 'is', 'are')} as like the character as its own photos"
        raise InputError(folder, f"{count}: {named}{rest}", "take out of --strangers what shows the character")
    return floor_of(cosines), cosines, notes


def _look_at(folder: Path, engine: FaceEngine, known: set[str], flag: str) -> tuple[list[tuple[str, Vector]], list[str]]:
    """Name and embedding of the subject of each picture in a folder and its sub-folders, each file once; and what was left out."""
    from concurrent.futures import ThreadPoolExecutor

    from evals.faces.subject import sight_subject
    from evals.judging.assessor import default_workers
    from evals.judging.inputs import left_out_lines, list_to_judge
    from lifeos.images import ImageError, read_picture
    from lifeos.progress import track

    listing = list_to_judge(cli.require_directory(folder, flag), None, flag)

    def look(path: Path) -> tuple[str, Vector | None] | None:
        try:
            picture = read_picture(path)
        except ImageError:
            return None
        sighting = sight_subject(engine, picture.rgb)
        return picture.sha256, None if sighting is None else sighting.embedding

    seen, faces = set(known), list[tuple[str, "Vector"]]()
    counts = {"unreadable": 0, "without a face": 0, "seen already": 0}
    with ThreadPoolExecutor(default_workers()) as pool:
        found = zip(listing.pictures, pool.map(look, listing.pictures), strict=True)
        for path, each in track(found, f"looking at {flag}", total=len(listing.pictures), unit="picture"):
            if each is None:
                counts["unreadable"] += 1
            elif each[0] in seen:
                counts["seen already"] += 1
            elif each[1] is None:
                counts["without a face"] += 1
            else:
                faces.append((path.name, each[1]))
            if each is not None:
                seen.add(each[0])
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return faces, [*([f"{flag}: {told} left out"] if told else []), *left_out_lines(listing.left_out, folder)]


def render(found: EngineCalibration) -> str:
    """The figures for a person."""
    marks = found.calibration
    lines = [f"face engine {found.engine}, row {found.key}", f"ceiling: references left out one by one: {_range(found.left_out)}"]
    lines += [f"         own photos: {_range(found.more)}"] if len(found.more) else []
    rare = ", ".join(f"{_share(share)} reach {found.floor.cosine_at(share):.2f}" for share in SHOWN_SHARES)
    highest = "" if found.floor.highest is None else f", highest {found.floor.highest:.2f}"
    lines.append(f"floor:   strangers: mean {found.floor.mean:.2f}{highest}; {rare} (normal curve through {found.floor.people} people)")
    lines.append(f"  {'':13} {'cosine':>6}  {'strangers let through':26} own photos rejected")
    table = [
        ("warn, in force", marks.warn_now),
        ("pass, in force", marks.pass_now),
        ("warn, measured", marks.warn),
        ("pass, measured", marks.passing),
    ]
    lines += [_mark_line(name, mark) for name, mark in table if mark is not None]
    if marks.limited:
        lines.append(f"note: {marks.limited}")
    if marks.passing.shown is not None:
        lines.append(
            f"{_counts(marks.passing.shown)} strangers shown pass: at most {_share(marks.passing.shown.high)} of all, {SURE_WORDS}"
        )
    else:
        bound = _share(3 / found.floor.people)
        lines.append(f"shares below {bound} (3 of {found.floor.people}) rest on the curve, not on people who were counted")
    from lifeos.policy.rewriting import flow

    return "\n".join([*lines, f"row: face_similarity.engines.{found.key}: {flow(found.row)}"])


SURE_WORDS = "95 % sure"


def _range(cosines: Vector) -> str:
    told = describe(cosines)
    return f"lowest {told['lowest']:.2f}, median {told['median']:.2f} ({counted(told['pictures'], 'picture')})"


def _mark_line(name: str, mark: Mark) -> str:
    rejected = f"{_counts(mark.rejects)} ({_share(mark.rejects.low)} to {_share(mark.rejects.high)}, {SURE_WORDS})"
    return f"  {name:14} {mark.cosine:5.2f}  {_share(mark.accepts):26} {rejected}"


def _counts(rate: Rate) -> str:
    return f"{rate.count} of {rate.of}"


def _share(share: float) -> str:
    """`12 %`, `0.13 %`, `1 in 25,000`."""
    if share >= 0.1 or share == 0:
        return f"{share:.0%}".replace("%", " %")
    if share >= 0.0005:
        return f"{share * 100:.2g} %"
    return f"1 in {1 / share:,.0f}" if share > 1e-9 else "fewer than 1 in a billion"


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument(
        "--reference-dir", dest="reference", type=Path, required=True, metavar="DIR", help="pictures of the character, one face each"
    )
    parser.add_argument("--own", type=Path, metavar="DIR", help="more photos of the character, to be held against the references")
    people = (
        "pictures of other people, one person each; nothing of them is stored (default: the numbers that are carried for sface and dlib)"
    )
    parser.add_argument("--strangers", type=Path, metavar="DIR", help=people)
    for name, share in (("warn", WARN_ACCEPTS), ("pass", PASS_ACCEPTS)):
        text = f"the largest share of strangers that may reach the {name} mark (default: {share})"
        parser.add_argument(f"--{name}-accepts", type=_share_between, metavar="SHARE", help=text)
    parser.add_argument("--write", action="store_true", help=f"put the row into {POLICY_FILE.as_posix()}")
    add_engine_flags(parser)
    parser.add_project_root()
    parser.add_json()
    return parser


def _share_between(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} found, a share between 0 and 0.5 wanted, such as 0.001")
    return value


def write_row(root: Path, found: EngineCalibration, rows: Mapping[str, Mapping[str, Any]]) -> Path:
    """Put the row into the policy of a project; what the old one says of the model's input stays. Returns the file."""
    from lifeos.policy.rewriting import write_engine_row

    path = root / POLICY_FILE
    kept = {"input": rows[found.key]["input"]} if "input" in rows.get(found.key, {}) else {}
    write_engine_row(path, found.key, {**found.row, **kept})
    load_thresholds(root)
    return path


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.end_as_interrupted()
    policy = load_thresholds(args.project_root)
    rows: Mapping[str, Mapping[str, Any]] = policy["face_similarity"]["engines"]
    cli.require_directory(args.reference, "--reference-dir")
    for folder, flag in ((args.own, "--own"), (args.strangers, "--strangers")):
        if folder is not None:
            cli.require_directory(folder, flag)
    from evals.faces.engines import choose_engine
    from evals.judging.assessor import default_workers
    from evals.judging.references import load_references

    engine = choose_engine(policy=policy, needs_row=False, **given_engine(args))
    references = load_references(args.reference, engine, want_skin=False, workers=default_workers())
    found = measure(
        engine,
        references,
        rows.get(engine.scale_key),
        own_dir=args.own,
        strangers_dir=args.strangers,
        warn_accepts=args.warn_accepts,
        pass_accepts=args.pass_accepts,
    )
    _say_notes([*engine.notes, *found.warnings])
    document = found.to_json()
    if args.write:
        document["written"] = str(write_row(args.project_root, found, rows))
    if args.json:
        cli.print_json(document)
    else:
        cli.say(render(found) + (f"\nwritten into {document['written']}" if args.write else "\n(--write puts it into the policy)"))
    return EXIT_OK


def _say_notes(notes: Sequence[str]) -> None:
    for line in notes:
        cli.say(f"note: {line}", as_json=True)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
