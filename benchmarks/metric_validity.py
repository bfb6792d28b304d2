"""Show what the face score and the sameness measure are worth, on labelled pictures: each figure with its goal beside it.

    python benchmarks/metric_validity.py
    python benchmarks/metric_validity.py --strangers people/ --varied people/ --engines --model-root models/
    python benchmarks/metric_validity.py --references refs/ --passed good/ --failed bad/ --strangers people/ --one-pose batch/

Whether faces are found at each size; floor, ceiling and margin of the cosine to the middle of the references; whether one mark holds for
every five references; whether two engines agree; whether a batch of one pose is told from a varied one. Without references the character
is the demo's person, rendered, and her strangers are the people of pictures that come with packages, or of --strangers. `shown`: the goal
is reached on 15 pictures or more. The goals are those of the default engine. What --passed and --failed mean is up to who sorted them: a
person, or another face model, with which the figure then says how far this one agrees.
`skin_validity.py` does the same for skin; `--first-sketch` compares both scores with the metrics as first sketched. Writes nothing.

Exit codes: 0 no goal is missed · 1 one is, on 15 pictures or more, or a first sketch is better · 2 bad usage or input · 3 a model is
missing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.face_figures import found_rows, likeness_rows, sameness_rows, title_of
from benchmarks.first_sketch import SketchComparison, compare_with_sketch, render_comparison
from benchmarks.goals import Figure, exit_code, render_figures
from benchmarks.sample_pictures import LABELS, RENDERED, SampleSets, make_sets, read_sets
from benchmarks.two_engines import agreement_rows, second_engine
from evals.faces.engine_flags import add_engine_flags, given_engine
from evals.load_thresholds import load_thresholds
from lifeos import cli
from lifeos.errors import EXIT_GATE, InputError

if TYPE_CHECKING:
    from evals.faces.face_engine import FaceEngine

WHAT = {
    "references": "references of the character",
    "passed": "generated pictures that were accepted",
    "failed": "generated pictures that were refused",
    "one_pose": "a batch whose pictures all have one pose; they show the character",
    "varied": "a batch of many poses and shots, of whomever",
    "strangers": "faces of other people",
    "photos": "further photos of faces",
}
NEED_REFERENCES = ("passed", "failed")
CHARACTER = ("references", "passed", "failed", "one_pose")
LABELS_OF_FOLDERS = (
    "labels: passed and failed are as the folders were sorted. Where a face model sorted them, the figure is the agreement with that\n"
    "model, not with a person."
)
LABELS_OF_RENDERED = "labels: how far each picture was rendered away from the person. All come from one portrait: an easy character."


def measure(engine: FaceEngine, sets: SampleSets, policy: Mapping[str, Any]) -> list[Figure]:
    """Every figure that the pictures allow."""
    from evals.faces.policy_scale import PolicyScale

    row = policy["face_similarity"]["engines"].get(engine.scale_key)
    scale = None if row is None else PolicyScale.from_policy(row)
    return [*found_rows(engine, sets), *likeness_rows(sets, scale), *sameness_rows(sets)]


def render(sets: SampleSets, figures: list[Figure], comparison: SketchComparison | None, engine_key: str) -> str:
    counts = ", ".join(f"{len(found)} {title_of(label)}" for label in LABELS if (found := getattr(sets, label)))
    parts = [f"{sets.source}: {counts}; engine {engine_key}", render_figures(figures)]
    if sets.source == RENDERED:
        parts.append(LABELS_OF_RENDERED)
    elif sets.passed or sets.failed:
        parts.append(LABELS_OF_FOLDERS)
    if comparison is not None:
        parts.append(render_comparison(comparison))
    return "\n\n".join(parts)


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    for label, what in WHAT.items():
        parser.add_argument(f"--{label.replace('_', '-')}", type=Path, metavar="DIR", help=what)
    add_engine_flags(parser)
    parser.add_argument("--limit", type=cli.positive_int, default=60, metavar="N", help="pictures of each folder, evenly chosen")
    parser.add_argument("--engines", action="store_true", help="also whether a second face engine that is ready here agrees")
    parser.add_argument(
        "--first-sketch", action="store_true", help="also compare with the metrics as first sketched: some seconds a picture"
    )
    parser.add_project_root()
    parser.add_json()
    return parser


def open_engine(args: Any, policy: Mapping[str, Any]) -> FaceEngine:
    """The engine, also one that the policy has no row for yet."""
    from evals.faces.engines import choose_engine

    return choose_engine(policy=policy, needs_row=False, **given_engine(args))


def read_labelled(args: Any, engine: FaceEngine) -> SampleSets:
    folders: dict[str, Path | None] = {label: getattr(args, label) for label in LABELS}
    if any(folders[label] for label in CHARACTER):
        return read_sets(engine, folders, args.limit)
    return make_sets(engine, folders, args.limit)


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if not args.references and any(getattr(args, label) for label in NEED_REFERENCES):
        raise InputError("--references", "nothing to measure against", "give --references with --passed or --failed")
    for label in LABELS:
        if getattr(args, label) is not None:
            cli.require_directory(getattr(args, label), f"--{label.replace('_', '-')}")
    policy = load_thresholds(args.project_root)
    engine = open_engine(args, policy)
    sets = read_labelled(args, engine)
    figures = measure(engine, sets, policy)
    if args.engines:
        figures += agreement_rows(engine, second_engine(engine, policy, args.model_root), sets, policy)
    comparison = compare_with_sketch(engine, sets) if args.first_sketch else None
    if args.json:
        document: dict[str, Any] = {
            "source": sets.source,
            "engine": engine.scale_key,
            "missed": sets.missed,
            "rows": [row.to_json() for row in figures],
        }
        if comparison is not None:
            document["lost"] = comparison.lost
            document["first_sketch"] = [{**asdict(row), "worse": row.is_worse} for row in comparison.rows]
        cli.print_json(document)
    else:
        print(render(sets, figures, comparison, engine.scale_key))
    if comparison is not None and any(row.is_worse for row in comparison.rows):
        return EXIT_GATE
    return exit_code(figures)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
