"""The runs of a history, one line each, streamed: a list of a million runs needs no more memory than one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evals.comparison.history import read_rows
from evals.comparison.runs import Run, read_run
from evals.judging.gates import GATES, Gate
from evals.judging.variety import format_share
from lifeos.counting import counted
from lifeos.errors import EXIT_OK
from lifeos.printing import note, print_json_lines, say

LEGEND = "POSES, SCENES: share of the pairs of pictures that have one pose, or the same clothes and place; -: not recorded"


def print_runs(history: Path, *, as_json: bool) -> int:
    """Print every run, oldest first; with `as_json` one JSON array, also streamed."""
    torn = 0

    def runs() -> Iterator[Run]:
        nonlocal torn
        for row in read_rows(history):
            if row is None:
                torn += 1
            else:
                yield read_run({key: value for key, value in row.items() if key != "images"})

    if as_json:
        print_json_lines(_json_lines(runs()))
    else:
        say(_heading())
        for run in runs():
            say(_line(run))
        say(LEGEND)
    if torn:
        note(f"warning: {counted(torn, 'line')} of {history} skipped (torn by a crash, or not a JSON object)")
    return EXIT_OK


def _json_lines(runs: Iterable[Run]) -> Iterator[str]:
    yield "[\n"
    for number, run in enumerate(runs):
        yield ("," if number else "") + json.dumps(_entry(run), ensure_ascii=False, allow_nan=False) + "\n"
    yield "]\n"


def _weighted() -> list[Gate]:
    return [gate for gate in GATES if gate.weight_key]


def _heading() -> str:
    means = " ".join(f"{gate.key.upper():>5}" for gate in _weighted())
    return f"{'RUN':32} {'WHEN':20} {'VERSION':10} {means} {'OVERALL':>7} GRADE {'POSES':>6} {'SCENES':>6} PICTURES"


def _line(run: Run) -> str:
    means = " ".join(f"{_number(run.means.get(gate.key)):>5}" for gate in _weighted())
    images = "-" if run.images_evaluated is None else str(run.images_evaluated)
    numbers = (
        f"{means} {_number(run.overall):>7} {run.grade or '-':5} {_share(run, 'same_pose_share'):>6} {_share(run, 'same_scene_share'):>6}"
    )
    return f"{run.run_id:32} {run.timestamp:20} {run.lora_version:10} {numbers} {images:>8}"


def _share(run: Run, figure: str) -> str:
    """Of pairs of pictures that have one pose, or the same clothes and place; `-` where it is not recorded."""
    share = getattr(run.sameness, figure, None)
    return "-" if share is None else format_share(share)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _entry(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "timestamp": run.timestamp,
        "lora_version": run.lora_version,
        **{gate.mean_name: run.means[gate.key] for gate in GATES if gate.weight_key or run.means.get(gate.key) is not None},
        "overall_score": run.overall,
        "overall_grade": run.grade,
        "images_evaluated": run.images_evaluated,
        "protocol_id": run.protocol_id,
        "sameness": None if run.sameness is None else asdict(run.sameness),
    }
