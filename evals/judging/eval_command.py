"""From a folder of generated pictures to assessments, and what the evaluations' results and messages share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.faces.engine_flags import add_engine_flags, given_engine
from evals.judging.assessor import Assessor, open_assessor
from evals.judging.inputs import left_out_document, list_to_judge
from evals.judging.records import Assessment, explain_reason
from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK
from lifeos.escaping import escape_line
from lifeos.files import write_json
from lifeos.images import LeftOut, Listing
from lifeos.progress import track

SCHEMA = 1
FILED = ("approved", "rejected")
"""The folders of a finished batch; what lies beside them is on its way, or no result."""


def add_judging_arguments(parser: cli.Parser) -> None:
    """The flags that every evaluation has: what is judged, against what, with which engine."""
    parser.add_argument(
        "--generated-dir", dest="generated", type=Path, required=True, metavar="DIR", help="pictures to score; sub-folders are included"
    )
    parser.add_argument(
        "--reference-dir", dest="reference", type=Path, required=True, metavar="DIR", help="pictures of the character, one face each"
    )
    add_engine_flags(parser)
    add_allow_marked(parser)


def add_allow_marked(parser: Any) -> None:
    """The flag of every command that judges pictures that lie there already."""
    text = "also judge published copies, whose invisible watermark raises texture scores (default: they are refused, use the originals)"
    parser.add_argument("--allow-marked", action="store_true", help=text)


def add_gate_arguments(parser: cli.Parser, *, fails_when: str) -> None:
    """The flags that every evaluation ends with: what happens with a result."""
    parser.add_argument("--fail-on-threshold", action="store_true", help=f"exit with 1 when {fails_when}")
    parser.add_project_root()
    parser.add_json()
    parser.add_skip_install()


def open_assessor_for(args: Any, policy: Mapping[str, Any], *, want_skin: bool = True, want_guards: bool = False) -> Assessor:
    """The assessor that the judging flags ask for; says which engine runs, and what to know before trusting its scores."""
    assessor = open_assessor(args.reference, policy, want_skin=want_skin, want_guards=want_guards, **given_engine(args))
    cli.say(assessor.description, as_json=args.json)
    for line in (*assessor.warnings, *assessor.for_owner):
        cli.say(f"note: {line}", as_json=True)
    return assessor


def hand_over(document: dict[str, Any], text: str, args: Any, *, passed: bool) -> int:
    """Write and print an evaluation's results as its flags ask; the exit code."""
    if args.output_json:
        write_json(args.output_json, document)
    if args.json:
        cli.print_json(document)
    else:
        cli.say(text)
    return EXIT_GATE if args.fail_on_threshold and not passed else EXIT_OK


def list_generated(folder: Path, reference_dir: Path) -> Listing:
    """The pictures to judge in a folder and its sub-folders, the references left out. Raises InputError where there is none.

    Of a batch directory only `approved/` and `rejected/` count.
    """
    cli.require_directory(folder, "--generated-dir")
    filed = [folder / name for name in FILED if (folder / name).is_dir()]
    return list_to_judge(folder, reference_dir, "--generated-dir", places=filed)


def inputs_document(left_out: Sequence[LeftOut], folder: Path, references: Sequence[str]) -> dict[str, Any]:
    """What documents say of the inputs that were not used: of the judged folder, and (as sentences) of the references."""
    return {
        "images_left_out": len(left_out),
        "left_out": left_out_document(left_out, folder),
        "references_left_out": list(references),
    }


def assess_pictures(assessor: Assessor, paths: Sequence[Path]) -> list[Assessment]:
    """Assess every picture, in order, with a progress bar on a terminal."""
    return list(track(assessor.assess_many(paths), "scoring", total=len(paths), unit="picture"))


def relative_name(file: str, folder: Path) -> str:
    """A picture's name in results: relative to the folder that was judged, `/`-separated."""
    path = Path(file)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def count_faceless(assessments: Iterable[Assessment]) -> int:
    return sum(item.face.reason == "no_face" for item in assessments)


def warn_of_overlap(assessments: Iterable[Assessment], assessor: Assessor) -> list[str]:
    """Warn on stderr, and return the warnings, where generated pictures are references themselves: their scores say nothing."""
    same = [escape_line(Path(item.file).name) for item in assessments if item.sha256 in assessor.reference_hashes]
    if not same:
        return []
    some = ", ".join(same[:3]) + (f" and {len(same) - 3} more" if len(same) > 3 else "")
    warning = f"{len(same)} of the generated pictures are references themselves and score too high: {some}"
    cli.say(f"warning: {warning}", as_json=True)
    return [warning]


def unscored_lines(assessments: Iterable[Assessment]) -> list[str]:
    """`2 without a score: no face found`, one line for each reason."""
    reasons = Counter(item.face.reason for item in assessments if item.face.reason is not None)
    return [f"{count} without a score: {explain_reason(reason)}" for reason, count in reasons.most_common()]
