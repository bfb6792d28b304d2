"""What running work costs that no session of the meter counts: a file for each piece of work, and rows in the cost log when it ends.

A batch pays for pictures (seconds of an endpoint, credits), and for machines by the hour. The hours are the meter's where it has a session
open; where it has none, the work counts them itself. So the log holds each dollar once. The file is written as the work goes on, and other
work reads it: they share budgets. It becomes rows when the work ends, at midnight (UTC), or, if the work was killed, when the next command
looks: what was charged is then read from the journal, so that nothing is lost.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lifeos import files, foreign, locks, times
from lifeos.errors import LifeosError, LockedError
from lifeos.escaping import escape_line
from lifeos.liveness import birth, is_alive
from tools.cost.ledger import LAST_HEARTBEAT
from tools.cost.meter import ALIVE_MINUTES, PATIENCE_SECONDS, Meter
from tools.cost.session_ids import is_taken, next_id

SECONDS_PER_HOUR = 3600
RUN_EVENTS = frozenset({"started", "joined", "submitted", "accepted", "charged", "downloaded", "scored", "filed", "failed"})
"""What only a run of a batch writes into its journal: until then its machines were held."""

WRITE_SECONDS = 5.0
"""Charges are on the disk, for other work to see, after this long at the most; `tick` comes every twenty seconds."""


@dataclass(frozen=True, slots=True)
class RunningPart:
    """What a piece of work has cost since it began, or since midnight. Money is in dollars, `start` and `last` are UTC to the millisecond.

    `hours`: of all machines together. `ahead_usd`: what the work has under way, and will cost in any case. `charged`: by kind of server;
    `kinds`: the kind of each server, and `journal` what tells charges after a kill.
    """

    session_id: str
    start: str
    last: str
    activity: str
    what: str
    gpu: str
    lora_version: str = ""
    hours: float = 0.0
    hourly_usd: float = 0.0
    rates: tuple[float, ...] = ()
    """Dollars per hour of each machine that is counted here since `last`."""
    charged: dict[str, float] = field(default_factory=dict)
    ahead_usd: float = 0.0
    kinds: dict[str, str] = field(default_factory=dict)
    journal: str = ""
    pid: int = 0
    host: str = ""
    born: str = ""

    @property
    def usd(self) -> float:
        return self.hourly_usd + sum(self.charged.values())

    def until(self, moment: datetime) -> RunningPart:
        """The same with the hours up to a moment."""
        hours = max(0.0, (moment - _moment(self.last)).total_seconds()) / SECONDS_PER_HOUR
        hourly, spent = self.hours + hours * len(self.rates), self.hourly_usd + hours * sum(self.rates)
        return replace(self, hours=hourly, hourly_usd=spent, last=max(self.last, stamp(moment)))


@dataclass(frozen=True, slots=True)
class ChargeRecord:
    """What is read of a line of a batch's journal."""

    event: str = ""
    time: str = ""
    usd: float | None = None
    server: str | None = None


def stamp(moment: datetime) -> str:
    """A moment as a batch's journal writes it."""
    return moment.astimezone(times.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def running_folder(log_file: Path) -> Path:
    return log_file.with_name(f".{log_file.name}.running")


class RunningCost:
    """The cost of one piece of work while it runs. `begin`, then `tick` now and then, `charge` for what is paid by the picture, `end`.

    The work never fails for it: what cannot be written is told once. `kinds`: of the servers in `journal`.
    """

    def __init__(
        self,
        log_file: Path,
        state_file: Path,
        *,
        activity: str,
        what: str,
        gpu: str,
        lora_version: str = "",
        kinds: Mapping[str, str] | None = None,
        journal: Path | None = None,
        warn: Callable[[str], None] = files.warn,
    ) -> None:
        self.log_file = log_file
        self._meter = Meter(log_file, state_file, warn=lambda text: None)
        self._told = RunningPart("", "", "", escape_line(activity), escape_line(what), escape_line(gpu), escape_line(lora_version))
        self._told = replace(self._told, kinds=dict(kinds or {}), journal=str(journal.resolve()) if journal is not None else "")
        self._warn = warn
        self._part: RunningPart | None = None
        self._written = 0.0
        self._lock = threading.RLock()  # a server that joins tells so from its own thread

    def begin(self, now: datetime, rates: tuple[float, ...]) -> None:
        """`rates`: dollars per hour of each machine that is held from now on."""
        with self._suppressed():
            settle_killed(self.log_file, now)
            self._open(now, rates)

    def tick(self, now: datetime, rates: tuple[float, ...], ahead_usd: float = 0.0) -> None:
        """The machines were held until now, and these are from now on."""
        with self._suppressed():
            if self._part is None:
                return
            if not self._path(self._part).exists():  # taken for dead and settled: the machine had slept
                self._open(now, rates)
            midnight = _midnight_after(self._part.start)
            if now >= midnight:
                self._close(midnight)
                self._open(midnight, self._part.rates)
            self._part = replace(self._part.until(now), rates=self._counted(rates), ahead_usd=ahead_usd)
            self._write()

    def charge(self, server: str, usd: float) -> None:
        """Dollars for what a server did, beside its hour."""
        with self._suppressed():
            if self._part is None or not usd:
                return
            kind = self._told.kinds.get(server, server)
            self._part = replace(self._part, charged={**self._part.charged, kind: self._part.charged.get(kind, 0.0) + usd})
            if time.monotonic() - self._written >= WRITE_SECONDS:
                self._write()

    def end(self, now: datetime) -> None:
        with self._suppressed():
            if self._part is None:
                return
            if now >= (midnight := _midnight_after(self._part.start)):
                self.tick(midnight, self._part.rates)
            self._close(now)
        self._part = None

    @property
    def path(self) -> Path | None:
        """The file of the part that is under way; another one after midnight."""
        return None if self._part is None else self._path(self._part)

    @property
    def usd(self) -> float:
        """Dollars of the part that is under way; those before it are rows of the log."""
        return 0.0 if self._part is None else self._part.usd

    def _counted(self, rates: tuple[float, ...]) -> tuple[float, ...]:
        """The machines that the meter does not count already."""
        is_metered = any(not session.pod_id or session.pod_id == _own_pod() for session in self._meter.open_sessions())
        return () if is_metered else tuple(rate for rate in rates if rate)

    def _open(self, now: datetime, rates: tuple[float, ...]) -> None:
        with changing_log(self.log_file):
            number = next_id(self.log_file, now, [])
        part = replace(self._told, session_id=number, start=stamp(now), last=stamp(now), rates=self._counted(rates))
        self._part = replace(part, pid=os.getpid(), host=socket.gethostname(), born=birth(os.getpid()))
        self._write()

    def _close(self, now: datetime) -> None:
        assert self._part is not None
        part = self._part = self._part.until(now)
        settle(self.log_file, part, self._path(part))

    def _write(self) -> None:
        assert self._part is not None
        self._written = time.monotonic()
        files.write_json(self._path(self._part), asdict(self._part))

    def _path(self, part: RunningPart) -> Path:
        return running_folder(self.log_file) / f"{part.session_id}.json"

    @contextlib.contextmanager
    def _suppressed(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (LifeosError, OSError) as error:
            self._warn(f"the cost log does not hear of this work now: {error}")
            self._warn = lambda text: None


@contextlib.contextmanager
def changing_log(log_file: Path) -> Iterator[None]:
    """While nobody else changes the log or gives an id of it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with contextlib.ExitStack() as stack:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                stack.enter_context(locks.hold(log_file.with_name(log_file.name + ".lock"), str(log_file), wait=True))
                break
            except LockedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield


def settle(log_file: Path, part: RunningPart, path: Path, how: str = "") -> None:
    """Turn a part into rows of the log, each once, whatever dies in between; then take its file away."""
    with changing_log(log_file):
        for row in make_rows(part, how):
            if not is_taken(log_file, row["session_id"]):
                files.append_record(log_file, row)
        path.unlink(missing_ok=True)


def make_rows(part: RunningPart, how: str = "") -> list[dict[str, Any]]:
    """A row for the hours, and one for each kind of server that charged; none where nothing was paid."""
    start, end = (times.stamp(_moment(text)) for text in (part.start, part.last))
    more = {"lora_version": part.lora_version, "batch": part.what, "end_is": how}
    extra = {key: value for key, value in more.items() if value}
    rows = []
    if part.hourly_usd:
        usd, minutes = round(part.hourly_usd, 4), round(part.hours * 60, 4)
        rate = round(part.hourly_usd / part.hours, 6) if part.hours else 0.0
        rows.append(_row(part, part.session_id, start, end, minutes, usd, part.gpu, rate) | extra)
    for number, (kind, usd) in enumerate(sorted(part.charged.items()), 1):
        if usd:
            row = _row(part, f"{part.session_id}.{number}", start, end, 0, round(usd, 6), escape_line(kind), 0.0)
            rows.append(row | extra | {"charged_usd": round(usd, 6)})
    return rows


def _row(part: RunningPart, name: str, start: str, end: str, minutes: float, usd: float, gpu: str, rate: float) -> dict[str, Any]:
    return {
        "session_id": name,
        "start": start,
        "end": end,
        "duration_min": minutes,
        "activity": part.activity,
        "cost_usd": usd,
        "gpu": gpu,
        "rate_per_hr": rate,
    }


def read_running(log_file: Path) -> list[tuple[Path, RunningPart]]:
    """The files of work that runs, or was killed, oldest first. One that cannot be read is named and left out."""
    found = []
    for path in sorted(running_folder(log_file).glob("*.json")):
        try:
            found.append((path, foreign.read_file(path, RunningPart, not_finite="refuse")))
        except LifeosError as error:
            if path.exists():  # else its work has just ended
                files.warn(f"left out of the costs: {error}")
    return found


def is_running(part: RunningPart, now: datetime) -> bool:
    """Whether its process lives; on another machine, whether it gave a sign of life of late."""
    if part.host == socket.gethostname() and part.born:
        return is_alive(part.pid) and birth(part.pid) == part.born
    return now - _moment(part.last) < timedelta(minutes=ALIVE_MINUTES)


def until_now(part: RunningPart, now: datetime) -> RunningPart:
    """A part with its hours up to now, where its work runs."""
    return part.until(now) if is_running(part, now) else part


def settle_killed(log_file: Path, now: datetime) -> None:
    """Turn the costs of work that was killed into rows of the log."""
    for path, part in read_running(log_file):
        if not is_running(part, now):
            settle(log_file, as_journalled(part), path, LAST_HEARTBEAT)


def as_journalled(part: RunningPart) -> RunningPart:
    """A part of killed work with what its journal knows beyond the last time that its file was written."""
    journal = Path(part.journal) if part.journal else None
    if journal is None or not journal.exists():
        return part
    charged: dict[str, float] = {}
    last = part.last
    end = stamp(_midnight_after(part.start))
    for line in foreign.read_lines(journal, ChargeRecord, surrogates="keep"):
        record = None if isinstance(line, foreign.BadLine) else line.record
        if record is None or not part.start <= record.time < end:
            continue
        if record.event == "started" and record.time > part.last:  # a later run: it has a file of its own
            break
        last = max(last, record.time) if record.event in RUN_EVENTS else last
        if record.event == "charged" and record.usd:
            kind = part.kinds.get(record.server or "", record.server or "")
            charged[kind] = charged.get(kind, 0.0) + record.usd
    return replace(part.until(_moment(last)), charged=charged)


def _midnight_after(start: str) -> datetime:
    return (_moment(start) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def _own_pod() -> str:
    return os.environ.get("RUNPOD_POD_ID", "")
