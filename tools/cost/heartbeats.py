"""Heartbeats for a guard on another machine: what runs on a pod, served by the pod itself or read from a folder that both see.

On the pod, `runpod_cost_tracker --watch --serve-heartbeats` answers GET /heartbeats on a port that RunPod's proxy leads to. It tells what
runs, the open cost sessions and nothing else, and takes nothing. Times in it are the pod's own: a reader only asks whether they changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lifeos import foreign, web
from lifeos.errors import LifeosError, UnavailableError
from tools.cost.session import OpenSession, OpenSessions

ROUTE = "/heartbeats"
SCHEMA = 1
MAX_REPORT_BYTES = 1 << 18
IDLE_WORDS = frozenset({"idle"})


@dataclass(frozen=True, slots=True)
class SessionPulse:
    """Of an open session what tells that it lives, and that its work moves on. `last_progress` is empty where version 3.0.0 tells it:
    each heartbeat counts then."""

    session_id: str
    activity: str
    last_heartbeat: str = ""
    lease_seconds: float = 0.0
    last_progress: str = ""

    @property
    def is_work(self) -> bool:
        return not is_idle_name(self.activity)


@dataclass(frozen=True, slots=True)
class PodPulse:
    """What a pod tells of itself. `looks` counts up with each look of its watch, `progress` with each that saw its work move on (None: a
    watch of version 3.0.0, which does not ask that); `activity` is empty before the first."""

    pod_id: str = ""
    looks: int = 0
    activity: str = ""
    sessions: list[SessionPulse] = field(default_factory=list)
    progress: int | None = None

    @property
    def mark(self) -> str:
        """Changes as long as something on the pod looks or works."""
        return " ".join([str(self.looks), *(f"{one.session_id}={one.last_heartbeat}" for one in self.sessions)])

    @property
    def work_mark(self) -> str:
        """Changes with each heartbeat of a session that is not idle: of work, also of such as a watch does not know."""
        return " ".join(f"{one.session_id}={one.last_heartbeat}" for one in self.sessions if one.is_work)

    @property
    def progress_mark(self) -> str:
        """Gets another word as long as work moves on. Of older versions, which tell of life alone, each heartbeat counts."""
        told = [f"{one.session_id}={one.last_progress or one.last_heartbeat}" for one in self.sessions if one.is_work]
        if self.activity and not is_idle_name(self.activity):
            told.append(f"look={self.looks}" if self.progress is None else f"moved={self.progress}")
        return " ".join(told)

    @property
    def working_on(self) -> str:
        """What it does, in a word or two: as its watch sees it, else as its newest session of work is called."""
        if self.activity and not is_idle_name(self.activity):
            return self.activity
        return next((one.activity for one in reversed(self.sessions) if one.is_work), "")

    @property
    def lease_seconds(self) -> float:
        """The longest lease of its sessions; 0 without one."""
        return max((one.lease_seconds for one in self.sessions), default=0.0)

    @property
    def is_idle(self) -> bool | None:
        """Whether nothing runs: by the watch's last look, else by the sessions' names; None where neither tells."""
        if self.activity:
            return is_idle_name(self.activity)
        return all(is_idle_name(one.activity) for one in self.sessions) if self.sessions else None


def is_idle_name(activity: str) -> bool:
    return bool(IDLE_WORDS & set(activity.lower().replace("-", "_").split("_")))


def pulse_of(pod_id: str, sessions: list[OpenSession], looks: int = 0, activity: str = "", progress: int | None = None) -> PodPulse:
    """What is told of a pod: the sessions that say they are of it."""
    own = [
        SessionPulse(one.session_id, one.activity, one.last_heartbeat, one.lease_seconds, one.last_progress)
        for one in sessions
        if one.pod_id == pod_id
    ]
    return PodPulse(pod_id, looks, activity, own, progress)


def read_pulse(url: str, seconds: float, get: Callable[..., bytes] = web.get) -> PodPulse | None:
    """What a pod tells through its proxy; None where it does not answer, or answers something else."""
    with contextlib.suppress(LifeosError):
        data = get(f"{url.rstrip('/')}{ROUTE}", "heartbeats", seconds=seconds, max_bytes=MAX_REPORT_BYTES)
        return foreign.decode(data, PodPulse, "heartbeats", error=UnavailableError)
    return None


def read_shared(state_files: list[Path], pod_id: str) -> PodPulse | None:
    """What state files of the meter in folders that both machines see tell of a pod; None where none of them does."""
    found: list[OpenSession] = []
    for path in state_files:
        with contextlib.suppress(LifeosError):  # half synchronised, or away: not seen
            found += foreign.read_file(path, OpenSessions, not_finite="refuse").open
    pulse = pulse_of(pod_id, found)
    return pulse if pulse.sessions else None


class PulseKeeper:
    """What `--watch --serve-heartbeats` tells of this pod. `read_sessions()` gives the meter's open ones."""

    def __init__(self, pod_id: str, read_sessions: Callable[[], list[OpenSession]]) -> None:
        self._pod_id, self._read_sessions = pod_id, read_sessions
        self._looks, self._progress, self._activity = 0, 0, ""

    def looked(self, activity: str, moved: bool) -> None:
        """The watch looked once more, saw `activity`, and whether it had moved on since the look before."""
        self._looks, self._progress, self._activity = self._looks + 1, self._progress + moved, activity

    def pulse(self) -> PodPulse:
        sessions: list[OpenSession] = []
        with contextlib.suppress(LifeosError, OSError):  # what the watch saw is told all the same
            sessions = self._read_sessions()
        return pulse_of(self._pod_id, sessions, self._looks, self._activity, self._progress)


@contextlib.contextmanager
def serve_pulse(port: int, pulse: Callable[[], PodPulse]) -> Iterator[int]:
    """Answer with what `pulse` returns while the body runs, and yield the port. Raises UnavailableError where the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path.split("?")[0] != ROUTE:
                self.send_error(404)
                return
            told = pulse()
            data = json.dumps({"schema": SCHEMA, **dataclasses.asdict(told)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    try:  # on every address: RunPod's proxy comes from outside the container
        server = ThreadingHTTPServer(("0.0.0.0", port), Handler)
    except OSError as error:
        raise UnavailableError(f"port {port}", f"cannot be served: {error.strerror}", "give another to --serve-heartbeats") from None
    with server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
