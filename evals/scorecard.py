"""Score a run: face similarity and skin realism of its pictures, combined into one score, a grade and a recommendation.

Reads two folders of pictures and the policy (evals/thresholds.yaml); writes the scorecard (JSON), a report to read, and one line in the
evaluation history, which evals/compare_versions.py reads.

    python evals/scorecard.py --generated-dir out/ --reference-dir references/ --run-id v3_sweep --lora-version v3

Exit codes: 0 scored · 1 a mean is below its threshold (only with --fail-on-threshold) · 2 bad usage or input, or no reference with a
face · 3 a model or package is missing · 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.judging import eval_command
from evals.judging.gate_limits import add_gate_limits, given_limits
from evals.judging.inputs import SHOWN_IN_REPORTS, left_out_lines
from evals.load_thresholds import load_thresholds
from evals.scorecards.card import Scorecard, build_scorecard
from evals.scorecards.card_inputs import read_batch_config, read_manifest, read_training_params
from lifeos import cli, times
from lifeos.errors import EXIT_GATE, EXIT_OK
from lifeos.files import write_json, write_text
from lifeos.picture_names import find_config

HISTORY_FILE, SCORECARD_FILE, REPORT_FILE = "evals/eval_history.jsonl", "evals/latest_scorecard.json", "evals/latest_report.md"


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    eval_command.add_judging_arguments(parser)
    parser.add_argument("--run-id", metavar="ID", help="name of the run in the history (default: the LoRA's version and the time)")
    parser.add_argument("--lora-version", default="", metavar="NAME", help="version of the LoRA, for the history")
    add_gate_limits(parser)
    parser.add_argument("--notes", default="", metavar="TEXT", help="a note that is kept with the run")
    parser.add_argument("--training-params", metavar="JSON|FILE", help="how the LoRA was trained; goes before what --lora-file says")
    parser.add_argument(
        "--lora-file", "--lora", dest="lora", type=Path, metavar="FILE", help="the LoRA: training parameters are read from its header"
    )
    parser.add_argument(
        "--dataset-manifest",
        type=Path,
        metavar="FILE",
        help="manifest of the training data: its hash is recorded (default: with --lora-file the one beside the LoRA, if it is the LoRA's)",
    )
    parser.add_argument("--history-file", type=Path, metavar="FILE", help=f"history to append to (default: {HISTORY_FILE})")
    parser.add_argument("--output-json", type=Path, metavar="FILE", help=f"the scorecard (default: {SCORECARD_FILE})")
    parser.add_argument("--latest-report", type=Path, metavar="FILE", help=f"the report (default: {REPORT_FILE})")
    eval_command.add_gate_arguments(parser, fails_when="a mean is below its threshold")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.end_as_interrupted()
    policy = load_thresholds(args.project_root, overrides=given_limits(args))
    from evals.judging.run_kinds import DEMO, are_demo_pictures
    from tools.dataset.lora_manifest import find_own_manifest
    from tools.publishing.marked_pictures import refuse_marked_inputs
    from tools.trainers.lora_header import read_lora_header

    header = read_lora_header(args.lora) if args.lora else None
    given = read_training_params(args.training_params) if args.training_params else {}
    params = {**(header.training_params if header else {}), **given}
    manifest_file = args.dataset_manifest or (find_own_manifest(header) if header else None)
    manifest = read_manifest(manifest_file) if manifest_file else None
    listing = eval_command.list_generated(args.generated, args.reference)
    refuse_marked_inputs(listing.pictures, args.reference, allow=args.allow_marked)
    assessor = eval_command.open_assessor_for(args, policy, want_guards=True)
    assessments = eval_command.assess_pictures(assessor, listing.pictures)
    batch_config = read_batch_config(args.generated)
    now = times.stamp()
    card = build_scorecard(
        assessments,
        policy,
        run_id=args.run_id or f"{args.lora_version or 'run'}_{now.replace(':', '')}",
        lora_version=args.lora_version,
        timestamp=now,
        protocol=assessor.protocol,
        config_of=lambda item: find_config(item.file, args.generated.as_posix(), batch_config),
        training_params=params,
        manifest=manifest,
        notes=args.notes,
        generated_dir=args.generated,
        reference_dir=args.reference,
        provider=assessor.provider,
        kind=DEMO if are_demo_pictures(listing.pictures) else "",
        inputs=eval_command.inputs_document(listing.left_out, args.generated, assessor.references.left_out),
        likeness=assessor.likeness,
        warnings=assessor.warnings,
    )
    warnings = eval_command.warn_of_overlap(assessments, assessor)
    for line in left_out_lines(listing.left_out, args.generated):
        cli.say(f"note: {line}", as_json=True)
    _write(card, args, [*assessor.warnings, *warnings, *left_out_lines(listing.left_out, args.generated, SHOWN_IN_REPORTS)])
    return EXIT_GATE if args.fail_on_threshold and not all(card.passed.values()) else EXIT_OK


def _write(card: Scorecard, args: Any, warnings: Sequence[str]) -> None:
    from evals.comparison.history import record_run
    from evals.scorecards.card_report import likeness_line, render_report, render_summary

    report = args.latest_report or args.project_root / REPORT_FILE
    history = args.history_file or args.project_root / HISTORY_FILE
    document = card.to_json()
    write_json(args.output_json or args.project_root / SCORECARD_FILE, document)
    write_text(report, render_report(card, warnings))
    record_run(history, card.history_row())
    if args.json:
        cli.print_json(document)
    between = f"\n{line}" if (line := likeness_line(card)) else ""
    cli.say(f"{render_summary(card)}{between}\nreport: {report}\nhistory: {history} (run {card.run_id})", as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
