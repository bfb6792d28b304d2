"""Where the pictures of a run lie on this machine, if they still do."""

from __future__ import annotations

from pathlib import Path

from evals.comparison.runs import Run

SUBFOLDERS = ("", "approved", "rejected")
"""A batch directory files its pictures after scoring: the row may name them from before or after."""


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
