"""Rank all runs of a history, with confidence intervals, and draw their scores over time.

Reads evals/eval_history.jsonl and evals/thresholds.yaml; writes evals/leaderboard.md and one picture beside it. Runs that were scored
in different ways (protocols) are ranked separately.

    python evals/leaderboard.py
    python evals/leaderboard.py --history-file evals/eval_history.jsonl --top 10 --format markdown

Exit codes: 0 ranked · 2 no history, or none of its runs has a score.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.judging.gates import GATES, Gate
from evals.judging.variety import LEADS, NOT_RECORDED, SAME, format_share
from lifeos import cli
from lifeos.counting import counted, verb
from lifeos.errors import EXIT_OK, InputError

if TYPE_CHECKING:
    from evals.comparison.inference import Estimate
    from evals.comparison.run_scores import RunScores
    from evals.comparison.standings import Board, Standing, Standings

HISTORY = Path("evals/eval_history.jsonl")
OUTPUT = Path("evals/leaderboard.md")
PLACES = 20


def shown_gates(board: Board) -> list[Gate]:
    """The gates with a column: those with a weight, and others where a run on the board has a score of them."""
    return [gate for gate in GATES if gate.weight_key or any(gate.key in standing.gates for standing in board.best)]


def table_rows(board: Board) -> list[tuple[str, ...]]:
    """The table of a board, its headings first."""
    gates = shown_gates(board)
    means = [gate.key.capitalize() for gate in gates]
    first, last = (
        ("#", "Run", "Version", "Overall", "Interval"),
        ("Grade", "Variety", "Same clothes, place", "Pictures", "Approved", "When"),
    )
    rows: list[tuple[str, ...]] = [(*first, *means, *last)]
    for place, standing in enumerate(board.best, 1):
        numbers = standing.numbers
        rows.append(
            (
                str(place),
                standing.run_id,
                standing.version or "-",
                f"{standing.overall.effect:.2f}",
                _interval(standing.overall),
                *(_mean(numbers, gate) for gate in gates),
                numbers.grade or "-",
                _variety(standing),
                _scenes(standing),
                "-" if numbers.made is None else str(numbers.made),
                "-" if numbers.approved is None else f"{numbers.approved} of {standing.pictures}",
                standing.timestamp[:10] or "-",
            )
        )
    return rows


def _mean(numbers: RunScores, gate: Gate) -> str:
    """A mean, and behind it how many of the pictures have that score, where not all have."""
    mean = numbers.means.by_gate.get(gate.key)
    if mean is None or mean.value is None:
        return "-"
    return f"{mean.value:.2f}" + (f" ({mean.scored} of {mean.made})" if mean.scored < mean.made else "")


def _variety(standing: Standing) -> str:
    """`one pose (2.4°)`: the word, and the yaw spread."""
    pose = standing.pose
    return f"{LEADS[pose['verdict']]} ({pose['yaw_spread_deg']:.1f}°)" if pose["verdict"] in LEADS else "not known"


def _scenes(standing: Standing) -> str:
    """`97 % of pairs`."""
    share = standing.pose["same_scene_share"]
    return NOT_RECORDED if share is None else f"{format_share(share)} of pairs"


def _interval(estimate: Estimate) -> str:
    return "not known" if estimate.low is None else f"{estimate.low:.2f} to {estimate.high:.2f}"


def remarks(standings: Standings, confidence: float) -> list[str]:
    """What a reader must know before believing the order."""
    said = [
        f"Interval: {confidence:.0%} confidence interval of the run's overall score. If two intervals overlap, the order may be chance: "
        "evals/compare_versions.py pairs their pictures and tells more.",
        "In brackets behind a mean: how many of the pictures have that score, where not all have.",
    ]
    said += [
        f"{standing.run_id}: {standing.numbers.shortfall}, so it ranks below the runs that have enough."
        for board in standings.boards
        for standing in board.best
        if standing.numbers.shortfall
    ]
    said += [
        f"{standing.run_id}: {standing.pose['line']}."
        for board in standings.boards
        for standing in board.best
        if standing.pose["verdict"] == SAME
    ]
    said += [
        f"{standing.run_id}: {standing.pose['scene_line']}."
        for board in standings.boards
        for standing in board.best
        if standing.pose["scene_verdict"] == SAME
    ]
    said += [f"{standing.run_id}: {standing.decided}." for board in standings.boards for standing in board.best if standing.decided]
    if len(standings.boards) > 1:
        said.append(f"{len(standings.boards)} protocols: runs that were scored in different ways are ranked apart.")
    if standings.unranked:
        rows = f"{counted(standings.unranked, 'row')} {verb(standings.unranked, 'has', 'have')}"
        said.append(f"{rows} no overall score and {verb(standings.unranked, 'is', 'are')} not ranked.")
    if standings.set_aside:
        rows = f"{counted(standings.set_aside, 'row')} {verb(standings.set_aside, 'holds', 'hold')}"
        say = verb(standings.set_aside, "it says", "they say")
        said.append(f"{rows} pictures of the demo server or a sorted folder: {say} nothing about a LoRA.")
    if standings.damaged:
        skipped = verb(standings.damaged, "is damaged and was", "are damaged and were")
        said.append(f"{counted(standings.damaged, 'line')} of the history {skipped} skipped.")
    if standings.replaced:
        said.append(
            f"{counted(standings.replaced, 'row')} {verb(standings.replaced, 'was', 'were')} replaced by newer ones of the same run id."
        )
    return said


def render_text(standings: Standings, confidence: float) -> str:
    parts = []
    for board in standings.boards:
        rows = table_rows(board)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        parts.append(
            "\n".join([_title(board), *("  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)])
        )
    return "\n\n".join([*parts, "\n".join(remarks(standings, confidence))])


def render_markdown(standings: Standings, confidence: float, picture: str | None) -> str:
    from lifeos.escaping import escape_markdown

    parts = ["# Leaderboard"]
    for board in standings.boards:
        heading, *rows = (f"| {' | '.join(map(escape_markdown, row))} |" for row in table_rows(board))
        parts.append("\n".join([f"## {_title(board)}", "", heading, "|---" * (heading.count(" | ") + 1) + "|", *rows]))
    parts.append("\n".join(f"- {escape_markdown(remark)}" for remark in remarks(standings, confidence)))
    if picture is not None:
        parts.append(f"![Ranking and trend of the newest protocol]({picture})")
    return "\n\n".join(parts) + "\n"


def _title(board: Board) -> str:
    shown = f"the best {len(board.best)} of {counted(board.runs, 'run')}" if board.runs > len(board.best) else counted(board.runs, "run")
    return f"Protocol {board.protocol}: {shown}"


def to_document(standings: Standings) -> dict[str, Any]:
    from evals.comparison.document import estimate_document

    def entry(place: int, standing: Standing, gates: Sequence[Gate]) -> dict[str, Any]:
        numbers = standing.numbers
        parts = {"overall": standing.overall, **{gate.key: standing.gates.get(gate.key) for gate in gates}}
        scores = {name: _renamed(estimate_document(estimate)) for name, estimate in parts.items()}
        total = max(standing.pictures, 1)
        facts = {
            "grade": numbers.grade,
            "images": numbers.made,
            "approved": None if numbers.approved is None else round(numbers.approved / total, 6),
            "approved_pictures": numbers.approved,
            "coverage": {key: round(mean.coverage, 6) for key, mean in numbers.means.by_gate.items()},
            "shortfall": numbers.shortfall or None,
            "sameness": standing.pose,
            "decided": standing.decided or None,
            "timestamp": standing.timestamp,
        }
        return {"place": place, "run_id": standing.run_id, "lora_version": standing.version, **scores, **facts}

    boards = [
        {
            "protocol_id": board.protocol,
            "runs": board.runs,
            "ranking": [entry(place, each, shown_gates(board)) for place, each in enumerate(board.best, 1)],
        }
        for board in standings.boards
    ]
    return {
        "schema": 1,
        "boards": boards,
        "unranked": standings.unranked,
        "damaged": standings.damaged,
        "replaced": standings.replaced,
        "set_aside": standings.set_aside,
    }


def _renamed(document: dict[str, Any] | None) -> dict[str, Any] | None:
    if document is None:
        return None
    return {"mean": document["difference"], "low": document["low"], "high": document["high"], "prompts": document["prompts"]}


def trend_of(board: Board) -> Mapping[str, Sequence[tuple[Any, Estimate]]]:
    """Metric -> (when, estimate) of the runs that carry a date, oldest first; empty with fewer than two."""
    dated = sorted(((standing.when, standing) for standing in board.newest if standing.when is not None), key=lambda pair: pair[0])
    if len(dated) < 2:
        return {}
    series = {"overall": [(when, standing.overall) for when, standing in dated]}
    for gate in shown_gates(board):
        series[gate.key] = [(when, standing.gates[gate.key]) for when, standing in dated if gate.key in standing.gates]
    return {name: points for name, points in series.items() if points}


def _why_empty(standings: Standings) -> str:
    others = f"{standings.unranked} without, {standings.damaged} damaged lines"
    demo = f", {standings.set_aside} with pictures of the demo server or a sorted folder" if standings.set_aside else ""
    return f"no run with a score ({others}{demo})"


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    parser.add_argument(
        "--history-file", dest="history", type=Path, metavar="FILE", help=f"the scorecards (default: {HISTORY} of the project)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"the Markdown table, its picture beside it (default: {OUTPUT})")
    parser.add_argument("--top", type=cli.positive_int, default=PLACES, metavar="N", help="places shown for each protocol")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="what is printed")
    parser.add_argument("--no-pictures", action="store_true", help="draw nothing")
    parser.add_argument("--thresholds", type=Path, metavar="FILE", help="another policy file (default: evals/thresholds.yaml)")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from evals.comparison.history import NO_HISTORY, read_rows
    from evals.comparison.standings import rank_runs
    from evals.load_thresholds import load_thresholds
    from lifeos.files import write_text

    history = args.history or args.project_root / HISTORY
    if not history.is_file() or history.stat().st_size == 0:
        cli.note(NO_HISTORY.format(path=history, why="is empty" if history.is_file() else "does not exist"))
        raise InputError(history, "no history to rank", "score some runs first: the commands are above")
    policy = load_thresholds(args.project_root, args.thresholds)
    confidence = policy["comparison"]["confidence"]
    standings = rank_runs(read_rows(history), policy, args.top)
    if not standings.boards:
        raise InputError(history, _why_empty(standings))
    output = args.output or args.project_root / OUTPUT
    picture = None
    if not args.no_pictures:
        from evals.comparison.figures import draw_leaderboard

        board = standings.boards[0]
        picture = output.with_suffix(".png")
        names, estimates = [each.run_id for each in board.best], [each.overall for each in board.best]
        draw_leaderboard(names, estimates, trend_of(board), picture, confidence=confidence)
    markdown = render_markdown(standings, confidence, picture.name if picture else None)
    write_text(output, markdown)
    as_json = args.json or args.format == "json"
    text = markdown if args.format == "markdown" else render_text(standings, confidence)
    cli.say(f"{text.rstrip()}\n\ntable: {output}" + (f"\npicture: {picture}" if picture else ""), as_json=as_json)
    if as_json:
        cli.print_json(to_document(standings))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
