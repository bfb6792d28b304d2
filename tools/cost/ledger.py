"""Totals of the cost log, exact and in constant memory, at a fraction of the time that parsing line by line takes.

Blocks of lines are parsed at once (orjson where it is installed). A block that is not plain is read line by line, and every
row that cannot be counted is named. Amounts are kept as whole ten-thousandths of a dollar and hundredths of a minute.
"""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import chain, repeat
from operator import itemgetter, mul, sub
from pathlib import Path
from typing import Any, NamedTuple

BLOCK_BYTES = 1 << 16
"""Small enough that a block's rows stay in the processor's cache between the steps: a megabyte is half as fast again."""

RECENT_BLOCKS = 64
"""Blocks (of about 300 rows) in which a second row of one id is noticed; to remember every id would not be constant memory."""

COST_TOLERANCE = 0.02
"""Dollars by which a cost may differ from its minutes at its rate: both were rounded."""

MAX_NAMED_FAULTS = 20
PART_BYTES = 16 << 20
"""A log of this size takes about a fifth of a second: less than that is not worth a process."""

MAX_PROCESSES = 4
FIELDS = ("session_id", "start", "end", "activity", "gpu", "rate_per_hr", "duration_min", "cost_usd")
COST_UNITS = 10_000
MINUTE_UNITS = 100


class Kind(NamedTuple):
    """What sessions are added up by. `day` is the UTC day on which a session started; `rate` in dollars per hour."""

    activity: str
    gpu: str
    rate: float
    day: str
    lora_version: str


@dataclass(slots=True)
class Sum:
    """A sum of sessions, in whole units."""

    sessions: int = 0
    minute_units: int = 0
    cost_units: int = 0

    def add(self, other: Sum) -> None:
        self.sessions += other.sessions
        self.minute_units += other.minute_units
        self.cost_units += other.cost_units

    @property
    def hours(self) -> Decimal:
        return Decimal(self.minute_units) / MINUTE_UNITS / 60

    @property
    def usd(self) -> Decimal:
        return Decimal(self.cost_units) / COST_UNITS


@dataclass(slots=True)
class Ledger:
    """The log added up: sums by kind, what was odd (named), and how many rows could not be counted."""

    sums: dict[Kind, Sum] = field(default_factory=dict)
    noted: list[tuple[int, str]] = field(default_factory=list)
    skipped: int = 0
    overlaps: int = 0
    lines: int = 0

    def note(self, line: int, why: str, *, counted: bool) -> None:
        self.skipped += not counted
        if len(self.noted) < MAX_NAMED_FAULTS:
            self.noted.append((line, why if counted else f"{why}; not counted"))

    @property
    def faults(self) -> list[str]:
        """What was odd, at its line; the first of many."""
        return [f"line {line}: {why}" for line, why in self.noted]

    def add(self, later: Ledger) -> None:
        """Go on with the ledger of the lines that follow."""
        for kind, part in later.sums.items():
            self.sums.setdefault(kind, Sum()).add(part)
        self.noted += [(self.lines + line, why) for line, why in later.noted][: MAX_NAMED_FAULTS - len(self.noted)]
        self.skipped += later.skipped
        self.overlaps += later.overlaps
        self.lines += later.lines

    def total(self, wanted: Callable[[Kind], bool] = lambda kind: True) -> Sum:
        result = Sum()
        for kind, part in self.sums.items():
            if wanted(kind):
                result.add(part)
        return result

    def by(self, name: str) -> dict[str, Sum]:
        """Sums by one field of Kind, largest cost first."""
        groups: dict[str, Sum] = {}
        for kind, part in self.sums.items():
            groups.setdefault(str(getattr(kind, name)), Sum()).add(part)
        return dict(sorted(groups.items(), key=lambda item: -item[1].cost_units))


def read_ledger(log_file: Path, since: date | None = None, until: date | None = None) -> Ledger:
    """Add up the sessions that started from `since` to `until`, both included. A log that is not there is an empty one.

    A large log is read in parts by several processes.
    """
    days = ((since or date.min).isoformat(), (until or date.max).isoformat())
    size = log_file.stat().st_size if log_file.exists() else 0
    count = min(MAX_PROCESSES, os.cpu_count() or 1, size // PART_BYTES)
    if count > 1:
        parts = [Part(log_file, size * number // count, size * (number + 1) // count, days) for number in range(count)]
        try:
            with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
                ledgers = list(pool.map(read_part, parts))
        except (OSError, BrokenProcessPool):  # no room for more processes: one does it too
            ledgers = [read_part(Part(log_file, 0, size, days))]
    else:
        ledgers = [read_part(Part(log_file, 0, size, days))] if size else []
    total = Ledger()
    for ledger in ledgers:
        total.add(ledger)
    return total


class Part(NamedTuple):
    """A range of bytes of a log. It owns the lines that begin in it; `days` are the first and the last to count."""

    log_file: Path
    begin: int
    end: int
    days: tuple[str, str]


def read_part(part: Part) -> Ledger:
    """Add up one part. What stands shortly before it is read too, so that a repeated id or an overlap is noticed across the border."""
    reader = _Reader(part.days)
    before = max(0, part.begin - RECENT_BLOCKS * BLOCK_BYTES)
    if part.begin:
        reader.read(_blocks(part.log_file, before, part.begin))
    reader.ledger = Ledger()
    reader.read(_blocks(part.log_file, part.begin, part.end))
    return reader.ledger


class _Reader:
    """Blocks of lines, one after another, into a ledger."""

    def __init__(self, days: tuple[str, str]) -> None:
        self.days, self.ledger = days, Ledger()
        self._recent: deque[tuple[str, ...]] = deque(maxlen=RECENT_BLOCKS)
        self._last_id = self._last_end = ""

    def read(self, blocks: Iterator[bytes]) -> None:
        for block in _without_collector(blocks):
            columns = _columns(_parse_block(block))
            if columns is None or not _is_plain(columns, self._last_id, self._recent):
                seen = set(chain.from_iterable(self._recent))
                columns = _columns(_countable_rows(self.ledger.lines + 1, block.split(b"\n"), self.ledger, seen))
            self.ledger.lines += block.count(b"\n")
            if columns is None:
                continue
            self._recent.append(columns.session_id)
            self._last_id = max(self._last_id, columns.session_id[-1])
            self.ledger.overlaps += sum(map(str.__lt__, columns.start, (self._last_end, *columns.end)))
            self._last_end = max(self._last_end, max(columns.end))
            _add(self.ledger, columns, *self.days)


class _Columns(NamedTuple):
    """A block turned on its side: one tuple for each of FIELDS, and the LoRA versions."""

    session_id: tuple[str, ...]
    start: tuple[str, ...]
    end: tuple[str, ...]
    activity: tuple[str, ...]
    gpu: tuple[str, ...]
    rate_per_hr: tuple[float, ...]
    duration_min: tuple[float, ...]
    cost_usd: tuple[float, ...]
    lora_version: list[str]


_FIELDS_OF = itemgetter(*FIELDS)


def _without_collector(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Rows hold no cycles: the cyclic collector would look at each of them in vain, for a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield from blocks
    finally:
        if was_on:
            gc.enable()


def _blocks(log_file: Path, begin: int, end: int) -> Iterator[bytes]:
    """The lines that begin in a range of bytes, in blocks of whole lines."""
    with open(log_file, "rb") as file:
        if begin:
            file.seek(begin - 1)
            file.readline()  # the line that began before belongs to the range before
        left = end - file.tell()
        rest = b""
        while left > 0 and (data := file.read(min(BLOCK_BYTES, left))):
            left -= len(data)
            if left <= 0 and not data.endswith(b"\n"):
                data += file.readline()
            cut = data.rfind(b"\n") + 1
            if cut:
                yield rest + data[:cut]
                rest = data[cut:]
            else:
                rest += data
        if rest:
            yield rest


def _parse_block(block: bytes) -> list[Any] | None:
    """The rows of a block, or None where it must be read line by line."""
    if b"true" in block or b"false" in block:  # Python takes them for numbers
        return None
    try:
        rows: list[Any] = _loads()(b"[" + block.rstrip(b"\n").replace(b"\n", b",") + b"]")
    except ValueError:
        return None
    return rows if len(rows) == block.count(b"\n") + (not block.endswith(b"\n")) else None


def _loads() -> Callable[[bytes], Any]:
    try:
        import orjson
    except ImportError:
        return json.loads
    return orjson.loads


def _columns(rows: list[Any] | None) -> _Columns | None:
    """The block's columns, or None where a row is no session or there is none."""
    if not rows:
        return None
    try:
        columns: list[Any] = [*zip(*map(_FIELDS_OF, rows), strict=True)]
        versions = [row["lora_version"] if len(row) > len(FIELDS) and "lora_version" in row else "" for row in rows]
        return _Columns(*[*columns, versions])
    except (KeyError, TypeError, AttributeError):
        return None


def _is_plain(block: _Columns, last_id: str, recent: Iterable[tuple[str, ...]]) -> bool:
    """Whether every row of a block can be counted as it stands. Written to run in C: it is most of the time of a report."""
    try:
        for texts in (block.session_id, block.start, block.end, block.activity, block.gpu, block.lora_version):
            "".join(texts)  # TypeError unless all are text
        amounts = (math.fsum(block.duration_min), math.fsum(block.cost_usd), math.fsum(block.rate_per_hr))
        return (
            all(map(math.isfinite, amounts))
            and min(block.duration_min) >= 0
            and min(block.cost_usd) >= 0
            and min(block.rate_per_hr) >= 0
            and _are_new(block.session_id, last_id, recent)
            and set(map(len, block.start)) == set(map(len, block.end)) == {20}
            and all(map(str.__le__, block.start, block.end))
            and max(map(abs, map(sub, map(mul, block.duration_min, block.rate_per_hr), map(mul, block.cost_usd, repeat(60)))))
            <= 60 * COST_TOLERANCE
        )
    except (TypeError, OverflowError):
        return False


def _are_new(ids: tuple[str, ...], last_id: str, recent: Iterable[tuple[str, ...]]) -> bool:
    """Whether no id stands twice, here or shortly before. Ids that only rise cannot."""
    if ids[0] > last_id and all(map(str.__lt__, ids, ids[1:])):
        return True
    here = set(ids)
    return len(here) == len(ids) and all(map(here.isdisjoint, recent))


def _countable_rows(first: int, lines: list[bytes], ledger: Ledger, seen: set[str]) -> list[Any]:
    """The rows of a block that can be counted, read one by one; the others are named in the ledger."""
    rows: list[Any] = []
    for number, raw in enumerate(lines, first):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            ledger.note(number, "torn or not JSON", counted=False)
            continue
        why = _fault(row, seen)
        if why:
            ledger.note(number, why, counted=False)
            continue
        expected = Decimal(str(row["duration_min"])) * Decimal(str(row["rate_per_hr"])) / 60
        if abs(expected - Decimal(str(row["cost_usd"]))) > COST_TOLERANCE:
            why = f"${row['cost_usd']} is not {row['duration_min']} min at ${row['rate_per_hr']}/h; taken as written"
            ledger.note(number, why, counted=True)
        seen.add(row["session_id"])
        rows.append(row)
    return rows


def _fault(row: Any, seen: set[str]) -> str:
    """Why a row cannot be counted, or an empty string."""
    if not isinstance(row, dict) or "session_id" not in row:
        return "not a session"
    missing = [name for name in FIELDS if row.get(name) is None]
    if missing == ["end"] or set(missing) == {"end", "duration_min", "cost_usd"}:
        return "the session has no end"
    if missing:
        return f"no {', '.join(missing)}"
    for name in FIELDS[:5]:
        if not isinstance(row[name], str):
            return f"{name} is not text"
    for name in FIELDS[5:]:
        if isinstance(row[name], bool) or not isinstance(row[name], int | float) or not math.isfinite(row[name]):
            return f"{name} is not a number"
        if row[name] < 0:
            return f"{name} is below 0"
    if not isinstance(row.get("lora_version", ""), str):
        return "lora_version is not text"
    if row["session_id"] in seen:
        return f"the id {row['session_id']} stands twice"
    if not (_is_time(row["start"]) and _is_time(row["end"])):
        return "start or end is no UTC time (2026-01-31T12:00:00Z)"
    return "the session ends before it starts" if row["end"] < row["start"] else ""


def _is_time(text: str) -> bool:
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return len(text) == 20 and text[10] == "T" and text[19] == "Z"


def _add(ledger: Ledger, block: _Columns, first: str, last: str) -> None:
    """Group a block and add each group exactly: a block's float sum is off by less than 1e-9, far below half a unit.

    What is the same in the whole block (mostly the GPU, the rate, the day) is left out of the keys: hashing them is the work.
    """
    count = len(block.start)
    one_day = min(block.start)[:10] == max(block.start)[:10]
    days = [block.start[0][:10]] * count if one_day else [start[:10] for start in block.start]
    columns = (block.activity, block.gpu, block.rate_per_hr, days, block.lora_version)
    varying: list[Any] = [column for column in columns if column.count(column[0]) < count]  # type: ignore[arg-type]
    keys: Any = zip(*varying, strict=True) if varying else repeat((), count)
    groups: dict[tuple[Any, ...], tuple[Kind, list[float], list[float]]] = {}
    for row, key in enumerate(keys):
        group = groups.get(key)
        if group is None:
            group = groups[key] = (Kind(*(column[row] for column in columns)), [], [])  # type: ignore[arg-type]
        group[1].append(block.duration_min[row])
        group[2].append(block.cost_usd[row])
    for kind, minutes, costs in groups.values():
        if first <= kind.day <= last:
            part = Sum(len(costs), round(math.fsum(minutes) * MINUTE_UNITS), round(math.fsum(costs) * COST_UNITS))
            ledger.sums.setdefault(kind, Sum()).add(part)
