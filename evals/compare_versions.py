"""Compare two versions by their scorecards in the history: which is better, by how much, and how sure that is.

Reads evals/eval_history.jsonl and evals/thresholds.yaml; writes evals/comparison_report.md, pictures beside it, and the same as a page with
the pictures pair by pair, evals/comparison_report.html. With --promote also evals/champion.json, if v2 passes every promotion check.

    python evals/compare_versions.py --history-file evals/eval_history.jsonl --v1 v2_sweep --v2 v3_sweep
    python evals/compare_versions.py --v1 v2_seed1 --v1 v2_seed2 --v2 v3_seed1 --v2 v3_seed2     # versions, not files
    python evals/compare_versions.py --list

Exit codes: 0 compared, whatever the verdict · 1 --fail-on-regression and something REGRESSED, or --promote and a promotion check failed
· 2 no history, an unknown run, runs that cannot be compared · 3 the pictures or models for --rescore are not here · 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.faces.engine_flags import add_engine_flags, given_engine
from evals.judging.gate_limits import add_gate_limits, given_limits
from lifeos import cli, times
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError

if TYPE_CHECKING:
    from evals.comparison.comparing import VersionComparison
    from evals.comparison.promotion import PromotionGate
    from evals.comparison.runs import Run

HISTORY = Path("evals/eval_history.jsonl")
REPORT = Path("evals/comparison_report.md")
CHAMPION = Path("evals/champion.json")


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    parser.add_argument(
        "--history-file", dest="history", type=Path, metavar="FILE", help=f"the scorecards (default: {HISTORY} of the project)"
    )
    run_help = "a run id, else the newest run whose id contains it; repeat for several training runs of one version"
    parser.add_argument("--v1", action="append", metavar="RUN", default=[], help=f"the old version: {run_help}")
    parser.add_argument("--v2", action="append", metavar="RUN", default=[], help="the new version: likewise")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"the report (default: {REPORT} of the project)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="the page (default: named as the report, with .html)")
    parser.add_argument("--no-page", action="store_true", help="write no page")
    parser.add_open()
    parser.add_argument("--list", action="store_true", help="print the runs in the history, oldest first, and stop")
    effect_help = cli.policy_help("the smallest difference of a mean score that matters", "comparison.minimum_effect")
    parser.add_argument("--min-effect", type=cli.fraction, metavar="X", help=effect_help)
    confidence_help = cli.policy_help("how sure the intervals are: 0.95 means right 95 times out of 100", "comparison.confidence")
    parser.add_argument("--confidence", type=_confidence, metavar="X", help=confidence_help)
    parser.add_argument(
        "--allow-protocol-mismatch", action="store_true", help="compare runs that were scored in different ways; the report says so"
    )
    parser.add_argument("--rescore", action="store_true", help="score the pictures of all runs again, in one way, before comparing")
    parser.add_argument(
        "--reference-dir", type=Path, metavar="DIR", help="for --rescore: the references (default: those of the newest run)"
    )
    parser.add_argument("--pictures-v1", type=Path, metavar="DIR", help="where the pictures of v1 are (default: as its row says)")
    parser.add_argument("--pictures-v2", type=Path, metavar="DIR", help="where the pictures of v2 are (default: as its row says)")
    parser.add_argument("--dataset-manifest", type=Path, metavar="FILE", help="training set of v2, to see whether pictures were memorised")
    add_engine_flags(parser.add_argument_group("the face engine, for --rescore and the memorised check"))
    add_gate_limits(parser.add_argument_group("limits of the gates, for --rescore"))
    parser.add_argument(
        "--promote", action="store_true", help=f"make v2 champion ({CHAMPION}) if it passes every promotion check; otherwise exit with 1"
    )
    parser.add_argument("--champion", type=Path, metavar="FILE", help=f"the champion's record (default: {CHAMPION} of the project)")
    parser.add_argument("--fail-on-regression", action="store_true", help="exit with 1 if any score REGRESSED")
    parser.add_argument("--no-pictures", action="store_true", help="write no figures and no contact sheet; the page shows no pictures")
    parser.add_argument("--thresholds", type=Path, metavar="FILE", help="another policy file (default: evals/thresholds.yaml)")
    parser.add_json()
    parser.add_skip_install()
    return parser


def _confidence(text: str) -> float:
    import argparse

    value = cli.fraction(text)
    if not 0.5 <= value <= 0.9999:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.5 and 0.9999")
    return value


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.end_as_interrupted()
    from evals.comparison.history import NO_HISTORY

    history = args.history or args.project_root / HISTORY
    if not history.is_file() or history.stat().st_size == 0:
        cli.note(NO_HISTORY.format(path=history, why="is empty" if history.is_file() else "does not exist"))
        raise InputError(history, "no history to compare", "score both versions first: the commands are above")
    if args.list:
        from evals.comparison.listing import print_runs

        return print_runs(history, as_json=args.json)
    if not args.v1 or not args.v2:
        raise InputError("--v1 and --v2", "two runs are needed", "name a run id for each; --list shows them")
    return _compare(args, history)


def _find_sides(args: Any, history: Path, folders: Sequence[Path | None]) -> tuple[list[Run], list[Run]]:
    """The runs of both versions, with what their folders tell of them; says how each was chosen."""
    from evals.comparison.history import find_runs
    from evals.comparison.run_pictures import with_batch_facts, with_folders

    found = find_runs(history, [*args.v1, *args.v2])
    for line in [line for item in found for line in item.explain()]:
        cli.note(f"note: {line}")
    runs = [with_folders(item.run, history) for item in found]
    split = len(args.v1)
    return [with_batch_facts(run, folders[0]) for run in runs[:split]], [with_batch_facts(run, folders[1]) for run in runs[split:]]


def _compare(args: Any, history: Path) -> int:
    from evals.comparison import promotion
    from evals.comparison.comparing import compare
    from evals.comparison.memorisation import check_memorised
    from evals.load_thresholds import load_thresholds

    if args.no_page and (args.page or args.open):
        raise InputError("--no-page", "writes no page, so --page and --open have no use", "leave one of them out")
    limits = given_limits(args)
    if limits and not args.rescore:
        raise InputError("limits of gates", "belong to --rescore: without it the verdicts of the history stand", "add --rescore")
    overrides = {"comparison.minimum_effect": args.min_effect, "comparison.confidence": args.confidence, **limits}
    policy = load_thresholds(args.project_root, args.thresholds, overrides)
    folders = [args.pictures_v1, args.pictures_v2]
    first, second = _find_sides(args, history, folders)
    if args.rescore:
        from evals.comparison.rescoring import rescore

        first, second = rescore(first, second, folders, policy, args.reference_dir, engine=given_engine(args))
    comparison = compare(first, second, policy, allow_protocol_mismatch=args.allow_protocol_mismatch)
    champion = promotion.read_champion(args.champion or args.project_root / CHAMPION)
    memorised = check_memorised(second, folders[1], args.dataset_manifest, policy, engine=given_engine(args))
    gate = promotion.check_promotion(comparison, champion, memorised)
    return _write(args, comparison, gate, champion, folders)


def _write(args: Any, comparison: VersionComparison, gate: PromotionGate, champion: Any, folders: Sequence[Path | None]) -> int:
    """Write the report, promote where that is wanted, write the page, and say what was found."""
    from evals.comparison.comparison_page import clear_place, write_comparison_page
    from evals.comparison.document import to_document
    from evals.comparison.illustration import Illustration, draw_comparison
    from evals.comparison.promotion import promote
    from evals.comparison.rendering import render, render_head
    from lifeos.files import write_text
    from lifeos.pages.opening import open_page

    output = args.output or args.project_root / REPORT
    page = clear_place(output, args.page, cli.note)
    drawn = Illustration() if args.no_pictures else draw_comparison(comparison, output, folders)
    for line in drawn.missing:
        cli.note(f"note: {line}")
    write_text(output, render(comparison, gate, drawn.figures, drawn.missing))
    champion_file = args.champion or args.project_root / CHAMPION
    if args.promote and gate.passed:
        champion, checked = promote(champion_file, comparison, gate, times.stamp())
        if checked != gate:  # somebody made another one champion meanwhile
            gate = checked
            write_text(output, render(comparison, gate, drawn.figures, drawn.missing))
    document = to_document(comparison, gate, champion, output, [path for _, path in drawn.figures])
    said = f"{render_head(comparison, gate)}\n\n{document['sentence']}\n\nreport: {output}"
    if page is not None and not args.no_page:
        told = {"report": output, "when": times.stamp(), "with_pictures": not args.no_pictures}
        write_comparison_page(page, document, comparison, gate, folders, **told)
        document["page"] = str(page)
        said += f"\npage: {page}"
    cli.say(said, as_json=args.json)
    if args.json:
        cli.print_json(document)
    if args.promote:
        cli.say(f"{gate.sentence}" if not gate.passed else f"{gate.run_id} is champion: {champion_file}", as_json=args.json)
    if args.open and "page" in document and page is not None:
        open_page(page)
    regressed = args.fail_on_regression and document["regressed"]
    return EXIT_GATE if regressed or (args.promote and not gate.passed) else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
