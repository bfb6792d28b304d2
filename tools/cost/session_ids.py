"""Ids of sessions: numbered by day, given once for each log, whoever shares it and whatever was lost meanwhile.

Two pods on one volume have one log and a state file each. So the last number that was given is kept beside the log, and changed under
the log's lock. Should it be lost, two open sessions can get one id; the second to be closed then gets another.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from lifeos import files, foreign
from lifeos.errors import LifeosError
from tools.cost.session import Instant, OpenSession, make_row, parse_time

SESSION_NUMBER = re.compile(r"\d{4}-\d\d-\d\d_(\d{1,9})", re.ASCII)
IDENTITY = ("session_id", "start", "activity", "pod_id")
"""What tells two sessions apart, in their rows."""

KEPT_DAYS = 40


@dataclass(frozen=True, slots=True)
class GivenNumbers:
    """The file beside the log: the last number that was given on each of the latest days."""

    last: dict[str, int] = field(default_factory=dict)


def next_id(log_file: Path, wall: datetime, sessions: list[OpenSession]) -> str:
    """An id that no session of this log has or had. It is taken once this returns, whether or not it is used."""
    day = f"{wall:%Y-%m-%d}"
    given = _read_given(log_file)
    taken = [given.get(day, 0), *_numbers_of(log_file, day)]
    ours = (SESSION_NUMBER.fullmatch(one.session_id) for one in sessions if one.session_id.startswith(f"{day}_"))
    taken += [int(number[1]) for number in ours if number]
    given[day] = max(taken) + 1
    latest = dict(sorted(given.items())[-KEPT_DAYS:]) | {day: given[day]}
    files.write_json(_given_file(log_file), {"last": latest})
    return f"{day}_{given[day]:03d}"


def is_logged(log_file: Path, session: OpenSession) -> bool:
    """Whether the log holds the row of this very session, and not one of another that has its id."""
    own = make_row(session, Instant(parse_time(session.start), "", 0.0))
    return any(all(row.get(key) == own.get(key) for key in IDENTITY) for row in _rows_of(log_file, session.session_id))


def is_taken(log_file: Path, session_id: str) -> bool:
    """Whether a row of the log has this id."""
    return bool(_rows_of(log_file, session_id))


def _given_file(log_file: Path) -> Path:
    return log_file.with_name(f".{log_file.name}.ids")


def _read_given(log_file: Path) -> dict[str, int]:
    path = _given_file(log_file)
    if path.exists():
        with contextlib.suppress(LifeosError):  # lost or damaged: the log and our own sessions still tell
            return dict(foreign.read_file(path, GivenNumbers).last)
    return {}


def _rows_of(log_file: Path, session_id: str) -> list[dict[str, object]]:
    """The rows with this id that are whole. Other lines are not parsed."""
    name = json.dumps(session_id, ensure_ascii=False).encode("utf-8", "backslashreplace")
    rows = []
    with _mapped(log_file) as data:
        for found in re.finditer(rb'"session_id"\s*:\s*' + re.escape(name), data):
            end = data.find(b"\n", found.end())
            line = data[data.rfind(b"\n", 0, found.start()) + 1 : end if end >= 0 else len(data)]
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line.decode("utf-8-sig", "replace"))
                if isinstance(row, dict):
                    rows.append(row)
    return rows


def _numbers_of(log_file: Path, day: str) -> list[int]:
    """The session numbers that the log holds for a day, found without parsing a line of it."""
    with _mapped(log_file) as data:
        return [int(number) for number in re.findall(rb'"session_id"\s*:\s*"' + day.encode() + rb'_(\d{1,9})"', data)]


@contextlib.contextmanager
def _mapped(log_file: Path) -> Iterator[mmap.mmap | bytes]:
    try:
        with open(log_file, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (FileNotFoundError, ValueError):  # no log yet, or an empty one, which cannot be mapped
        yield b""
