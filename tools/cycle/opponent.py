"""What a new run is compared with, where nobody says: the champion, else the newest run of another version of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.judging.run_kinds import SORTING, kind_of_row
from lifeos import files
from lifeos.errors import InputError
from lifeos.escaping import escape_line


@dataclass(frozen=True, slots=True)
class PastRun:
    """What a row of the history says of its run. `version` is its LoRA's, or its own id where none is written."""

    run_id: str
    version: str
    kind: str


def read_past_runs(history: Path) -> list[PastRun]:
    """The runs, oldest first; of several rows with one id the newest counts. What cannot be read is no run."""
    rows = files.read_records(history, on_warning=lambda text: None) if history.exists() else ()
    runs: dict[str, PastRun] = {}
    for record in rows:
        run_id, version = record.data.get("run_id"), record.data.get("lora_version")
        if run_id:
            name = escape_line(run_id)
            told = escape_line(version) if isinstance(version, str) and version else name
            runs.pop(name, None)
            runs[name] = PastRun(name, told, kind_of_row(record.data.get("kind"), str(record.data.get("notes") or "")))
    return list(runs.values())


def find_opponent(runs: Sequence[PastRun], now: str, version: str | None, champion_file: Path) -> str:
    """The run to compare `now` with; an empty string where the history has none.

    A folder that was only sorted is nobody's opponent, and a run is compared with its like: demo pictures with demo pictures.
    `version` is the LoRA's of `now`, where it is not in the history yet.
    """
    own = next((run for run in runs if run.run_id == now), PastRun(now, version or now, ""))
    like = [run for run in runs if run.run_id != now and run.kind == own.kind != SORTING]
    champion = read_champion_id(champion_file)
    if any(run.run_id == champion for run in like):
        return champion
    others = [run for run in like if run.version != (version or own.version)]
    return others[-1].run_id if others else ""


def read_champion_id(path: Path) -> str:
    """The champion's run id; empty where there is none, or its file cannot be read (the comparison itself tells why)."""
    try:
        record = files.read_json(path)
    except (InputError, OSError):
        return ""
    return str(record["run_id"]) if isinstance(record, dict) and isinstance(record.get("run_id"), str) else ""
