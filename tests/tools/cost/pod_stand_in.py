"""A stand-in for what the guard asks: RunPod's pods API v2 and the proxy to the pods' ports, in simulated time or over loopback.

It keeps what the published API promises: `runtime` is null unless RUNNING, `cost` is 0 when EXITED, a locked pod answers a stop with 409,
refusals are RFC 9457 problems. A pod does what its plan says; what it does is the truth that the guard has to find out.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lifeos.errors import UnavailableError
from lifeos.web import StatusError, WebReply

KEY = "key-of-the-test"
BEGIN = datetime(2026, 11, 30, 12, tzinfo=UTC)
WORK = frozenset({"training", "generation", "transfer", "evaluation", "agent"})
BEATING = {"hung training": "training", "hung at rest": "training", "hung batch": "generation", "hung sweep": ""}
"""What hangs and beats: its watch goes on looking and calls it so (empty: it takes it for nothing), its session has heartbeats."""
COMFY, HEARTBEATS = 8188, 8190
PROBLEMS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


@dataclass
class PlannedPod:
    """A pod and what it does: `plan` holds (from second, what). `has_watch`: the tracker runs on it and serves heartbeats, which tell
    progress or are of version 3.0.0; `clock_offset`: how far the pod's own clock is off."""

    id: str
    plan: list[tuple[float, str]]
    name: str = "lora-pod"
    locked: bool = False
    has_watch: bool = False
    tells_progress: bool = True
    clock_offset: Callable[[float], float] = lambda at: 0.0
    has_comfy: bool = True
    status: str = "RUNNING"
    volume_gb: int | None = 100
    cost: float = 0.6
    stopped_at: float | None = None
    stop_asked: int = 0
    frozen: dict[str, Any] | None = None
    seen: float = 0.0
    moved: float = 0.0
    changes: dict[str, Any] = field(default_factory=dict)

    def does(self, at: float) -> str:
        return next(what for since, what in reversed(self.plan) if since <= at)

    def since(self, at: float) -> float:
        return next(since for since, _ in reversed(self.plan) if since <= at)


class PodStandIn:
    """The account. `now` is the simulated second; `fault(at)` answers None, a status, or "down"."""

    def __init__(self, pods: list[PlannedPod], fault: Callable[[float], int | str | None] = lambda at: None) -> None:
        self.pods = {pod.id: pod for pod in pods}
        self.fault = fault
        self.now = 0.0
        self.latency = 0.2
        self.date_offset: Callable[[float], float] = lambda at: 0.0
        self.before_stop: Callable[[], None] = lambda: None
        self.after_stop: Callable[[], None] = lambda: None
        self.asked: list[str] = []

    def document(self, pod: PlannedPod) -> dict[str, Any]:
        runs = pod.status == "RUNNING"
        return {
            "id": pod.id,
            "name": pod.name,
            "status": pod.status,
            "actions": ["stop", "restart", "terminate"] if runs else ["start", "terminate"],
            "image": "runpod/pytorch",
            "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 1},
            "mounts": {"persistent": {"size": pod.volume_gb, "path": "/workspace"}} if pod.volume_gb else {},
            "ports": ["22/tcp", *([f"{COMFY}/http"] if pod.has_comfy else []), *([f"{HEARTBEATS}/http"] if pod.has_watch else [])],
            "cost": pod.cost if runs else 0,
            "locked": pod.locked,
            "runtime": self._runtime(pod) if runs else None,
            "createdAt": "2026-11-30T10:00:00Z",
            "startedAt": "2026-11-30T11:00:00Z",
            **pod.changes,
        }

    def _runtime(self, pod: PlannedPod) -> dict[str, Any] | None:
        what, noise = pod.does(self.now), random.Random(f"{pod.id} {self.now:.0f}")
        if what == "dark":
            return None
        if what == "frozen":  # RunPod measures no longer, and goes on telling what it measured last, in a quiet moment
            return {**(pod.frozen or {}), "gpus": [{"util": 0}], "cpu": {"util": 0}}
        dips = noise.random() < 0.2  # a training that saves, a graph that loads a model
        gpu, cpu = {
            "training": (0 if dips else noise.randint(70, 100), noise.randint(3, 30)),
            "generation": (0 if dips else noise.randint(60, 100), noise.randint(2, 20)),
            "transfer": (0, noise.randint(1, 4) if pod.has_watch else noise.randint(6, 15)),
            "evaluation": (noise.randint(0, 40), noise.randint(20, 90)),
            "hung": (100, 0),
            "hung training": (100, 0),
            "hung batch": (100, 0),
        }.get(what, (0, noise.randint(0, 2)))
        pod.frozen = {
            "uptime": 3600 + int(self.now),
            "gpus": [{"util": gpu, "memoryUtil": 40}],
            "cpu": {"util": cpu},
            "memory": {"util": 20},
            "ports": [],
        }
        return pod.frozen

    def ask(self, url: str, what: str, *, seconds: float, headers: dict[str, str], body: bytes | None = None) -> WebReply:
        """As `web.ask`, for the API."""
        self.now += self.latency
        path = url.split("/v2/", 1)[1]
        self.asked.append(path if body is None else f"POST {path}")
        fault = self.fault(self.now)
        if fault == "down":
            raise UnavailableError(what, "no usable answer: Network is unreachable")
        if headers.get("Authorization") != f"Bearer {KEY}":
            fault = 401
        if isinstance(fault, int):
            raise problem(what, fault)
        if path == "pods":
            return self._reply({"pods": [self.document(pod) for pod in self.pods.values()]})
        pod = self.pods.get(path.split("/")[1])
        if pod is None:
            raise problem(what, 404)
        if body is None:
            return self._reply(self.document(pod))
        assert json.loads(body) == {"action": "stop"}, "nothing but a stop may ever be asked for"
        pod.stop_asked += 1
        self.before_stop()
        if pod.locked:
            raise problem(what, 409, "the pod is locked")
        if pod.status != "RUNNING":
            raise problem(what, 409, "the pod does not run")
        pod.status, pod.stopped_at = "EXITED", self.now
        self.after_stop()
        return self._reply(self.document(pod))

    def _reply(self, document: object) -> WebReply:
        return WebReply(
            json.dumps(document).encode(), format_datetime(BEGIN + timedelta(seconds=self.now + self.date_offset(self.now)), usegmt=True)
        )

    def _pulse(self, pod: PlannedPod, what: str) -> dict[str, Any]:
        """What the pod's watch tells: it looks every 15 s, and its sessions beat as often."""
        if what != "hung":
            pod.seen = self.now // 15
        if what in WORK:
            pod.moved = pod.seen
        activity = BEATING.get(what, what if what in WORK - {"agent"} else "idle") or "idle"
        document = {"schema": 1, "pod_id": pod.id, "looks": int(pod.seen), "activity": activity, "sessions": []}
        if what in BEATING or what in WORK:
            session = {"session_id": "1", "activity": what, "last_heartbeat": _clock(pod, pod.seen * 15)}
            document["sessions"] = [session | ({"last_progress": _clock(pod, pod.moved * 15)} if pod.tells_progress else {})]
        return document | ({"progress": int(pod.moved)} if pod.tells_progress else {})

    def get(self, url: str, what: str, *, seconds: float, headers: dict[str, str] | None = None, max_bytes: int = 0) -> bytes:
        """As `web.get`, for the proxy: `proxy/POD/PORT/…`."""
        assert not headers, "the key does not go to the proxy"
        pod_id, port, route = url.split("proxy/", 1)[1].split("/", 2)
        pod = self.pods[pod_id]
        what_runs = pod.does(self.now)
        if self.fault(self.now) == "down" or pod.status != "RUNNING" or what_runs in ("dark", "frozen"):
            raise StatusError(what, 502)
        if int(port) == HEARTBEATS:
            return json.dumps(self._pulse(pod, what_runs)).encode()
        queue = {"generation": 2, "hung": 3, "hung batch": 3}.get(what_runs, 0)
        if route == "prompt":
            return json.dumps({"exec_info": {"queue_remaining": queue}}).encode()
        done = int(self.now // 25) if what_runs == "generation" else 0
        return json.dumps({f"prompt-{done}": {"outputs": {}}}).encode()


def _clock(pod: PlannedPod, at: float) -> str:
    return f"{BEGIN + timedelta(seconds=at + pod.clock_offset(at)):%Y-%m-%dT%H:%M:%SZ}"


def problem(what: str, status: int, detail: str = "") -> StatusError:
    document = {"title": PROBLEMS.get(status, "Error"), "status": status, "detail": detail or PROBLEMS.get(status, "Error")}
    return StatusError(what, status, json.dumps(document).encode(), "30" if status == 429 else "")


@contextmanager
def served(stand_in: PodStandIn, endpoints: dict[str, Any] | None = None) -> Iterator[str]:
    """The same over loopback, in one process of its own thread: the API at /v2, the proxy at /proxy/POD/PORT."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, body: bytes | None) -> None:
            try:
                with lock:
                    if self.path.startswith("/proxy/"):
                        reply = WebReply(stand_in.get(self.path, "x", seconds=1))
                    elif endpoints and self.path.startswith("/v2/") and self.path.split("/")[2] in endpoints:
                        reply = WebReply(json.dumps(endpoints[self.path.split("/")[2]]).encode())
                    else:
                        reply = stand_in.ask(self.path, "x", seconds=1, headers=dict(self.headers), body=body)
                status, data = 200, reply.data
            except StatusError as error:
                status, data = error.status, error.body
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
