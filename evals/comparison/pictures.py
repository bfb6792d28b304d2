"""Where the pictures of a run lie on this machine, if they still do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evals.comparison.runs import Run
from lifeos.errors import InputError
from lifeos.files import read_json

SUBFOLDERS = ("", "approved", "rejected")
"""A batch directory files its pictures after scoring: the row may name them from before or after."""


BATCH_REPORT = "batch_report.json"


def with_batch_facts(run: Run, folder: Path | None = None) -> Run:
    """The run with sameness and cost from its batch's report, where the batch directory is at hand; else as it is."""
    told = run.extra.get("generated_dir")
    base = folder or (Path(told) if isinstance(told, str) else None)
    if base is None or not (base / BATCH_REPORT).is_file():
        return run
    try:
        report = read_json(base / BATCH_REPORT)
    except InputError:
        return run
    if not isinstance(report, dict) or report.get("run_id") != run.run_id:
        return run  # the folder has been used again since
    facts = {key: report[key] for key in ("sameness", "cost") if isinstance(report.get(key), dict)}
    return replace(run, extra={**facts, **run.extra})


def find_run_pictures(run: Run, folder: Path | None = None) -> dict[str, Path]:
    """File as named in the row -> the picture. `folder` says where to look, else the row's own `generated_dir`."""
    told = run.extra.get("generated_dir")
    folders = [folder] if folder is not None else ([Path(told)] if isinstance(told, str) else [])
    found: dict[str, Path] = {}
    for image in run.images:
        if not image.file:
            continue
        name = Path(image.file)
        places = [name] if name.is_absolute() else []
        places += [base / sub / part for base in folders for sub in SUBFOLDERS for part in dict.fromkeys((image.file, name.name))]
        path = next((place for place in places if place.is_file()), None)
        if path is not None:
            found[image.file] = path
    return found
