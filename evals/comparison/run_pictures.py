"""Where the pictures of a run lie on this machine, if they still do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.comparison.runs import RowPicture, Run, read_pose_figures
from lifeos import foreign
from lifeos.counting import counted, verb
from lifeos.errors import InputError
from lifeos.files import sha256_file

SUBFOLDERS = ("", "approved", "rejected")
"""A batch directory files its pictures after scoring: the row may name them from before or after."""
BATCH_REPORT = "batch_report.json"
BATCH_PAGE = "batch_report.html"


def with_folders(run: Run, history: Path) -> Run:
    """The run with the folders that its row names as they lie seen from here.

    A row holds the paths as they were typed. A relative one that leads nowhere from the current directory is tried from where the
    history lies and from one above, which is the project of `evals/eval_history.jsonl`.
    """
    found: dict[str, str] = {}
    for name in ("generated_dir", "reference_dir"):
        told = run.extra.get(name)
        if not isinstance(told, str) or Path(told).is_absolute() or is_there(Path(told), Path.is_dir):
            continue
        places = (base / told for base in history.resolve().parents[:2])
        place = next((place for place in places if is_there(place, Path.is_dir)), None)
        if place is not None:
            found[name] = place.as_posix()
    return replace(run, extra={**run.extra, **found}) if found else run


def with_batch_facts(run: Run, folder: Path | None = None) -> Run:
    """The run with what its row does not say of sameness and cost, from its batch's report where that is at hand; else as it is.

    The row's sameness is that of all pictures, the report's that of the approved ones.
    """
    report = read_batch_report(run, folder)
    if report is None:
        return run
    facts = {key: report[key] for key in ("sameness", "cost") if isinstance(report.get(key), dict)}
    run = replace(run, extra={**facts, **run.extra})
    if run.sameness is None and (figures := read_pose_figures(facts.get("sameness", {}))) is not None:
        return replace(run, sameness=figures, sameness_of="approved pictures")
    return run


def read_batch_report(run: Run, folder: Path | None = None) -> dict[str, Any] | None:
    """The report of the batch that the run's pictures are of; None where it is not at hand, or the folder has been used again since."""
    base = _batch_of(run, folder)
    if base is None or not is_there(base / BATCH_REPORT):
        return None
    try:
        report = foreign.read_file(base / BATCH_REPORT, dict, too_large="null")
    except InputError:
        return None
    return report if report.get("run_id") == run.run_id else None


def find_batch_report(run: Run, folder: Path | None = None) -> Path | None:
    """The page of the run's batch, for a link."""
    base = _batch_of(run, folder)
    is_its = base is not None and is_there(base / BATCH_PAGE) and read_batch_report(run, folder) is not None
    return base / BATCH_PAGE if base is not None and is_its else None


def read_prompts(run: Run, folder: Path | None = None) -> dict[str, str]:
    """The prompts of the run's batch by their id, in words, where its report is at hand."""
    rows = (read_batch_report(run, folder) or {}).get("per_prompt")
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {str(row["prompt_id"]): row["prompt"] for row in known if "prompt_id" in row and isinstance(row.get("prompt"), str)}


def _batch_of(run: Run, folder: Path | None) -> Path | None:
    told = run.extra.get("generated_dir")
    return folder or (Path(told) if isinstance(told, str) else None)


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
        path = next((place for place in places if is_there(place)), None)
        if path is not None:
            found[image.file] = path
    return found


def is_there(path: Path, kind: Callable[[Path], bool] = Path.is_file) -> bool:
    """Whether a file that a row names is there. A name that no file can have (too long, a zero in it) is not."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def is_unchanged(image: RowPicture, path: Path) -> bool:
    """Whether a file is the one that was scored, as far as the row tells."""
    return image.sha256 is None or sha256_file(path) == image.sha256


def why_missing(run: Run, found: Mapping[str, Path], flag: str) -> str:
    """The sentence for a report where pictures of a run are not at hand; empty where all are."""
    missing = sum(image.file not in found for image in run.images)
    if not missing:
        return ""
    told = run.extra.get("generated_dir")
    count = (
        "none of its pictures is"
        if missing == len(run.images)
        else f"{missing} of its {counted(len(run.images), 'picture')} {verb(missing, 'is', 'are')} not"
    )
    where = f"in {told}" if isinstance(told, str) else "found, because its row names no folder"
    return f"{run.run_id}: {count} {where} ({flag} DIR says where they are)."
