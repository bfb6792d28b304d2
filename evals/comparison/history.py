"""Find runs in an evaluation history of any size, in constant memory, and record each once.

The file is searched as bytes, and only lines that name the run are parsed: parsing JSON costs ten times what reading costs.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.comparison.runs import Run, read_run
from lifeos import files, foreign
from lifeos.errors import InputError, nearest

BLOCK_BYTES = 4 << 20
LONGEST_LINE = 64 << 20
"""A row of 400,000 pictures. A longer line is damage, and must not fill the memory."""
REMEMBERED = 64
"""The newest places kept for each name: enough to get past rows that turn out torn."""
RECENT_NAMES = 20_000
"""Among this many of the newest run ids the nearest to a mistyped one is sought."""

NO_HISTORY = """There is no history to compare yet: {path} {why}.

Score the pictures of each version first; every scorecard appends one line to the history:

    python evals/scorecard.py --generated-dir PICTURES_OF_V2 --reference-dir references --run-id v2_sweep --lora-version v2
    python evals/scorecard.py --generated-dir PICTURES_OF_V3 --reference-dir references --run-id v3_sweep --lora-version v3

Use the same prompts and seeds for both, so that pictures can be paired. Then:

    python evals/compare_versions.py --history-file {path} --v1 v2_sweep --v2 v3_sweep
"""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """The run that a name stands for. `rows` is how many rows carry its id; the last of them is taken. `torn` lines name it, unreadable."""

    name: str
    run: Run
    is_exact: bool
    rows: int
    torn: int = 0

    def explain(self) -> list[str]:
        """What the person should know about how the run was chosen."""
        said = []
        if not self.is_exact:
            said.append(f"no run is called {self.name}: taken is the newest whose id contains it, {self.run.run_id}")
        if self.rows > 1:
            count = f"{REMEMBERED} or more" if self.rows >= REMEMBERED else str(self.rows)
            said.append(f"{count} rows carry the run id {self.run.run_id}: the newest (the last in the file) is used")
        if self.torn:
            lines = "a damaged line names" if self.torn == 1 else f"{self.torn} damaged lines name"
            said.append(f"{lines} {self.name} and cannot be read: if that was a newer scorecard, score it again")
        return said


def read_blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """The file as blocks of whole lines, each with its offset. A line over LONGEST_LINE is passed over."""
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below; a missing file is reported before the first block
    except FileNotFoundError:
        raise InputError(path, "no such file", "give --history-file an existing file") from None
    except IsADirectoryError:
        raise InputError(path, "is a directory, not a file", "give --history-file an existing file") from None
    with file:
        offset, rest, skipping = 0, b"", False
        while chunk := file.read(BLOCK_BYTES):
            end = chunk.rfind(b"\n") + 1
            if not end:
                rest = b"" if skipping else rest + chunk
                if len(rest) > LONGEST_LINE:
                    skipping, rest = True, b""
                offset = file.tell() - len(rest)
                continue
            start = chunk.find(b"\n") + 1 if skipping else 0
            block = (rest + chunk[start:end]) if rest else chunk[start:end]
            yield offset + start, block
            skipping, rest, offset = False, chunk[end:], file.tell() - (len(chunk) - end)
        if rest:
            yield offset, rest


def read_rows(path: Path) -> Iterator[dict[str, Any] | None]:
    """Every row, oldest first; None for a line that is torn or no JSON object."""
    for _, block in read_blocks(path):
        for line in block.split(b"\n"):
            if line.strip():
                yield _parse(line)


def find_runs(path: Path, names: Sequence[str]) -> list[FoundRun]:
    """The run for each name: the newest row with exactly that id, else the newest whose id contains the name.

    Raises InputError for a name that fits no row, with the nearest ids.
    """
    exact = dict(zip(names, _search(path, [_Pattern(name, whole=True) for name in names]), strict=True))
    missing = [name for name in exact if exact[name] is None]
    partly = dict(zip(missing, _search(path, [_Pattern(name, whole=False) for name in missing]), strict=True)) if missing else {}
    found = []
    for name in names:
        match = exact[name] or partly.get(name)
        if match is None:
            raise InputError(name, f"no run in {path} has this id or contains it", _suggest(name, _recent_names(path)))
        found.append(FoundRun(name, match[0], exact[name] is not None, *match[1:]))
    return found


def find_newest_row(path: Path, run_id: str) -> dict[str, Any] | None:
    """The newest row with exactly this id, as it stands in the file; None where there is none."""
    if not path.exists():
        return None
    pattern = _Pattern(run_id, whole=True)
    for offset, block in read_blocks(path):
        pattern.look_in(block, offset)
    with open(path, "rb") as file:
        for place in reversed(pattern.places):
            file.seek(place)
            row = _parse(file.readline(LONGEST_LINE + 1))
            if row is not None and pattern.fits(str(row.get("run_id", ""))):
                return row
    return None


def record_run(path: Path, row: dict[str, Any]) -> bool:
    """Append the row of a run, unless its newest row says the same but for the time. Returns whether it was appended.

    The command before may have been killed right after it had written its row: begun again, it must not count the run twice.
    """
    newest = find_newest_row(path, row["run_id"])
    told = json.dumps({**row, "timestamp": None}, ensure_ascii=False).encode("utf-8", "backslashreplace")
    if newest is not None and {**newest, "timestamp": None} == _parse(told):
        return False
    files.append_record(path, row)
    return True


class _Pattern:
    """A run id as it may stand in the file's bytes: plain UTF-8 or with \\u escapes."""

    def __init__(self, name: str, *, whole: bool) -> None:
        self.name, self.whole = name, whole
        escaped = json.dumps(name)[1:-1]
        shouted = re.sub(r"\\u[0-9a-f]{4}", lambda match: "\\u" + match[0][2:].upper(), escaped)
        spellings = {escaped, shouted, json.dumps(name, ensure_ascii=False)[1:-1]}
        self.needles = [text.encode("utf-8", "surrogatepass") for text in sorted(spellings)]
        either = b"|".join(re.escape(needle) for needle in self.needles)
        around = b"" if whole else rb'[^"\n]*?'
        self.regex = re.compile(rb'"run_id"\s*:\s*"?' + around + b"(?:" + either + b")" + (rb'["\s,}]' if whole else b""))
        self.places: deque[int] = deque(maxlen=REMEMBERED)

    def look_in(self, block: bytes, offset: int) -> None:
        if not any(needle in block for needle in self.needles):  # ten times faster than the expression
            return
        for match in self.regex.finditer(block):
            self.places.append(offset + block.rfind(b"\n", 0, match.start()) + 1)

    def fits(self, run_id: str) -> bool:
        return run_id == self.name if self.whole else self.name in run_id


def _search(path: Path, patterns: list[_Pattern]) -> list[tuple[Run, int, int] | None]:
    for offset, block in read_blocks(path):
        for pattern in patterns:
            pattern.look_in(block, offset)
    with open(path, "rb") as file:
        return [_newest(file, pattern) for pattern in patterns]


def _newest(file: Any, pattern: _Pattern) -> tuple[Run, int, int] | None:
    """The newest run that fits, how many rows carry its id, and how many lines name it but are torn."""
    run, rows, torn = None, 0, 0
    for place in dict.fromkeys(reversed(pattern.places)):
        file.seek(place)
        row = _parse(file.readline(LONGEST_LINE + 1))
        if row is None:
            torn += 1
            continue
        if not pattern.fits(str(row.get("run_id", ""))):
            continue  # the name stood in another field
        if run is None:
            run = read_run(row)
        rows += str(row["run_id"]) == run.run_id
    return None if run is None else (run, rows, torn)


def _recent_names(path: Path) -> deque[str]:
    names: deque[str] = deque(maxlen=RECENT_NAMES)
    regex = re.compile(rb'"run_id"\s*:\s*("(?:[^"\\\n]|\\.){1,300}")')
    for _, block in read_blocks(path):
        for match in regex.finditer(block):
            try:
                names.append(json.loads(match[1]))
            except ValueError:
                continue
    return names


def _suggest(name: str, recent: Sequence[str]) -> str:
    if not recent:
        return "the history holds no run that can be read"
    if any(name in run_id for run_id in recent):
        return "a damaged line names it: score that run again"
    close = nearest(name, recent)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"the newest are {', '.join(list(dict.fromkeys(reversed(recent)))[:5])}; --list shows all"


def _parse(line: bytes) -> dict[str, Any] | None:
    """A row, with what no number can be (NaN, 400 digits) as text, so that `read_run` can say what it leaves out."""
    try:
        row: dict[str, Any] = foreign.decode(line, dict, "a line of the history", not_finite="text", too_large="text")
    except InputError:
        return None
    return row
