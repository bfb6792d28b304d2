"""Find the limits of the gates that fit people's verdicts, and say how sure that is.

Reads batches that people judged (reviews, moved pictures), scored under one protocol, and the policy. Prints for each gate where people
would put its limit, with a 95 % interval, and what the limits in force and the proposed ones are worth on verdicts with which they were not
found. --write puts the proposed limits into evals/thresholds.yaml, where nothing but these numbers changes, and the evidence into
evals/threshold_changes.jsonl.

    python evals/calibrate_thresholds.py batch_001 batch_002
    python evals/calibrate_thresholds.py batch_001 --cost-ratio 3 --figure limits.png --write

Exit codes: 0 measured, whether limits change or not · 2 bad usage, no batch, no verdict that can be used, batches of several protocols, or
scores that were measured otherwise than today with --write · 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.counting import counted
from lifeos.errors import EXIT_OK, InputError
from lifeos.policy.loading import POLICY_FILE, load_thresholds

if TYPE_CHECKING:
    from evals.taste.calibrating import LimitCalibration

EVIDENCE_FILE = Path("evals/threshold_changes.jsonl")
EVEN = 1.0


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("batches", type=Path, nargs="+", metavar="BATCH", help="the directory of a batch that somebody judged")
    ratio = "how many wrongly rejected pictures are as bad as one that is wrongly published"
    parser.add_argument(
        "--cost-ratio", type=cli.positive, default=EVEN, metavar="X", help=f"{ratio} (default: {EVEN:g}, both are as bad, built-in)"
    )
    whole = "whoever moved pictures looked at every picture of these batches: what was left where it lay counts as agreement"
    parser.add_argument("--looked-at-all", action="store_true", help=whole)
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw scores, limits and ROC of each gate into this PNG")
    parser.add_argument("--write", action="store_true", help=f"put the proposed limits into {POLICY_FILE.as_posix()}")
    parser.add_project_root()
    parser.add_json()
    return parser


def write_changes(root: Path, found: LimitCalibration) -> list[str]:
    """Put the proposed limits into the policy of a project; the evidence is on the disk before. Returns the files written."""
    from evals.taste.taste_report import to_document
    from lifeos.files import append_record
    from lifeos.policy.rewriting import write_limits
    from lifeos.times import stamp

    changes = found.proposal.changes
    if found.otherwise:
        fix = "calibrate with batches that were scored by this version, and with the face engine's row of now"
        raise InputError("--write", f"these scores were measured otherwise than today ({'; '.join(found.otherwise)})", fix)
    if not changes:
        return []
    before = {each.gate.limit_key: each.now for each in found.proposal.gates}
    moved = {key: {"from": before[key], "to": value} for key, value in changes.items()}
    record = {"when": stamp(), "limits": moved, **to_document(found, curves=False)}
    write_limits(root / POLICY_FILE, changes, first=lambda: append_record(root / EVIDENCE_FILE, record))
    load_thresholds(root)
    return [POLICY_FILE.as_posix(), EVIDENCE_FILE.as_posix()]


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.end_as_interrupted()
    policy = load_thresholds(args.project_root)
    folders = {cli.require_directory(path, "BATCH").resolve(): path for path in args.batches}
    from evals.taste.calibrating import calibrate_limits
    from evals.taste.taste_report import render, to_document
    from tools.production.reviewed import read_reviewed

    batches = [read_reviewed(path, policy, cli.note) for path in folders.values()]
    found = calibrate_limits(batches, policy, cost_ratio=args.cost_ratio, looked_at_all=args.looked_at_all)
    written = write_changes(args.project_root, found) if args.write else []
    if args.figure is not None:
        from evals.taste.taste_figures import draw_limits

        draw_limits(found, args.figure)
    document: dict[str, Any] = to_document(found) | {"written": written, "figure": None if args.figure is None else str(args.figure)}
    if args.json:
        cli.print_json(document)
    cli.say(render(found), as_json=args.json)
    cli.say(_ending(found, written, wanted=args.write), as_json=args.json)
    return EXIT_OK


def _ending(found: LimitCalibration, written: list[str], *, wanted: bool) -> str:
    changes = found.proposal.changes
    if not changes:
        return "no limit changes" + (": nothing was written" if wanted else "")
    if not written:
        return f"{counted(len(changes), 'limit')} would change; --write puts them into {POLICY_FILE.as_posix()}"
    doubt = " although there are too few verdicts to settle it" if found.proposal.few else ""
    told = f"{counted(len(changes), 'limit')} written to {written[0]}{doubt}, the evidence to {written[1]}"
    return f"{told}; judge a batch by them: production_pipeline.py --rejudge --output-dir DIR"


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
